"""How many requests a second may go to finding out how tasks stand, all of them together.

The caller says how many, and a service that has answered 429 may allow fewer (`protocol.limits`).
While it does, looks leave the row of requests to Runs: they go out when nobody waits there.
"""

from __future__ import annotations

from attrs import define, field

from wiro_async.protocol.limits import RequestPace

# How far ahead of the strict rate looks may run: a beat of them is cheaper than a trickle.
_BURST_SECONDS = 0.1


@define
class Ceiling:
    """The guard of the rate; knows no clock."""

    max_looks_per_second: float
    pace: RequestPace
    _next_at: float = field(init=False, default=0.0)

    @property
    def rate(self) -> float:
        """Looks a second that are allowed now."""
        slowed = self.pace.rate
        if slowed is None:
            return self.max_looks_per_second
        return min(self.max_looks_per_second, slowed)

    def free_at(self) -> float:
        """When the next one may go out; a time that is over if it may at once."""
        return max(self._next_at - _BURST_SECONDS, self.pace.free_at())

    def reserve(self, now: float) -> None:
        """One goes out, or will when it is free."""
        self._next_at = max(self._next_at, now) + 1 / self.rate
