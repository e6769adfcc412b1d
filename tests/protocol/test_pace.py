"""The pace after a 429: the pause for all, how much slower it goes on, and the way back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.rate import Take, press
from wiro_async.emulator.limits import TokenBucket
from wiro_async.protocol.limits import RequestPace

START = 1000.0


def limited_at(rate: int, pause: float = 2.0) -> RequestPace:
    """A pace that met a 429 while so many requests a second went out; now is START."""
    pace = RequestPace()
    for place in range(3 * rate):
        assert pace.take(START - 3 + place / rate)
        pace.on_success()
    pace.on_limited(START, pause)
    return pace


def starts(pace: RequestPace, count: int, now: float = START) -> list[float]:
    """When so many requests go out that all wait from now on."""
    found = []
    for _ in range(count):
        now = pace.next_at(now)
        assert pace.take(now)
        found.append(now)
    return found


def test_until_a_429_nothing_waits() -> None:
    pace = RequestPace()
    assert all(pace.take(START + step / 1000) for step in range(5000))
    assert (pace.next_at(START), pace.free_at()) == (START, 0)
    pace.on_success()
    assert pace.rate is None


def test_a_429_pauses_everything_for_as_long_as_the_service_asks() -> None:
    pace = limited_at(10, pause=2.0)
    assert not pace.take(START)
    assert not pace.take(START + 1.99)
    assert pace.next_at(START + 0.5) == pace.free_at() == START + 2
    assert pace.take(START + 2)


@pytest.mark.parametrize("rate", [2, 4, 10, 100])
def test_after_the_pause_requests_go_at_half_the_rate(rate: int) -> None:
    pace = limited_at(rate, pause=2.0)
    found = starts(pace, 10)
    assert found == pytest.approx([START + 2 + 2 * number / rate for number in range(10)])


def test_the_rate_has_a_floor() -> None:
    pace = RequestPace()
    for minute in range(20):
        pace.on_limited(START + 60 * minute, 1)
    assert pace.rate == 0.5


def test_several_429s_of_one_burst_count_once_and_the_longest_pause_holds() -> None:
    pace = limited_at(10, pause=2.0)
    rate = pace.rate
    pace.on_limited(START + 0.1, 5.0)
    pace.on_limited(START + 0.2, 1.0)
    assert pace.rate == rate
    assert pace.next_at(START + 0.2) == pytest.approx(START + 5.1)


@pytest.mark.parametrize(
    ("borne", "seconds", "rate"),
    [(150, 10, 13.5), (10, 10, 10.0), (195, 10, 17.55), (400, 10, 18.0)],
)
def test_a_429_at_a_paced_rate_leaves_nine_tenths_of_what_was_borne_within_bounds(
    borne: int, seconds: float, rate: float
) -> None:
    pace = limited_at(40, pause=0.0)
    for _ in range(borne):
        pace.on_success()
    pace.rate = 20.0
    pace.on_limited(START + seconds, 0.5)
    assert pace.rate == pytest.approx(rate)


def test_a_burst_that_was_hardly_answered_is_taken_for_more_than_it_shows() -> None:
    pace = RequestPace()
    for _ in range(100):
        pace.take(START)
    pace.on_success()
    pace.on_limited(START + 0.01, 0.5)
    assert pace.rate == 12.5


def growth(pace: RequestPace) -> list[float]:
    """The rates of the seconds to come in which everything is borne, until it is forgotten."""
    seen: list[float] = []
    while pace.rate is not None and len(seen) < 100:
        seen.append(pace.rate)
        for _ in range(round(pace.rate)):
            pace.on_success()
    return seen


def test_the_way_back_is_fast_at_first_slow_near_the_objection_and_fast_again() -> None:
    pace = limited_at(200, pause=0.0)
    seen = growth(pace)
    assert seen[0] == 100
    assert 180 <= seen[2] <= 200, "two seconds"
    assert seen[5] < 225, "three more seconds"
    assert len(seen) <= 16, "then it is forgotten"
    assert seen == sorted(seen)
    assert seen[-1] > 300


def test_a_pace_that_is_forgotten_leaves_no_wait_behind() -> None:
    pace = limited_at(10, pause=0.0)
    starts(pace, 50)
    growth(pace)
    assert pace.rate is None
    assert pace.take(START)
    assert pace.free_at() <= START


def test_who_may_wait_lets_those_go_first_who_wait() -> None:
    pace = limited_at(20, pause=2.0)
    pace.waiting = 5
    assert pace.free_at() == START + 2.5
    pace.rate = None
    assert pace.free_at() == START + 2


def test_a_timer_that_came_late_may_make_up_for_it_a_little() -> None:
    pace = limited_at(40, pause=0.0)
    assert pace.take(START)
    assert pace.take(START + 0.09)
    assert pace.next_at(START + 0.09) == pytest.approx(START + 0.1)
    assert pace.take(START + 10)
    assert pace.take(START + 10)
    assert not pace.take(START + 10)


def deep_bucket(rate: float, burst: float) -> Take:
    left, filled_at = burst, 0.0

    def take(now: float) -> float:
        nonlocal left, filled_at
        left, filled_at = min(burst, left + (now - filled_at) * rate), now
        if left < 1:
            return (1 - left) / rate
        left -= 1
        return 0.0

    return take


def window(rate: float, seconds: float) -> Take:
    """A service that counts anew every so many seconds."""
    counts: dict[int, int] = {}

    def take(now: float) -> float:
        number = math.floor(now / seconds)
        counts[number] = counts.get(number, 0) + 1
        return 0.0 if counts[number] <= rate * seconds else (number + 1) * seconds - now

    return take


@pytest.mark.parametrize("trip_seconds", [0.01, 0.15])
@pytest.mark.parametrize("asking", [100, 500])
@pytest.mark.parametrize("says_when", [True, False])
@pytest.mark.parametrize("rate", [5, 20, 100, 200])
def test_nearly_all_that_a_service_bears_is_used_and_few_requests_are_in_vain(
    rate: int, asking: int, trip_seconds: float, *, says_when: bool
) -> None:
    """The demand: at 20 a second more than 85 % used, and fewer than 5 % answered 429."""
    figures = press(
        RequestPace(),
        TokenBucket(rate).take,
        asking=asking,
        seconds=130,
        skip_seconds=10,
        trip_seconds=trip_seconds,
        says_when=says_when,
    )
    assert figures.rate_borne > 0.97 * rate
    assert figures.limited_share < (0.02 if rate >= 20 else 0.06)


@pytest.mark.parametrize("trip_seconds", [0.01, 0.15])
@pytest.mark.parametrize(
    "make",
    [lambda: deep_bucket(20, 1), lambda: deep_bucket(20, 200), lambda: window(20, 1)],
    ids=["no burst", "a large burst", "counts by the second"],
)
def test_so_it_is_however_the_service_counts(make: Callable[[], Take], trip_seconds: float) -> None:
    figures = press(
        RequestPace(),
        make(),
        asking=100,
        seconds=130,
        skip_seconds=10,
        trip_seconds=trip_seconds,
    )
    assert figures.rate_borne > 0.8 * 20
    assert figures.limited_share < 0.05


def test_429s_without_a_reason_cost_seconds() -> None:
    """Four of them, and 200 requests a second are possible: 3,000 would take 15 seconds."""
    numbers = itertools.count(1)
    struck = {1, 500, 1000, 1500}
    figures = press(
        RequestPace(),
        lambda _: 0.3 if next(numbers) in struck else 0.0,
        asking=50,
        seconds=30,
        trip_seconds=0.25,
    )
    assert figures.limited == 4
    assert figures.sent > 3_000


def test_a_service_that_bears_more_than_before_is_used_within_seconds() -> None:
    changes_at = 40.0
    before, after = TokenBucket(10), TokenBucket(200)

    def take(now: float) -> float:
        return before.take(now) if now < changes_at else after.take(now)

    figures = press(RequestPace(), take, asking=100, seconds=70, skip_seconds=55)
    assert figures.rate_borne > 0.95 * 200


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "limited", "success"]),
            st.floats(min_value=0, max_value=30),
            st.floats(min_value=0, max_value=120),
        ),
        max_size=80,
    )
)
def test_no_request_goes_out_in_a_pause_and_there_is_always_a_way_on(
    steps: list[tuple[str, float, float]],
) -> None:
    pace = RequestPace()
    now = resumes_at = START
    for action, later, pause in steps:
        now += later
        if action == "limited":
            pace.on_limited(now, pause)
            resumes_at = max(resumes_at, now + pause)
        elif action == "success":
            pace.on_success()
        elif pace.take(now):
            assert now >= resumes_at
        assert pace.rate is None or pace.rate >= 0.5
        assert now <= pace.next_at(now) <= max(now, resumes_at) + 2.1
        assert pace.next_at(now) >= resumes_at
