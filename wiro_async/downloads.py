"""Bytes to disk: streamed, checked, renamed into place.

Rules:

1. A file appears under its final name only when it is whole: a part file beside it takes the
   bytes, its size is compared with the header and with the task's record, it is flushed to
   the disk, and only then does it get the name.
2. A file that exists is never overwritten with something else. The same bytes are the same
   file; other bytes get a name of their own, with their hash in it.
3. What breaks on the way is tried again from the start; the task is paid, so the patience is
   the session's. What is left of a try is removed.
4. The url is public to whoever has it, and no credential goes along (wiro-api facts,
   "Outputs").
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread
from attrs import define, field, frozen

from wiro_async.crashpoints import passing
from wiro_async.errors import DownloadError, OutputDirectoryError, TransportError
from wiro_async.filenames import output_names, safe_stem
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.shield import finish
from wiro_async.task import Output, Task
from wiro_async.transport import Stream, Transport

# Smaller files take one hop to a thread for all their disk work, larger ones one for each block.
_BLOCK_BYTES = 1024 * 1024
_PART_NAME = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)
# Of the disk or the folder, and not of one file's name.
_OF_THE_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EMFILE}
)
# Statuses that another try will not change.
_FINAL_STATUSES = frozenset({400, 401, 403, 405, 410, 451})


@frozen(kw_only=True)
class SavedFile:
    """An output that is whole and on disk."""

    path: Path
    size_bytes: int
    sha256: str
    url: str
    content_type: str | None = None


@define
class Downloader:
    """Brings outputs to disk, so many at a time; made on its session's event loop."""

    transport: Transport
    policy: RetryPolicy
    max_downloads: int
    dice: Callable[[], float]
    repeats: int = 0
    _places: asyncio.Semaphore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.max_downloads)

    async def save_all(self, task: Task, directory: Path, stem: str) -> tuple[SavedFile, ...]:
        """Save every output of a task that is a file; a language model's content is none.

        Raises:
            DownloadError: for the first output that could not be saved.
        """
        outputs = tuple(output for output in task.outputs if output.url)
        names = output_names(safe_stem(stem), outputs)
        return tuple(
            [
                await self._save(output, directory / name, task.id)
                for output, name in zip(outputs, names, strict=True)
            ]
        )

    async def _save(self, output: Output, path: Path, task_id: str | None) -> SavedFile:
        url = output.url or ""
        failures = 0
        is_disk = False
        async with self._places:
            while True:
                try:
                    return await self._fetch(output, url, path)
                except (_Broken, TransportError) as error:
                    failures += 1
                    reason = str(error)
                    is_final = isinstance(error, _Broken) and error.is_final
                except OSError as error:
                    reason, is_final = f"the disk says: {error}", True
                    is_disk = error.errno in _OF_THE_DISK
                if is_final or failures >= self.policy.max_attempts:
                    break
                self.repeats += 1
                await asyncio.sleep(self.policy.backoff_seconds(failures, self.dice()))
        lost = DownloadError(
            f"{path} is paid but not saved: {reason}. It lies at {url} for a limited time",
            url=url,
            path=str(path),
            task_id=task_id,
        )
        lost.is_disk = is_disk
        raise lost

    async def _fetch(self, output: Output, url: str, path: Path) -> SavedFile:
        part = _PartFile(path)
        try:
            async with self.transport.stream(url, {"Accept-Encoding": "identity"}) as stream:
                _check_head(stream)
                async for chunk in stream.chunks:
                    part.take(chunk)
                    if part.pending_bytes >= _BLOCK_BYTES:
                        await finish(to_thread.run_sync(part.write))
            _check_size(part.size_bytes, stream, output)
            saved = await finish(to_thread.run_sync(part.put_in_place))
        finally:
            part.discard()
        return SavedFile(
            path=saved,
            size_bytes=part.size_bytes,
            sha256=part.hash.hexdigest(),
            url=url,
            content_type=output.content_type,
        )


class _Broken(Exception):
    """What arrived is not the file."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def _check_head(stream: Stream) -> None:
    if stream.http_status != HTTPStatus.OK:
        raise _Broken(f"HTTP {stream.http_status}", is_final=stream.http_status in _FINAL_STATUSES)
    encoding = stream.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise _Broken(f"it came encoded as {encoding}, which was not asked for")


def _check_size(size: int, stream: Stream, output: Output) -> None:
    promised = stream.headers.get("Content-Length", "")
    if promised.isdigit() and int(promised) != size:
        raise _Broken(f"{size} bytes came of {promised} announced")
    if output.size_bytes is not None and output.size_bytes != size:
        raise _Broken(f"{size} bytes came, the task's record says {output.size_bytes}")
    if size == 0 and output.size_bytes is None:
        raise _Broken("nothing came")


class _PartFile:
    """The bytes on their way to a final name; its disk work may run in a thread."""

    def __init__(self, path: Path) -> None:
        self._final = path
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._file: BinaryIO | None = None
        self._pending: list[bytes] = []
        self.pending_bytes = 0
        self.size_bytes = 0
        self.hash = hashlib.sha256()

    def take(self, chunk: bytes) -> None:
        """Count and keep a chunk in memory."""
        self._pending.append(chunk)
        self.pending_bytes += len(chunk)
        self.size_bytes += len(chunk)
        self.hash.update(chunk)

    def write(self) -> BinaryIO:
        """Move what is in memory to the part file, which is made if it is not there."""
        if self._file is None:
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("xb")
            passing("download.begun")
        chunks, self._pending, self.pending_bytes = self._pending, [], 0
        self._file.writelines(chunks)
        passing("download.written")
        return self._file

    def put_in_place(self) -> Path:
        """Flush to the disk and give the final name; the path that the file is at."""
        file = self.write()
        file.flush()
        os.fsync(file.fileno())
        file.close()
        passing("download.flushed")
        digest = self.hash.hexdigest()
        for path in (self._final, self._final.with_stem(f"{self._final.stem}-{digest[:16]}")):
            if _name_exclusively(self._part, path) or holds(path, digest):
                passing("download.named")
                self.discard()
                sync_directory(path.parent)
                passing("download.in_place")
                return path
        raise FileExistsError(f"{self._final.name} and its alternative name are taken")

    def discard(self) -> None:
        """Remove the part file, whatever became of it; safe to call twice."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()  # raises where a full disk does not take the last bytes
            finally:
                self._part.unlink(missing_ok=True)


def _name_exclusively(part: Path, final: Path) -> bool:
    """Give the name unless it is taken: a link fails where a rename would overwrite."""
    try:
        os.link(part, final)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if final.exists():
            return False
        part.rename(final)
    return True


def holds(path: Path, digest: str) -> bool:
    """Whether a file is there with these bytes, told by their sha256 in hex."""
    if not path.is_file():  # a folder, a dangling link, a pipe that nobody writes to
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable, where the system can (not on Windows)."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_parts(directory: Path) -> None:
    """Remove what a process that died has left half written; nobody else may write there.

    Raises:
        OutputDirectoryError: if it cannot be removed.
    """
    try:
        for path in directory.iterdir():
            if _PART_NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputDirectoryError(
            f"{error.filename} cannot be removed: {error.strerror}. It is half of a file that an "
            "earlier run left: see to it that the directory can be written, and start again"
        ) from None
