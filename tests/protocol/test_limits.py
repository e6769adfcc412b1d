"""The in-flight controller: how it opens, what lowers the limit, and when it asks for more."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.emulator.limits import concurrent_limit
from wiro_async.emulator.refusals import limit_reached
from wiro_async.protocol.limits import (
    PROBE_SECONDS,
    InFlightController,
    limit_of,
    stated_balance,
)

CEILINGS = st.integers(min_value=1, max_value=10_000)
COUNTS = st.integers(min_value=0, max_value=20_000)
DOLLARS = st.decimals(min_value=0, max_value=10_000, places=2)


def room(controller: InFlightController, now: float = 0.0) -> int:
    """How many may be in flight, if nobody asks for more."""
    count = 0
    while count < 20_000 and controller.may_start(count, now):
        count += 1
    return count


def accept(controller: InFlightController, runs: int) -> None:
    for running in range(1, runs + 1):
        controller.on_accepted(running)


def full(stated: int | None = 5, ours: int = 5, ceiling: int = 200) -> InFlightController:
    """One that was rejected at 1000."""
    controller = InFlightController(ceiling=ceiling)
    controller.on_rejected(stated=stated, ours=ours, now=1000)
    return controller


class TestOpening:
    @pytest.mark.parametrize(
        ("running", "in_flight"),
        [(0, 3), (1, 4), (3, 7), (6, 11), (15, 23), (17, 25), (18, 26), (25, 26), (26, 37)],
    )
    def test_so_many_are_in_flight_when_so_many_have_made_a_task(
        self, running: int, in_flight: int
    ) -> None:
        controller = InFlightController(ceiling=1_000)
        accept(controller, running)
        assert room(controller) == in_flight

    def test_where_fifty_run_there_is_no_limit_and_it_grows_fourfold(self) -> None:
        controller = InFlightController(ceiling=10_000)
        accept(controller, 50)
        assert room(controller) < 75
        accept(controller, 51)
        assert room(controller) == 204
        accept(controller, 204)
        assert room(controller) == 816

    def test_the_ceiling_is_the_ceiling(self) -> None:
        controller = InFlightController(ceiling=2)
        assert room(controller) == 2
        controller.raise_ceiling(60)
        assert room(controller) == 3
        accept(controller, 60)
        assert (room(controller), controller.limit) == (60, 60)

    @pytest.mark.parametrize("limit", [*range(1, 26)])
    def test_whatever_the_limit_is_few_are_on_the_wire_when_it_is_met(self, limit: int) -> None:
        controller = InFlightController(ceiling=100)
        accept(controller, limit)
        assert 1 <= room(controller) - limit <= 8


@pytest.mark.parametrize(
    ("ceiling", "stated", "ours", "limit", "in_flight"),
    [
        (200, 5, 5, 5, 5),
        (200, 5, 9, 5, 5),
        (200, 5, 0, 5, 0),
        (200, 5, 3, 5, 3),
        (3, 5, 2, 3, 2),
        (3, 5, 9, 3, 3),
        (200, 0, 4, 1, 1),
        (200, None, 7, 7, 7),
        (200, None, 0, 1, 0),
        (200, None, 500, 200, 200),
    ],
)
def test_a_rejection_sets_the_limit_and_tells_of_the_places_that_others_hold(
    ceiling: int, stated: int | None, ours: int, limit: int, in_flight: int
) -> None:
    controller = full(stated, ours, ceiling)
    assert (controller.limit, room(controller, 1000)) == (limit, in_flight)


class TestAskingForMore:
    def test_a_minute_and_so_many_runs_later_one_more_run_asks(self) -> None:
        controller = full()
        accept(controller, 75)
        assert room(controller, 1000 + PROBE_SECONDS - 0.1) == 5
        assert room(controller, 1000 + PROBE_SECONDS) == 6

    def test_a_minute_is_not_enough_for_an_account_that_is_hardly_used(self) -> None:
        controller = full()
        accept(controller, 74)
        assert room(controller, 1599) == 5
        assert room(controller, 1600) == 6

    def test_only_where_all_that_it_has_is_taken(self) -> None:
        controller = full()
        accept(controller, 75)
        assert controller.may_start(4, 2000)
        assert controller.asks_at() == 1060, "it asks for nothing more yet"
        assert not controller.may_start(6, 2000)

    def test_each_that_is_let_in_lets_more_ask(self) -> None:
        controller = full()
        assert room(controller, 1600) == 6
        seen = []
        for running in range(6, 27):
            controller.on_accepted(running)
            seen.append(room(controller, 1600))
        assert seen[:3] == [7, 8, 10]
        assert seen[-3:] == [26, 26, 34]
        assert controller.limit == 26

    def test_a_rejection_ends_it_and_begins_the_minute_again(self) -> None:
        controller = full()
        accept(controller, 75)
        assert room(controller, 1060) == 6
        controller.on_rejected(stated=5, ours=5, now=1061)
        accept(controller, 75)
        assert room(controller, 1120) == 5
        assert room(controller, 1121) == 6

    def test_it_is_a_minute(self) -> None:
        assert PROBE_SECONDS == 60

    def test_the_ceiling_is_never_asked_beyond(self) -> None:
        controller = full(stated=5, ours=5, ceiling=5)
        assert room(controller, 9_000) == 5

    def test_time_alone_does_not_change_what_is_not_known(self) -> None:
        assert InFlightController(ceiling=9).asks_at() == float("inf")


class TestNeighbours:
    def test_one_run_at_a_time_asks_after_a_growing_wait(self) -> None:
        controller = full(stated=5, ours=3)
        now, waits = 1000.0, []
        for _ in range(7):
            waits.append(controller.asks_at() - now)
            assert not controller.may_start(3, controller.asks_at() - 0.01)
            now = controller.asks_at()
            assert controller.may_start(3, now)
            assert not controller.may_start(4, now)
            assert controller.asks_at() == now, "that it asked has proven nothing"
            controller.on_rejected(stated=5, ours=3, now=now)
        assert waits == [1, 2, 4, 8, 15, 15, 15]

    def test_who_is_let_in_has_the_next_ask_at_once(self) -> None:
        controller = full(stated=9, ours=3)
        controller.on_rejected(stated=9, ours=3, now=1001)
        controller.on_accepted(4)
        assert controller.may_start(4, 1003)
        controller.on_rejected(stated=9, ours=4, now=1003)
        assert controller.asks_at() == 1004, "the waits begin anew"
        for running in (5, 6, 7, 8, 9):
            controller.on_accepted(running)
        assert controller.elsewhere == 0
        assert room(controller, 1004) == 9

    def test_a_task_that_takes_the_place_of_another_does_not_begin_the_waits_anew(self) -> None:
        controller = full(stated=5, ours=3)
        controller.on_rejected(stated=5, ours=3, now=1001)
        controller.on_accepted(3)
        assert controller.rejections_in_a_row == 2

    def test_the_rejections_of_one_burst_are_one(self) -> None:
        controller = full(stated=5, ours=3)
        for ours in (2, 1, 0):
            controller.on_rejected(stated=5, ours=ours, now=1000.1)
        assert (controller.rejections_in_a_row, controller.asks_at()) == (1, 1001)
        assert room(controller, 1000.2) == 0

    @given(st.integers(min_value=1, max_value=5000), st.floats(min_value=0, max_value=1))
    def test_a_wait_is_neither_a_tight_loop_nor_an_age(self, rejections: int, dice: float) -> None:
        controller = InFlightController(ceiling=5)
        for _ in range(min(rejections, 30)):
            controller.on_rejected(
                stated=3, ours=1, now=max(0, controller.asks_at()) if rejections > 1 else 0
            )
        assert 0.5 <= controller.wait_seconds(dice) <= 15


class TestBalance:
    @given(DOLLARS)
    def test_the_rule_is_the_services(self, balance: Decimal) -> None:
        assert limit_of(balance) == concurrent_limit(balance)

    @given(DOLLARS)
    def test_what_the_words_say_is_read(self, balance: Decimal) -> None:
        assert stated_balance(limit_reached(balance, 5).message) == balance

    @pytest.mark.parametrize(
        ("reason", "balance"),
        [
            ("", None),
            ("Too many tasks.", None),
            ("With your current balance of $1,234.50, you can", Decimal("1234.50")),
            ("balance of $ 7", Decimal(7)),
            ("Balance of $50.", Decimal(50)),
            ("balance of $", None),
            ("balance of $,", None),
            ("balance of €50", None),
            ("balance of $-50", None),
        ],
    )
    def test_words_of_other_kinds(self, reason: str, balance: Decimal | None) -> None:
        assert stated_balance(reason) == balance

    def test_a_task_that_costs_a_place_is_known_to_cost_it(self) -> None:
        controller = InFlightController(ceiling=100)
        controller.on_rejected(stated=5, ours=5, now=0, balance=Decimal("50.10"))
        controller.on_spent(Decimal("0.06"))
        assert room(controller) == 5
        controller.on_spent(Decimal("0.06"))
        assert (room(controller), controller.limit) == (4, 4)
        for _ in range(1000):
            controller.on_spent(Decimal(1))
        assert room(controller) == 1

    def test_places_elsewhere_are_not_given_back_by_it(self) -> None:
        controller = InFlightController(ceiling=100)
        controller.on_rejected(stated=5, ours=3, now=0, balance=Decimal("50.00"))
        controller.on_spent(Decimal("0.06"))
        assert room(controller) == 2

    @pytest.mark.parametrize("balance", [None, Decimal(70), Decimal(49), Decimal(900)])
    def test_a_balance_that_does_not_fit_says_nothing(self, balance: Decimal | None) -> None:
        controller = InFlightController(ceiling=100)
        controller.on_rejected(stated=5, ours=5, now=0, balance=balance)
        controller.on_spent(Decimal(30))
        assert room(controller) == 5

    def test_one_that_was_rounded_up_fits(self) -> None:
        controller = InFlightController(ceiling=100)
        controller.on_rejected(stated=4, ours=4, now=0, balance=Decimal("50.00"))
        controller.on_spent(Decimal(11))
        assert room(controller) == 3

    def test_where_the_account_bears_more_its_balance_is_another(self) -> None:
        controller = InFlightController(ceiling=100)
        controller.on_rejected(stated=5, ours=5, now=0, balance=Decimal(50))
        assert controller.may_start(5, 600)
        controller.on_accepted(6)
        controller.on_spent(Decimal(30))
        assert (room(controller, 600), controller.limit) == (7, 6)

    def test_what_is_spent_while_it_asks_lowers_what_it_asks_for(self) -> None:
        controller = InFlightController(ceiling=100)
        controller.on_rejected(stated=5, ours=5, now=0, balance=Decimal(50))
        assert controller.may_start(5, 600)
        controller.on_spent(Decimal(15))
        assert room(controller, 600) == 4


@define
class Steps:
    """What can happen to a controller, as Hypothesis draws it."""

    action: str
    stated: int | None
    count: int
    later: float
    balance: Decimal | None
    cost: Decimal


STEPS = st.lists(
    st.builds(
        Steps,
        action=st.sampled_from(["rejected", "accepted", "spent", "raised", "asked"]),
        stated=st.none() | COUNTS,
        count=COUNTS,
        later=st.floats(min_value=0, max_value=200),
        balance=st.none() | DOLLARS,
        cost=st.decimals(min_value=0, max_value=300, places=4),
    ),
    max_size=60,
)


@given(CEILINGS, STEPS)
def test_whatever_happens_the_limit_is_within_one_and_the_ceiling_and_there_is_a_way_on(
    ceiling: int, steps: list[Steps]
) -> None:
    controller = InFlightController(ceiling=ceiling)
    now = 0.0
    for step in steps:
        now += step.later
        if step.action == "rejected":
            controller.on_rejected(
                stated=step.stated, ours=step.count, now=now, balance=step.balance
            )
        elif step.action == "accepted":
            controller.on_accepted(step.count)
        elif step.action == "spent":
            before = controller.limit
            controller.on_spent(step.cost)
            assert controller.limit <= before
        elif step.action == "raised":
            controller.raise_ceiling(controller.ceiling + step.count)
        else:
            controller.may_start(step.count, now)
        assert 1 <= controller.limit <= controller.ceiling
        assert not controller.may_start(controller.ceiling, now)
        # With nothing in flight somebody may go, now or at a time that can be told.
        asks_at = controller.asks_at()
        assert controller.may_start(0, now) or now < asks_at <= now + 15
