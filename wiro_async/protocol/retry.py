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
   person is told at once rather than left waiting. One that asks for none, or for one that is
   over, gets the wait of rule 3 all the same: a ``Retry-After: 0`` is no invitation to a storm.
5. Repeats are paid from a budget that the whole session shares (the manner of botocore's
   standard mode, and its numbers): 500 tokens, 5 for a repeat, 10 where the answer was lost and
   the service may do the same work twice, 1 back for each success. Unlike there a repeat that
   succeeds does not get its price back: a service that fails one request in six is at the edge
   of what it bears, however the repeats end.
6. A look at a task is never given up for want of a token, since the task is paid. With one it is
   repeated soon; without one it is taken again when it would have been anyway, and so costs
   nothing extra. What happens while nobody is answered is told by `protocol.outage`.
7. An output is paid as well, and asked for more patiently than what can be asked again later: for
   about a minute, so that a short disturbance of the CDN costs time alone.
"""

from __future__ import annotations

from attrs import define, field, frozen

from wiro_async.errors import (
    AddressRefused,
    ConfigurationError,
    OutcomeUnknown,
    RateLimited,
    RequestNotSent,
    ServerError,
    TransportError,
    WiroError,
)

_PRICE = 5
_LOST_PRICE = 10
_REFUND = 1
# Beyond any meaning.
_LARGEST = 1e100


@frozen(kw_only=True)
class RetryPolicy:
    """How often and how patiently a session repeats what may be repeated.

    Attributes:
        max_attempts: attempts of one request, the first included; also at an output that is
            not found (404).
        max_download_attempts: tries at one output in a row that bring nothing new of it.
        max_rate_limited: how many 429s in a row one request bears.
        max_failed_looks: looks at one task that may fail in a row, while the service answers
            others, before it is given up.
        max_outage_seconds: how long an outage, in which nobody is answered, may last before the
            tasks that are watched are given up. Looks that fail in it do not count above.
        base_seconds: the wait after the first failure.
        cap_seconds: the longest wait between two attempts.
        max_pause_seconds: the longest ``Retry-After`` that is obeyed.
        budget: tokens that repeats are paid from: 5 for one, 10 after an answer that was lost;
            each success gives 1 back.
    """

    max_attempts: int = 5
    max_download_attempts: int = 10
    max_rate_limited: int = 20
    max_failed_looks: int = 15
    max_outage_seconds: float = 600.0
    base_seconds: float = 0.5
    cap_seconds: float = 20.0
    max_pause_seconds: float = 120.0
    budget: int = 500

    def __attrs_post_init__(self) -> None:
        checks = {
            "max_attempts": 1,
            "max_download_attempts": 1,
            "max_rate_limited": 0,
            "max_failed_looks": 1,
            "max_outage_seconds": 0,
            "base_seconds": 0,
            "cap_seconds": 0,
            "max_pause_seconds": 0,
            "budget": 0,
        }
        for name, least in checks.items():
            value = getattr(self, name)
            if not least <= value <= _LARGEST:
                raise ConfigurationError(
                    f"{name} of a retry policy is {value}: it has to be {least} or more and finite"
                )

    def backoff_seconds(self, failures: int, dice: float) -> float:
        """The wait after the nth failure in a row (from 1), given a random number from 0 to 1."""
        doubled = self.base_seconds * 2.0 ** min(failures - 1, 60)
        return min(doubled, self.cap_seconds) * (1 - dice / 2)

    def pause_seconds(self, error: RateLimited, failures: int, dice: float) -> float | None:
        """How long the session pauses after a 429; None if that is more than it is ready to."""
        asked = error.retry_after_seconds or 0.0
        if asked > self.max_pause_seconds:
            return None
        return min(max(asked, self.backoff_seconds(failures, dice)), self.max_pause_seconds)

    def wait_seconds(self, error: WiroError, failures: int, dice: float) -> float:
        """The wait after the nth failure in a row, no shorter than a 503 asks for.

        RFC 9110, 10.2.3: ``Retry-After`` is for a 503 too. It speaks for that request alone, and
        is cut at `max_pause_seconds`: a failing service knows less of the end than it says.
        """
        asked = min(asked_seconds(error), self.max_pause_seconds)
        return max(asked, self.backoff_seconds(failures, dice))


@define
class RetryBudget:
    """The tokens that a session's repeats are paid from."""

    capacity: float
    tokens: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.capacity

    def take(self, error: WiroError) -> bool:
        """Pay for the repeat after this failure; False, with nothing paid, if that is too much."""
        price = _LOST_PRICE if isinstance(error, OutcomeUnknown) else _PRICE
        if self.tokens < price:
            return False
        self.tokens -= price
        return True

    def refund(self) -> None:
        """Give one back after a success."""
        self.tokens = min(self.capacity, self.tokens + _REFUND)


def asked_seconds(error: WiroError) -> float:
    """The wait that the service asked for with this failure; nought if it asked for none."""
    return error.retry_after_seconds or 0.0 if isinstance(error, RateLimited | ServerError) else 0.0


def may_repeat(error: WiroError, *, is_billable: bool) -> bool:
    """Whether the request that ended like this may be sent again without asking anybody."""
    if is_billable:
        return isinstance(error, RequestNotSent | RateLimited)
    return is_failure(error) or isinstance(error, RateLimited)


def is_failure(error: WiroError) -> bool:
    """Whether the way or the service failed, so that another time may end well."""
    if isinstance(error, AddressRefused):  # by this library, and the next time too
        return False
    return isinstance(error, TransportError | ServerError)
