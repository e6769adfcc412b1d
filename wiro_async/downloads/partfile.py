"""Bytes on their way to a final name, and the names of what is there.

The rules of the disk stand in the package's essay; all of this may run in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from wiro_async.crashpoints import passing
from wiro_async.errors import OutputDirectoryError
from wiro_async.protocol.filetypes import HEAD_BYTES
from wiro_async.protocol.ranges import Held, Source

_PART_NAME = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)
# O_EXCL never follows a link; O_NOFOLLOW says so again where there is one, and Windows needs to
# be told that bytes are bytes.
_PART_FLAGS = (
    os.O_CREAT
    | os.O_EXCL
    | os.O_WRONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_PART_MODE = 0o600
# What CIFS, sshfs and other FUSE file systems answer to the flush of a directory that they cannot
# flush. A disk that fails (EIO) or is full (ENOSPC) says something else, and is heard.
_NOT_FLUSHED = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
)
_USUAL_MODE = 0o666
_STATUS = Path("/proc/self/status")
_UMASK = re.compile(r"^Umask:\s*([0-7]+)$", re.MULTILINE)


class PartFile:
    """The bytes of one output: in memory at first, in a part file beside its name after that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head = b""
        self.pending_bytes = 0
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._descriptor: int | None = None
        self._is_there = False
        self._is_stale = False
        self._pending: list[bytes] = []
        self._held = Held()
        self._hash = hashlib.sha256()

    @property
    def size_bytes(self) -> int:
        """How many bytes there are, in memory and in the file."""
        return self._held.size_bytes

    @property
    def held(self) -> Held:
        """What is there, for who wants to go on with it."""
        return self._held

    @property
    def digest(self) -> str:
        """The sha256 of what is there, in hex."""
        return self._hash.hexdigest()

    def begin(self, source: Source) -> None:
        """Forget what is there: what comes is a file from its first byte on."""
        self._pending, self.pending_bytes, self.head = [], 0, b""
        self._hash = hashlib.sha256()
        self._held = Held(source=source)
        self._is_stale = True

    def forget(self) -> None:
        """Throw away what is there."""
        self.begin(Source())

    def go_on(self, source: Source) -> None:
        """Take what comes behind what is there."""
        self._held = Held(size_bytes=self._held.size_bytes, source=source)

    def take(self, chunk: bytes) -> None:
        """Count and keep a chunk in memory."""
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self._pending.append(chunk)
        self.pending_bytes += len(chunk)
        self._held = Held(size_bytes=self._held.size_bytes + len(chunk), source=self._held.source)
        self._hash.update(chunk)

    def write(self) -> None:
        """Move what is in memory to the part file, which is made if it is not there."""
        if self._descriptor is None:
            self._descriptor = self._open()
            self._is_there = True
            passing("download.begun")
        elif self._is_stale:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._is_stale = False
        left = memoryview(b"".join(self._pending))
        self._pending, self.pending_bytes = [], 0
        while left:
            left = left[os.write(self._descriptor, left) :]
        passing("download.written")

    def put_in_place(self, path: Path) -> Path:
        """Write what is left, flush it, and give a final name; the path that the file is at."""
        self.write_rest(current_umask())
        self.flush()
        name = self.give_name(path)
        sync_directory(name.parent)
        passing("download.in_place")
        return name

    def write_rest(self, umask: int) -> None:
        """Move the last bytes to the part file, and let the system begin to bring it to the disk.

        A flush alone would do that as well, but one after the other: where the places on the disk
        of many files are chosen first, one commit of the file system's journal holds for them all.
        """
        self.write()
        descriptor = self._descriptor
        assert descriptor is not None  # noqa: S101 - it was written
        if hasattr(os, "fchmod"):  # Windows has no such rights
            with suppress(OSError):  # a mount without rights (S3, CIFS) refuses them harmlessly
                os.fchmod(descriptor, _USUAL_MODE & ~umask)
        if hasattr(os, "posix_fadvise"):  # Linux begins to write what it is told to forget
            with suppress(OSError):  # it is advice; a disk that fails says so at the flush
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def flush(self) -> None:
        """Return when all of the part file is on the disk; nothing more can be written to it."""
        assert self._descriptor is not None  # noqa: S101 - it was written
        os.fsync(self._descriptor)
        self._close()
        passing("download.flushed")

    def give_name(self, path: Path) -> Path:
        """Give a flushed part its final name, or the one with its hash; which one it is."""
        digest = self.digest
        for is_alternative in (False, True):
            name = path.with_stem(f"{path.stem}-{digest[:16]}") if is_alternative else path
            if _name_exclusively(self._part, name) or holds(name, digest):
                passing("download.named")
                self.discard()
                return name
        raise FileExistsError(f"{path.name} and its alternative name are taken")

    def discard(self) -> None:
        """Remove the part file, whatever became of it; safe to call twice."""
        try:
            self._close()  # raises where a disk over the network did not take the last bytes
        finally:
            if self._is_there:
                self._part.unlink(missing_ok=True)
                self._is_there = False

    def _open(self) -> int:
        try:
            return os.open(self._part, _PART_FLAGS, _PART_MODE)
        except FileNotFoundError:  # the first one of its directory
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._part, _PART_FLAGS, _PART_MODE)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def current_umask() -> int:
    """The process's umask, which decides on the rights of new files.

    Linux tells it in ``/proc``. Elsewhere it can only be read by setting it (POSIX, umask), and
    what another thread makes in that instant is then for its owner alone, never for more people.
    """
    try:
        found = _UMASK.search(_STATUS.read_text())
    except OSError:
        found = None
    if found is not None:
        return int(found[1], 8)
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _name_exclusively(part: Path, final: Path) -> bool:
    """Give the name unless it is taken: a link fails where a rename would overwrite."""
    try:
        os.link(part, final)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.lexists(final):  # a link that points nowhere is somebody's as well
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
    """Make the names in a directory durable, where the file system can.

    Windows and some network file systems cannot: there it does nothing.

    Raises:
        OSError: if the disk fails or is full.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NOT_FLUSHED:
            raise


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
