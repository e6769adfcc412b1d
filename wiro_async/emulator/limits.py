"""How much is too much: the concurrent limit of an account and the rate of a project.

Two limits that have nothing to do with each other. The concurrent limit counts unfinished
tasks and follows the balance; who is over it gets code 96. The rate counts requests of any
kind; who is over it gets HTTP 429. Neither makes a task.
"""

from decimal import Decimal

import attrs

UNLIMITED_ABOVE = Decimal(250)
SHARE_OF_BALANCE = Decimal("0.10")


def stated_limit(balance: Decimal) -> int:
    """Give the number of tasks that a balance in dollars allows at the same time."""
    return max(1, int(balance * SHARE_OF_BALANCE))


def concurrent_limit(balance: Decimal) -> int | None:
    """Give the limit in force for a balance in dollars; `None` where there is none."""
    return None if balance > UNLIMITED_ABOVE else stated_limit(balance)


@attrs.define
class TokenBucket:
    """Lets `rate` requests a second through, and up to one second's worth at once.

    The clock is handed in: seconds that only grow. They are real seconds, not those of the
    emulated service, because it is real requests that are counted.
    """

    rate: float
    _tokens: float = attrs.field(init=False)
    _filled: float | None = attrs.field(init=False, default=None)

    @_tokens.default
    def _full(self) -> float:
        return max(1.0, self.rate)

    def take(self, clock: float) -> float:
        """Take one token: 0.0 when there was one, else the seconds until there will be."""
        if self._filled is not None:
            earned = (clock - self._filled) * self.rate
            self._tokens = min(max(1.0, self.rate), self._tokens + earned)
        self._filled = clock
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate
