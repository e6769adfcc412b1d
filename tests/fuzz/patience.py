"""Targets: what a session bears of a service, driven by whatever requests end with."""

from __future__ import annotations

from attrs import define

from tests.fuzz.answers import noise
from tests.fuzz.draws import Draw
from tests.fuzz.laws import Target, require
from tests.fuzz.outages import (
    A_POLICY,
    ASKED,
    LATER,
    NOTHING,
    ROWS,
    draw_dice,
    draw_policy,
    shortest_and_longest,
)
from tests.test_errors import TREE
from wiro_async.errors import (
    AddressRefused,
    ApiError,
    OutcomeUnknown,
    RateLimited,
    RequestNotSent,
    ServerError,
    TransportError,
    WiroError,
)
from wiro_async.protocol.patience import Patience
from wiro_async.protocol.retry import RetryPolicy


@define
class _Patient:
    """A patience that is driven, and beside it what its rules say."""

    patience: Patience
    now: float = 1_000.0

    @property
    def policy(self) -> RetryPolicy:
        return self.patience.policy

    @property
    def longest(self) -> float:
        """What nobody waits longer than."""
        return max(self.policy.cap_seconds, self.policy.max_pause_seconds) + NOTHING

    def succeed(self) -> None:
        was_on, tokens = self.patience.outage.is_on, self.patience.budget.tokens
        require(self.patience.on_success() == was_on, "a success ends what there is not")
        require(not self.patience.outage.is_on, "an outage outlasts a success")
        most = self.patience.budget.capacity
        require(self.patience.budget.tokens == min(tokens + 1, most), "it gives no token back")

    def fail(self, error: WiroError, dice: float) -> None:
        was_on = self.patience.outage.is_on
        ended = self.patience.on_error(error, self.now, dice)
        is_answer = isinstance(error, ApiError) and not isinstance(error, ServerError)
        require(ended == (was_on and is_answer), f"{error.kind} ends an outage: {ended}")
        is_on = self.patience.outage.is_on
        require(not (is_answer and is_on), f"an outage outlasts {error.kind}")
        require(is_on or not was_on or is_answer, f"{error.kind} ends an outage, and tells nobody")
        if not is_answer and not _is_failure(error):
            require(is_on == was_on, f"{error.kind} begins an outage")

    def repeat(self, error: WiroError, failures: int, dice: float, *, is_billable: bool) -> None:
        tokens, paced_until = self.patience.budget.tokens, self.patience.pace.next_at(self.now)
        wait = self.patience.repeat_after(error, failures, self.now, dice, is_billable=is_billable)
        paid = tokens - self.patience.budget.tokens
        if isinstance(error, RateLimited):
            require(wait in {None, 0.0} and paid == 0, "a 429 waits here, or pays")
            require(wait is None or failures < self.policy.max_rate_limited, "it bears too many")
            self._see_pause(error, paced_until)
            return
        if wait is None:
            require(paid == 0, "it pays, and gives up")
            return
        require(0 <= wait <= self.longest, f"a wait of {wait}")
        require(not is_billable or isinstance(error, RequestNotSent), "it may pay twice")
        require(_is_failure(error), f"{error.kind} is repeated")
        require(failures < self.policy.max_attempts, "it is tried too often")
        self._see_payment(error, paid)

    def look(self, error: WiroError, failures: int, regular: float, dice: float) -> None:
        tokens, is_on = self.patience.budget.tokens, self.patience.outage.is_on
        wait = self.patience.look_after(error, failures, regular, dice)
        paid = tokens - self.patience.budget.tokens
        if is_on:
            require((wait, paid) == (0, 0), "a look pays, or is late, for an outage")
            return
        require(0 <= wait <= max(regular, self.longest), f"a wait of {wait}")
        shortest, _ = shortest_and_longest(self.policy, failures)
        require(wait >= shortest - NOTHING, f"a wait of {wait}")
        if paid:
            self._see_payment(error, paid)
        require(paid > 0 or wait >= regular, "a look comes sooner, and pays nothing")

    def _see_pause(self, error: RateLimited, paced_until: float) -> None:
        until = self.patience.pace.next_at(self.now)
        most = self.policy.max_pause_seconds
        asked = min(error.retry_after_seconds or 0.0, most)
        require(until >= self.now + asked - NOTHING, f"a pause of {until - self.now}")
        require(until >= paced_until, "a pause is cut short")
        require(until <= max(paced_until, self.now + most), f"a pause of {until - self.now}")

    def _see_payment(self, error: WiroError, paid: float) -> None:
        price = 10 if isinstance(error, OutcomeUnknown) else 5
        require(paid == price, f"a repeat after {error.kind} costs {paid}")
        require(self.patience.budget.tokens >= 0, "it pays what it has not")


def _is_failure(error: WiroError) -> bool:
    is_the_ways = isinstance(error, TransportError) and not isinstance(error, AddressRefused)
    return is_the_ways or isinstance(error, ServerError)


def _error(draw: Draw) -> WiroError:
    kinds = (TransportError, ServerError, OutcomeUnknown, RequestNotSent, RateLimited)
    kind: type[WiroError] = draw.pick(kinds) if draw.flag() else draw.pick(TREE)
    error = kind("what happened")
    if isinstance(error, RateLimited | ServerError):
        error.retry_after_seconds = draw.pick((None, *ASKED))
    return error


def check_patience(data: bytes) -> None:
    """However requests end, what follows is bounded by the policy, and paid for."""
    draw = Draw(data)
    patient = _Patient(patience=Patience(draw_policy(draw)))
    for _ in range(draw.below(128)):
        action, dice = draw.below(8), draw_dice(draw)
        patient.now += draw.pick(LATER)
        error, failures = _error(draw), 1 + draw.below(70)
        match action:
            case 0 | 1:
                patient.look(error, failures, draw.pick((3.0, 0.0, 1e-9, 1e5)), dice)
            case 2 | 3:
                patient.repeat(error, failures, dice, is_billable=draw.flag())
            case 4 | 5 | 6:
                for _ in range(draw.pick(ROWS)):
                    patient.fail(error, dice)
            case _:
                patient.succeed()


def _patience_seeds() -> list[bytes]:
    """Requests of each kind of end, over and over, with and without an outage."""
    steps = [
        bytes((action, 0x80, 1, 1, kind, *asked, failures, more))
        for kind, asked in enumerate((b"", b"\2", b"", b"", b"\3"))
        for action, failures, more in ((2, 0, 0), (2, 0, 1), (2, 2, 0), (0, 0, 0), (4, 0, 1))
    ]
    succeed = bytes((7, 0, 1, 1, 0, 0))
    runs = ([*steps, succeed, *steps], *([step] * 20 for step in steps))
    return [*noise(), *(A_POLICY + bytes((len(run),)) + b"".join(run) for run in runs)]


PATIENCE = (Target(name="patience", check=check_patience, seeds=_patience_seeds),)
