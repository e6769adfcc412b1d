"""One process at a time: a lock file beside the journal that says whose it is.

The lock is the system's (``flock``), so it goes with the process that holds it, however that
ends; the file stays, and what stands in it is only for the person who finds the journal in
use. Where there is no ``flock`` (Windows), SQLite's own exclusive lock has to do.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from attrs import define

from wiro_async.errors import JournalError

try:
    import fcntl
except ImportError:  # pragma: no cover - not on Windows
    fcntl = None  # type: ignore[assignment]


@define
class Lock:
    """A lock that is held. Made by `take_lock`."""

    _descriptor: int

    def release(self) -> None:
        """Give it back."""
        try:
            os.ftruncate(self._descriptor, 0)
            if fcntl is not None:  # closing alone leaves it to processes forked meanwhile
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            os.close(self._descriptor)


def take_lock(journal: Path) -> Lock:
    """Take the lock of a journal.

    Raises:
        JournalError: if another batch has it, naming its process.
        OSError: if the file cannot be made.
    """
    path = journal.with_name(f"{journal.name}.lock")
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(_myself()).encode())
    except BlockingIOError:
        owner = os.read(descriptor, 1024).decode(errors="replace")
        os.close(descriptor)
        raise JournalError(
            f"{journal.parent} is in use by {_name(owner)}: wait until it ends, or end it. It was "
            "not touched"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return Lock(descriptor)


def _myself() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": Path(sys.argv[0]).name,
    }


def _name(owner: str) -> str:
    with suppress(ValueError, KeyError, TypeError):
        said = json.loads(owner)
        return f"process {said['pid']} ({said['program']}) on {said['host']}, since {said['since']}"
    return "another process that has not said its name yet"
