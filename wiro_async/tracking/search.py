"""Where is the task of a Run whose answer was not read?

One search a session, for single Runs and for batches: it reads ``/Task/List`` and lets
`protocol.matching` say which rows are whose. The list is known from one official client only
(wiro-api facts, "Endpoints"), so it is believed with care:

1. A Run is looked for when it has had `settle_seconds` to be processed and listed.
2. A row is taken for its task when two readings in a row, half that time apart, say the same;
   one that failed says nothing. After `_MOST_READINGS` without that the search ends: not found,
   which proves nothing.
3. A row that anybody here knows is nobody else's: the session knows the tasks that it started,
   a batch those in its journal.
4. While an identical Run of this session is on the wire, its row cannot be told from a lost
   one's: then nothing is concluded, neither that it is found nor that it is not.
5. All that are lost are looked for together, since identical ones share their rows.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from attrs import define, evolve, field

from wiro_async.api import Api
from wiro_async.crashpoints import passing
from wiro_async.errors import SessionStateError, WiroError
from wiro_async.protocol.matching import (
    LostRun,
    kind_of,
    match_runs,
    may_be_of,
    oldest_of_interest,
)
from wiro_async.protocol.requests import build_list
from wiro_async.protocol.responses import decode_tasks
from wiro_async.task import JsonObject, Task

Knower = Callable[[frozenset[str]], Awaitable[frozenset[str]]]

_MOST_READINGS = 4
_PAGE_ROWS = 100
# With it a list of any length is read to an end, even one that does not tell times.
_MOST_ROWS = 20_000
_STALE_PAGES = 2
# 2020: an earlier time is a number that was meant otherwise, and not the end of what is new.
_NO_TASK_BEFORE = 1_577_836_800.0
# Names of tasks that this session started; the older ones are older than any lost Run's time.
_MOST_REMEMBERED = 20_000


@define(eq=False)
class _Wanted:
    lost: LostRun
    knower: Knower | None
    due: float
    found: asyncio.Future[Task | None]
    readings: int = 0
    last: str | None = None
    is_read: bool = False


@define(eq=False)
class Search:
    """The search of a session; made on its event loop."""

    api: Api
    settle_seconds: float
    _wanted: dict[str, _Wanted] = field(init=False, factory=dict)
    _on_wire: dict[object, tuple[str, JsonObject]] = field(init=False, factory=dict)
    _names: deque[str] = field(init=False, factory=lambda: deque(maxlen=_MOST_REMEMBERED))
    _tickets: itertools.count[int] = field(init=False, factory=itertools.count)
    _reading: asyncio.Task[None] | None = field(init=False, default=None)

    @contextmanager
    def sending(self, model: str, params: JsonObject) -> Iterator[None]:
        """A Run is on the wire: what looks like it in the list may be its own."""
        ticket = object()
        self._on_wire[ticket] = (model, params)
        try:
            yield
        finally:
            del self._on_wire[ticket]

    def remember(self, *names: str | None) -> None:
        """Note a task's id and token: it is somebody's."""
        self._names.extend(name for name in names if name)

    def forget(self, *names: str | None) -> None:
        """Take that back: nobody has a note of the task."""
        for name in names:
            with suppress(ValueError):
                self._names.remove(name or "")

    async def find(self, lost: LostRun, knower: Knower | None = None) -> Task | None:
        """The task of a lost Run as the list has it; None if it does not show.

        Args:
            lost: the Run.
            knower: tells which of the names in the list belong to a task that is known.

        Raises:
            WiroError: if the list could not be read a single time.
            SessionStateError: if the session is closed meanwhile.
        """
        lost = evolve(lost, key=f"{next(self._tickets)}")
        # By the wall's clock, since a Run can have been lost by a process that is gone.
        waited = max(0.0, time.time() - lost.sent_at)
        wanted = _Wanted(
            lost=lost,
            knower=knower,
            due=_now() + max(0.0, self.settle_seconds - waited),
            found=asyncio.get_running_loop().create_future(),
        )
        self._wanted[lost.key] = wanted
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_on(), name="wiro_async search")
        try:
            task = await wanted.found
        finally:
            del self._wanted[lost.key]
        if task is not None:
            # Not before: cancelled meanwhile, nobody would have it, nor find it ever again.
            self.remember(task.id, task.token)
        return task

    async def aclose(self) -> None:
        """End the search; who waits for it is told so."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        for one in self._wanted.values():
            _fail(one, SessionStateError("the session was closed while it looked for a task"))

    async def _read_on(self) -> None:
        """Read as long as somebody waits."""
        try:
            while waiting := [one for one in self._wanted.values() if not one.found.done()]:
                await asyncio.sleep(max(0.0, min(one.due for one in waiting) - _now()))
                await self._read()
                passing("search.read")
        except Exception as bug:  # noqa: BLE001 - nobody awaits this: who waits has to hear of it
            for one in self._wanted.values():
                _fail(one, bug)
        finally:
            self._reading = None

    async def _read(self) -> None:
        wanted = [one for one in self._wanted.values() if not one.found.done()]
        failure = None
        found: dict[str, Task] = {}
        # Where nothing could be concluded, the service is not asked.
        if any(one.due <= _now() for one in self._off_wire(wanted)):
            try:
                rows = await self._list([one.lost for one in wanted])
                known = await self._known(rows, {one.knower for one in wanted if one.knower})
            except WiroError as error:
                failure = error
            else:
                found = match_runs(
                    [one.lost for one in wanted],
                    rows,
                    is_known=lambda row: bool({row.id, row.token} & known),
                )
        now = _now()
        due = [one for one in wanted if one.due <= now]
        for one in due:
            one.due = now + self.settle_seconds / 2
        for one in self._off_wire(due):
            self._conclude(one, found.get(one.lost.key), failure)

    def _conclude(self, wanted: _Wanted, task: Task | None, failure: WiroError | None) -> None:
        wanted.readings += 1
        if failure is None:
            wanted.is_read = True
            name = None if task is None else task.id or task.token
            if task is not None and name == wanted.last:
                _settle(wanted, task)
            wanted.last = name
        if wanted.readings < _MOST_READINGS:
            return
        if failure is not None and not wanted.is_read:
            _fail(wanted, failure)
        _settle(wanted, None)

    def _off_wire(self, wanted: list[_Wanted]) -> list[_Wanted]:
        """Those that no Run on the wire is like."""
        on_wire = {kind_of(*run) for run in self._on_wire.values()}
        return [one for one in wanted if kind_of(one.lost.model, one.lost.params) not in on_wire]

    async def _list(self, lost: list[LostRun]) -> list[Task]:
        """Of the newest rows, back to the oldest of these Runs, those that can be their tasks.

        The others are not kept: a busy project lists thousands of tasks in that time.
        """
        oldest = oldest_of_interest(lost)
        is_candidate = may_be_of(lost)
        seen: set[str | None] = set()
        rows: list[Task] = []
        start = stale_pages = 0
        # One page with nothing new can be the last one, moved on by tasks that were made while it
        # was asked for again; two of them are a service that knows no pages.
        while start < _MOST_ROWS and stale_pages < _STALE_PAGES:
            page = await self.api.call(build_list(start=start, limit=_PAGE_ROWS), decode_tasks)
            start += len(page)
            fresh = {row.id or row.token: row for row in page if (row.id or row.token) not in seen}
            seen.update(fresh)
            rows += filter(is_candidate, fresh.values())
            times = [row.created_at.timestamp() for row in page if row.created_at is not None]
            stale_pages = 0 if fresh else stale_pages + 1
            if not page or any(_NO_TASK_BEFORE < one < oldest for one in times):
                break
        return rows

    async def _known(self, rows: list[Task], knowers: set[Knower]) -> set[str | None]:
        names = frozenset(name for row in rows for name in (row.id, row.token) if name)
        known: set[str | None] = {name for name in self._names if name in names}
        for knower in knowers:
            known |= await knower(names)
        return known


def _settle(wanted: _Wanted, task: Task | None) -> None:
    if not wanted.found.done():
        wanted.found.set_result(task)


def _fail(wanted: _Wanted, failure: Exception) -> None:
    if not wanted.found.done():
        # A copy: one instance raised to several waiters would collect their tracebacks.
        wanted.found.set_exception(copy.copy(failure))


def _now() -> float:
    return asyncio.get_running_loop().time()
