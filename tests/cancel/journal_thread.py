"""The thread of a batch's journal, made to keep step with a loop in virtual time.

The thread is the real one. But no time passes and no step is taken while it works, so what
happens in which order is the same each time.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from wiro_async.batch.journal import FileJournal

_NAME = "wiro_async journal"
_SECONDS_UNTIL_HUNG = 10.0
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
