"""When to look next.

A task's end is found by looking, and a look costs the service a request. The documentation
asks for 3 s at first, growing; of the official clients one takes 2 s, 5 s after a quarter of a
minute and 10 s after a minute, the others a constant 3 s (wiro-api facts, "Answers and
errors"). All of these look far too seldom at a model of 2 s and far too often at one of ten
minutes, and none of them knows which one it has before it.

**What is best, if the durations are known.** A look is worth what it saves: being told of an end
at once rather than later. What a person loses is the lag as a share of the task's own duration (a
second counts little after a minute), and what a look costs is, in the same coin, a share `price`.
Around an age t let the looks be g(t) apart. Of the tasks alive at t, S(t) in number, each pays
price/g for looks in a unit of time; those that end there, f(t) in number, are told g/2 too late
on average, which is g/2t of their durations. The sum of both, integrated, is least where

    g(t) = sqrt(2 price t / h(t)),        h = f/S, the hazard.

That looks should go with the root of the hazard is an old result (J. B. Keller, "Optimum checking
schedules for systems subject to random failure", Management Science 21, 1974); the t under
the root comes from counting the lag as a share. For lognormal durations with a sigma of 0.5 it is
as good as dynamic programming over the known distribution: `benchmarks/frontier.py` draws both.

**What is best if nothing is known.** A hazard of `a`/t, Pareto's, has no scale: the rule gives
g = t sqrt(2 price/a), a geometric schedule. So an unknown model is looked at geometrically, and so
is whatever outlives everything that was seen (`durations` mixes such a tail in): one formula.

**In between** the distribution is estimated as `durations` tells, anew as tasks end.

**The late ones.** That is best on average, and one in twenty pays for it: where few tasks end the
rule leaves wide gaps. So from where the first twentieth has ended, looks are never further apart
than about a quarter of the age (`LATEST`). It costs a few hundredths of the mean, and takes as much
from the largest lags.

Three bounds hold besides (`learning`). While few tasks are in flight a wait is never longer than
about a second: requests are not scarce then, and a lag of ten seconds would be felt. Fewer than
about thirty tasks of a known model are looked at up to four times as often as a crowd: of a batch
these are the last ones, for which all of it waits. And all tasks of a session share a ceiling of
looks a second: where it would be passed, `price` rises for all of them alike, so each is looked at
less often, and the likeliest to be done still first.

Each wait is stretched or shrunk at random by the share `jitter`, so that a thousand tasks which
were started together do not look together. The dice are the caller's: a number from 0 to 1.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate, pairwise

from attrs import frozen

from wiro_async.errors import ConfigurationError
from wiro_async.protocol.durations import Durations

# Of all prices this is the one at which five hundred tasks of an unknown model, lognormal with a
# sigma of 0.5 and a hundred in flight, take 7 looks each.
PRICE = 0.0165
# The largest g(t)/t, and from where on, in spreads below the median.
LATEST = 0.22
_LATEST_FROM = 1.6
# At the price above a hazard of this over the age makes looks so far apart.
TAIL_INDEX = 2 * PRICE / LATEST**2
# The table of phases: from a fiftieth of the median to a thousand times it.
_FIRST_SHARE = 0.02
_STEP = 1.1
_STEPS = 115
# Beyond any meaning, and small enough that no product of two of them is infinite.
_LARGEST = 1e100


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
            if not is_right or not value <= _LARGEST:
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
        if not 0 < factor <= _LARGEST:
            raise ConfigurationError(
                f"a poll schedule cannot be {factor} times as fast: above 0 and finite is meant"
            )
        return PollSchedule(
            first_seconds=self.first_seconds / factor,
            growth=self.growth,
            max_seconds=self.max_seconds / factor,
            jitter=self.jitter,
        )


@frozen(kw_only=True)
class LearnedSchedule:
    """The best looks for a model whose durations are known, as far as they are.

    The phase of an age is the number of looks that the rule spends up to it, the integral of
    1/g; the next look is where it has grown by one. It is tabulated once: a look then costs two
    searches in a table.
    """

    ages: tuple[float, ...]
    phases: tuple[float, ...]
    jitter: float = 0.1

    def wait_seconds(self, elapsed_seconds: float, dice: float, stretch: float = 1.0) -> float:
        """How long to wait before the next look, as `PollSchedule.wait_seconds`.

        Args:
            elapsed_seconds: the time since the task was started.
            dice: a random number from 0 to 1.
            stretch: how many looks of the rule one is to stand for: a price that is `stretch`
                squared as high.
        """
        step = stretch * (1 + self.jitter * (2 * dice - 1))
        phase = _read(self.ages, self.phases, elapsed_seconds)
        return _read(self.phases, self.ages, phase + step) - elapsed_seconds


def learned_schedule(durations: Durations, *, price: float = PRICE) -> LearnedSchedule:
    """The schedule that is best for these durations.

    Args:
        durations: what is known of the model.
        price: what a look costs, as a share of a task's duration.
    """
    first = durations.median_seconds * _FIRST_SHARE
    ages = [first * _STEP**step for step in range(_STEPS)]
    latest = LATEST * math.sqrt(price / PRICE)
    bounded_from = durations.median_seconds * math.exp(-_LATEST_FROM * durations.spread)

    def looks_a_second(age: float) -> float:
        best = math.sqrt(durations.hazard(age) / (2 * price * age))
        return best if age < bounded_from else max(best, 1 / (latest * age))

    looks = ((later - age) * looks_a_second(age) for age, later in pairwise(ages))
    return LearnedSchedule(ages=(*ages,), phases=(*accumulate(looks, initial=0.0),))


def _read(places: tuple[float, ...], values: tuple[float, ...], place: float) -> float:
    """The value at a place between those of the table; beyond its end, on along its last step."""
    after = min(max(bisect_right(places, place), 1), len(places) - 1)
    left, right = places[after - 1], places[after]
    low, high = values[after - 1], values[after]
    return low + (high - low) * (place - left) / (right - left)
