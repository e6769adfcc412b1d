"""One scheduler a session for all its tasks.

The tracker keeps the watches in an agenda by the time of their next look, takes the ones that
are due (the longest due first, never faster than `max_looks_per_second`), and looks. There is
one timer for all of them; only a look that is under way has an asyncio task.

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
7. Hints never decide: whoever hears of a task otherwise (a list of tasks, a socket, a callback)
   can bring its look forward (`look_now`) or put it off (`vouch`), and Task/Detail says how it
   stands.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from functools import partial

from attrs import define, field

from wiro_async.api import Api
from wiro_async.errors import (
    AuthenticationFailed,
    NotFound,
    RateLimited,
    WiroError,
)
from wiro_async.protocol.learning import Load, Waits
from wiro_async.protocol.requests import build_detail
from wiro_async.protocol.responses import Answer, decode_task
from wiro_async.task import Task
from wiro_async.tracking.agenda import Agenda
from wiro_async.tracking.ceiling import Ceiling
from wiro_async.tracking.endings import (
    closed_around,
    named,
    timeout_of,
    unanswered,
    unreachable,
)
from wiro_async.tracking.lessons import learn
from wiro_async.tracking.watch import Watch

# "For a moment", with room for a service under load.
_MISSING_GRACE_SECONDS = 30.0


@define(eq=False)
class Tracker:
    """The scheduler. Made with its session, on the session's event loop.

    Attributes:
        waits: when to look.
        on_watch: called with each watch that begins.
        on_look: called with the watch after each look that brought a record.
    """

    api: Api
    waits: Waits
    max_looks_per_second: float
    on_watch: list[Callable[[Watch], None]] = field(init=False, factory=list)
    on_look: list[Callable[[Watch], None]] = field(init=False, factory=list)
    _agenda: Agenda = field(init=False, factory=Agenda)
    _ceiling: Ceiling = field(init=False)
    _watches: set[Watch] = field(init=False, factory=set)
    _looks: set[asyncio.Task[None]] = field(init=False, factory=set)
    # A look is the session's own: it keeps nothing alive of whoever has started the task.
    _context: contextvars.Context = field(init=False, factory=contextvars.copy_context)
    _alarm: asyncio.TimerHandle | None = field(init=False, default=None)
    _alarm_at: float = field(init=False, default=math.inf)
    _is_closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._ceiling = Ceiling(self.max_looks_per_second, self.api.patience.pace)
        self.api.on_recovered = self._wake_now

    @property
    def watches(self) -> AbstractSet[Watch]:
        """All that is watched now; it changes with every await."""
        return self._watches

    def watch(
        self,
        *,
        task_id: str | None,
        token: str | None,
        model: str | None = None,
        timeout_seconds: float | None = None,
        is_new: bool = True,
        is_sure: bool = False,
    ) -> Watch:
        """Begin to watch a task.

        Args:
            task_id: its id, where it is known.
            token: its token, where it is known.
            model: the slug that it was made with, where that is known.
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
            model=model,
            is_new=is_new,
            deadline=None if timeout_seconds is None else now + timeout_seconds,
            missing_until=now + _MISSING_GRACE_SECONDS if is_new or is_sure else now,
        )
        if self._is_closed:  # a Run outlived the closing: its task has a name all the same
            watch.give_up(closed_around(watch))
            return watch
        self._watches.add(watch)
        watch.call_when_done(self._forget)
        self._put(watch, now, *(self._regular_wait(watch, now) if is_new else (0.0, 0.0)))
        for listener in self.on_watch:
            listener(watch)
        return watch

    def look_now(self, watch: Watch) -> None:
        """Bring the next look forward: something said that the task may have moved."""
        if watch.is_done:
            return
        watch.wants_look = True
        if not watch.is_looking:
            self._put(watch, asyncio.get_running_loop().time(), 0.0)

    def vouch(self, watch: Watch, seconds: float) -> None:
        """Put the next look off: somebody says that the task runs, and will speak up again.

        A look that is under way goes on, and so does one that was asked for by `look_now`.

        Args:
            watch: the task that was spoken of; of others nothing was said.
            seconds: for how long from now no look is needed, unless it was due later anyway.
        """
        now = asyncio.get_running_loop().time()
        watch.vouched_until = max(watch.vouched_until, now + seconds)
        watch.seen_running_at = now

    def reserve_look(self, now: float) -> float:
        """Take a place under the ceiling for a request that stands for looks: a page of the list.

        Returns:
            How many seconds to wait before it goes out.
        """
        wait = max(0.0, self._ceiling.free_at() - now)
        self._ceiling.reserve(now)
        return wait

    async def aclose(self) -> None:
        """End all looks; what is still watched is told so, by name."""
        self._is_closed = True
        looks = [*self._looks]
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        if self._alarm is not None:
            self._alarm.cancel()
        for watch in list(self._watches):
            watch.give_up(closed_around(watch))

    def _most_looks(self) -> int:
        """How many may be under way: as many as there are connections for.

        More would only wait there, and an outage that shows in timeouts would have each task's
        look under way before anybody knows of it.
        """
        return self.api.transport.connections

    def _forget(self, watch: Watch) -> None:
        self._watches.discard(watch)
        self._agenda.drop(watch)

    def _put(self, watch: Watch, now: float, wait: float, stretch: float = 0.0) -> None:
        self._set_alarm(self._agenda.put(watch, now, wait, stretch=stretch))

    def _wake_now(self) -> None:
        self._set_alarm(asyncio.get_running_loop().time())

    def _set_alarm(self, at: float) -> None:
        if at >= self._alarm_at or self._is_closed:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_at(at, self._wake, context=self._context)

    def _wake(self) -> None:
        # A timer may go off a hair before its time.
        now = max(asyncio.get_running_loop().time(), self._alarm_at)
        self._alarm, self._alarm_at = None, math.inf
        next_at = self._start_due(now)
        if next_at < math.inf:
            self._set_alarm(next_at)

    def _start_due(self, now: float) -> float:
        """Start the looks that are due; when to come back, infinity for "when told"."""
        outage = self.api.patience.outage
        until = self._drop_hopeless(now) if outage.is_on else math.inf
        while len(self._looks) < self._most_looks():
            due = self._agenda.next_due(now)
            ready = max(due, self._ceiling.free_at(), outage.next_look_at())
            if ready > now:
                return min(until, ready)
            self._ceiling.reserve(now)
            self._start(self._agenda.take())
        return until

    def _start(self, watch: Watch) -> None:
        watch.is_looking = True
        watch.wants_look = False
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
        outage, now = self.api.patience.outage, asyncio.get_running_loop().time()
        outage.end_look(probe, now, self.api.dice())
        is_eased = self._agenda.ease(now, self._ceiling.rate)
        if is_eased or len(self._looks) >= self._most_looks() or outage.is_on or probe is not None:
            self._set_alarm(now)  # there is a place for a look again, or news of the outage
        self._looks.discard(look)
        if not look.cancelled() and (bug := look.exception()) is not None:
            # Nobody awaits a look: without this the watch would wait for ever, and say nothing.
            watch.give_up(unreachable(watch, f"{type(bug).__name__}: {bug}"))

    async def _look(self, watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        watch.looks += 1
        asked_at = loop.time()
        try:
            task = await self._ask(watch)
        except WiroError as error:
            wait, stretch = self._wait_after(watch, error, loop.time()), 0.0
        else:
            watch.failures = 0
            watch.see(task, loop.time())
            learn(self.waits, watch, asked_at, loop.time(), self._watches)
            for listener in self.on_look:
                listener(watch)
            wait, stretch = self._regular_wait(watch, asked_at)
            # From look to look, not from answer to look; never at once, if answers are slow.
            wait = max(wait / 2, wait - (loop.time() - asked_at))
        watch.is_looking = False
        if watch.is_done:
            return
        if watch.deadline is not None and loop.time() >= watch.deadline:
            watch.give_up(timeout_of(watch, loop.time()))
            return
        if watch.wants_look:
            self._put(watch, loop.time(), 0.0)
        else:
            self._put(watch, loop.time(), wait, stretch)

    def _regular_wait(self, watch: Watch, now: float) -> tuple[float, float]:
        """The wait that is best now, and by which factor it is longer than it would like to be."""
        rate = self._ceiling.rate
        stretch = self._agenda.stretch(rate)
        # How old one is that was not made here is not known: what its model takes is no guide.
        model = watch.model if watch.is_new else None
        age = now - watch.started_at
        load = Load(stretch=stretch, tasks=len(self._watches), looks_per_second=rate)
        return self.waits.wait_seconds(model, age, self.api.dice(), load), stretch

    def _ask(self, watch: Watch) -> Awaitable[Task]:
        task_id, token = watch.task_id, watch.token

        def decode(answer: Answer, endpoint: str) -> Task:
            # While a task runs, most looks bring what the last one brought.
            digest = hash(answer.body)
            if watch.task is None or digest != watch.digest:
                task = decode_task(answer, endpoint, task_id=task_id, token=token)
                watch.digest = digest
                return task
            return watch.task

        return self.api.attempt(build_detail(task_id=task_id, token=token), decode)

    def _wait_after(self, watch: Watch, error: WiroError, now: float) -> float:
        """What a failed look means: how long to wait for the next, if the watch goes on."""
        patience = self.api.patience
        is_missing = isinstance(error, NotFound) and bool(error.reason)
        if isinstance(error, NotFound) and now < watch.missing_until:
            return self.waits.wait_seconds(None, 0.0, self.api.dice())
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
        regular, _ = self._regular_wait(watch, now)
        return patience.look_after(error, watch.failures, regular, self.api.dice())

    def _give_all_up(self, error: AuthenticationFailed) -> None:
        """The session is refused: another look would be too."""
        for watch in list(self._watches):
            watch.give_up(named(watch, error))
        for look in self._looks - {asyncio.current_task()}:
            look.cancel()
