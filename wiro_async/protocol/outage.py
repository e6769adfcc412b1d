"""The outage: what a session does while the service answers nobody.

    answering ---(ten failures in a row, whoever's)---> outage ---(any answer)---> answering
                                                        |    ^
                                          one probe at a time, with growing waits

Rules:

1. A row of failures is the session's, not a request's: one task that cannot be read while others
   can is no outage. An answer ends the row, and an outage, whatever it says: a refusal and a 429
   are answers.
2. In an outage looks wait. One of them at a time goes out as a probe, with waits that grow as
   those of `RetryPolicy` do, and is due like any other look: so an outage costs the same few
   requests however many tasks are watched.
3. Who waits does so in vain for `RetryPolicy.max_outage_seconds` at most, counted from the
   outage's beginning, or from its own where that is later.
4. A probe of an outage that is over says nothing about the next one.

What failed in an outage is not held against a task: it counts neither failures nor looks of its
own. Runs, and reads that somebody waits for, do not wait here; they are bounded by
`RetryPolicy.max_attempts` and by the budget.
"""

from __future__ import annotations

import math

from attrs import define, field

from wiro_async.protocol.retry import RetryPolicy

# One failure in two, at random, looks like this once in a thousand times; then no harm is done.
FAILURES_IN_A_ROW = 10


@define
class Outage:
    """Whether the service answers anybody; knows no clock: `now` is any steady count of seconds.

    Attributes:
        reason: the last failure, in words.
        began_at: when the outage began that lasts now; None where there is none.
    """

    policy: RetryPolicy
    reason: str = ""
    began_at: float | None = None
    _row: int = field(init=False, default=0)
    _failed_probes: int = field(init=False, default=0)
    _probe_at: float = field(init=False, default=-math.inf)
    _asked_until: float = field(init=False, default=-math.inf)
    _probe: int | None = field(init=False, default=None)
    _last_probe: int = field(init=False, default=0)

    @property
    def is_on(self) -> bool:
        """Whether nobody is answered."""
        return self.began_at is not None

    def on_answered(self) -> bool:
        """A request was answered, in whichever words; whether that ended an outage."""
        was_on = self.is_on
        self._row = 0
        self.began_at = None
        self._probe = None
        self._probe_at = -math.inf
        return was_on

    def on_failed(self, reason: str, now: float, dice: float, asked_seconds: float = 0.0) -> None:
        """A request got no answer that could be read.

        Args:
            reason: the failure, in words.
            now: the time.
            dice: a random number from 0 to 1.
            asked_seconds: the wait that the service asked for with it (503).
        """
        self._row += 1
        self.reason = reason
        # Read where a probe ends, and only there: failing Runs must not put a probe off for ever.
        self._asked_until = now + min(asked_seconds, self.policy.max_pause_seconds)
        if not self.is_on and self._row >= FAILURES_IN_A_ROW:
            self.began_at = now
            self._failed_probes = 0
            self._wait(now, dice)

    def next_look_at(self) -> float:
        """When a look may go out at the earliest; infinity while a probe is under way."""
        return self._probe_at if self._probe is None else math.inf

    def begin_look(self) -> int | None:
        """A look goes out: the number of the probe that it is, None where it is none."""
        if not self.is_on:
            return None
        self._last_probe += 1
        self._probe = self._last_probe
        return self._probe

    def end_look(self, probe: int | None, now: float, dice: float) -> None:
        """A look has ended, however it did; the next probe of a lasting outage waits longer."""
        if probe is None or probe != self._probe:
            return
        self._probe = None
        self._wait(now, dice)

    def seconds_so_far(self, now: float) -> float:
        """How long it has lasted; nought without one."""
        return 0.0 if self.began_at is None else now - self.began_at

    def patience_ends_at(self, since: float) -> float:
        """When one who has waited `since` then is to give up; never without an outage."""
        if self.began_at is None:
            return math.inf
        return max(self.began_at, since) + self.policy.max_outage_seconds

    def _wait(self, now: float, dice: float) -> None:
        self._failed_probes += 1
        wait = self.policy.backoff_seconds(self._failed_probes, dice)
        self._probe_at = max(now + wait, self._asked_until)
