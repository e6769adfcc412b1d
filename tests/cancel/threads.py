"""The threads of a batch, made to keep step with a loop in virtual time.

The journal's thread is the real one. But no time passes and no step is taken while it works, so
what happens in which order is the same each time. Of anyio's threads there is a stand-in: their
work takes a while, and goes on where nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

import anyio

from wiro_async.batch.journal.writer import FileJournal

T = TypeVar("T")

DISK = 0.25
"""Seconds that the work of one of anyio's threads takes."""
_NAME = "wiro_async journal"
_SECONDS_UNTIL_HUNG = 10.0
_MOST_FILES = 256
_switch = {"is_on": False}
_changed = threading.Condition()
_idle: set[threading.Thread] = set()


class _TellingQueue:
    """A `queue.SimpleQueue` that tells whether its reader waits for more."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._reader: threading.Thread | None = None

    def put(self, item: object) -> None:
        with _changed:
            self._items.append(item)
            if self._reader is not None:
                _idle.discard(self._reader)
            _changed.notify_all()

    def get(self) -> Any:  # noqa: ANN401 - as it was put
        with _changed:
            self._reader = threading.current_thread()
            if not self._items:
                _idle.add(self._reader)
                _changed.notify_all()
            _changed.wait_for(lambda: self._items)
            return self._items.popleft()

    def get_nowait(self) -> Any:  # noqa: ANN401 - as it was put
        with _changed:
            if not self._items:
                raise queue.Empty
            return self._items.popleft()


class _CarelessConnection(sqlite3.Connection):
    """Does not wait for the disk: what is tried here is not the loss of power."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401 - handed on
        return super().execute("PRAGMA synchronous = OFF" if "synchronous" in sql else sql, *values)


@contextmanager
def in_step() -> Iterator[None]:
    """Let every journal that is opened meanwhile keep step, and be quick."""
    connect = sqlite3.connect

    def connect_carelessly(*place: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
        return connect(*place, **options, factory=_CarelessConnection)

    open_journal = FileJournal.open

    async def open_in_step(journal: FileJournal) -> None:
        journal._jobs = _TellingQueue()  # type: ignore[assignment] # has all that is used of one
        await open_journal(journal)

    with (
        mock.patch.object(FileJournal, "open", open_in_step),
        mock.patch.object(sqlite3, "connect", connect_carelessly),
        mock.patch.object(os, "fsync"),
        mock.patch.dict(_switch, is_on=True),
    ):
        yield


@contextmanager
def threads_in_virtual_time() -> Iterator[None]:
    """Let what is given to anyio's threads be done on the loop, a while later."""

    async def run_sync(work: Callable[..., T], *args: Any) -> T:  # noqa: ANN401 - handed on
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            result = work(*args)
            if not done.cancelled():
                done.set_result(result)

        loop.call_later(DISK, run)
        with anyio.CancelScope(shield=True):
            await done
        return done.result()

    with mock.patch("anyio.to_thread.run_sync", run_sync), mock.patch.object(os, "fsync"):
        yield


def wait_for_the_journal() -> None:
    """Return when no journal's thread is at work; real time passes, very little."""
    if not _switch["is_on"]:
        return
    with _changed:
        for _ in range(int(_SECONDS_UNTIL_HUNG * 1000)):
            if not journal_threads() - _idle:
                return
            _changed.wait(0.001)  # the end of a thread notifies nobody
    raise AssertionError("a journal's thread hangs")


def journal_threads() -> set[threading.Thread]:
    """The threads of journals that are open."""
    return {thread for thread in threading.enumerate() if thread.name == _NAME}


def open_files() -> list[int]:
    """The descriptors that are open, as far as they are small."""
    return [number for number in range(_MOST_FILES) if _is_open(number)]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
