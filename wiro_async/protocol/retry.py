"""What to do about a failed attempt: try again, and when, or give up.

Rules:

1. What a request costs decides what may be repeated. A Run is repeated only where it is
   certain that no task was made: it never reached the wire (`RequestNotSent`), or the service
   said so (`RateLimited`). An unknown outcome is final: repeating it could pay twice.
2. Everything else is a read, or a stop that does no harm twice, and is repeated after any
   failure of the way or of the service. A refusal is an answer, not a failure.
3. Waits double from `base_seconds` to `cap_seconds`, each shortened at random by up to half,
   so that clients that failed together do not come back together.
4. A service that asks for a wait gets it, up to `max_pause_seconds`; if it asks for more, the
   person is told at once rather than left waiting.
5. Repeats are paid from a budget that the whole session shares: each takes one token, each
   success gives back a tenth. So an outage costs a fixed number of extra requests, not tasks
   times attempts (the manner of botocore's standard mode). Pauses that the service asked for
   cost nothing, and so do looks at a task, which are repeated by their nature.
"""

from __future__ import annotations

from attrs import define, field, frozen

from wiro_async.errors import RateLimited, RequestNotSent, ServerError, TransportError, WiroError


@frozen(kw_only=True)
class RetryPolicy:
    """How often and how patiently a session repeats what may be repeated.

    Attributes:
        max_attempts: attempts of one request, the first included.
        max_rate_limited: how many 429s in a row one request bears.
        max_failed_looks: looks at one task that may fail in a row before it is given up. With
            the waits between them this outlasts an outage of some minutes: the task is paid.
        base_seconds: the wait after the first failure.
        cap_seconds: the longest wait between two attempts.
        max_pause_seconds: the longest ``Retry-After`` that is obeyed.
        budget: repeats that a session may have outstanding, net of a tenth of its successes.
    """

    max_attempts: int = 5
    max_rate_limited: int = 20
    max_failed_looks: int = 15
    base_seconds: float = 0.5
    cap_seconds: float = 20.0
    max_pause_seconds: float = 120.0
    budget: int = 500

    def backoff_seconds(self, failures: int, dice: float) -> float:
        """The wait after the nth failure in a row (from 1), given a random number from 0 to 1."""
        doubled = self.base_seconds * 2.0 ** min(failures - 1, 60)
        return min(doubled, self.cap_seconds) * (1 - dice / 2)

    def pause_seconds(self, error: RateLimited, failures: int, dice: float) -> float | None:
        """How long the session pauses after a 429; None if that is more than it is ready to."""
        asked = error.retry_after_seconds
        if asked is None:
            return self.backoff_seconds(failures, dice)
        return asked if asked <= self.max_pause_seconds else None


@define
class RetryBudget:
    """The tokens that a session's repeats are paid from."""

    capacity: float
    tokens: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.capacity

    def take(self) -> bool:
        """Pay for one repeat; False if there is nothing left."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def refund(self) -> None:
        """Give back a tenth after a success."""
        # Rounded: ten tenths have to make a whole.
        self.tokens = min(self.capacity, round(self.tokens + 0.1, 6))


def may_repeat(error: WiroError, *, is_billable: bool) -> bool:
    """Whether the request that ended like this may be sent again without asking anybody."""
    if is_billable:
        return isinstance(error, RequestNotSent | RateLimited)
    return isinstance(error, TransportError | ServerError | RateLimited)
