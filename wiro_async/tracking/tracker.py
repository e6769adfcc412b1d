"""One scheduler a session for all its tasks.

The tracker keeps the watches in a heap by the time of their next look, takes the ones that
are due (the longest due first, never faster than `max_looks_per_second`), and looks. There is
one waiting coroutine for all of them; only a look that is under way has a task of its own.

Rules:

1. Every watch is looked at until it is terminal or given up, whether or not anybody awaits
   it: its slot has to come back.
2. A look that fails is repeated later, with growing waits. The watch is given up after
   `RetryPolicy.max_failed_looks` in a row, or when the task's own time is over. The task itself
   goes on at the service: the error names it.
3. While the service answers nobody, looks wait and one at a time goes out as a probe
   (`protocol.outage`). When it answers again they follow at the usual rate. The watches are
   given up when that takes longer than `RetryPolicy.max_outage_seconds`.
4. A refused session (401, codes 98 and 99: "stop" in the wiro-api facts) ends every watch at
   once, each by name. Its tasks run on and can be watched again; one that is watched from
   then on is looked at as ever, since an address that was refused can be allowed meanwhile.
5. A 429 pauses the session. A wait that is longer than the session bears ends the watch that met
   it; for the others the service is asked again after the longest pause.
6. A task just made can be answered "not found" for a moment (wiro-api facts, "Status"): within
   its grace period that is a look like any other. After it a task that was never seen is not
   there, if the service itself says so: a page of something before it (a bare 404) is a look
   that failed, and so is "not found" for a task that was seen running.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Awaitable
from functools import partial

from attrs import define, field

from wiro_async.api import Api
from wiro_async.errors import (
    AuthenticationFailed,
    NotFound,
    RateLimited,
    WiroError,
)
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.requests import build_detail
from wiro_async.protocol.responses import Answer, decode_task
from wiro_async.task import Task
from wiro_async.tracking.endings import (
    closed_around,
    named,
    timeout_of,
    unanswered,
    unreachable,
)
from wiro_async.tracking.watch import Watch

# As many as `transport` has connections for: more would only wait there, and an outage that
# shows in timeouts would have each task's look under way before anybody knows of it.
_MOST_LOOKS = 64
# How far ahead of the strict pace looks may run: a beat of them is cheaper than a trickle.
_BURST_SECONDS = 0.1
# "For a moment", with room for a service under load.
_MISSING_GRACE_SECONDS = 30.0


@define(eq=False)
class Tracker:
    """The scheduler. Made with its session, on the session's event loop."""

    api: Api
    schedule: PollSchedule
    max_looks_per_second: float
    _heap: list[tuple[float, int, Watch]] = field(init=False, factory=list)
    _tickets: itertools.count[int] = field(init=False, factory=itertools.count)
    _wake: asyncio.Event = field(init=False, factory=asyncio.Event)
    _watches: set[Watch] = field(init=False, factory=set)
    _looks: set[asyncio.Task[None]] = field(init=False, factory=set)
    _scheduler: asyncio.Task[None] | None = field(init=False, default=None)
    _next_look_at: float = field(init=False, default=0.0)
    _is_closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.api.on_recovered = self._wake.set

    def watch(
        self,
        *,
        task_id: str | None,
        token: str | None,
        timeout_seconds: float | None = None,
        is_new: bool = True,
        is_sure: bool = False,
    ) -> Watch:
        """Begin to watch a task.

        Args:
            task_id: its id, where it is known.
            token: its token, where it is known.
            timeout_seconds: when to give up; None for never.
            is_new: whether it was made just now; one that is not is looked at at once.
            is_sure: whether there is such a task, even if the service does not show it yet; of a
                new one that is certain.
        """
        now = asyncio.get_running_loop().time()
        watch = Watch(
            started_at=now,
            task_id=task_id,
            token=token,
            deadline=None if timeout_seconds is None else now + timeout_seconds,
            missing_until=now + _MISSING_GRACE_SECONDS if is_new or is_sure else now,
        )
        if self._is_closed:  # a Run outlived the closing: its task has a name all the same
            watch.give_up(closed_around(watch))
            return watch
        self._watches.add(watch)
        watch.call_when_done(lambda: self._watches.discard(watch))
        first = now + self._first_wait() if is_new else now
        self._put(watch, first if watch.deadline is None else min(first, watch.deadline))
        if self._scheduler is None:
            self._scheduler = asyncio.create_task(self._run(), name="wiro_async tracker")
        return watch

    def look_now(self, watch: Watch) -> None:
        """Bring the next look forward: something said that the task may have moved."""
        if watch.is_looking:
            watch.wants_look = True
        elif not watch.is_done:
            self._put(watch, asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """End all looks; what is still watched is told so, by name."""
        self._is_closed = True
        running = [*self._looks, *([self._scheduler] if self._scheduler else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for watch in list(self._watches):
            watch.give_up(closed_around(watch))

    def _put(self, watch: Watch, due: float) -> None:
        watch.due_ticket = next(self._tickets)
        heapq.heappush(self._heap, (due, watch.due_ticket, watch))
        if self._heap[0][1] == watch.due_ticket:
            self._wake.set()

    def _first_wait(self) -> float:
        return self.schedule.wait_seconds(0.0, self.api.dice())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            next_at = self._start_due(loop.time())
            timer = None if next_at is None else loop.call_at(next_at, self._wake.set)
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def _start_due(self, now: float) -> float | None:
        """Start the looks that are due; when to come back, None for "when told"."""
        outage = self.api.patience.outage
        until = self._drop_hopeless(now) if outage.is_on else math.inf
        while self._heap and len(self._looks) < _MOST_LOOKS:
            due, ticket, watch = self._heap[0]
            if ticket != watch.due_ticket or watch.is_done:
                heapq.heappop(self._heap)  # moved to another time, or no longer of interest
                continue
            ready = max(due, self._next_look_at - _BURST_SECONDS, outage.next_look_at())
            if ready > now:
                until = min(until, ready)
                break
            heapq.heappop(self._heap)
            self._next_look_at = max(self._next_look_at, now) + 1 / self.max_looks_per_second
            self._start(watch)
        return None if until == math.inf else until

    def _start(self, watch: Watch) -> None:
        watch.due_ticket = None
        watch.is_looking = True
        look = asyncio.create_task(self._look(watch))
        self._looks.add(look)
        look.add_done_callback(partial(self._retire, watch, self.api.patience.outage.begin_look()))

    def _drop_hopeless(self, now: float) -> float:
        """In an outage no look goes out at a watch's end: end what is over; when the next is."""
        outage = self.api.patience.outage
        soonest = math.inf
        for watch in [watch for watch in self._watches if not watch.is_looking]:
            deadline = math.inf if watch.deadline is None else watch.deadline
            given_up = outage.patience_ends_at(watch.started_at)
            if now >= deadline:
                watch.give_up(timeout_of(watch, now))
            elif now >= given_up:
                watch.give_up(unanswered(watch, outage.seconds_so_far(now), outage.reason))
            else:
                soonest = min(soonest, deadline, given_up)
        return soonest

    def _retire(self, watch: Watch, probe: int | None, look: asyncio.Task[None]) -> None:
        self._looks.discard(look)
        now = asyncio.get_running_loop().time()
        self.api.patience.outage.end_look(probe, now, self.api.dice())
        # There is a place for a look again, and may be news of an outage.
        self._wake.set()
        if not look.cancelled() and (bug := look.exception()) is not None:
            # Nobody awaits a look: without this the watch would wait for ever, and say nothing.
            watch.give_up(unreachable(watch, f"{type(bug).__name__}: {bug}"))

    async def _look(self, watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        watch.looks += 1
        try:
            task = await self._ask(watch)
        except WiroError as error:
            wait = self._wait_after(watch, error, loop.time())
        else:
            watch.failures = 0
            watch.see(task, loop.time())
            wait = self._regular_wait(watch, loop.time())
        watch.is_looking = False
        if watch.is_done:
            return
        if watch.deadline is not None and loop.time() >= watch.deadline:
            watch.give_up(timeout_of(watch, loop.time()))
            return
        due = loop.time() + (0.0 if watch.wants_look else wait)
        watch.wants_look = False
        self._put(watch, due if watch.deadline is None else min(due, watch.deadline))

    def _regular_wait(self, watch: Watch, now: float) -> float:
        return self.schedule.wait_seconds(now - watch.started_at, self.api.dice())

    def _ask(self, watch: Watch) -> Awaitable[Task]:
        task_id, token = watch.task_id, watch.token

        def decode(answer: Answer, endpoint: str) -> Task:
            return decode_task(answer, endpoint, task_id=task_id, token=token)

        return self.api.attempt(build_detail(task_id=task_id, token=token), decode)

    def _wait_after(self, watch: Watch, error: WiroError, now: float) -> float:
        """What a failed look means: how long to wait for the next, if the watch goes on."""
        patience = self.api.patience
        is_missing = isinstance(error, NotFound) and bool(error.reason)
        if isinstance(error, NotFound) and now < watch.missing_until:
            return self._first_wait()
        if not patience.outage.is_on:
            watch.failures += 1
        if isinstance(error, AuthenticationFailed):
            self._give_all_up(error)
        elif is_missing and watch.task is None:
            watch.give_up(named(watch, error))
        elif isinstance(error, RateLimited):
            if patience.pause_after(error, watch.failures, now, self.api.dice()):
                return 0.0
            watch.give_up(unreachable(watch, error.message))
        elif watch.failures >= patience.policy.max_failed_looks:
            watch.give_up(unreachable(watch, error.message))
        regular = self._regular_wait(watch, now)
        return patience.look_after(error, watch.failures, regular, self.api.dice())

    def _give_all_up(self, error: AuthenticationFailed) -> None:
        """The session is refused: another look would be too."""
        for watch in list(self._watches):
            watch.give_up(named(watch, error))
        for look in self._looks - {asyncio.current_task()}:
            look.cancel()
