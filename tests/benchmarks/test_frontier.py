"""The frontier of looks: the optimum is one, and what is learned comes near it."""

from __future__ import annotations

import pytest

from benchmarks.frontier import (
    LAWS,
    Point,
    best_looks,
    best_looks_for,
    frontier,
    lognormal,
    measure,
    play,
    sample_of,
)
from wiro_async.protocol.durations import Durations
from wiro_async.protocol.learning import Learned
from wiro_async.protocol.polling import TAIL_INDEX, learned_schedule


def geometric(first: float, growth: float) -> list[float]:
    return [first * growth**step for step in range(60)]


def as_learned(price: float) -> list[float]:
    durations = Durations(median_seconds=2.0, spread=0.5, tail_index=TAIL_INDEX)
    schedule = learned_schedule(durations, price=price)
    looks = [schedule.wait_seconds(0.0, 0.5)]
    while looks[-1] < 100:
        looks.append(looks[-1] + schedule.wait_seconds(looks[-1], 0.5))
    return looks


def test_who_knows_that_all_take_two_seconds_looks_once() -> None:
    looks = best_looks([2.0] * 100, price=0.01)
    assert len(looks) == 1
    assert looks[0] == pytest.approx(2.0, rel=0.01)


def test_looks_are_counted_and_lags_are_shares() -> None:
    point = measure([1.0, 2.0, 4.0, 8.0], [2.0, 10.0])
    assert point == Point(looks=1.5, lag=0.6875, late=1.5)


@pytest.mark.parametrize("price", [0.005, 0.0165, 0.05])
def test_no_other_schedule_costs_less_than_the_optimum(price: float) -> None:
    sample = sample_of(lognormal(0.5))
    best = measure(sample, best_looks(sample, price))
    others = [geometric(0.8, 1.25), geometric(0.6, 1.15), geometric(1.0, 1.5), as_learned(price)]
    for looks in others:
        other = measure(sample, looks)
        assert best.lag + price * best.looks <= (other.lag + price * other.looks) * 1.01


def test_what_is_learned_takes_a_tenth_more_requests_than_the_best_at_most() -> None:
    law = LAWS["lognormal, sigma 0.5"]
    ours = play(Learned, law, 500, 100)
    assert ours.looks <= 7.1
    assert ours.late <= 0.23
    assert ours.looks + 2 <= 1.1 * (best_looks_for(frontier(law), ours.lag) + 2)
