"""What is learned of durations: the truth, from few ends, from running ones, after a change."""

from __future__ import annotations

import heapq
import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.durations import DurationLog, Durations, narrowed, told_seconds
from wiro_async.task import Task

SECONDS = st.floats(min_value=1e-3, max_value=1e6)


def drawn(count: int, median: float, spread: float, seed: int = 1) -> list[float]:
    dice = random.Random(seed)  # noqa: S311 - the same sample each time
    return [median * math.exp(dice.gauss(0, spread)) for _ in range(count)]


def log_of(durations: list[float], width: float = 0.0) -> DurationLog:
    log = DurationLog(tail_index=0.3)
    for seconds in durations:
        log.note(seconds * (1 - width), seconds * (1 + width))
    return log


def fitted(log: DurationLog, running: list[float] | None = None) -> Durations:
    found = log.fit(running or [])
    assert found is not None
    return found


def test_nothing_is_made_of_a_handful() -> None:
    log = log_of([1.0] * 4)
    assert log.fit([]) is None
    log.note(1.0, 1.0)
    assert log.fit([]) is not None
    assert log.ended == 5


@pytest.mark.parametrize(("median", "spread"), [(2.0, 0.5), (60.0, 0.1), (0.05, 1.0)])
def test_median_and_spread_are_found(median: float, spread: float) -> None:
    found = fitted(log_of(drawn(128, median, spread), width=0.05))
    assert found.median_seconds == pytest.approx(median, rel=0.15)
    assert found.spread == pytest.approx(spread, rel=0.25)


def test_who_has_not_ended_is_not_forgotten() -> None:
    """At the start only the quickest have ended: taken alone they would be all there is."""
    durations = drawn(100, 2.0, 0.5)
    now = 1.4
    quick = [seconds for seconds in durations if seconds < now]
    slow = [now] * (len(durations) - len(quick))
    alone, with_all = fitted(log_of(quick)), fitted(log_of(quick), slow)
    assert alone.median_seconds < 1.3
    assert with_all.median_seconds == pytest.approx(2.0, rel=0.2)
    assert with_all.spread == pytest.approx(0.5, rel=0.35)


def test_when_few_have_ended_the_many_that_run_count_in_full() -> None:
    """Five of a hundred that have ended are the quickest; it takes patience to see past them."""
    durations = sorted(drawn(100, 2.0, 0.5))
    now = durations[5] - 1e-6
    found = fitted(log_of(durations[:5]), [now] * 95)
    assert found.median_seconds > 1.2


def test_once_many_have_ended_who_runs_says_nothing_more() -> None:
    """The longer a task takes, the likelier it is found running: those are no fair sample."""
    log = log_of(drawn(200, 2.0, 0.5))
    running = [3.0] * 99
    assert fitted(log, running) == fitted(log)
    assert fitted(log, [3.0] * 100).median_seconds > fitted(log).median_seconds


@pytest.mark.parametrize(("running", "ends"), [(0, 300), (100, 300), (1000, 3000)])
def test_a_change_is_followed(running: int, ends: int) -> None:
    log = DurationLog(tail_index=0.3)
    for median, count in ((2.0, 3 * running + 200), (10.0, ends)):
        for number, seconds in enumerate(drawn(count, median, 0.2)):
            log.note(seconds, seconds)
            if number % 20 == 0:
                log.fit([median] * running)
        assert fitted(log, [median] * running).median_seconds == pytest.approx(median, rel=0.15)


