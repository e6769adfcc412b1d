"""One try at an output: a request, its answer judged, its bytes taken in.

What is wrong with an answer is a `Fault`, which says what may be done about it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from anyio import to_thread
from attrs import frozen

from wiro_async.downloads.partfile import PartFile
from wiro_async.protocol.filetypes import find_page
from wiro_async.protocol.ranges import GoOn, StartAgain, judge, range_headers
from wiro_async.protocol.responses import retry_after_seconds
from wiro_async.shield import finish
from wiro_async.task import Output

if TYPE_CHECKING:  # it brings aiohttp, which is imported when a session opens
    from wiro_async.transport import Stream, Transport

# Smaller files take one hop to a thread for all their disk work, larger ones one for each block.
_BLOCK_BYTES = 1024 * 1024
_JUDGED = frozenset(
    {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
)
# RFC 9110, 15.5.9, and RFC 8470, 5.2: of the moment; a service that is busy says 429.
_PASSING_STATUSES = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


class Fault(Exception):
    """What arrived is not the file, or not all of it.

    Attributes:
        keeps: whether the bytes that are there may be gone on with.
        is_final: whether another try cannot end otherwise.
        http_status: the status of the answer, where it is what is wrong.
        retry_after_seconds: how long the server asked to be left alone.
    """

    def __init__(
        self,
        reason: str,
        *,
        keeps: bool = False,
        is_final: bool = False,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.keeps = keeps
        self.is_final = is_final
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_refusal(self) -> bool:
        """Whether this very url is refused (RFC 9110, 15.5), and another one may not be."""
        status = self.http_status
        return (
            status is not None
            and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
            and status not in _PASSING_STATUSES
        )


@frozen(kw_only=True)
class Wanted:
    """What an answer is measured by: the task's record, the name to be, and the most bytes."""

    output: Output
    extension: str
    max_bytes: int

    def most_bytes(self, announced: int | None) -> int:
        """How many bytes are taken of an answer that announces so many; one more is too many."""
        sizes = (announced, self.output.size_bytes, self.max_bytes)
        return min(size for size in sizes if size is not None)

    def check_most(self, size_bytes: int | None) -> None:
        """Raise a final `Fault` where a file is larger than one may be."""
        if size_bytes is not None and size_bytes > self.max_bytes:
            raise Fault(
                f"it has {size_bytes} bytes or more, and {self.max_bytes} are the most that a "
                "file may have: raise max_output_bytes (--max-output-bytes) if it is right",
                is_final=True,
            )


async def fetch(transport: Transport, wanted: Wanted, part: PartFile) -> None:
    """Ask for what is missing of an output, and take it in; all of it is there then.

    Raises:
        Fault: if it is not.
        TransportError: if the connection failed.
        OSError: if the disk does not take it.
    """
    url = wanted.output.url
    if not url:
        raise Fault("the task's record has no url for it", http_status=HTTPStatus.GONE)
    wanted.check_most(wanted.output.size_bytes)
    headers = {"Accept-Encoding": "identity", **range_headers(part.held)}
    async with transport.stream(url, headers) as stream:
        stop = _open(stream, wanted, part)
        most = wanted.most_bytes(stop)
        try:
            async for chunk in stream.chunks:
                part.take(chunk)
                if part.size_bytes > most:
                    break
                if part.pending_bytes >= _BLOCK_BYTES:
                    await finish(to_thread.run_sync(part.write))
        finally:
            if isinstance(stream.chunks, AsyncGenerator):  # or the loop has to, some time
                await stream.chunks.aclose()
    _check_whole(stream, wanted, part, stop)


def _open(stream: Stream, wanted: Wanted, part: PartFile) -> int | None:
    """Make the part ready for an answer's body; the size that it should have after it."""
    _check_status(stream)
    encoding = stream.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise Fault(f"it came encoded as {encoding}, which was not asked for")
    verdict = judge(stream.http_status, stream.headers, part.held)
    if isinstance(verdict, StartAgain):
        raise Fault(verdict.reason)
    wanted.check_most(verdict.source.total_bytes)
    if isinstance(verdict, GoOn):
        part.go_on(verdict.source)
        return verdict.stop
    part.begin(verdict.source)
    return verdict.source.total_bytes


def _check_status(stream: Stream) -> None:
    status = stream.http_status
    if status in _JUDGED:
        return
    raise Fault(
        f"HTTP {status}",
        keeps=True,
        http_status=status,
        retry_after_seconds=retry_after_seconds(
            stream.headers.get("Retry-After"), datetime.now(UTC)
        ),
    )


def _check_whole(stream: Stream, wanted: Wanted, part: PartFile, stop: int | None) -> None:
    # Before its size: what came instead says more than how long it is.
    page = find_page(
        part.head,
        answered_type=stream.headers.get("Content-Type"),
        expected_type=wanted.output.content_type,
        extension=wanted.extension,
    )
    if page is not None:
        raise Fault(f"{page} came in place of it")
    wanted.check_most(part.size_bytes)
    fault = _size_fault(part, stop, wanted.output.size_bytes)
    if fault is not None:
        raise fault


def _size_fault(part: PartFile, stop: int | None, listed: int | None) -> Fault | None:
    """What is wrong with the number of bytes that came."""
    size, total = part.size_bytes, part.held.source.total_bytes
    if total is not None and listed not in {None, total}:
        return Fault(f"{total} bytes are announced, the task's record says {listed}")
    if stop is not None and size != stop:
        return Fault(f"{size} bytes came of {stop} announced", keeps=size < stop)
    if total is not None and size < total:
        return Fault(f"{size} bytes came of {total}", keeps=True)
    if listed is not None and size != listed:
        return Fault(f"{size} bytes came, the task's record says {listed}", keeps=size < listed)
    if size == 0 and listed is None:
        return Fault("nothing came")
    return None
