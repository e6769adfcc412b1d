"""Outputs over the wire: what is whole is saved, what is not is fetched again or told."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import frozen

from tests.loopback import Behaviour, Connection, Loopback, answering, free_port, serve
from wiro_async.downloads import Downloader, SavedFile
from wiro_async.downloads.errands import Refresh
from wiro_async.errors import DownloadError, OutputUnavailable
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.task import Output, Task
from wiro_async.transport import Stream, Timeouts, Transport

POLICY = RetryPolicy(max_attempts=3, max_download_attempts=4, base_seconds=0.001, cap_seconds=0.001)
BODY = b"\x89PNG, or so it begins" * 50
BIG = bytes(range(256)) * 12 * 1024  # three blocks
TRUNCATED = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + BODY[:400]


def http(body: bytes = BODY, status: str = "200 OK", **headers: str) -> bytes:
    """An answer as it goes over the wire, then the end of the connection."""
    given = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def endless(body: bytes = BODY, **headers: str) -> bytes:
    """An answer that does not say how long it is: it ends with the connection."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}Connection: close\r\n\r\n".encode() + body


def one_after_another(*behaviours: Behaviour) -> Behaviour:
    """The first connection meets the first, and so on; the last meets all that follow."""
    waiting = list(behaviours)

    async def behave(connection: Connection) -> None:
        await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(connection)

    return behave


@frozen
class Desk:
    """A CDN, a downloader, and a directory for what it brings."""

    cdn: Loopback
    downloader: Downloader
    directory: Path

    def output(self, name: str = "0.png", size: int | None = None) -> Output:
        url = f"http://127.0.0.1:{self.cdn.port}/{name}"
        return Output(name=name, url=url, size_bytes=size, content_type="image/png")

    async def save(
        self, *outputs: Output, stem: str = "fox", refresh: Refresh | None = None
    ) -> tuple[SavedFile, ...]:
        task = Task(id="2221", token="tok-2221", outputs=outputs or (self.output(),))
        return await self.downloader.save_all(task, self.directory, stem, refresh=refresh)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*"))


@asynccontextmanager
async def desk(
    tmp_path: Path, behave: Behaviour, *, silence: float = 5.0, **options: int
) -> AsyncIterator[Desk]:
    transport = Transport(
        base_url="http://127.0.0.1:1/v1", timeouts=Timeouts(silence_seconds=silence)
    )
    async with serve(behave) as cdn:
        await transport.open()
        try:
            options = {"max_downloads": 4, **options}
            downloader = Downloader(transport=transport, policy=POLICY, dice=lambda: 0.5, **options)
            yield Desk(cdn, downloader, tmp_path)
        finally:
            await transport.aclose()


async def test_a_whole_file_is_saved_under_the_stem(tmp_path: Path) -> None:
    async with desk(tmp_path / "new" / "folder", answering(http())) as at:
        (saved,) = await at.save(at.output(size=len(BODY)))
        assert saved == SavedFile(
            path=tmp_path / "new" / "folder" / "fox.png",
            size_bytes=len(BODY),
            sha256=hashlib.sha256(BODY).hexdigest(),
            url=f"http://127.0.0.1:{at.cdn.port}/0.png",
            content_type="image/png",
        )
        assert saved.path.read_bytes() == BODY
        assert at.names() == ["fox.png"]
        assert at.downloader.repeats == 0


async def test_the_request_carries_no_credentials_and_asks_for_plain_bytes(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http())) as at:
        await at.save()
        (request,) = at.cdn.requests
        head = request.lower()
        for secret in (b"x-api-key", b"x-nonce", b"x-signature", b"cookie", b"authorization"):
            assert secret not in head
        assert b"accept-encoding: identity" in head


async def test_a_file_of_several_blocks(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http(BIG))) as at:
        (saved,) = await at.save(at.output(size=len(BIG)))
        assert saved.path.read_bytes() == BIG
        assert saved.sha256 == hashlib.sha256(BIG).hexdigest()
        assert at.names() == ["fox.png"]


