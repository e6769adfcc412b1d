"""What a session has learned of the models that it runs, and the waits that follow from it.

For each model there are the durations seen (`durations`) and the schedule that was best for them
when it was last reckoned (`polling`). It is reckoned anew when a good share of what is known is
new: often at the beginning, seldom later, and again and again if the model's durations move.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from attrs import define, field, frozen

from wiro_async.protocol.durations import DurationLog
from wiro_async.protocol.polling import (
    TAIL_INDEX,
    LearnedSchedule,
    PollSchedule,
    learned_schedule,
)

# Of an unknown model: the looks are a quarter of the time gone apart.
_UNKNOWN = PollSchedule(first_seconds=0.4, growth=1.25, max_seconds=3600.0, jitter=0.1)
_FIRST_FIT = 5
_SHARE_OF_NEW = 0.1
_MOST_NEW = 32
# While requests are not scarce a person is not left waiting for longer than this.
_LONGEST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SHARE = 1 / 60
# For keeping to that so many looks a second are spent, with fifty tasks one for each; and of a
# ceiling that is near as large a share: nobody waits for longer than two rounds of all tasks.
_IMPATIENT_LOOKS_PER_SECOND = 50.0
_IMPATIENT_SHARE = 0.5
# Of fewer tasks than these each is looked at sooner than would be best for the crowd: up to four
# times as often, since who waits for a few waits for each of them, and a batch for its last ones.
_CROWD = 32
_MOST_HASTE = 0.25


@frozen(kw_only=True)
class Load:
    """What else is to be looked at.

    Attributes:
        stretch: by which factor looks have to be fewer than would be best.
        tasks: how many are watched.
        looks_per_second: the ceiling of looks, for all of them together.
    """

    stretch: float = 1.0
    tasks: int = 1
    looks_per_second: float = math.inf

    @property
    def haste(self) -> float:
        """By which factor looks are closer than in a crowd."""
        return max(_MOST_HASTE, min(1.0, math.sqrt(self.tasks / _CROWD)))

    def longest_wait(self, elapsed_seconds: float) -> float:
        """For how long a task of this age may go without a look."""
        impatient = min(_IMPATIENT_LOOKS_PER_SECOND, _IMPATIENT_SHARE * self.looks_per_second)
        return max(
            _LONGEST_WAIT_SECONDS, _LONGEST_WAIT_SHARE * elapsed_seconds, self.tasks / impatient
        )


ALONE = Load()


class Waits(Protocol):
    """When to look at the tasks of a session."""

    def wait_seconds(
        self, model: str | None, elapsed_seconds: float, dice: float, load: Load = ALONE
    ) -> float:
        """How long to wait before the next look at a task, whose model may not be known.

        Args:
            model: the slug.
            elapsed_seconds: the task's age.
            dice: a random number from 0 to 1.
            load: what else is to be looked at.
        """
        ...

    def wants_fit(self, model: str | None) -> bool:
        """Whether it is time to hand in the ages of this model's running tasks."""
        ...

    def fit(self, model: str | None, running_ages: Sequence[float], *, each: int = 1) -> None:
        """Reckon the schedule of a model anew.

        Args:
            model: the slug.
            running_ages: how many seconds old its running tasks are, or some of them.
            each: how many tasks each of these ages stands for.
        """
        ...

    def note(self, model: str | None, earliest_seconds: float, latest_seconds: float) -> None:
        """Take in that a task ended between these two ages."""
        ...


@define
class Told:
    """One schedule for everything, as somebody has asked for it; learns nothing."""

    schedule: PollSchedule

    def wait_seconds(
        self, model: str | None, elapsed_seconds: float, dice: float, load: Load = ALONE
    ) -> float:
        """As the schedule says, whatever the model."""
        del model
        return self.schedule.wait_seconds(elapsed_seconds, dice) * load.stretch

    def wants_fit(self, model: str | None) -> bool:
        """Never."""
        del model
        return False

    def fit(self, model: str | None, running_ages: Sequence[float], *, each: int = 1) -> None:
        """There is nothing to reckon."""

    def note(self, model: str | None, earliest_seconds: float, latest_seconds: float) -> None:
        """There is nothing to learn."""


@define
class _Model:
    log: DurationLog = field(factory=lambda: DurationLog(tail_index=TAIL_INDEX))
    schedule: LearnedSchedule | None = None
    fitted_at: int = 0


@define
class Learned:
    """A schedule for each model, learned from its tasks."""

    _models: dict[str | None, _Model] = field(init=False, factory=dict)

    def wait_seconds(
        self, model: str | None, elapsed_seconds: float, dice: float, load: Load = ALONE
    ) -> float:
        """What is best for the model as far as it is known, and never long."""
        known = self._models.get(model)
        if known is None or known.schedule is None:
            wait = _UNKNOWN.wait_seconds(elapsed_seconds, dice) * load.stretch
        else:
            wait = known.schedule.wait_seconds(elapsed_seconds, dice, load.stretch * load.haste)
        return min(wait, load.longest_wait(elapsed_seconds))

    def wants_fit(self, model: str | None) -> bool:
        """Whether a good share of what is known of the model is new."""
        known = self._models.get(model)
        if known is None or known.log.ended < _FIRST_FIT:
            return False
        new = known.log.ended - known.fitted_at
        return new >= min(max(1.0, _SHARE_OF_NEW * known.fitted_at), _MOST_NEW)

    def fit(self, model: str | None, running_ages: Sequence[float], *, each: int = 1) -> None:
        """Reckon the schedule of a model anew."""
        known = self._models[model]
        known.fitted_at = known.log.ended
        durations = known.log.fit(running_ages, each=each)
        known.schedule = None if durations is None else learned_schedule(durations)

    def note(self, model: str | None, earliest_seconds: float, latest_seconds: float) -> None:
        """Take in that a task ended between these two ages."""
        self._models.setdefault(model, _Model()).log.note(earliest_seconds, latest_seconds)
