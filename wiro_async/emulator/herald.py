"""Who tells when a task moves: one scheduler for everybody who wants to know.

The world stands still between calls, so somebody has to call at the right moment: the herald
keeps the next moment of each followed task in a heap, sleeps until the first, and lets the task's
followers know. Moments are the beginnings of the stages, some points on the way through
`task_output` (a model's progress), and the end. A task that is late, because its picture is not
drawn, is asked again after a short while; a task that was stopped is nudged.
"""

import asyncio
import heapq
import itertools
from bisect import bisect_right
from collections.abc import Callable
from typing import Protocol

import attrs

from wiro_async.emulator.books import BookedTask
from wiro_async.emulator.timeline import OUTPUT, STAGES, begins_at, status_at
from wiro_async.emulator.world import World

_PROGRESS_POINTS = 4
_LATE_SECONDS = 0.02  # real ones


def _moments() -> tuple[float, ...]:
    begins = [share for _, share in STAGES]
    output = begins_at(OUTPUT)
    until = next(share for share in begins if share > output)
    step = (until - output) / _PROGRESS_POINTS
    points = [output + step * number for number in range(1, _PROGRESS_POINTS)]
    return (*sorted([*begins, *points]),)


MOMENTS = _moments()
"""Shares of a task's duration at which there is something to tell, in order."""


class Follower(Protocol):
    """Who wants to know of a task."""

    def hear(self, task: BookedTask, status: str, share: float) -> None:
        """Be told that a task came to this status, so far through its duration."""
        ...


@attrs.define(eq=False)
class _Followed:
    told: int
    """The moments that are behind it."""
    followers: list[Follower] = attrs.field(factory=list)
    ticket: int = 0


@attrs.define(eq=False)
class Herald:
    """The scheduler of one emulator; made on its event loop, and run in a task of its own."""

    world: World
    now: Callable[[], float]
    """Service seconds."""
    speed: float
    _followed: dict[str, _Followed] = attrs.field(init=False, factory=dict)
    _heap: list[tuple[float, int, str]] = attrs.field(init=False, factory=list)
    _tickets: "itertools.count[int]" = attrs.field(init=False, factory=itertools.count)
    _wake: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)

    def follow(self, task: BookedTask, follower: Follower) -> None:
        """Tell the follower of everything that happens to a task from now on.

        Nothing is told of what has happened before, also not that it has ended.
        """
        if task.terminal:
            return
        now = self.now()
        if task.id not in self._followed:
            self._followed[task.id] = _Followed(_passed(task, now))
        self._followed[task.id].followers.append(follower)
        self._put(task, now)

    def forget(self, follower: Follower) -> None:
        """Tell a follower nothing more."""
        for task_id, followed in list(self._followed.items()):
            if follower in followed.followers:
                followed.followers.remove(follower)
            if not followed.followers:
                del self._followed[task_id]

    def nudge(self, task_id: str) -> None:
        """Look at a task now: something was done to it."""
        if task_id in self._followed:
            self._look(task_id)

    async def run(self) -> None:
        """Tell, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            while self._heap and self._heap[0][0] <= self.now():
                _, ticket, task_id = heapq.heappop(self._heap)
                followed = self._followed.get(task_id)
                if followed is not None and followed.ticket == ticket:
                    self._look(task_id)
            timer = None
            if self._heap:
                wait = max(0.0, self._heap[0][0] - self.now()) / self.speed
                timer = loop.call_later(wait, self._wake.set)
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def _look(self, task_id: str) -> None:
        now = self.now()
        task = self.world.find(now, task_id=task_id)
        assert task is not None  # noqa: S101 - it was made before it was followed
        followed = self._followed[task_id]
        # Each of them, also if this comes late: no status is left out.
        passed = _passed(task, now if task.ended is None else task.ended)
        steps = [(status_at(share), share) for share in MOMENTS[followed.told : passed]]
        followed.told = passed
        if task.terminal:
            del self._followed[task_id]
            steps.append((task.status, 1.0))
        else:
            self._put(task, now)
        for status, share in steps:
            for follower in tuple(followed.followers):
                follower.hear(task, status, share)

    def _put(self, task: BookedTask, now: float) -> None:
        followed = self._followed[task.id]
        followed.ticket = next(self._tickets)
        heapq.heappush(self._heap, (self._next_moment(task, now), followed.ticket, task.id))
        self._wake.set()

    def _next_moment(self, task: BookedTask, now: float) -> float:
        place = _passed(task, now)
        if place < len(MOMENTS):
            moment = task.created + MOMENTS[place] * task.duration
            return moment if now >= task.due else min(moment, task.due)
        return task.due if task.due > now else now + _LATE_SECONDS * self.speed


def _passed(task: BookedTask, now: float) -> int:
    """How many moments of a task are behind it."""
    return bisect_right(MOMENTS, (now - task.created) / task.duration)
