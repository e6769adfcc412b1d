"""What a session bears of a service, and when it goes on: shared by all its requests.

Whatever a request ends with is told here first: a success, an answer of another kind, or a
failure. From that follow the pace (`protocol.limits`), the budget (`protocol.retry`) and the
outage (`protocol.outage`), and from these what may be repeated, and when.
"""

from __future__ import annotations

from attrs import define, field

from wiro_async.errors import ApiError, RateLimited, WiroError
from wiro_async.protocol.limits import RequestPace
from wiro_async.protocol.outage import Outage
from wiro_async.protocol.retry import (
    RetryBudget,
    RetryPolicy,
    asked_seconds,
    is_failure,
    may_repeat,
)


@define
class Patience:
    """Knows no clock and has no dice: `now` and a number from 0 to 1 are handed in."""

    policy: RetryPolicy
    pace: RequestPace = field(factory=RequestPace)
    outage: Outage = field(init=False)
    budget: RetryBudget = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.outage = Outage(self.policy)
        self.budget = RetryBudget(self.policy.budget)

    def on_success(self) -> bool:
        """A request was answered in the regular way; whether that ended an outage."""
        self.pace.on_success()
        self.budget.refund()
        return self.outage.on_answered()

    def on_error(self, error: WiroError, now: float, dice: float) -> bool:
        """A request ended like this; whether that ended an outage."""
        if is_failure(error):
            self.outage.on_failed(error.message, now, dice, asked_seconds(error))
            return False
        return isinstance(error, ApiError) and self.outage.on_answered()

    def pause_after(self, error: RateLimited, failures: int, now: float, dice: float) -> bool:
        """Let the whole session pause after a 429; False if who met it is to give up.

        If more was asked than the session bears, it is borne as far as that for the others: one
        request, not each of them, finds out whether the service still means it.
        """
        pause = self.policy.pause_seconds(error, failures, dice)
        self.pace.on_limited(now, self.policy.max_pause_seconds if pause is None else pause)
        return pause is not None and failures < self.policy.max_rate_limited

    def repeat_after(
        self, error: WiroError, failures: int, now: float, dice: float, *, is_billable: bool
    ) -> float | None:
        """How long to wait before a request is sent again; None to give up.

        A 429 makes it wait with the whole session, and not here.
        """
        if not may_repeat(error, is_billable=is_billable):
            return None
        if isinstance(error, RateLimited):
            return 0.0 if self.pause_after(error, failures, now, dice) else None
        if failures >= self.policy.max_attempts or not self.budget.take(error):
            return None
        return self.policy.wait_seconds(error, failures, dice)

    def look_after(self, error: WiroError, failures: int, regular: float, dice: float) -> float:
        """How long to wait after a look that failed.

        Args:
            error: what it failed with.
            failures: looks at this task that failed in a row, while others were answered.
            regular: the wait if it had not failed.
            dice: a random number from 0 to 1.
        """
        if self.outage.is_on:
            return 0.0  # it waits with all others, and behind those that are due for longer
        wait = self.policy.wait_seconds(error, failures, dice)
        return wait if self.budget.take(error) else max(wait, regular)
