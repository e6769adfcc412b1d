from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from decimal import Decimal

import pytest

from tests.tracking.account import Account, many_tasks, play
from tests.virtual_time import now, run_virtual, settle
from wiro_async.errors import ConcurrencyLimitReached
from wiro_async.tracking.slots import Slots

SIX_CENTS = Decimal("0.06")


def rejection(stated: int | None) -> ConcurrencyLimitReached:
    error = ConcurrencyLimitReached("full", code="96")
    error.limit = stated
    return error


def even_slots(ceiling: int) -> Slots:
    return Slots(ceiling=ceiling, dice=lambda: 1.0)


def owners(count: int) -> list[str]:
    return [f"owner {number}" for number in range(count)]


async def all_of(*runs: Awaitable[object]) -> None:
    await asyncio.gather(*runs, return_exceptions=True)


class TestTheRow:
    def test_the_ceiling_holds_and_the_first_that_comes_is_served_first(self) -> None:
        async def scenario() -> None:
            slots = even_slots(2)
            order: list[int] = []

            async def work(number: int) -> None:
                await slots.acquire(number)
                slots.on_accepted(number)
                order.append(number)
                assert slots.in_flight <= 2
                await asyncio.sleep(1)
                slots.release(number)

            await asyncio.gather(*[work(number) for number in range(6)])
            assert order == [0, 1, 2, 3, 4, 5]
            assert (now(), slots.most_in_flight, slots.in_flight, slots.limit) == (3, 2, 0, 2)

        run_virtual(scenario())

    def test_who_was_rejected_goes_before_all_others(self) -> None:
        async def scenario() -> None:
            slots = even_slots(9)
            order: list[str] = []

            async def start(owner: str) -> None:
                await slots.acquire(owner)
                order.append(owner)

            runs = [asyncio.ensure_future(start(owner)) for owner in owners(6)]
            await settle()
            assert order == owners(3)
            slots.on_accepted("owner 0")
            slots.on_accepted("owner 1")
            await settle()
            assert order == owners(5)
            again = asyncio.ensure_future(slots.wait_again("owner 4", rejection(4)))
            await settle()
            slots.release("owner 0")
            await settle()
            assert again.done()
            assert order == owners(5)
            slots.release("owner 1")
            await asyncio.gather(*runs)
            assert order == owners(6)

        run_virtual(scenario())

    def test_who_comes_just_when_the_time_has_come_for_another_does_not_overtake_it(self) -> None:
        async def scenario() -> None:
            slots = even_slots(5)
            await slots.acquire("a")
            first = asyncio.ensure_future(slots.wait_again("a", rejection(5)))
            await settle()
            asyncio.get_running_loop()._jumping.now += 1  # type: ignore[attr-defined] # a busy loop
            late = asyncio.ensure_future(slots.acquire("b"))
            await first
            assert not late.done()
            slots.release("a")
            await late

        run_virtual(scenario())

    def test_whoever_fails_without_a_task_lets_the_next_go(self) -> None:
        async def scenario() -> None:
            slots = even_slots(1)
            await slots.acquire("one")
            waits = asyncio.ensure_future(slots.acquire("two"))
            await settle()
            assert not waits.done()
            slots.release("one")
            await waits
            assert slots.in_flight == 1

        run_virtual(scenario())

    def test_a_task_that_exists_takes_a_slot_and_lets_the_next_one_in(self) -> None:
        async def scenario() -> None:
            slots = even_slots(40)
            for owner in owners(40):
                await slots.acquire(owner)
                slots.on_accepted(owner)
            assert (slots.in_flight, now()) == (40, 0)

        run_virtual(scenario())

    def test_the_ceiling_can_be_raised_but_not_lowered(self) -> None:
        async def scenario() -> None:
            slots = even_slots(1)
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

    def test_a_raised_ceiling_leaves_the_stated_limit_alone(self) -> None:
        async def scenario(account: Account) -> None:
            runs = [asyncio.ensure_future(account.run(10)) for _ in range(10)]
            await asyncio.sleep(1)
            account.slots.raise_ceiling(100)
            assert account.slots.limit == 4
            await asyncio.gather(*runs)

        play(scenario, Account(ceiling=8, places=4))


