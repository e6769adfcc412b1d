"""A service that bears so many requests a second, and a session that wants more."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

from attrs import define

from wiro_async.protocol.limits import RequestPace

Take = Callable[[float], float]
"""Takes one request at this time: nought if it is borne, else the seconds until another may be."""


@define
class Figures:
    """What came of it, after the time that it was given to find the rate."""

    sent: int = 0
    limited: int = 0
    seconds: float = 0.0

    @property
    def limited_share(self) -> float:
        return self.limited / self.sent

    @property
    def rate_borne(self) -> float:
        return (self.sent - self.limited) / self.seconds


def press(
    pace: RequestPace,
    take: Take,
    *,
    asking: int,
    seconds: float,
    skip_seconds: float = 0.0,
    trip_seconds: float = 0.01,
    start: float = 0.0,
    says_when: bool = True,
) -> Figures:
    """Let so many requests be asked for at any time, each again when it is answered.

    As `Turns` does it: the first of the row goes when the pace lets it.
    """
    dice = random.Random(2).random  # noqa: S311 - the same draws each time
    figures = Figures(seconds=seconds - skip_seconds)
    # All that can happen: an answer (None for a good one, else for how long the service says to
    # wait) to a request. Beside that, so many wait in the row.
    answers: list[tuple[float, int, float | None]] = []
    pace.waiting = asking
    now, number, end = start, 0, start + seconds
    while now < end:
        while pace.waiting and pace.take(now):
            pace.waiting -= 1
            number += 1
            wait = take(now + trip_seconds / 2)
            if now >= start + skip_seconds:
                figures.sent += 1
                figures.limited += wait > 0
            says = None if wait == 0 else wait if says_when else 0.0
            heapq.heappush(answers, (now + trip_seconds, number, says))
        answered = answers[0][0] if answers else math.inf
        now = min(answered, pace.next_at(now) if pace.waiting else math.inf)
        while answers and answers[0][0] <= now:
            _, _, pause = heapq.heappop(answers)
            pace.waiting += 1
            if pause is None:
                pace.on_success()
            else:
                # RetryPolicy.pause_seconds of the first failure.
                pace.on_limited(now, max(pause, 0.5 * (1 - dice() / 2)))
    return figures
