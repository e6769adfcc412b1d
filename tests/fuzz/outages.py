"""Targets: the outage, driven by events and times, held against what its rules say.

Beside the machine goes a witness, which knows the rules in words of its own: what it says is
compared after each event.
"""

from __future__ import annotations

import math

from attrs import define, field

from tests.fuzz.answers import noise
from tests.fuzz.draws import Draw
from tests.fuzz.laws import Target, require
from wiro_async.protocol.outage import FAILURES_IN_A_ROW, Outage
from wiro_async.protocol.retry import RetryPolicy

# Of what the clock shows, a float does not hold the last digits.
NOTHING = 1e-5
_LONGEST_DOUBLING = 60
ASKED = (0.0, 0.2, 30.0, 119.0, 3_600.0, 1e39, math.inf)
LATER = (0.0, 0.01, 0.3, 1.0, 7.0, 40.0, 150.0)
# How many failures come in a row: where each were a draw of its own, hardly an outage would begin.
ROWS = (1, FAILURES_IN_A_ROW, FAILURES_IN_A_ROW - 1)
# The defaults but for attempts and 429s, of which it bears few, and for its budget.
A_POLICY = b"\4\4" + bytes(4) + b"\x14"


def draw_policy(draw: Draw) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=1 + draw.below(6),
        max_rate_limited=draw.below(6),
        max_outage_seconds=draw.pick((600.0, 0.0, 5.0, 1e9)),
        base_seconds=draw.pick((0.5, 0.0, 1e-9, 50.0)),
        cap_seconds=draw.pick((20.0, 0.1, 900.0)),
        max_pause_seconds=draw.pick((120.0, 0.0, 5.0)),
        budget=draw.below(80),
    )


def shortest_and_longest(policy: RetryPolicy, failures: int) -> tuple[float, float]:
    """The shortest and the longest wait after so many failures, by the rules of `retry`."""
    doubled = policy.base_seconds * 2.0 ** min(failures - 1, _LONGEST_DOUBLING)
    longest = min(doubled, policy.cap_seconds)
    return longest / 2, longest


def draw_dice(draw: Draw) -> float:
    return draw.byte() / 255


@define
class _Outages:
    """An outage that is driven, and beside it what its rules say.

    Attributes:
        began_at: of the outage that lasts.
        failed: probes of it that failed, and its beginning.
        probe: the one under way.
        others: looks under way that are no probe of this outage.
    """

    outage: Outage
    now: float
    row: int = 0
    began_at: float | None = None
    failed: int = 0
    probe: int | None = None
    others: list[int | None] = field(factory=list)
    asked_until: float = -math.inf

    def answer(self) -> None:
        was_on = self.began_at is not None
        require(self.outage.on_answered() == was_on, "an answer ends what there is not")
        require(not self.outage.on_answered(), "an outage ends twice")
        if self.probe is not None:
            self.others.append(self.probe)
        self.row, self.began_at, self.probe = 0, None, None

    def fail(self, asked: float, dice: float) -> None:
        self.outage.on_failed("cut off", self.now, dice, asked)
        self.row += 1
        self.asked_until = self.now + min(asked, self.outage.policy.max_pause_seconds)
        if self.began_at is None and self.row >= FAILURES_IN_A_ROW:
            self.began_at = self.now
            self.failed = 0
            self._see_wait()

    def begin(self) -> None:
        """Let a look out if it is due, as the tracker does."""
        if self.outage.next_look_at() > self.now:
            return
        number = self.outage.begin_look()
        require((number is None) == (self.began_at is None), "a probe without an outage")
        if number is None:
            self.others.append(None)
            return
        require(self.probe is None, "two probes at a time")
        require(number not in self.others, "two probes of one number")
        self.probe = number

    def end(self, dice: float) -> None:
        if self.probe is not None:
            self.outage.end_look(self.probe, self.now, dice)
            self.probe = None
            self._see_wait()

    def end_other(self, dice: float) -> None:
        if self.others:
            before = self.outage.next_look_at()
            self.outage.end_look(self.others.pop(), self.now, dice)
            require(self.outage.next_look_at() == before, "a look that is no probe counts as one")

    def _see_wait(self) -> None:
        self.failed += 1
        at = self.outage.next_look_at()
        shortest, longest = shortest_and_longest(self.outage.policy, self.failed)
        earliest = max(self.now + shortest, self.asked_until)
        latest = max(self.now + longest, self.asked_until)
        require(at >= earliest - NOTHING, f"probe {self.failed} after {at - self.now} s")
        require(at <= latest + NOTHING, f"probe {self.failed} after {at - self.now} s")

    def look_on(self, since: float) -> None:
        """What anybody may ask at any time."""
        outage, at = self.outage, self.outage.next_look_at()
        require(outage.began_at == self.began_at, f"an outage since {outage.began_at}")
        require(outage.is_on == (self.began_at is not None), "an outage that is none")
        ends_at, lasts = outage.patience_ends_at(since), outage.seconds_so_far(self.now)
        if self.began_at is None:
            require(at == -math.inf, "a look waits for an outage that is none")
            require((ends_at, lasts) == (math.inf, 0), "patience ends without an outage")
            return
        require((at == math.inf) == (self.probe is not None), "it waits for no probe's end")
        require(at > -math.inf, "in an outage nobody waits")
        require(lasts == self.now - self.began_at >= 0, f"it has lasted {lasts} s")
        patience = ends_at - max(self.began_at, since)
        most = outage.policy.max_outage_seconds
        require(abs(patience - most) <= NOTHING, f"a patience of {patience} s")


def check_outage(data: bytes) -> None:
    """Whatever comes and when, an outage begins, is probed and ends as its rules say."""
    draw = Draw(data)
    policy = draw_policy(draw)
    start, since = draw.pick((1_000.0, 0.0, 1e6)), draw.below(2_000)
    witness = _Outages(outage=Outage(policy), now=start)
    for _ in range(draw.below(128)):
        action, dice = draw.below(8), draw_dice(draw)
        witness.now += draw.pick(LATER)
        match action:
            case 0 | 1:
                witness.begin()
            case 2 | 3:
                witness.end(dice)
            case 4:
                witness.end_other(dice)
            case 5 | 6:
                asked = draw.pick(ASKED)
                for _ in range(draw.pick(ROWS)):
                    witness.fail(asked, dice)
            case _:
                witness.answer()
        witness.look_on(start + since)


def _outage_seeds() -> list[bytes]:
    """Outages in which probes fail; one that ends, and another one, with a probe of the first."""
    fails, goes, ends = b"\5\x80\3\0\1", b"\0\x80\6", b"\2\x80\1"
    old_ends, answer = b"\4\0\0", b"\7\0\1"
    runs = (
        (fails, *(goes, ends) * 9),
        (fails, goes, b"\5\xff\3\3\0", ends, goes, ends, answer),
        (fails, goes, answer, fails, old_ends, goes, old_ends, ends),
        (goes, fails, old_ends, goes, fails, ends, answer, answer),
    )
    return [*noise(), *(A_POLICY + bytes((0, 0, 0, len(run))) + b"".join(run) for run in runs)]


OUTAGES = (Target(name="outage", check=check_outage, seeds=_outage_seeds),)