async def test_several_outputs_keep_their_order(tmp_path: Path) -> None:
    async def behave(connection: Connection) -> None:
        path = (await connection.read_request()).split()[1]
        await connection.write(http(path * 10))

    async with desk(tmp_path, behave) as at:
        saved = await at.save(at.output("0.png"), at.output("1.jpeg"))
        assert [one.path.name for one in saved] == ["fox.1.png", "fox.2.jpeg"]
        assert [one.path.read_bytes() for one in saved] == [b"/0.png" * 10, b"/1.jpeg" * 10]


async def test_what_a_language_model_says_is_no_file(tmp_path: Path) -> None:
    async with desk(tmp_path / "out", answering(http())) as at:
        text = Output(content_type="raw", content={"answer": ["forty-two"]})
        assert await at.save(text) == ()
        assert not (tmp_path / "out").exists()
        (saved,) = await at.save(text, at.output())
        assert saved.path.name == "fox.png"


# These aiohttp repeats once by itself: a GET whose connection ended before the answer.
CUT_SHORT = {"nothing at all": b"", "half a header": b"HTTP/1.1 200 OK\r\nContent-"}
BREAKS = {
    "truncated": TRUNCATED,
    "server error": http(b"oh", "500 Internal Server Error"),
    "too fast": http(b"", "429 Too Many Requests"),
    "moved to nowhere": http(b"", "304 Not Modified"),
    "partial": http(BODY[:10], "206 Partial Content"),
    "encoded": http(BODY, Content_Encoding="gzip"),
    "too short for the record": http(BODY[:-1]),
    "too long for the record": http(BODY + b"!"),
    "empty": http(b""),
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
async def test_what_breaks_once_is_fetched_again_from_the_start(
    tmp_path: Path, broken: bytes
) -> None:
    async with desk(tmp_path, one_after_another(answering(broken), answering(http()))) as at:
        (saved,) = await at.save(at.output(size=len(BODY)))
        assert saved.path.read_bytes() == BODY
        assert at.names() == ["fox.png"]
        assert at.downloader.repeats == 1
        assert len(at.cdn.requests) == 2
        assert b"range:" not in b"".join(at.cdn.requests).lower()


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
async def test_what_breaks_every_time_is_told_and_leaves_nothing(
    tmp_path: Path, broken: bytes
) -> None:
    async with desk(tmp_path, answering(broken)) as at:
        with pytest.raises(DownloadError, match=r"fox\.png is paid but not saved: ") as caught:
            await at.save(at.output(size=len(BODY)))
        assert at.names() == []
        assert len(at.cdn.requests) == POLICY.max_download_attempts
        assert caught.value.url == at.output().url
        assert caught.value.path == str(tmp_path / "fox.png")
        assert (caught.value.task_id, caught.value.token) == ("2221", "tok-2221")
        assert str(at.output().url) in caught.value.message
        assert caught.value.message.endswith("(task 2221, token tok-2221)")
        assert (caught.value.is_disk, caught.value.is_full) == (False, False)


@pytest.mark.parametrize("broken", CUT_SHORT.values(), ids=CUT_SHORT)
async def test_a_connection_that_ends_without_an_answer(tmp_path: Path, broken: bytes) -> None:
    async with desk(tmp_path, one_after_another(answering(broken), answering(http()))) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert len(at.cdn.requests) == 2
    async with desk(tmp_path / "never", answering(broken)) as at:
        with pytest.raises(DownloadError, match="ServerDisconnectedError"):
            await at.save()
        tries = POLICY.max_download_attempts
        assert len(at.cdn.requests) in {tries, 2 * tries}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(BODY[:999]), "999 bytes are announced, the task's record says 1000"),
        (endless(BODY[:999]), "999 bytes came, the task's record says 1000"),
        (endless(BODY[:1050]), "1050 bytes came, the task's record says 1000"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "Payload"),
        (http(b"oh", "503 Service Unavailable"), "HTTP 503"),
        (http(BODY, Content_Encoding="br"), "encoded as br, which was not asked for"),
    ],
)
async def test_the_reason_is_told(tmp_path: Path, answer: bytes, reason: str) -> None:
    async with desk(tmp_path, answering(answer)) as at:
        with pytest.raises(DownloadError, match=reason):
            await at.save(at.output(size=1000))


