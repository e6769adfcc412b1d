"""How long do a model's tasks take? Learned from those that have ended, and those that have not.

Rules:

1. Durations count from Run to terminal, in seconds. What a client sees of an end is an interval:
   after the look that still showed it running, up to the look that showed it done. The record's
   own times narrow it (they are free information); its middle, in logarithms, is what counts.
2. The distribution is taken for a lognormal one, the field's usual first choice for service times,
   with a share of Pareto's tail mixed in: whoever has outlived all that was seen before belongs
   to something else, of which nothing is known but its age.
3. Tasks that still run are information too. At the start only the quickest have ended, and who
   took them for all would look far too often: a running task counts as "longer than its age"
   (the expectation step of a censored normal sample; Schmee and Hahn, "A simple method for
   regression analysis with censored data", Technometrics 21, 1979). That holds of the two together,
   so for as long all ends count alike: were only the latest of them counted, against two thousand
   that run, every model would pass for a slow one. Later, with many more ends than tasks that run,
   the ends are a fair sample by themselves. Those that run are not: the longer a task takes, the
   likelier it is found running.
4. Then old ends fade: each new one weighs a little more than the one before, so that a model which
   has become slower or faster is followed within about three hundred tasks, or about three times as
   many as run at once where that is more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import define, field, frozen

from wiro_async.task import Task

# After so many more ends one weighs half as much, or after half as many as run if that is more.
_HALF_LIFE = 60
_ENOUGH = 5
# With few ends and many that run the estimate moves slowly.
_ROUNDS = 40
_CLOSE = 2e-3
_SAMPLE = 40
# With more ends than so many for each task that runs, those that run are left out.
_EARLY = 2
# Narrower than this nobody's service is; wider, and it says nothing.
_LEAST_SPREAD = 0.03
_LARGEST_SPREAD = 2.0
_TAIL_SHARE = 0.01
_SHORTEST_SECONDS = 1e-3
# Of the difference of two times in whole seconds.
TOLD_RESOLUTION = 1.0


@frozen(kw_only=True)
class Durations:
    """A lognormal distribution of seconds with a heavy tail mixed in.

    Attributes:
        median_seconds: half of the tasks take longer.
        spread: the standard deviation of the durations' natural logarithm.
        tail_index: of a Pareto tail, whose hazard at an age is `tail_index` over that age.
    """

    median_seconds: float
    spread: float
    tail_index: float

    def hazard(self, age_seconds: float) -> float:
        """How likely a task of this age ends in the next second, for each second of waiting."""
        age = max(age_seconds, _SHORTEST_SECONDS)
        place = (math.log(age) - math.log(self.median_seconds)) / self.spread
        alive = math.erfc(place / math.sqrt(2)) / 2 * (1 - _TAIL_SHARE)
        ending = (math.exp(-place * place / 2) / (math.sqrt(2 * math.pi) * self.spread * age)) * (
            1 - _TAIL_SHARE
        )
        # The tail begins at the median: before it, whoever is of the tail does not end.
        if age <= self.median_seconds:
            return ending / (alive + _TAIL_SHARE)
        tail = _TAIL_SHARE * math.pow(self.median_seconds / age, self.tail_index)
        return (ending + tail * self.tail_index / age) / (alive + tail)


@define
class _Sums:
    """Weighted sums of numbers and of their squares."""

    weight: float = 0.0
    first: float = 0.0
    second: float = 0.0

    def add(self, number: float, square: float, weight: float) -> None:
        self.weight += weight
        self.first += number * weight
        self.second += square * weight

    def fade(self, share: float) -> None:
        """Let all of it weigh less by this factor."""
        self.weight *= share
        self.first *= share
        self.second *= share

    def moments(self) -> tuple[float, float]:
        """The mean and the standard deviation, which stays in its bounds."""
        mean = self.first / self.weight
        spread = math.sqrt(max(0.0, self.second / self.weight - mean * mean))
        return mean, min(max(spread, _LEAST_SPREAD), _LARGEST_SPREAD)


@define
class DurationLog:
    """What was seen of one model's tasks; knows no clock."""

    tail_index: float
    ended: int = 0
    """How many ends were seen in all."""
    _sums: _Sums = field(init=False, factory=_Sums)
    _fading: float = field(init=False, default=1.0)
    """By which factor an end weighs less than the next one."""

    def note(self, earliest_seconds: float, latest_seconds: float) -> None:
        """Take in that a task ended between these two ages."""
        low = max(earliest_seconds, latest_seconds / 2, _SHORTEST_SECONDS)
        high = max(latest_seconds, low)
        log = (math.log(low) + math.log(high)) / 2
        self._sums.fade(self._fading)
        self._sums.add(log, log * log, 1.0)
        self.ended += 1

    def fit(self, running_ages: Sequence[float], *, each: int = 1) -> Durations | None:
        """The distribution that explains what was seen best; None while too little was.

        Args:
            running_ages: how long the tasks that run now have run, in seconds; or some of them.
            each: how many tasks each of these ages stands for.
        """
        if self.ended < _ENOUGH:
            return None
        ended, running = self._sums, each * len(running_ages)
        mean, spread = ended.moments()
        is_early = self.ended <= _EARLY * running
        self._fading = 1.0 if is_early else 0.5 ** (1 / max(_HALF_LIFE, running / 2))
        ages = [math.log(max(age, _SHORTEST_SECONDS)) for age in running_ages if is_early]
        # Every so-manieth stands for its neighbours.
        stride = -(-len(ages) // _SAMPLE) or 1
        for _ in range(_ROUNDS if ages else 0):
            both = _Sums(ended.weight, ended.first, ended.second)
            for age in ages[::stride]:
                both.add(*_beyond(age, mean, spread), float(stride * each))
            before, (mean, spread) = mean, both.moments()
            if abs(mean - before) < _CLOSE:
                break
        return Durations(median_seconds=math.exp(mean), spread=spread, tail_index=self.tail_index)


def narrowed(
    earliest_seconds: float, latest_seconds: float, told_seconds: float | None, resolution: float
) -> tuple[float, float]:
    """The interval of an end, made narrower by what the record tells, as far as both agree.

    Args:
        earliest_seconds: the age at which it was still seen running.
        latest_seconds: the age at which it was seen done.
        told_seconds: the age at its end by the service's own times; None if they are missing.
        resolution: how far off those can be, in seconds.
    """
    if told_seconds is None:
        return earliest_seconds, latest_seconds
    low = max(earliest_seconds, told_seconds - resolution)
    high = min(latest_seconds, told_seconds + resolution)
    return (low, high) if low <= high else (earliest_seconds, latest_seconds)


def told_seconds(task: Task) -> float | None:
    """The age at its end by the service's own times, all by one clock; None if they are missing.

    They are whole seconds (wiro-api facts, "A task"), so it is off by as much as
    `TOLD_RESOLUTION`.
    """
    made, ended = task.created_at, task.postprocess_ended_at
    return None if made is None or ended is None else (ended - made).total_seconds()


def _beyond(age: float, mean: float, spread: float) -> tuple[float, float]:
    """Mean and mean square of a normal variable that is known to be larger than `age`."""
    place = min((age - mean) / spread, 8.0)
    alive = math.erfc(place / math.sqrt(2)) / 2
    ratio = math.exp(-place * place / 2) / math.sqrt(2 * math.pi) / alive
    expected = mean + spread * ratio
    variance = spread * spread * max(0.0, 1 + place * ratio - ratio * ratio)
    return expected, variance + expected * expected