@pytest.mark.parametrize("at_once", [100, 2_000])
def test_however_many_run_those_that_ended_are_told_from_those_that_still_do(at_once: int) -> None:
    """Each that ends makes place for the next; reckoned again and again as in a session."""
    dice, log, now = random.Random(7), DurationLog(tail_index=0.3), 0.0  # noqa: S311 - as above
    ends = [(seconds, seconds) for seconds in drawn(at_once, 2.0, 0.5)]
    heapq.heapify(ends)
    found = []
    for number in range(3 * at_once):
        now, seconds = heapq.heappop(ends)
        log.note(seconds, seconds)
        seconds = 2.0 * math.exp(dice.gauss(0, 0.5))
        heapq.heappush(ends, (now + seconds, seconds))
        if number % (at_once // 4) == at_once // 4 - 1:
            found.append(fitted(log, [now - (end - seconds) for end, seconds in ends]))
    assert [one.median_seconds for one in found] == [pytest.approx(2.0, rel=0.15)] * 12
    assert [one.spread for one in found] == [pytest.approx(0.5, rel=0.25)] * 12


@given(
    st.lists(st.tuples(SECONDS, SECONDS), min_size=5, max_size=30), st.lists(SECONDS, max_size=9)
)
def test_any_history_gives_a_hazard_that_can_be_reckoned_with(
    ends: list[tuple[float, float]], running: list[float]
) -> None:
    log = DurationLog(tail_index=0.3)
    for earliest, latest in ends:
        log.note(earliest, latest)
    found = fitted(log, running)
    assert 0 < found.median_seconds < math.inf
    assert 0 < found.spread < math.inf
    for exponent in range(-6, 9):
        assert 0 <= found.hazard(10.0**exponent) < math.inf


@given(SECONDS, st.floats(min_value=0.03, max_value=2.0), st.floats(min_value=20, max_value=1e6))
def test_far_beyond_all_that_was_seen_the_hazard_is_that_of_the_tail(
    median: float, spread: float, factor: float
) -> None:
    age = median * math.exp(6 * spread) * factor
    hazard = Durations(median_seconds=median, spread=spread, tail_index=0.3).hazard(age)
    assert hazard * age == pytest.approx(0.3, rel=0.01)


def test_the_hazard_is_that_of_the_sample() -> None:
    durations = drawn(200_000, 2.0, 0.5)
    model = Durations(median_seconds=2.0, spread=0.5, tail_index=0.3)
    for age in (1.0, 2.0, 3.0):
        alive = sum(seconds > age for seconds in durations)
        ending = sum(age < seconds <= age + 0.05 for seconds in durations)
        assert model.hazard(age + 0.025) == pytest.approx(ending / alive / 0.05, rel=0.15)


@pytest.mark.parametrize(
    ("seen", "told", "narrow"),
    [
        ((1.0, 3.0), None, (1.0, 3.0)),
        ((1.0, 3.0), 2.0, (1.5, 2.5)),
        ((1.0, 3.0), 1.2, (1.0, 1.7)),
        ((1.0, 3.0), 2.9, (2.4, 3.0)),
        ((1.0, 3.0), 9.0, (1.0, 3.0)),  # the two clocks do not agree
    ],
)
def test_the_record_s_times_narrow_what_was_seen(
    seen: tuple[float, float], told: float | None, narrow: tuple[float, float]
) -> None:
    assert narrowed(*seen, told, 0.5) == pytest.approx(narrow)


def test_the_record_s_times_are_reckoned_by_one_clock() -> None:
    made, ended = datetime(2026, 4, 1, 12, 0, 0, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    task = Task(created_at=made, postprocess_ended_at=ended + timedelta(hours=12, seconds=9))
    assert told_seconds(task) == 9.0
    assert told_seconds(evolve(task, created_at=None)) is None
    assert told_seconds(evolve(task, postprocess_ended_at=None)) is None


def test_a_part_of_those_that_run_speaks_for_all_of_them() -> None:
    log = log_of(drawn(100, 2.0, 0.3))
    running = [seconds * 0.6 for seconds in drawn(400, 3.0, 0.3, seed=2)]
    whole, part = fitted(log, running), log.fit(running[::4], each=4)
    assert part is not None
    assert part.median_seconds == pytest.approx(whole.median_seconds, rel=0.1)
    assert part.spread == pytest.approx(whole.spread, rel=0.1)
    alone = log.fit(running[::4])
    assert alone is not None
    assert alone.median_seconds < 0.8 * part.median_seconds