async def test_a_big_file_that_breaks_leaves_no_part_file(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http(BIG)[:-7])) as at:
        with pytest.raises(DownloadError):
            await at.save()
        assert at.names() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 451])
async def test_a_refusal_is_told_as_what_it_is(tmp_path: Path, status: int) -> None:
    async with desk(tmp_path, answering(http(b"no", f"{status} No"))) as at:
        with pytest.raises(OutputUnavailable, match=f"^paid, output unavailable: .*HTTP {status}"):
            await at.save()
        assert len(at.cdn.requests) == (POLICY.max_attempts if status == 404 else 1)
        assert at.names() == []


async def test_what_is_not_there_yet_is_asked_for_again(tmp_path: Path) -> None:
    missing = answering(http(b"", "404 Not Found"))
    async with desk(tmp_path, one_after_another(missing, answering(http()))) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert at.downloader.repeats == 1


async def test_silence_is_a_failure_like_any_other(tmp_path: Path) -> None:
    async def stall(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(http()[:200])
        await asyncio.Event().wait()

    async with desk(tmp_path, one_after_another(stall, answering(http())), silence=0.1) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert at.downloader.repeats == 1


async def test_nobody_there(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http())) as at:
        output = Output(name="0.png", url=f"http://127.0.0.1:{free_port()}/0.png")
        with pytest.raises(DownloadError, match="ClientConnectorError"):
            await at.save(output)


@pytest.mark.parametrize("url", ["http://[", "nonsense", "ftp://127.0.0.1/0.png", "http://:0/"])
async def test_an_url_that_is_none_is_that_output_s_error(tmp_path: Path, url: str) -> None:
    async with desk(tmp_path, answering(http())) as at:
        with pytest.raises(DownloadError):
            await at.save(Output(name="0.png", url=url))
        assert at.names() == []


async def test_an_empty_file_is_whole_where_the_record_says_so(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http(b""))) as at:
        (saved,) = await at.save(at.output(size=0))
        assert saved.path.read_bytes() == b""
        with pytest.raises(DownloadError, match="nothing came"):
            await at.save(at.output(size=None), stem="other")
        assert at.names() == ["fox.png"]


class InPieces:
    """An iterator that is no generator, and so has nothing to close."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = [piece.encode() for piece in pieces]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)


async def test_the_announced_length_is_compared_too(tmp_path: Path) -> None:
    class Lying(Transport):
        @asynccontextmanager
        async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
            length = {"Content-Length": "7", "Content-Encoding": "identity"}
            body = InPieces(f"{url}, {len(headers)}")
            yield Stream(http_status=200, headers=length, chunks=body)

    transport = Lying(base_url="http://127.0.0.1:1/v1", timeouts=Timeouts())
    downloader = Downloader(transport=transport, policy=POLICY, max_downloads=1, dice=lambda: 0.5)
    task = Task(outputs=(Output(name="0.png", url="http://x/0.png"),))
    with pytest.raises(DownloadError, match="17 bytes came of 7 announced"):
        await downloader.save_all(task, tmp_path, "fox")
    assert Desk(Loopback(0), downloader, tmp_path).names() == []


async def test_no_more_downloads_at_once_than_allowed(tmp_path: Path) -> None:
    arrived: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def behave(connection: Connection) -> None:
        await connection.read_request()
        go = asyncio.Event()
        arrived.put_nowait(go)
        await go.wait()
        await connection.write(http())

    async with desk(tmp_path, behave, max_downloads=2) as at, asyncio.TaskGroup() as group:
        saving = [group.create_task(at.save(stem=f"fox{number}")) for number in range(5)]
        waiting = [await arrived.get(), await arrived.get()]
        for left in (3, 2, 1):
            await asyncio.sleep(0.02)
            assert arrived.empty()
            assert sum(not task.done() for task in saving) == left + 2
            waiting.pop().set()
            waiting.append(await arrived.get())
        for go in waiting:
            go.set()
    assert len(at.names()) == 5
