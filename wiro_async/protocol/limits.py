"""The in-flight controller: how many tasks may run at once, as far as is known.

Rules:

1. The caller's limit is the ceiling; where the service states a lower one (code 96), that is
   the limit from then on.
2. A rejected Run made no task. It waits until a task of this session has ended, or, where none
   is running and the places are taken by somebody else, for a while that grows with each
   rejection in a row. So a full account is never asked in a tight loop.
3. The account's limit moves with its balance, so the stated one is not for ever: when a minute
   has gone since the last rejection or raise, the limit is raised by a quarter, at least by
   one, until the ceiling is reached or the service objects again.

And the pace: how fast requests may follow one another.

4. Until a 429 comes, requests go out as they are made. A 429 stops all requests of the session
   for as long as the service asks, and leaves the in-flight limit alone. After the pause they
   go at half the rate at which they went when it came, and each success makes the pace a little
   faster (one more a second for each second at full pace), until it is twice what it was when
   the service objected: then it is forgotten. Several 429s of one burst count once.
"""

from __future__ import annotations

import math

from attrs import define, field

# How often a limit that the service stated is tried a little higher.
PROBE_SECONDS = 60.0
_PROBE_GROWTH = 1.25
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 15.0


@define
class InFlightController:
    """Moves the limit; knows no clock: `now` is any steady count of seconds."""

    ceiling: int
    limit: int = field(init=False)
    rejections_in_a_row: int = field(init=False, default=0)
    _moved_at: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.limit = self.ceiling

    def raise_ceiling(self, ceiling: int) -> None:
        """The caller wants more; a limit that the service stated stays until it is probed."""
        if self.limit == self.ceiling:
            self.limit = ceiling
        self.ceiling = ceiling

    def on_rejected(self, *, stated: int | None, in_flight: int, now: float) -> None:
        """Code 96 came, while `in_flight` other tasks of this session were running."""
        self.rejections_in_a_row += 1
        self._moved_at = now
        self.limit = min(self.ceiling, max(1, in_flight if stated is None else stated))

    def on_accepted(self) -> None:
        """A Run made a task: the account is not full."""
        self.rejections_in_a_row = 0

    def probe(self, now: float) -> int:
        """The limit that holds at `now`, raised where it is time to try."""
        if self.limit < self.ceiling and now - self._moved_at >= PROBE_SECONDS:
            self.limit = min(self.ceiling, max(self.limit + 1, int(self.limit * _PROBE_GROWTH)))
            self._moved_at = now
        return self.limit

    def wait_seconds(self, dice: float) -> float:
        """How long a rejected Run waits at most for a task of the session to end."""
        doubled = _FIRST_WAIT_SECONDS * 2.0 ** min(self.rejections_in_a_row - 1, 10)
        return min(doubled, _LONGEST_WAIT_SECONDS) * (1 + dice) / 2


_WINDOW_SECONDS = 1.0
_SLOWEST_RATE = 0.5


@define
class RequestPace:
    """Spaces the requests of a session after a 429; knows no clock, like the controller."""

    rate: float | None = None
    _resumes_at: float = field(init=False, default=0.0)
    _next_at: float = field(init=False, default=0.0)
    _lowered_at: float = field(init=False, default=-math.inf)
    _forgotten_above: float = field(init=False, default=0.0)
    _window_at: float = field(init=False, default=0.0)
    _window_count: int = field(init=False, default=0)
    _seen_rate: float = field(init=False, default=0.0)

    def reserve(self, now: float) -> float:
        """Take the next place in the row; how many seconds to wait for it."""
        start = max(now, self._resumes_at, self._next_at)
        if self.rate is not None:
            self._next_at = start + 1 / self.rate
        self._count(start)
        return start - now

    def is_paused(self, now: float) -> bool:
        """Whether nothing may go out yet because the service asked for a pause."""
        return now < self._resumes_at

    def on_limited(self, now: float, pause_seconds: float) -> None:
        """A 429 came; nothing goes out for `pause_seconds`."""
        if now >= max(self._resumes_at, self._lowered_at + _WINDOW_SECONDS):
            self._lowered_at = now
            seen = self.rate if self.rate is not None else max(self._seen_rate, self._window_count)
            self.rate = max(_SLOWEST_RATE, seen / 2)
            self._forgotten_above = max(4 * self.rate, 4.0)
        self._resumes_at = max(self._resumes_at, now + pause_seconds)
        self._next_at = max(self._next_at, self._resumes_at)

    def on_success(self) -> None:
        """A request was answered in the regular way."""
        if self.rate is not None:
            self.rate += 1 / self.rate
            if self.rate > self._forgotten_above:
                self.rate = None

    def _count(self, start: float) -> None:
        if start - self._window_at >= _WINDOW_SECONDS:
            self._seen_rate = self._window_count / max(start - self._window_at, _WINDOW_SECONDS)
            self._window_at = start
            self._window_count = 0
        self._window_count += 1
