"""The in-flight controller: what a rejection lowers, what time raises, how long to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.limits import PROBE_SECONDS, InFlightController

CEILINGS = st.integers(min_value=1, max_value=10_000)
COUNTS = st.integers(min_value=0, max_value=20_000)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["rejected", "accepted", "probe"]),
        st.none() | COUNTS,
        COUNTS,
        st.floats(min_value=0, max_value=200),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("ceiling", "stated", "in_flight", "limit"),
    [
        (200, 5, 5, 5),
        (200, 5, 0, 5),
        (3, 5, 3, 3),
        (200, 0, 4, 1),
        (200, None, 7, 7),
        (200, None, 0, 1),
        (200, None, 500, 200),
    ],
)
def test_a_rejection_sets_the_limit(
    ceiling: int, stated: int | None, in_flight: int, limit: int
) -> None:
    controller = InFlightController(ceiling=ceiling)
    assert controller.probe(0) == ceiling
    controller.on_rejected(stated=stated, in_flight=in_flight, now=10)
    assert controller.limit == controller.probe(10) == limit


def test_the_limit_is_tried_higher_once_a_minute_up_to_the_ceiling() -> None:
    controller = InFlightController(ceiling=12)
    controller.on_rejected(stated=2, in_flight=2, now=1000)
    seen = [controller.probe(1000 + seconds) for seconds in range(0, 601, 20)]
    assert (
        seen
        == [2] * 3 + [3] * 3 + [4] * 3 + [5] * 3 + [6] * 3 + [7] * 3 + [8] * 3 + [10] * 3 + [12] * 7
    )


def test_a_rejection_starts_the_minute_again() -> None:
    controller = InFlightController(ceiling=50)
    controller.on_rejected(stated=5, in_flight=5, now=0)
    controller.on_rejected(stated=5, in_flight=5, now=59)
    assert controller.probe(118.9) == 5
    assert controller.probe(119) == 6


@given(CEILINGS, STEPS)
def test_the_limit_is_always_within_one_and_the_ceiling(
    ceiling: int, steps: list[tuple[str, int | None, int, float]]
) -> None:
    controller = InFlightController(ceiling=ceiling)
    now = moved_at = 0.0
    for action, stated, in_flight, later in steps:
        now += later
        before = controller.limit
        if action == "rejected":
            controller.on_rejected(stated=stated, in_flight=in_flight, now=now)
            moved_at = now
        elif action == "accepted":
            controller.on_accepted()
            assert controller.limit == before
        else:
            after = controller.probe(now)
            assert after == controller.limit
            assert before <= after <= max(before + 1, before * 1.25)
            if after != before:
                assert now - moved_at >= PROBE_SECONDS
                moved_at = now
        assert 1 <= controller.limit <= ceiling


def test_a_minute_is_a_minute() -> None:
    assert PROBE_SECONDS == 60


def test_the_wait_grows_with_each_rejection_in_a_row_and_starts_anew() -> None:
    controller = InFlightController(ceiling=5)
    waits = []
    for _ in range(7):
        controller.on_rejected(stated=None, in_flight=0, now=0)
        waits.append(controller.wait_seconds(1))
    assert waits == [1, 2, 4, 8, 15, 15, 15]
    assert controller.wait_seconds(0) == 7.5
    controller.on_accepted()
    controller.on_rejected(stated=None, in_flight=0, now=0)
    assert controller.wait_seconds(1) == 1


@given(st.integers(min_value=1, max_value=5000), st.floats(min_value=0, max_value=1))
def test_a_wait_is_neither_a_tight_loop_nor_an_age(rejections: int, dice: float) -> None:
    controller = InFlightController(ceiling=5)
    for _ in range(rejections):
        controller.on_rejected(stated=3, in_flight=3, now=0)
    assert 0.5 <= controller.wait_seconds(dice) <= 15


def test_a_raised_ceiling_lifts_only_a_limit_that_nobody_stated() -> None:
    free, stated = InFlightController(ceiling=5), InFlightController(ceiling=5)
    stated.on_rejected(stated=3, in_flight=3, now=0)
    free.raise_ceiling(9)
    stated.raise_ceiling(9)
    assert (free.probe(1), stated.probe(1)) == (9, 3)
    assert [stated.probe(60 * minute) for minute in range(1, 8)] == [4, 5, 6, 7, 8, 9, 9]
