"""Whose turn it is: beats, the ceiling's stretch, and looks that are put off."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.limits import RequestPace
from wiro_async.tracking.agenda import Agenda, on_beat
from wiro_async.tracking.ceiling import Ceiling
from wiro_async.tracking.watch import Watch

TIMES = st.floats(min_value=0, max_value=1e6)
WAITS = st.floats(min_value=1e-3, max_value=1e4)


def watched(**more: float) -> Watch:
    return Watch(started_at=0.0, **more)  # type: ignore[arg-type] # handed on


class TestBeat:
    @given(TIMES, WAITS)
    def test_a_wait_is_moved_by_a_sixth_at_most(self, now: float, wait: float) -> None:
        due = on_beat(now, wait)
        assert due >= now
        assert abs(due - (now + wait)) <= wait / 6 + 1e-9 * now

    @given(TIMES, st.lists(st.floats(min_value=1, max_value=2), min_size=200, max_size=200))
    def test_looks_that_are_due_within_a_second_share_five_beats(
        self, now: float, waits: list[float]
    ) -> None:
        assert len({round(on_beat(now, wait), 6) for wait in waits}) <= 7

    def test_short_waits_fall_on_halves_of_the_long_ones_beats(self) -> None:
        assert on_beat(0.0, 1.01) == pytest.approx(1.0)
        assert on_beat(0.0, 0.61) == pytest.approx(0.6)
        assert on_beat(0.0, 0.51) == pytest.approx(0.5)
        assert on_beat(0.0, 0.32) == pytest.approx(0.3)
        assert on_beat(0.0, 0.16) == pytest.approx(0.15)
        assert on_beat(0.0, 0.08) == pytest.approx(0.075)


class TestStretch:
    def test_it_begins_where_the_waits_come_to_more_than_the_ceiling(self) -> None:
        agenda = Agenda()
        for _ in range(50):
            agenda.put(watched(), 0.0, 0.5, stretch=1.0)
        assert agenda.stretch(200.0) == 1.0
        assert agenda.stretch(25.0) == pytest.approx(4.0)

    def test_a_wait_that_was_stretched_counts_for_what_it_would_like_to_be(self) -> None:
        agenda = Agenda()
        for _ in range(50):
            agenda.put(watched(), 0.0, 2.0, stretch=4.0)
        assert agenda.stretch(25.0) == pytest.approx(4.0)

    def test_who_is_taken_out_counts_no_more(self) -> None:
        agenda = Agenda()
        watches = [watched() for _ in range(4)]
        for watch in watches:
            agenda.put(watch, 0.0, 0.01, stretch=1.0)
            agenda.put(watch, 0.0, 0.01, stretch=1.0)
        assert agenda.stretch(100.0) == pytest.approx(4.0)
        agenda.drop(watches[0])
        agenda.next_due(0.0)
        agenda.take()
        assert agenda.stretch(100.0) == pytest.approx(2.0)

    def test_looks_that_are_none_of_the_regular_ones_do_not_count(self) -> None:
        agenda = Agenda()
        for _ in range(50):
            agenda.put(watched(), 0.0, 0.0)
            agenda.put(watched(), 0.0, 0.01)
        assert agenda.stretch(1.0) == 1.0

    def test_when_the_crowd_is_gone_the_others_are_not_left_waiting(self) -> None:
        agenda = Agenda()
        crowd = [watched() for _ in range(99)]
        last = watched()
        for watch in [*crowd, last]:
            agenda.put(watch, 0.0, 100.0, stretch=100.0)
        assert not agenda.ease(10.0, 1.0)
        assert agenda.next_due(10.0) == 100.0
        for watch in crowd:
            agenda.drop(watch)
        assert agenda.ease(10.0, 1.0)
        assert agenda.next_due(10.0) == pytest.approx(10.8)
        assert not agenda.ease(10.0, 1.0)

    def test_a_wait_that_was_not_stretched_is_left_alone(self) -> None:
        agenda = Agenda()
        patient, crowd = watched(), [watched() for _ in range(20)]
        agenda.put(patient, 0.0, 50.0, stretch=1.0)
        for watch in crowd:
            agenda.put(watch, 0.0, 100.0, stretch=100.0)
        for watch in crowd[2:]:
            agenda.drop(watch)
        assert agenda.ease(0.0, 1.0)
        assert agenda.next_due(0.0) == pytest.approx(2.0, abs=0.1)
        for watch in crowd:
            agenda.drop(watch)
        assert agenda.next_due(0.0) == 50.0


class TestPuttingOff:
    def test_a_look_is_put_off_to_where_the_voucher_ends(self) -> None:
        agenda, watch = Agenda(), watched()
        agenda.put(watch, 0.0, 1.0, stretch=1.0)
        watch.vouched_until = 8.0
        assert agenda.next_due(0.0) == 1.0
        assert agenda.next_due(1.0) == 8.0
        assert agenda.next_due(8.0) == 8.0
        assert agenda.take() is watch

    @given(TIMES, WAITS)
    def test_whenever_the_voucher_ends_the_look_is_put_off_once_or_twice(
        self, now: float, seconds: float
    ) -> None:
        agenda, watch = Agenda(), watched()
        agenda.put(watch, now, 0.0)
        watch.vouched_until = now + seconds
        for _ in range(2):
            now = agenda.next_due(now)
        assert agenda.next_due(now) == now
        assert now == pytest.approx(watch.vouched_until, abs=0.11)

    def test_one_that_is_due_later_is_not_brought_forward(self) -> None:
        agenda, watch = Agenda(), watched()
        agenda.put(watch, 0.0, 9.0, stretch=1.0)
        watch.vouched_until = 8.0
        assert agenda.next_due(8.5) == 9.0
        assert agenda.next_due(9.0) == 9.0

    def test_one_that_was_asked_for_is_not_put_off(self) -> None:
        agenda, watch = Agenda(), watched()
        watch.wants_look, watch.vouched_until = True, 8.0
        agenda.put(watch, 0.0, 0.0)
        assert agenda.next_due(0.0) == 0.0

    def test_the_deadline_is_kept_whoever_vouches(self) -> None:
        agenda, watch = Agenda(), watched(deadline=5.0)
        agenda.put(watch, 0.0, 1.0, stretch=1.0)
        watch.vouched_until = 100.0
        assert agenda.next_due(1.0) == 5.0
        assert agenda.next_due(5.0) == 5.0


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["put", "drop", "take"]), WAITS)))
def test_whatever_happens_each_watch_is_due_once_and_the_sum_is_theirs(
    steps: list[tuple[int, str, float]],
) -> None:
    agenda, watches = Agenda(), [watched() for _ in range(10)]
    waiting: set[int] = set()
    for number, what, wait in steps:
        if what == "put":
            agenda.put(watches[number], 0.0, wait, stretch=1.0)
            waiting.add(number)
        elif what == "drop":
            agenda.drop(watches[number])
            waiting.discard(number)
        elif agenda.next_due(0.0) < math.inf:
            waiting.remove(watches.index(agenda.take()))
        wanted = sum(watches[one].wanted for one in waiting)
        assert agenda.stretch(1e-3) == pytest.approx(max(1.0, wanted / 1e-3))
    while agenda.next_due(0.0) < math.inf:
        waiting.remove(watches.index(agenda.take()))
    assert not waiting


class TestCeiling:
    def test_a_service_that_objects_lowers_it(self) -> None:
        pace = RequestPace()
        ceiling = Ceiling(100.0, pace)
        assert ceiling.rate == 100.0
        pace.rate = 20.0
        assert ceiling.rate == 20.0
        pace.rate = 500.0
        assert ceiling.rate == 100.0

    def test_a_burst_may_run_a_tenth_of_a_second_ahead(self) -> None:
        ceiling = Ceiling(100.0, RequestPace())
        sent = 0
        while ceiling.free_at() <= 50.0:
            ceiling.reserve(50.0)
            sent += 1
        assert sent == 11
        assert ceiling.free_at() == pytest.approx(50.01)

    def test_a_pause_of_the_session_holds_looks_too(self) -> None:
        pace = RequestPace()
        ceiling = Ceiling(100.0, pace)
        pace.on_limited(50.0, 7.0)
        assert ceiling.free_at() >= 57.0