class TestCancelled:
    @pytest.mark.parametrize("elsewhere", [0, 5])
    def test_who_is_cancelled_while_waiting_holds_nothing(self, elsewhere: int) -> None:
        async def scenario(account: Account) -> None:
            runs = [asyncio.ensure_future(account.run(100)) for _ in range(20)]
            await asyncio.sleep(0.5)
            for run in runs[5:]:
                run.cancel()
            await all_of(*runs[5:])
            await settle()
            account.move(elsewhere=0)
            await asyncio.gather(*runs[:5])
            assert account.slots.in_flight == 0
            assert not account.slots._turns

        account = play(scenario, Account(ceiling=10, places=5, elsewhere=elsewhere))
        assert len(account.accepted) == 5

    def test_who_is_given_a_slot_and_cancelled_at_once_passes_it_on(self) -> None:
        async def scenario() -> None:
            slots = even_slots(1)
            await slots.acquire("ours")
            first, second = (asyncio.ensure_future(slots.acquire(name)) for name in ("a", "b"))
            await settle()
            slots.release("ours")
            first.cancel()
            await second
            assert first.cancelled()
            assert slots.in_flight == 1
            slots.release("b")
            assert slots.in_flight == 0

        run_virtual(scenario())

    def test_who_is_cancelled_just_before_it_would_be_given_one_is_passed_over(self) -> None:
        async def scenario() -> None:
            slots = even_slots(1)
            await slots.acquire("ours")
            first, second = (asyncio.ensure_future(slots.acquire(name)) for name in ("a", "b"))
            await settle()
            first.cancel()
            slots.release("ours")
            await second
            assert first.cancelled()
            assert slots.in_flight == 1

        run_virtual(scenario())

    def test_nobody_is_left_behind_by_whoever_the_timer_was_for(self) -> None:
        async def scenario() -> None:
            slots = even_slots(5)
            await slots.acquire("a")
            first = asyncio.ensure_future(slots.wait_again("a", rejection(5)))
            second = asyncio.ensure_future(slots.acquire("b"))
            await asyncio.sleep(0.5)
            first.cancel()
            await second
            assert (now(), slots.in_flight) == (1, 1)

        run_virtual(scenario())


class TestNeighbours:
    def test_places_that_others_hold_are_not_asked_for_in_a_tight_loop(self) -> None:
        async def scenario(account: Account) -> None:
            runs = [asyncio.ensure_future(account.run(8)) for _ in range(200)]
            await asyncio.sleep(300)
            account.move(elsewhere=0)
            await asyncio.gather(*runs)

        account = play(scenario, Account(ceiling=10, places=5, elsewhere=5))
        assert len(account.accepted) == 200
        # The first three find out; from then on one asks, and the waits grow up to 15 seconds.
        assert account.asked_between(0, 0.4) == 3
        assert account.asked_between(0, 60) <= 11
        assert account.asked_between(60, 300) <= 240 / 7.5
        # When the others are gone, it is noticed within the longest wait, and then all at once.
        assert account.asked_between(300, 316) >= 5

    def test_one_task_that_ends_is_one_turn(self) -> None:
        """Two of the account's five places are ours: three more wait for whichever comes free."""

        async def scenario(account: Account) -> None:
            ours = [asyncio.ensure_future(account.run(seconds)) for seconds in (5.5, 1000)]
            await settle()
            others = [asyncio.ensure_future(account.run(1000)) for _ in range(3)]
            await asyncio.sleep(5.4)
            before = len(account.asked)
            await asyncio.sleep(0.2)
            assert len(account.asked) == before + 1
            assert len(account.accepted) == 3
            for run in ours + others:
                run.cancel()
            await all_of(*ours, *others)

        play(scenario, Account(ceiling=5, places=5, elsewhere=3))

    def test_what_ends_while_a_run_is_on_the_wire_is_not_taken_for_a_neighbours(self) -> None:
        async def scenario() -> None:
            slots = even_slots(9)
            for owner in owners(5):
                await slots.acquire(owner)
                slots.on_accepted(owner)
            await slots.acquire("on the wire")
            slots.release("owner 0")
            # It was rejected before that one ended, and hears of it afterwards.
            await slots.wait_again("on the wire", rejection(5))
            assert (now(), slots.in_flight) == (0, 5)

        run_virtual(scenario())

    @pytest.mark.parametrize("trip_seconds", [0.01, 0.15])
    def test_neighbours_that_come_and_go_cost_few_places_and_few_requests(
        self, trip_seconds: float
    ) -> None:
        async def scenario(account: Account) -> None:
            draws = random.Random(3)  # noqa: S311 - the same draws each time
            runs = asyncio.gather(*[account.run(8) for _ in range(800)])
            while not runs.done():
                await asyncio.sleep(draws.uniform(10, 40))
                account.move(elsewhere=draws.randrange(15))
            await runs

        account = play(scenario, Account(ceiling=100, places=20, trip_seconds=trip_seconds))
        assert account.idle_share < 0.08
        assert account.rejected_share < 0.2


