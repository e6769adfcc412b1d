"""What a session learns of its models, and when."""

from __future__ import annotations

from itertools import pairwise

import pytest

from wiro_async.protocol.learning import Learned, Load, Told
from wiro_async.protocol.polling import PollSchedule

FLUX = "black-forest-labs/flux-pro-1-1-ultra"


def taught(count: int, seconds: float = 8.0) -> Learned:
    waits = Learned()
    for _ in range(count):
        waits.note(FLUX, seconds * 0.98, seconds * 1.02)
        if waits.wants_fit(FLUX):
            waits.fit(FLUX, [])
    return waits


def test_a_schedule_that_was_told_is_kept_to() -> None:
    schedule = PollSchedule(first_seconds=3, jitter=0)
    waits = Told(schedule)
    for _ in range(50):
        waits.note(FLUX, 1.0, 1.1)
        assert not waits.wants_fit(FLUX)
    waits.fit(FLUX, [])
    assert waits.wait_seconds(FLUX, 20.0, 0.5) == schedule.wait_seconds(20.0, 0.5)


def test_an_unknown_model_is_looked_at_geometrically() -> None:
    waits = Learned()
    assert waits.wait_seconds(FLUX, 0.0, 0.5) == pytest.approx(0.4)
    assert waits.wait_seconds(FLUX, 2.0, 0.5) == pytest.approx(0.5)


def test_a_known_model_is_left_in_peace_until_it_may_be_done() -> None:
    waits = taught(20)
    first = waits.wait_seconds(FLUX, 0.0, 0.5)
    assert first == 1.0  # no longer than that, ever
    assert waits.wait_seconds(FLUX, 7.9, 0.5) < 0.4
    assert waits.wait_seconds("another/model", 7.6, 0.5) > 0.9


@pytest.mark.parametrize(("elapsed", "longest"), [(0.0, 1.0), (59.0, 1.0), (600.0, 10.0)])
def test_nobody_is_left_waiting_for_long(elapsed: float, longest: float) -> None:
    waits = taught(20, seconds=2000.0)
    assert waits.wait_seconds(FLUX, elapsed, 0.5) == pytest.approx(longest)


def test_it_is_reckoned_anew_at_first_often_and_later_seldom() -> None:
    waits = Learned()
    fits = []
    for number in range(1, 1001):
        waits.note(FLUX, 8.0, 8.1)
        if waits.wants_fit(FLUX):
            fits.append(number)
            waits.fit(FLUX, [1.0])
    assert fits[:6] == [5, 6, 7, 8, 9, 10]
    assert len(fits) < 65
    assert all(later - earlier <= 32 for earlier, later in pairwise(fits))


def test_a_model_that_nobody_knows_wants_no_fit() -> None:
    assert not Learned().wants_fit(None)


def test_with_many_tasks_a_wait_may_be_longer() -> None:
    waits = taught(20, seconds=2000.0)
    assert waits.wait_seconds(FLUX, 0.0, 0.5, Load(tasks=50)) == pytest.approx(1.0)
    assert waits.wait_seconds(FLUX, 0.0, 0.5, Load(tasks=200)) == pytest.approx(4.0)
    of_twenty = Load(tasks=200, looks_per_second=20.0)
    assert waits.wait_seconds(FLUX, 0.0, 0.5, of_twenty) == pytest.approx(20.0)


@pytest.mark.parametrize("waits", [taught(20), Learned(), Told(PollSchedule(jitter=0.0))])
def test_a_stretch_makes_looks_fewer(waits: Learned | Told) -> None:
    def looks(stretch: float) -> int:
        load, age, count = Load(stretch=stretch, tasks=10**6), 0.0, 0
        while age < 100.0:
            age += waits.wait_seconds(FLUX, age, 0.5, load)
            count += 1
        return count

    assert looks(1.0) / 3.5 <= looks(3.0) <= looks(1.0) / 2


def test_a_few_tasks_of_a_known_model_are_looked_at_up_to_four_times_as_often() -> None:
    waits = taught(20)
    crowd, some, few, two, one = (
        waits.wait_seconds(FLUX, 7.9, 0.5, Load(tasks=tasks)) for tasks in (32, 16, 8, 2, 1)
    )
    assert waits.wait_seconds(FLUX, 7.9, 0.5, Load(tasks=1000)) == crowd
    assert crowd > some > few > two
    assert two == one
    assert crowd / 4 <= two < 0.4 * crowd
