from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from attrs import define, field

from tests.virtual_time import now, run_virtual, settle
from wiro_async.errors import ConcurrencyLimitReached
from wiro_async.tracking.slots import Slots


def rejection(stated: int | None) -> ConcurrencyLimitReached:
    error = ConcurrencyLimitReached("full", code="96")
    error.limit = stated
    return error


@define
class Account:
    """An account with so many places, some of them taken by others; says 96 when full."""

    places: int
    slots: Slots
    elsewhere: int = 0
    states: bool = True
    ours: int = 0
    asked: list[float] = field(factory=list)
    accepted: list[object] = field(factory=list)

    async def run(self, seconds: float) -> None:
        """What a session does for one task: a slot, a Run (again where rejected), the end."""
        owner = object()
        await self.slots.acquire(owner)
        while not self.ask():
            await asyncio.sleep(0.01)
            await self.slots.wait_again(owner, rejection(self.places if self.states else None))
        self.slots.on_accepted()
        self.ours += 1
        self.accepted.append(owner)
        await asyncio.sleep(seconds)
        self.ours -= 1
        self.slots.release(owner)

    def ask(self) -> bool:
        self.asked.append(now())
        return self.ours + self.elsewhere < self.places

    def asked_between(self, start: float, end: float) -> int:
        return sum(start <= at < end for at in self.asked)


def play(
    scenario: Callable[[Account], Awaitable[None]], *, ceiling: int, places: int, elsewhere: int = 0
) -> Account:
    async def whole() -> Account:
        account = Account(places, Slots(ceiling=ceiling, dice=lambda: 0.5), elsewhere=elsewhere)
        await scenario(account)
        return account

    return run_virtual(whole())


def test_the_ceiling_holds_and_the_first_that_comes_is_served_first() -> None:
    async def scenario() -> None:
        slots = Slots(ceiling=2, dice=lambda: 0.5)
        order: list[int] = []

        async def work(number: int) -> None:
            await slots.acquire(number)
            order.append(number)
            assert slots.in_flight <= 2
            await asyncio.sleep(1)
            slots.release(number)

        await asyncio.gather(*[work(number) for number in range(6)])
        assert order == [0, 1, 2, 3, 4, 5]
        assert (now(), slots.most_in_flight, slots.in_flight, slots.limit) == (3, 2, 0, 2)

    run_virtual(scenario())


def test_the_stated_limit_is_the_limit() -> None:
    async def scenario(account: Account) -> None:
        await asyncio.gather(*[account.run(8) for _ in range(30)])
        assert account.slots.limit == 5
        assert now() == pytest.approx(8 * 30 / 5, abs=1)

    account = play(scenario, ceiling=20, places=5)
    assert len(account.accepted) == 30
    assert account.slots.rejections == 15
    assert len(account.asked) == 45
    assert account.slots.in_flight == 0


def test_without_a_stated_limit_it_is_what_ran() -> None:
    async def scenario(account: Account) -> None:
        account.states = False
        await asyncio.gather(*[account.run(8) for _ in range(30)])
        assert account.slots.limit == 5

    account = play(scenario, ceiling=20, places=5)
    assert len(account.accepted) == 30


def test_places_that_others_hold_are_not_asked_for_in_a_tight_loop() -> None:
    async def scenario(account: Account) -> None:
        runs = [asyncio.ensure_future(account.run(8)) for _ in range(200)]
        await asyncio.sleep(300)
        account.elsewhere = 0
        await asyncio.gather(*runs)

    account = play(scenario, ceiling=10, places=5, elsewhere=5)
    assert len(account.accepted) == 200
    # Each of the ten slots may find out; from then on the waits grow up to a quarter of a minute.
    assert account.asked_between(0, 1) <= 10
    assert account.asked_between(0, 60) <= 60
    assert account.asked_between(120, 300) <= 13 * 10
    # When the others are gone, it is noticed within the longest wait.
    assert account.asked_between(300, 316) >= 5
    assert all(count <= 10 for count in per_second(account))


def per_second(account: Account) -> list[int]:
    return [account.asked_between(second, second + 1) for second in range(int(now_of(account)))]


def now_of(account: Account) -> float:
    return max(account.asked)


def test_a_task_that_ends_just_when_the_wait_does_is_one_turn() -> None:
    async def scenario() -> None:
        slots = Slots(ceiling=2, dice=lambda: 1.0)
        await slots.acquire("ours")
        await slots.acquire("waits")
        # The wait is one second: the end comes in the same round of the loop, and before it.
        asyncio.get_running_loop().call_at(1.0, slots.release, "ours")
        await slots.wait_again("waits", rejection(2))
        assert (now(), slots.in_flight) == (1, 1)
        slots.release("waits")

    run_virtual(scenario())


