"""Which Runs have begun to go out: what is left of a process that was killed.

An intent is durable before a Run goes out, so a process that dies between the two leaves a Run of
which the journal cannot say whether it was sent. This log can. A few bytes are handed to the
system right before the body of a Run is written to its connection, by the same thread and with
nothing in between. What the system was handed stays when the process is killed, so a Run with
an intent and no line here was certainly not sent.

It is not flushed to the disk, which would cost as much again as the intent: after a crash of the
machine it may be behind the truth. So it is believed only while the machine has run on since
(the boot's id is the same, on Linux; elsewhere it is never believed), and a log that is missing
or does not fit proves nothing.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from attrs import define

from wiro_async.crashpoints import passing

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAGIC = b"wiro sent log 1 "
# Position, attempt, and a checksum of the two.
_RECORD = struct.Struct("<QII")
_PRIVATE = 0o600


@define
class SentLog:
    """The log of one run of a batch, open for appending. Made by `start_log`."""

    _descriptor: int

    def add(self, position: int, attempt: int) -> None:
        """Note that the body of an item's Run goes out next.

        Raises:
            OSError: if the system does not take it; then it must not go out.
        """
        record = _RECORD.pack(position, attempt, _check(position, attempt))
        if os.write(self._descriptor, record) != len(record):
            raise OSError("the disk is full")
        passing("sentlog.noted")

    def close(self) -> None:
        """Close it; it stays where it is."""
        os.close(self._descriptor)


def log_path(journal: Path) -> Path:
    """Where the log of a journal lies."""
    return journal.with_name(f"{journal.name}.sent")


def start_log(path: Path) -> SentLog:
    """Begin a log in the place of the one before, which is read by now.

    Raises:
        OSError: if it cannot be made.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
    descriptor = os.open(fresh, flags, _PRIVATE)
    try:
        os.write(descriptor, _head())
        fresh.replace(path)
    except BaseException:
        os.close(descriptor)
        raise
    passing("sentlog.begun")
    return SentLog(descriptor)


def read_log(path: Path) -> frozenset[tuple[int, int]] | None:
    """The items and attempts that went out in the run before; None if nobody can tell."""
    head = _head()
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        content = path.read_bytes()
    except OSError:
        return None
    if not _boot() or not content.startswith(head):
        return None
    records = content[len(head) :]
    # Half a record at the end is one that was not handed over: its Run did not go out.
    whole = len(records) - len(records) % _RECORD.size
    sent = set()
    for position, attempt, checksum in _RECORD.iter_unpack(records[:whole]):
        if checksum != _check(position, attempt):
            return None
        sent.add((position, attempt))
    return frozenset(sent)


def _check(position: int, attempt: int) -> int:
    return zlib.crc32(b"%d %d" % (position, attempt))


def _head() -> bytes:
    return _MAGIC + _boot().encode() + b"\n"


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
