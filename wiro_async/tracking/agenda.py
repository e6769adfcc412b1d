"""Whose turn is it? The watches by the time of their next look.

Rules:

1. Looks fall on a beat: a wait is rounded to the nearest beat, of which it has at least three.
   Beats are halves, quarters and so on of the longest one, so looks that are due at about the
   same time are due together, and one waking of the event loop serves many of them, and the Runs
   and the files that come of them: in an idle loop that is a good part of what a look costs.
   Rounding puts as many looks off as it brings forward; with fewer beats a wait it costs
   requests (`benchmarks.frontier`).
2. A ceiling of looks a second holds by stretching: where the looks that all waits together
   would come to are more, every new wait is longer by the same factor (`protocol.polling` tells
   why that is best). The sum runs along: a watch that waits adds what it would like a second.
   When it has fallen, the waits that were stretched for more are shortened (`ease`).
3. Somebody else's word puts a look off (`vouch`): it is heeded when the look would be due, so a
   thousand words cost next to nothing. A look that was asked for (`wants_look`) is not put off.

Knows no clock: `now` is the event loop's time.
"""

from __future__ import annotations

import heapq
import itertools
import math

from attrs import define, field

from wiro_async.tracking.watch import Watch

_LONGEST_BEAT = 0.2
_BEATS_A_WAIT = 3
_SHORTEST_WAIT = 1e-4
# It takes a pass over all that wait: not for every little.
_EASED = 0.8


@define(eq=False)
class Agenda:
    """The watches that wait for their next look."""

    _heap: list[tuple[float, int, Watch]] = field(init=False, factory=list)
    _tickets: itertools.count[int] = field(init=False, factory=itertools.count)
    _wanted: float = field(init=False, default=0.0)
    _stretch: float = field(init=False, default=1.0)
    """The largest one that a wait in the heap may have."""

    def stretch(self, looks_per_second: float) -> float:
        """By which factor waits have to be longer to keep to a ceiling."""
        return max(1.0, self._wanted / looks_per_second)

    def put(self, watch: Watch, now: float, wait: float, *, stretch: float = 0.0) -> float:
        """Write down a watch's next look; what stood there of it counts no more.

        Args:
            watch: whose look it is.
            now: the time.
            wait: how many seconds from now it is due; at the watch's deadline at the latest.
            stretch: by which factor that wait is longer than the watch would like; nought where
                it is none of its regular ones.

        Returns:
            When it is due.
        """
        self.drop(watch)
        watch.wanted = stretch / max(wait, _SHORTEST_WAIT)
        watch.stretch = stretch
        self._wanted += watch.wanted
        self._stretch = max(self._stretch, stretch)
        due = now if wait <= 0 else on_beat(now, wait)
        if watch.deadline is not None:
            due = min(due, watch.deadline)
        watch.due_ticket = next(self._tickets)
        heapq.heappush(self._heap, (due, watch.due_ticket, watch))
        return due

    def ease(self, now: float, looks_per_second: float) -> bool:
        """Shorten what was stretched for a crowd that is gone; whether anything was."""
        stretch = self.stretch(looks_per_second)
        if stretch > _EASED * self._stretch:
            return False
        self._stretch = stretch
        waiting = [entry for entry in self._heap if entry[1] == entry[2].due_ticket]
        self._heap = [(_eased(due, watch, now, stretch), n, watch) for due, n, watch in waiting]
        heapq.heapify(self._heap)
        return True

    def drop(self, watch: Watch) -> None:
        """Strike out a watch's next look, if it has one."""
        watch.due_ticket = None
        self._wanted = max(0.0, self._wanted - watch.wanted)
        watch.wanted = 0.0

    def next_due(self, now: float) -> float:
        """When the first look is due; infinity if none is."""
        while self._heap:
            due, ticket, watch = self._heap[0]
            if ticket != watch.due_ticket:
                heapq.heappop(self._heap)  # moved to another time, or no longer of interest
            elif due <= now < _put_off_to(watch) - _LONGEST_BEAT / 2:  # by less a beat may be off
                heapq.heappop(self._heap)
                self.put(watch, now, _put_off_to(watch) - now, stretch=1.0)
            else:
                return due
        self._wanted = 0.0  # what rounding left of the sum
        return math.inf

    def take(self) -> Watch:
        """Take out the watch whose look `next_due` has named."""
        _, _, watch = heapq.heappop(self._heap)
        self.drop(watch)
        return watch


def on_beat(now: float, wait: float) -> float:
    """The beat that is nearest to the end of a wait, never before it began."""
    halvings = max(0, math.ceil(math.log2(_LONGEST_BEAT * _BEATS_A_WAIT / wait)))
    beat = math.ldexp(_LONGEST_BEAT, -halvings)
    return max(now, round((now + wait) / beat) * beat)


def _eased(due: float, watch: Watch, now: float, stretch: float) -> float:
    if watch.stretch <= stretch or due <= now:
        return due
    wait = (due - now) * stretch / watch.stretch
    watch.stretch = stretch
    return on_beat(now, wait)


def _put_off_to(watch: Watch) -> float:
    if watch.wants_look:
        return -math.inf
    until = watch.vouched_until
    return until if watch.deadline is None else min(until, watch.deadline)
