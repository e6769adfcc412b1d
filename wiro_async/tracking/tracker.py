"""One scheduler a session for all its tasks.

The tracker keeps the watches in a heap by the time of their next look, takes the ones that
are due (the longest due first, never faster than `max_looks_per_second`), and looks. There is
one waiting coroutine for all of them; only a look that is under way has a task of its own.

Rules:

1. Every watch is looked at until it is terminal or given up, whether or not anybody awaits
   it: its slot has to come back.
2. A look that fails is repeated later, with growing waits. The watch is given up after
   `RetryPolicy.max_failed_looks` in a row, when the session is refused, or when the task's
   own time is over. The task itself goes on at the service: the error names it.
3. A task just made can be answered "not found" for a moment (wiro-api facts, "Status"): within
   its grace period that is a look like any other. After it a task that was never seen is not
   there; of one that was seen running, "not found" is a look that failed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable
from functools import partial

from attrs import define, field

from wiro_async.api import Api
from wiro_async.errors import (
    AuthenticationFailed,
    NotFound,
    RateLimited,
    SessionStateError,
    TaskTimeout,
    TaskUnreachable,
    WiroError,
)
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.requests import build_detail
from wiro_async.protocol.responses import Answer, decode_task
from wiro_async.task import Task
from wiro_async.tracking.watch import Watch

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
            watch.give_up(_closed_around(watch))
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
            watch.give_up(_closed_around(watch))

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
        while self._heap:
            due, ticket, watch = self._heap[0]
            if ticket != watch.due_ticket or watch.is_done:
                heapq.heappop(self._heap)  # moved to another time, or no longer of interest
                continue
            ready = max(due, self._next_look_at - _BURST_SECONDS)
            if ready > now:
                return ready
            heapq.heappop(self._heap)
            self._next_look_at = max(self._next_look_at, now) + 1 / self.max_looks_per_second
            watch.due_ticket = None
            watch.is_looking = True
            look = asyncio.create_task(self._look(watch))
            self._looks.add(look)
            look.add_done_callback(partial(self._retire, watch))
        return None

    def _retire(self, watch: Watch, look: asyncio.Task[None]) -> None:
        self._looks.discard(look)
        if not look.cancelled() and (bug := look.exception()) is not None:
            # Nobody awaits a look: without this the watch would wait for ever, and say nothing.
            watch.give_up(_unreachable(watch, f"{type(bug).__name__}: {bug}"))

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
            wait = self.schedule.wait_seconds(loop.time() - watch.started_at, self.api.dice())
        watch.is_looking = False
        if watch.is_done:
            return
        if watch.deadline is not None and loop.time() >= watch.deadline:
            watch.give_up(_timeout_of(watch, loop.time()))
            return
        due = loop.time() + (0.0 if watch.wants_look else wait)
        watch.wants_look = False
        self._put(watch, due if watch.deadline is None else min(due, watch.deadline))

    def _ask(self, watch: Watch) -> Awaitable[Task]:
        task_id, token = watch.task_id, watch.token

        def decode(answer: Answer, endpoint: str) -> Task:
            return decode_task(answer, endpoint, task_id=task_id, token=token)

        return self.api.attempt(build_detail(task_id=task_id, token=token), decode)

    def _wait_after(self, watch: Watch, error: WiroError, now: float) -> float:
        """What a failed look means: how long to wait for the next, if the watch goes on."""
        if isinstance(error, NotFound) and now < watch.missing_until:
            return self._first_wait()
        watch.failures += 1
        is_nowhere = isinstance(error, NotFound) and watch.task is None
        if is_nowhere or isinstance(error, AuthenticationFailed):
            watch.give_up(error)
        elif isinstance(error, RateLimited) and self.api.pause_after(error, watch.failures):
            return 0.0
        elif isinstance(error, RateLimited) or watch.failures >= self.api.policy.max_failed_looks:
            watch.give_up(_unreachable(watch, error.message))
        return self.api.policy.backoff_seconds(watch.failures, self.api.dice())


def _closed_around(watch: Watch) -> SessionStateError:
    return SessionStateError(
        f"the session was closed while {watch.describe()} was running; it goes on at "
        "the service, and session.task(task_id=...) of another session finds it again"
    )


def _unreachable(watch: Watch, reason: str) -> TaskUnreachable:
    return TaskUnreachable(
        f"{watch.describe()}: its state could not be read, {watch.failures} times in a row; it may "
        f"go on at the service. The last failure: {reason}",
        task_id=watch.task_id,
        token=watch.token,
        task=watch.task,
    )


def _timeout_of(watch: Watch, now: float) -> TaskTimeout:
    return TaskTimeout(
        f"{watch.describe()}: not finished after {now - watch.started_at:.0f} s. It goes on at the "
        "service and can be billed; session.task(task_id=...) watches it again",
        task_id=watch.task_id,
        token=watch.token,
        task=watch.task,
    )