def test_the_waits_begin_anew_when_a_task_was_accepted() -> None:
    async def scenario(account: Account) -> None:
        first = asyncio.ensure_future(account.run(1))
        await asyncio.sleep(100)
        account.elsewhere = 0
        await first
        account.elsewhere = 1
        start = now()
        second = asyncio.ensure_future(account.run(1))
        await asyncio.sleep(0.9)
        assert account.asked_between(start, now()) == 2
        account.elsewhere = 0
        await second

    account = play(scenario, ceiling=1, places=1, elsewhere=1)
    assert len(account.accepted) == 2


def test_one_task_that_ends_wakes_one_that_waits() -> None:
    """Two of the account's five places are ours: three more wait for whichever comes free."""

    async def scenario(account: Account) -> None:
        ours = [asyncio.ensure_future(account.run(seconds)) for seconds in (4.5, 1000)]
        await settle()
        others = [asyncio.ensure_future(account.run(1000)) for _ in range(3)]
        await asyncio.sleep(4.4)
        before = len(account.asked)
        await asyncio.sleep(0.2)
        assert len(account.asked) == before + 1
        assert len(account.accepted) == 3
        for run in ours + others:
            run.cancel()
        await asyncio.gather(*ours, *others, return_exceptions=True)

    play(scenario, ceiling=5, places=5, elsewhere=3)


def test_the_limit_is_probed_upwards_after_a_minute() -> None:
    async def scenario(account: Account) -> None:
        runs = [asyncio.ensure_future(account.run(10)) for _ in range(400)]
        await asyncio.sleep(30)
        assert account.slots.limit == 4
        account.places = 100
        limits = []
        for _ in range(5):
            await asyncio.sleep(61)
            limits.append(account.slots.limit)
        assert limits == [5, 6, 7, 8, 10]
        await asyncio.gather(*runs)

    account = play(scenario, ceiling=50, places=4)
    assert account.slots.rejections == 46


def test_a_probe_that_the_service_objects_to_costs_one_rejection() -> None:
    async def scenario(account: Account) -> None:
        await asyncio.gather(*[account.run(10) for _ in range(100)])

    account = play(scenario, ceiling=8, places=4)
    late = [at for at in account.asked if at > 1]
    assert account.slots.rejections == 4 + len(late) - 96
    assert account.slots.rejections <= 4 + 250 / 60
    assert all(later >= earlier for earlier, later in pairwise(late))


def test_the_ceiling_can_be_raised_but_not_lowered() -> None:
    async def scenario() -> None:
        slots = Slots(ceiling=1, dice=lambda: 0.5)
        await slots.acquire("one")
        waiting = [asyncio.ensure_future(slots.acquire(name)) for name in ("two", "three")]
        await settle()
        assert slots.in_flight == 1
        slots.raise_ceiling(3)
        await asyncio.gather(*waiting)
        assert slots.in_flight == 3
        slots.raise_ceiling(2)
        assert slots.limit == 3

    run_virtual(scenario())


def test_a_raised_ceiling_leaves_the_stated_limit_alone() -> None:
    async def scenario(account: Account) -> None:
        runs = [asyncio.ensure_future(account.run(10)) for _ in range(10)]
        await asyncio.sleep(1)
        account.slots.raise_ceiling(100)
        assert account.slots.limit == 4
        await asyncio.gather(*runs)

    play(scenario, ceiling=8, places=4)


@pytest.mark.parametrize("elsewhere", [0, 5])
def test_who_is_cancelled_while_waiting_holds_nothing(elsewhere: int) -> None:
    async def scenario(account: Account) -> None:
        runs = [asyncio.ensure_future(account.run(100)) for _ in range(20)]
        await asyncio.sleep(0.5)
        for run in runs[5:]:
            run.cancel()
        await asyncio.gather(*runs[5:], return_exceptions=True)
        await settle()
        account.elsewhere = 0
        assert account.slots.in_flight == 5
        await asyncio.gather(*runs[:5])
        assert account.slots.in_flight == 0

    account = play(scenario, ceiling=10, places=5, elsewhere=elsewhere)
    assert len(account.accepted) == 5


def test_who_is_woken_and_cancelled_at_once_passes_the_turn_on() -> None:
    """The task that ends wakes the first of three that wait; its place is not lost with it."""

    async def scenario(account: Account) -> None:
        first = asyncio.ensure_future(account.run(4.5))
        await settle()
        others = [asyncio.ensure_future(account.run(1000)) for _ in range(3)]
        await asyncio.sleep(4.45)
        before = len(account.asked)
        asyncio.get_running_loop().call_at(4.5, others[0].cancel)
        await asyncio.sleep(0.1)
        assert first.done()
        assert others[0].cancelled()
        assert len(account.asked) == before + 1
        assert account.ours == 1
        for run in others:
            run.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    play(scenario, ceiling=5, places=5, elsewhere=4)
