"""A disk that fails at a chosen call: system calls and SQLite's, in chosen directories alone.

Each call that would touch a watched directory is counted, in the order in which they come, and
refused where its number says so. What is refused did not happen; or it did, and the error is the
lie of a disk that failed just behind it (`Moment.AFTER`).
"""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

_BY_PATH = ("open", "mkdir", "link", "rename", "replace", "unlink")
_BY_NUMBER = ("write", "fsync")
# Done and refused all the same: nobody has something in hand that the call was to give.
_LYING = frozenset({"mkdir", "link", "rename", "replace", "unlink", "fsync", "COMMIT"})


class Moment(Enum):
    """Which calls are refused, and when."""

    ONCE = "one call is refused"
    FOR_GOOD = "one call is refused, and all that follow"
    AFTER = "one call is done, and refused all the same"


@define(eq=False)
class Watch:
    """One directory: what was called there, and what of it is refused."""

    directory: Path
    number: int = 0
    moment: Moment = Moment.ONCE
    calls: list[str] = field(factory=list)
    is_healthy: bool = False
    _lock: threading.Lock = field(factory=threading.Lock)

    def count(self, what: str) -> bool:
        """Note a call; whether it is to be refused."""
        if self.is_healthy or (self.is_lying and what not in _LYING):
            return False
        with self._lock:
            self.calls.append(what)
            number = len(self.calls)
        if self.moment is Moment.FOR_GOOD:
            return 0 < self.number <= number
        return number == self.number

    @property
    def is_lying(self) -> bool:
        return self.moment is Moment.AFTER

    def system_error(self, path: object) -> OSError:
        number = errno.ENOSPC if self.moment is Moment.FOR_GOOD else errno.EIO
        return OSError(number, os.strerror(number), str(path))

    def sqlite_error(self) -> sqlite3.OperationalError:
        is_full = self.moment is Moment.FOR_GOOD
        error = sqlite3.OperationalError(
            "database or disk is full" if is_full else "disk I/O error"
        )
        error.sqlite_errorname = "SQLITE_FULL" if is_full else "SQLITE_IOERR"
        return error


class _Connection(sqlite3.Connection):
    watch: Watch | None = None

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401 - handed on
        return self._ask(sql, lambda: sqlite3.Connection.execute(self, sql, *values))

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401 - handed on
        return self._ask(sql, lambda: sqlite3.Connection.executemany(self, sql, *values))

    def executescript(self, sql: str) -> sqlite3.Cursor:
        return self._ask(sql, lambda: sqlite3.Connection.executescript(self, sql))

    def _ask(self, sql: str, do: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        assert self.watch is not None
        if not self.watch.count(sql.split(maxsplit=1)[0]):
            return do()
        if self.watch.is_lying:
            do()
        raise self.watch.sqlite_error()


@define
class FaultyDisk:
    """All watches of a test; made by `install`."""

    _watches: dict[Path, Watch] = field(factory=dict)
    when_named: Callable[[bytes], object] | None = None
    """Called with what is in a part file just before it gets its final name."""

    def watch(self, watch: Watch) -> Watch:
        self._watches[watch.directory] = watch
        return watch

    def find(self, place: object) -> Watch | None:
        if isinstance(place, int):
            try:
                place = Path(f"/proc/self/fd/{place}").readlink()
            except OSError:
                return None
        if not isinstance(place, str | os.PathLike):
            return None
        path = Path(place)
        found = (self._watches.get(one) for one in (path, *path.parents))
        return next((one for one in found if one is not None), None)


def install(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """Put a disk between this process and its own."""
    disk = FaultyDisk()
    for name in (*_BY_PATH, *_BY_NUMBER):
        monkeypatch.setattr(os, name, _wrap(disk, name, getattr(os, name)))
    monkeypatch.setattr(io, "open", _wrap(disk, "open", io.open))
    monkeypatch.setattr(sqlite3, "connect", _wrap_connect(disk, sqlite3.connect))
    return disk


def _wrap(disk: FaultyDisk, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(place: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - handed on
        watch = disk.find(place)
        if watch is None:
            return original(place, *arguments, **options)
        if name in {"link", "rename"} and disk.when_named is not None and ".part" in str(place):
            with open(place, "rb") as file:  # noqa: PTH123 - not by way of this disk
                disk.when_named(file.read())
        if not watch.count(name):
            return original(place, *arguments, **options)
        if watch.is_lying:
            original(place, *arguments, **options)
        raise watch.system_error(place)

    return call


def _wrap_connect(disk: FaultyDisk, original: Callable[..., Any]) -> Callable[..., Any]:
    def connect(place: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 - handed on
        watch = disk.find(place)
        if watch is None:
            plain: sqlite3.Connection = original(place, **options)
            return plain
        if watch.count("connect"):
            raise watch.sqlite_error()
        connection: _Connection = original(place, factory=_Connection, **options)
        connection.watch = watch
        return connection

    return connect
