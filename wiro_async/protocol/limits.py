"""How much at once, and how fast: what code 96 and HTTP 429 do to a session.

The in-flight controller says how many tasks may run at once. Its rules:

1. The caller's limit is the ceiling. What the account bears below it is not known at first, so
   the Runs feel their way: three at once, and each that makes a task lets a third of a Run more
   go ahead of what is proven. That is growth by a third in each round trip: whatever the limit
   is, few Runs are on the wire when it is met. A limit that is stated is 25 at most, or there is
   none (wiro-api facts, "Answers and errors"): so 26 are enough until 26 run, and where twice
   as many run it grows fourfold. (Not sooner: what has ended at the service, and is not known to
   have ended yet, makes it look as if the account bore more.) A hundred tasks run after a dozen
   round trips.
2. Code 96 made no task, and states the account's limit: that holds from then on. The Run waits
   in front of all others until there is a place.
3. The limit falls while a batch spends, and by a known rule: `limit_of` the balance, which the
   rejection names too. So each task's cost is taken off that balance, and the place that a task
   costs with its end is not asked for in vain. A balance that does not fit the stated limit says
   nothing.
4. Where fewer of this session's tasks run than was stated, somebody else holds the rest. Then
   what runs here is the limit, and one Run at a time asks for more: after a wait that grows with
   each rejection in a row, and at once when it was let in.
5. The stated limit is not for ever: funds may have been added. It is tried again, by rule 1 and
   beginning with a single Run, when a minute has gone since the last rejection and 75 Runs were
   accepted meanwhile, or else after ten minutes. So where the limit is steady, hardly more than
   1 % of the Runs of a busy account are rejected.

And the pace: how fast requests may follow one another.

6. Until a 429 comes, requests go out as they are made. A 429 stops all requests of the session
   for as long as the service asks, and leaves the in-flight limit alone. Several of one burst
   count once.
7. A service that counts with a token bucket has an empty one whenever it objects. What it bore
   from one objection to the next is then what it bears, and the session goes on at nine tenths
   of that; but within a half and nine tenths of the rate that it had, since other services count
   otherwise. After the first objection it is half of what was answered in a second.
8. The pace grows with each success: by half of itself in a second up to nine tenths of where the
   service objected, then slowly, and faster the longer it is borne (the manner of CUBIC, RFC
   9438, 4.2: long near what was too much, and quickly away from there if it no longer is). At
   twice that rate it is forgotten.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from attrs import define, field

# How often a limit that the service stated is tried a little higher: after so many Runs, too.
PROBE_SECONDS = 60.0
_PROBE_RUNS = 75
_RARE_PROBE_SECONDS = 600.0
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 15.0
_FIRST_STEP = 3
_RUNS_A_STEP = 3
# wiro-api facts, "Answers and errors": a tenth of the balance up to $250, and none above.
_SHARE_OF_BALANCE = Decimal("0.10")
_UNLIMITED_ABOVE = Decimal(250)
_HIGHEST_LIMIT = int(_UNLIMITED_ABOVE * _SHARE_OF_BALANCE)
_HALF_A_CENT = Decimal("0.005")
_BALANCE = re.compile(r"balance of \$ ?([0-9][0-9,]{0,14}(?:\.[0-9]{1,9})?)", re.IGNORECASE)


def limit_of(balance: Decimal) -> int | None:
    """How many tasks may run at once with so many dollars; None for any number."""
    if balance > _UNLIMITED_ABOVE:
        return None
    return max(1, int(balance * _SHARE_OF_BALANCE))


def stated_balance(reason: str) -> Decimal | None:
    """The dollars that the words of code 96 name; None where they name none."""
    stated = _BALANCE.search(reason)
    return None if stated is None else Decimal(stated.group(1).replace(",", ""))


@define
class InFlightController:
    """Moves the limit; knows no clock: `now` is any steady count of seconds.

    Attributes:
        ceiling: what the caller wants at most.
        account: what the account bears, as far as the service said so; None if it never did.
        elsewhere: how many of the account's places others hold, as far as is known.
        rejections_in_a_row: of the Runs that asked for a place which others held.
    """

    ceiling: int
    account: int | None = field(init=False, default=None)
    elsewhere: int = field(init=False, default=0)
    rejections_in_a_row: int = field(init=False, default=0)
    _balance: Decimal | None = field(init=False, default=None)
    _is_feeling: bool = field(init=False, default=True)
    _proven: int = field(init=False, default=0)
    _step: int = field(init=False, default=_FIRST_STEP)
    _earned: int = field(init=False, default=0)
    _accepted: int = field(init=False, default=0)
    _rejected_at: float = field(init=False, default=0.0)
    _waits_until: float = field(init=False, default=-math.inf)

    @property
    def limit(self) -> int:
        """Tasks that may run at once, as far as is known of the account."""
        return self.ceiling if self.account is None else min(self.ceiling, self.account)

    def raise_ceiling(self, ceiling: int) -> None:
        """The caller wants more; what is known of the account stays."""
        self.ceiling = ceiling

    def may_start(self, in_flight: int, now: float) -> bool:
        """Whether one more Run may go out while so many tasks run or are being asked for.

        Only to be asked while a Run waits: it is tried whether the account bears more where the
        time has come.
        """
        room = self._room()
        if in_flight < min(room, self.ceiling):
            return True
        # Beyond the room there is one Run at a time, and it must be time for it.
        if in_flight != room or in_flight >= self.ceiling or now < self.asks_at():
            return False
        if self.elsewhere == 0:
            self._feel_again(room)
        return True

    def asks_at(self) -> float:
        """When one Run more than the room may ask; infinity if that is not a matter of time."""
        if self._is_feeling:
            return math.inf
        if self.elsewhere:
            return self._waits_until
        is_busy = self._accepted >= _PROBE_RUNS
        return self._rejected_at + (PROBE_SECONDS if is_busy else _RARE_PROBE_SECONDS)

    def on_accepted(self, running: int) -> None:
        """A Run made a task, so that so many of this session's run."""
        self._accepted += 1
        if self._is_feeling:
            self._prove(running)
        elif running > self._room():
            self.elsewhere = max(0, self.elsewhere - 1)
            self.rejections_in_a_row = 0

    def on_rejected(
        self,
        *,
        stated: int | None,
        ours: int,
        now: float,
        dice: float = 1.0,
        balance: Decimal | None = None,
    ) -> None:
        """Code 96 came.

        Args:
            stated: the limit that it named.
            ours: other tasks of this session that ran or were being asked for then.
            now: the time.
            dice: a random number from 0 to 1.
            balance: the dollars that it named.
        """
        self._is_feeling = False
        self._accepted = 0
        self._rejected_at = now
        self.account = max(1, ours if stated is None else stated)
        self.elsewhere = max(0, self.account - ours)
        fits = balance is not None and self.account in (
            limit_of(balance),
            limit_of(balance - _HALF_A_CENT),  # it was rounded
        )
        self._balance = balance if fits else None
        if self.elsewhere == 0:
            self.rejections_in_a_row = 0
        elif now >= self._waits_until:
            self.rejections_in_a_row += 1
            self._waits_until = now + self.wait_seconds(dice)

    def on_spent(self, cost: Decimal) -> None:
        """A task ended and cost so many dollars."""
        if self._balance is None or self.account is None:
            return
        self._balance -= cost
        self.account = min(self.account, limit_of(self._balance) or self.account)
        self._proven = min(self._proven, self.account)

    def wait_seconds(self, dice: float) -> float:
        """How long nobody asks for a place that others hold."""
        doubled = _FIRST_WAIT_SECONDS * 2.0 ** min(max(self.rejections_in_a_row, 1) - 1, 10)
        return min(doubled, _LONGEST_WAIT_SECONDS) * (1 + dice) / 2

    def _room(self) -> int:
        """How many may be in flight without trying what is not known."""
        if not self._is_feeling:
            return max(0, (self.account or 0) - self.elsewhere)
        reach = self._proven + self._step + self._earned // _RUNS_A_STEP
        return reach if self._proven > _HIGHEST_LIMIT else min(reach, _HIGHEST_LIMIT + 1)

    def _feel_again(self, proven: int) -> None:
        self._is_feeling = True
        self._proven = proven
        self._step = 1
        self._earned = 0

    def _prove(self, running: int) -> None:
        if running <= self._proven:
            return
        self._earned += running - self._proven
        self._proven = running
        if running > 2 * _HIGHEST_LIMIT:
            self._step, self._earned = 3 * running, 0
        if self.account is not None and running > self.account:
            self.account = running
            self._balance = None  # there is more in it than was stated


