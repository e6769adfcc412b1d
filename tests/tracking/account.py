"""An account in virtual time, with places that run out, a balance that is spent, and neighbours.

It counts what a session wastes there: Runs that are rejected, and places that stand empty while
tasks wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal

from attrs import define, field

from tests.virtual_time import now, run_virtual
from wiro_async.emulator.limits import concurrent_limit
from wiro_async.errors import ConcurrencyLimitReached
from wiro_async.tracking.slots import Slots


@define(eq=False)
class Account:
    """Says 96 when full.

    Attributes:
        places: tasks that it bears; None for as many as its balance allows.
        balance: dollars; None for a service that names none.
        price: what a task costs when it ends.
        elsewhere: tasks that others run.
        states: whether it states its limit.
        trip_seconds: from sending a Run to reading its answer.
        lag_seconds: from the end of a task to when the session knows of it.
    """

    slots: Slots = field(init=False)
    ceiling: int
    places: int | None = None
    balance: Decimal | None = None
    price: Decimal = Decimal(0)
    elsewhere: int = 0
    states: bool = True
    trip_seconds: float = 0.01
    lag_seconds: float = 0.0
    ours: int = 0
    waiting: int = 0
    asked: list[float] = field(factory=list)
    rejected: list[float] = field(factory=list)
    accepted: list[object] = field(factory=list)
    most_at_once: int = 0
    idle_seconds: float = 0.0
    place_seconds: float = 0.0
    counted_until: float = 0.0

    @property
    def limit(self) -> int:
        """Places, others' included."""
        if self.places is not None:
            return self.places
        assert self.balance is not None
        limit = concurrent_limit(self.balance)
        return 1_000_000 if limit is None else limit

    async def run(self, seconds: float, owner: object = None) -> None:
        """What a session does for one task: a slot, a Run (again where rejected), the end."""
        owner = owner or object()
        self.count()
        self.waiting += 1
        try:
            await self.slots.acquire(owner)
            while (refusal := await self.ask()) is not None:
                await self.slots.wait_again(owner, refusal)
        finally:
            self.count()
            self.waiting -= 1
        self.slots.on_accepted(owner)
        self.accepted.append(owner)
        await asyncio.sleep(max(0.0, seconds - self.trip_seconds / 2))
        self.count()
        self.ours -= 1
        if self.balance is not None:
            self.balance -= self.price
        await asyncio.sleep(self.lag_seconds)
        self.slots.release(owner, self.price)

    async def ask(self) -> ConcurrencyLimitReached | None:
        await asyncio.sleep(self.trip_seconds / 2)
        self.asked.append(now())
        refusal = None
        if self.ours + self.elsewhere < self.limit:
            self.count()
            self.ours += 1
            self.most_at_once = max(self.most_at_once, self.ours)
        else:
            self.rejected.append(now())
            refusal = self.refuse()
        await asyncio.sleep(self.trip_seconds / 2)
        return refusal

    def refuse(self) -> ConcurrencyLimitReached:
        words = "" if self.balance is None else f"With your current balance of ${self.balance:.2f},"
        refusal = ConcurrencyLimitReached("full", code="96", reason=words)
        refusal.limit = self.limit if self.states else None
        return refusal

    def count(self) -> None:
        """Bring the seconds of places, and of empty ones, up to date."""
        seconds = now() - self.counted_until
        self.counted_until = now()
        there = max(0, min(self.ceiling, self.limit - self.elsewhere, self.ours + self.waiting))
        self.place_seconds += seconds * there
        self.idle_seconds += seconds * max(0, there - self.ours)

    def move(self, *, elsewhere: int | None = None, places: int | None = None) -> None:
        """Change what is not this session's doing."""
        self.count()
        self.elsewhere = self.elsewhere if elsewhere is None else elsewhere
        self.places = self.places if places is None else places

    def asked_between(self, start: float, end: float) -> int:
        return sum(start <= at < end for at in self.asked)

    @property
    def rejected_share(self) -> float:
        return len(self.rejected) / len(self.asked)

    @property
    def idle_share(self) -> float:
        return self.idle_seconds / self.place_seconds


Scenario = Callable[[Account], Awaitable[None]]


def play(scenario: Scenario, account: Account) -> Account:
    """Play it, with the account's own slots."""
    dice = random.Random(5).random  # noqa: S311 - the same draws each time

    async def whole() -> Account:
        account.slots = Slots(ceiling=account.ceiling, dice=dice)
        await scenario(account)
        return account

    return run_virtual(whole())


def many_tasks(count: int, median_seconds: float = 8.0, sigma: float = 0.5) -> Scenario:
    """So many tasks, all waiting from the beginning; of the same durations each time."""
    draws = random.Random(8)  # noqa: S311 - the same draws each time
    durations = [median_seconds * draws.lognormvariate(0.0, sigma) for _ in range(count)]

    async def scenario(account: Account) -> None:
        await asyncio.gather(*[account.run(seconds) for seconds in durations])

    return scenario
