"""The poll schedule: bounds for any arguments, growth, and how few looks a long task needs."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.errors import ConfigurationError
from wiro_async.protocol.durations import Durations
from wiro_async.protocol.polling import (
    LATEST,
    PRICE,
    TAIL_INDEX,
    LearnedSchedule,
    PollSchedule,
    learned_schedule,
)

POSITIVE = st.floats(min_value=1e-6, max_value=1e6)
DICE = st.floats(min_value=0, max_value=1)


@st.composite
def schedules(draw: st.DrawFn) -> PollSchedule:
    first = draw(POSITIVE)
    return PollSchedule(
        first_seconds=first,
        growth=draw(st.floats(min_value=1, max_value=1e6)),
        max_seconds=first * draw(st.floats(min_value=1, max_value=1e6)),
        jitter=draw(st.floats(min_value=0, max_value=1, exclude_max=True)),
    )


@given(schedules(), st.floats(), DICE)
def test_every_wait_is_within_its_bounds(
    schedule: PollSchedule, elapsed: float, dice: float
) -> None:
    wait = schedule.wait_seconds(elapsed, dice)
    assert wait >= schedule.first_seconds * (1 - schedule.jitter) * (1 - 1e-9)
    assert wait <= schedule.max_seconds * (1 + schedule.jitter) * (1 + 1e-9)
    assert wait > 0


@given(schedules(), POSITIVE, POSITIVE, DICE)
def test_a_wait_never_shrinks_with_time(
    schedule: PollSchedule, elapsed: float, more: float, dice: float
) -> None:
    assert schedule.wait_seconds(elapsed, dice) <= schedule.wait_seconds(elapsed + more, dice)


@pytest.mark.parametrize(
    ("elapsed", "wait"),
    [(-5, 3.0), (0, 3.0), (12, 3.0), (20, 5.0), (36, 9.0), (40, 10.0), (3600, 10.0)],
)
def test_the_default_waits_a_quarter_of_the_time_gone(elapsed: float, wait: float) -> None:
    assert PollSchedule().wait_seconds(elapsed, 0.5) == wait


@pytest.mark.parametrize(("dice", "wait"), [(0.0, 2.4), (0.5, 3.0), (1.0, 3.6)])
def test_the_default_jitter_is_a_fifth_to_both_sides(dice: float, wait: float) -> None:
    assert PollSchedule().wait_seconds(0, dice) == pytest.approx(wait)


def looks_of(schedule: PollSchedule, seconds: float) -> list[float]:
    """The moments of all looks at a task that takes this long, the last at or past its end."""
    moments = [schedule.wait_seconds(0, 0.5)]
    while moments[-1] < seconds and len(moments) < 1000:
        moments.append(moments[-1] + schedule.wait_seconds(moments[-1], 0.5))
    return moments


@given(st.floats(min_value=1, max_value=1e9))
def test_looks_grow_with_the_logarithm_of_the_duration(seconds: float) -> None:
    schedule = PollSchedule(max_seconds=1e12)
    looks = looks_of(schedule, seconds)
    # Constant waits up to first / (growth - 1), a factor of growth for each look from there.
    steady = 1 / (schedule.growth - 1)
    growing = math.log(max(1.0, seconds * (schedule.growth - 1) / 3), schedule.growth)
    assert len(looks) <= steady + growing + 2
    assert looks[-1] <= max(seconds * schedule.growth, seconds + 3) * (1 + 1e-9)


def test_beyond_the_cap_looks_are_evenly_spaced() -> None:
    looks = looks_of(PollSchedule(), 600)
    assert {later - earlier for earlier, later in pairwise(looks) if earlier > 40} == {10.0}
    assert len(looks) < 70


@given(schedules(), st.floats(min_value=1e-3, max_value=1e3), POSITIVE, DICE)
def test_faster_is_the_same_schedule_on_another_clock(
    schedule: PollSchedule, factor: float, elapsed: float, dice: float
) -> None:
    wait = schedule.faster(factor).wait_seconds(elapsed / factor, dice)
    assert wait * factor == pytest.approx(schedule.wait_seconds(elapsed, dice))
    assert schedule.faster(factor).jitter == schedule.jitter


@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("first_seconds", [0, -1, math.nan, math.inf], "above 0"),
        ("growth", [0.99, 0, -2, math.nan, math.inf], "1 or more"),
        ("max_seconds", [2.9, 0, -1, math.nan, math.inf], "first_seconds or more"),
        ("jitter", [-0.1, 1, 2, math.nan, math.inf], "from 0 to less than 1"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused(
    name: str, values: list[float], allowed: str
) -> None:
    for value in values:
        with pytest.raises(ConfigurationError) as caught:
            PollSchedule(**{name: value})
        assert name in str(caught.value)
        assert f"{value}: it has to be {allowed}" in str(caught.value)


@pytest.mark.parametrize("factor", [0, -1, math.nan, math.inf])
def test_a_factor_that_cannot_work_is_refused(factor: float) -> None:
    with pytest.raises(ConfigurationError, match="times as fast: above 0"):
        PollSchedule().faster(factor)


def schedule_of(median: float = 2.0, spread: float = 0.5) -> LearnedSchedule:
    return learned_schedule(Durations(median_seconds=median, spread=spread, tail_index=TAIL_INDEX))


def learned_looks(schedule: LearnedSchedule, until: float) -> list[float]:
    looks = [schedule.wait_seconds(0.0, 0.5)]
    while looks[-1] < until:
        looks.append(looks[-1] + schedule.wait_seconds(looks[-1], 0.5))
    return looks


def test_known_durations_are_looked_at_as_the_best_of_all_schedules_would() -> None:
    """Dynamic programming over this distribution: 6.2 looks for a lag of 0.086."""
    dice = random.Random(7)  # noqa: S311 - the same sample each time
    looks = learned_looks(schedule_of(), 60.0)
    counts, lags = [], []
    for _ in range(20_000):
        seconds = 2.0 * math.exp(dice.gauss(0, 0.5))
        place = bisect_left(looks, seconds)
        counts.append(place + 1)
        lags.append((looks[place] - seconds) / seconds)
    lags.sort()
    assert sum(counts) / len(counts) <= 6.5
    assert sum(lags) / len(lags) <= 0.088
    assert lags[int(0.95 * len(lags))] <= 0.21


def test_the_looks_are_densest_where_tasks_end() -> None:
    looks = learned_looks(schedule_of(), 20.0)
    gaps = [(earlier, later - earlier) for earlier, later in pairwise([0.0, *looks])]
    shortest = min(gaps, key=lambda gap: gap[1])
    assert 0.8 < shortest[0] < 2.5
    assert gaps[0][1] > 3 * shortest[1]


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.5])
def test_from_where_tasks_end_no_gap_is_a_large_share_of_the_age(spread: float) -> None:
    looks = learned_looks(schedule_of(spread=spread), 400.0)
    first = 2.0 * math.exp(-1.6 * spread)
    shares = [later / age - 1 for age, later in pairwise(looks) if age >= first]
    assert max(shares) <= math.exp(LATEST) - 1 + 0.01


def test_whoever_outlives_everything_is_looked_at_geometrically() -> None:
    schedule = schedule_of()
    for age in (200.0, 400.0, 800.0):
        assert schedule.wait_seconds(age, 0.5) == pytest.approx(0.24 * age, rel=0.1)


@given(
    st.floats(min_value=0.1, max_value=1e5),
    st.floats(min_value=0.03, max_value=2.0),
    st.floats(min_value=0, max_value=1e6),
    DICE,
)
def test_a_learned_wait_is_above_nought_and_has_no_scale(
    median: float, spread: float, share: float, dice: float
) -> None:
    wait = schedule_of(median, spread).wait_seconds(share * median, dice)
    assert 0 < wait < math.inf
    of_one = schedule_of(1.0, spread).wait_seconds(share, dice)
    assert wait == pytest.approx(of_one * median, rel=1e-3, abs=1e-9)


def test_a_dearer_look_is_taken_less_often() -> None:
    durations = Durations(median_seconds=2.0, spread=0.5, tail_index=TAIL_INDEX)
    cheap, dear = (learned_schedule(durations, price=price) for price in (PRICE, 4 * PRICE))
    for age in (0.5, 2.0, 4.0):
        assert dear.wait_seconds(age, 0.5) > 1.3 * cheap.wait_seconds(age, 0.5)