_WINDOW_SECONDS = 1.0
_SLOWEST_RATE = 0.5
_LEAST_LEFT = 0.5
_MOST_LEFT = 0.9
# What each success adds: the pace grows by so many times itself in a second.
_FAST_GROWTH = 0.5
# From this part of the rate at which the service objected: so much for each second since then.
_SLOW_FROM = 0.9
_SLOW_GROWTH = 0.01
_FORGOTTEN_ABOVE = 2.0
# What a timer that came late may make up for.
_BURST_SECONDS = 0.05


@define
class RequestPace:
    """Spaces the requests of a session after a 429; knows no clock, like the controller.

    Attributes:
        rate: requests a second that may go out; None for any number.
        waiting: how many wait for their turn.
    """

    rate: float | None = None
    waiting: int = field(init=False, default=0)
    _resumes_at: float = field(init=False, default=0.0)
    _next_at: float = field(init=False, default=0.0)
    _objected_at: float = field(init=False, default=-math.inf)
    _objected_rate: float = field(init=False, default=math.inf)
    _borne: int = field(init=False, default=0)
    _window_at: float = field(init=False, default=0.0)
    _window_sent: int = field(init=False, default=0)
    _window_borne: int = field(init=False, default=0)
    _recent_rate: float = field(init=False, default=0.0)

    def take(self, now: float) -> bool:
        """Whether a request may go out now; if so, it does."""
        if now < self.next_at(now):
            return False
        if self.rate is not None:
            self._next_at = max(self._next_at, now - _BURST_SECONDS) + 1 / self.rate
        self._turn_window(now)
        self._window_sent += 1
        return True

    def next_at(self, now: float) -> float:
        """When the first of those that wait may go out."""
        return max(now, self._resumes_at, -math.inf if self.rate is None else self._next_at)

    def free_at(self) -> float:
        """When one may go out that lets all go first who wait now.

        Whoever can wait without holding up a slot asks here before it joins the row.
        """
        if self.rate is None:
            return self._resumes_at
        return max(self._resumes_at, self._next_at) + self.waiting / self.rate

    def on_limited(self, now: float, pause_seconds: float) -> None:
        """A 429 came; nothing goes out for `pause_seconds`."""
        if now >= max(self._resumes_at, self._objected_at + _WINDOW_SECONDS):
            self._slow_down(now)
        self._resumes_at = max(self._resumes_at, now + pause_seconds)
        self._next_at = max(self._next_at, self._resumes_at)

    def on_success(self) -> None:
        """A request was answered in the regular way."""
        self._borne += 1
        self._window_borne += 1
        if self.rate is None:
            return
        if self.rate < _SLOW_FROM * self._objected_rate:
            self.rate = min(self.rate + _FAST_GROWTH, self._objected_rate)
        else:
            seconds = self._borne / self.rate
            self.rate += min(_SLOW_GROWTH * seconds, _FAST_GROWTH)
        if self.rate > max(_FORGOTTEN_ABOVE * self._objected_rate, 4.0):
            self.rate = None

    def _slow_down(self, now: float) -> None:
        if self.rate is None:
            # Answers that are still under way may be good ones: they count for something.
            objected = max(self._recent_rate, self._window_borne, self._window_sent / 4)
            left = _LEAST_LEFT
        else:
            objected = self.rate
            borne = self._borne / (now - self._objected_at)
            left = min(max(_MOST_LEFT * borne / objected, _LEAST_LEFT), _MOST_LEFT)
        self._objected_rate = max(_SLOWEST_RATE, objected)
        self.rate = max(_SLOWEST_RATE, left * objected)
        self._objected_at = now
        self._borne = 0

    def _turn_window(self, now: float) -> None:
        seconds = now - self._window_at
        if seconds >= _WINDOW_SECONDS:
            self._recent_rate = self._window_borne / seconds
            self._window_at = now
            self._window_sent = self._window_borne = 0
