"""A loop in virtual time and the thread of a journal, of which only one is at work at a time.

The thread is the real one, and so is its file. But it is handed what waits for it only between
two steps of the loop, and the loop goes on when it has done that. So what happens, and in which
order, is the same each time, and a copy of the directory can be made at any instant.
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

import anyio.to_thread
from attrs import define, field

from tests.virtual_time import _JumpingSelector
from wiro_async.batch.journal.writer import FileJournal

T = TypeVar("T")

_SECONDS_UNTIL_HUNG = 10.0


@define(eq=False)
class _Turns:
    """A `queue.SimpleQueue` whose reader gets nothing until it is its turn."""

    journal: FileJournal
    _items: deque[object] = field(factory=deque)
    _changed: threading.Condition = field(factory=threading.Condition)
    _is_turn: bool = False
    _is_idle: bool = False

    def put(self, item: object) -> None:
        with self._changed:
            self._items.append(item)

    def get(self) -> object:
        with self._changed:
            self._is_idle = True
            self._is_turn = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_turn)
            self._is_idle = False
            return self._items.popleft()

    def get_nowait(self) -> object:
        with self._changed:
            if not self._items:
                raise queue.Empty
            return self._items.popleft()

    def give_turn(self) -> None:
        """Let the thread work until it wants more than there is, or until its end."""
        with self._changed:
            while self._is_at_work() or (self._is_idle and self._items):
                self._is_turn = bool(self._items)
                self._changed.notify_all()
                # A thread that ends notifies nobody.
                self._changed.wait_for(self._is_done, timeout=0.001)

    def _is_at_work(self) -> bool:
        thread = self.journal._thread
        return thread is not None and thread.is_alive() and not self._is_idle

    def _is_done(self) -> bool:
        return self._is_idle and not self._is_turn


@define(eq=False)
class _PatientSelector(_JumpingSelector):
    turns: list[_Turns]

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def select(self, timeout: float | None = None) -> list[Any]:
        for turn in self.turns:
            turn.give_turn()
        return super().select(timeout)


class TurnsLoop(asyncio.SelectorEventLoop):
    """The loop; its clock begins at nought and jumps to the next timer."""

    def __init__(self) -> None:
        self.turns: list[_Turns] = []
        self._patient = _PatientSelector(self.turns)
        super().__init__(self._patient)

    def time(self) -> float:
        return self._patient.now


class _CarelessConnection(sqlite3.Connection):
    """Does not wait for the disk: what is tried is the death of a process, not of a machine."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401 - handed on
        return super().execute("PRAGMA synchronous = OFF" if "synchronous" in sql else sql, *values)


@contextmanager
def taking_turns() -> Iterator[None]:
    """Have journals that are opened on a `TurnsLoop` meanwhile keep step with it."""
    connect, open_journal = sqlite3.connect, FileJournal.open

    def connect_carelessly(*place: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
        return connect(*place, **options, factory=_CarelessConnection)

    async def open_in_turns(journal: FileJournal) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TurnsLoop)
        turns = _Turns(journal)
        loop.turns.append(turns)
        journal._jobs = turns  # type: ignore[assignment] # has all that is used of one
        await open_journal(journal)

    async def run_here(work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        await asyncio.sleep(0)
        return work(*arguments)

    with (
        mock.patch.object(FileJournal, "open", open_in_turns),
        mock.patch.object(sqlite3, "connect", connect_carelessly),
        mock.patch.object(anyio.to_thread, "run_sync", run_here),
        mock.patch.object(os, "fsync"),
    ):
        yield
