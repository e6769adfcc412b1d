"""When to look next.

A task's end is found by looking, and a look costs the service a request. The documentation
asks for 3 s at first, growing; of the official clients one takes 2 s, 5 s after a quarter of a
minute and 10 s after a minute, the others a constant 3 s (wiro-api facts, "Answers and
errors"). Of all schedules that need a number of looks proportional to the logarithm of the
duration, the one that waits a constant share of the time already gone is the simplest: with a
growth of 1.25 nobody learns of an end later than a quarter of the task's own duration.

So the wait before the next look is ``(growth - 1) * elapsed``, but no shorter than the first
wait (the service asks for it) and no longer than `max_seconds`. Each wait is stretched or
shrunk by up to the share `jitter`, so that a thousand tasks started together do not look
together. The dice are the caller's: a number from 0 to 1 is handed in.
"""

from __future__ import annotations

import math

from attrs import frozen

from wiro_async.errors import ConfigurationError


@frozen(kw_only=True)
class PollSchedule:
    """How a task's looks are spread over time. All waits are in seconds.

    Attributes:
        first_seconds: from the start of the task to the first look, and the shortest wait.
        growth: how much later, as a factor of the time since the start, the next look is.
        max_seconds: the longest wait between two looks.
        jitter: the share by which a wait may be longer or shorter, from 0 to less than 1.
    """

    first_seconds: float = 3.0
    growth: float = 1.25
    max_seconds: float = 10.0
    jitter: float = 0.2

    def __attrs_post_init__(self) -> None:
        checks = {
            "first_seconds": (self.first_seconds > 0, "above 0"),
            "growth": (self.growth >= 1, "1 or more"),
            "max_seconds": (self.max_seconds >= self.first_seconds, "first_seconds or more"),
            "jitter": (0 <= self.jitter < 1, "from 0 to less than 1"),
        }
        for name, (is_right, allowed) in checks.items():
            value = getattr(self, name)
            if not is_right or not math.isfinite(value):
                raise ConfigurationError(
                    f"{name} of a poll schedule is {value}: it has to be {allowed} and finite"
                )

    def wait_seconds(self, elapsed_seconds: float, dice: float) -> float:
        """How long to wait before the next look.

        Args:
            elapsed_seconds: the time since the task was started.
            dice: a random number from 0 to 1.
        """
        steady = max(self.first_seconds, (self.growth - 1) * elapsed_seconds)
        return min(steady, self.max_seconds) * (1 + self.jitter * (2 * dice - 1))

    def faster(self, factor: float) -> PollSchedule:
        """The same schedule for a service that runs `factor` times as fast."""
        if not 0 < factor < math.inf:
            raise ConfigurationError(
                f"a poll schedule cannot be {factor} times as fast: above 0 and finite is meant"
            )
        return PollSchedule(
            first_seconds=self.first_seconds / factor,
            growth=self.growth,
            max_seconds=self.max_seconds / factor,
            jitter=self.jitter,
        )