@pytest.mark.parametrize("trip_seconds", [0.01, 0.15])
class TestWhatIsWasted:
    """The demand: under 2 % of all Runs rejected at a steady limit, and no idle places.

    What a place waits for the way of a Run there and back, nobody can do anything about.
    """

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 13, 17, 20, 25])
    def test_at_a_steady_limit(self, limit: int, trip_seconds: float) -> None:
        account = play(
            many_tasks(1_632), Account(ceiling=100, places=limit, trip_seconds=trip_seconds)
        )
        assert account.most_at_once == limit
        assert account.rejected_share < 0.02
        assert account.idle_share < trip_seconds / 8

    @pytest.mark.parametrize("limit", [5, 13, 25])
    def test_where_the_ends_are_known_late(self, limit: int, trip_seconds: float) -> None:
        account = play(
            many_tasks(1_632),
            Account(ceiling=100, places=limit, trip_seconds=trip_seconds, lag_seconds=0.5),
        )
        assert account.rejected_share < 0.02
        assert account.idle_share < (0.5 + trip_seconds) / 8

    def test_without_a_limit(self, trip_seconds: float) -> None:
        account = play(
            many_tasks(1_632), Account(ceiling=100, places=10**6, trip_seconds=trip_seconds)
        )
        assert (account.rejected, account.most_at_once) == ([], 100)
        assert account.idle_share < trip_seconds / 8 + 0.0005
        # A hundred run after a dozen round trips.
        assert account.asked_between(0, 12.5 * trip_seconds) == 100

    def test_where_the_limit_shrinks_while_the_batch_spends(self, trip_seconds: float) -> None:
        account = play(
            many_tasks(600),
            Account(ceiling=100, balance=Decimal(60), price=SIX_CENTS, trip_seconds=trip_seconds),
        )
        assert account.slots.limit == account.limit == 2
        assert account.rejected_share < 0.02
        assert account.idle_share < trip_seconds / 8

    def test_a_dear_model_whose_every_tenth_task_costs_a_place(self, trip_seconds: float) -> None:
        account = play(
            many_tasks(50),
            Account(ceiling=100, balance=Decimal(60), price=Decimal(1), trip_seconds=trip_seconds),
        )
        # The first ones, before anything was known, and one that asked after ten minutes.
        assert len(account.rejected) <= 4
        assert account.slots.limit == 1

    def test_where_an_account_without_a_limit_gets_one(self, trip_seconds: float) -> None:
        account = play(
            many_tasks(1_632),
            Account(
                ceiling=100,
                balance=Decimal(280),
                price=SIX_CENTS,
                trip_seconds=trip_seconds,
                lag_seconds=0.5,
            ),
        )
        assert account.rejected_share < 0.02
        assert account.idle_share < (0.5 + trip_seconds) / 8 + 0.005

    def test_where_funds_are_added(self, trip_seconds: float) -> None:
        async def scenario(account: Account) -> None:
            runs = asyncio.gather(*[account.run(8) for _ in range(1_600)])
            await asyncio.sleep(200)
            account.move(places=10**6)
            asked = len(account.asked)
            # At five places and 8 s it takes two minutes until 75 Runs were accepted.
            await asyncio.sleep(121)
            assert account.ours == 100
            assert len(account.asked) > asked + 100
            await runs

        account = play(scenario, Account(ceiling=100, places=5, trip_seconds=trip_seconds))
        assert account.rejected_share < 0.02


def test_without_a_stated_limit_it_is_what_ran() -> None:
    async def scenario(account: Account) -> None:
        await asyncio.gather(*[account.run(8) for _ in range(30)])
        assert account.slots.limit == 5

    account = play(scenario, Account(ceiling=20, places=5, states=False))
    assert len(account.accepted) == 30
    assert account.slots.rejections == len(account.rejected) <= 8


def test_who_fails_in_the_midst_of_it_leaves_no_timer_behind() -> None:
    async def scenario() -> None:
        slots = even_slots(5)
        await slots.acquire("a")
        waits = asyncio.ensure_future(slots.wait_again("a", rejection(5)))
        await settle()
        assert slots._timer is not None
        waits.cancel()
        await all_of(waits)
        assert slots._timer is None

    run_virtual(scenario())
