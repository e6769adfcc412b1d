import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import (
    CPU,
    CPU_RATIO,
    FINISHED,
    LAG,
    LAG_MEDIAN,
    LAG_SHARE,
    MAKESPAN,
    MEMORY,
    REQUESTS,
    SERVICE,
    TO_IDEAL,
    Account,
    Booked,
    Performance,
    ideal_makespan,
    judge,
    medians,
    quantile,
    with_ratio,
)

BORN = 1_000.0
ACCOUNT = Account(
    born=BORN,
    tasks={
        "1": Booked(created=0.0, duration=2.0, ended=2.0),
        "2": Booked(created=0.0, duration=4.0, ended=4.0),
        "3": Booked(created=2.5, duration=1.0, ended=3.5),
    },
    requests={"Run": 3, "Task/Detail": 5, "cdn": 3, "socket": 1},
    cpu_seconds=2.5,
)
PERFORMANCE = Performance(
    seconds=5.0,
    cpu_seconds=0.006,
    memory_kb=100.0,
    ended=[("1", BORN + 2.5), ("2", BORN + 5.0), ("3", BORN + 3.6)],
)

durations = st.lists(st.floats(min_value=0.001, max_value=100.0), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("given_durations", "in_flight", "ideal"),
    [
        ([3.0], 1, 3.0),
        ([1.0, 2.0, 3.0], 1, 6.0),
        ([1.0, 2.0, 3.0], 3, 3.0),
        ([3.0, 1.0, 1.0, 1.0], 2, 3.0),
        ([1.0, 1.0, 3.0], 2, 4.0),
    ],
)
def test_the_ideal_puts_each_task_into_the_slot_that_is_free_first(
    given_durations: list[float], in_flight: int, ideal: float
) -> None:
    assert ideal_makespan(given_durations, in_flight) == ideal


@given(durations, st.integers(min_value=1, max_value=20))
def test_the_ideal_lies_between_its_bounds(values: list[float], in_flight: int) -> None:
    ideal = ideal_makespan(values, in_flight)
    least = max(*values, sum(values) / in_flight) if len(values) > 1 else values[0]
    assert least <= ideal * (1 + 1e-9)
    # Graham, "Bounds on multiprocessing timing anomalies": never twice what is least.
    assert ideal <= sum(values) / in_flight + max(values) + 1e-6


def test_quantiles_lie_on_straight_lines_between_the_values() -> None:
    values = [4.0, 1.0, 3.0, 2.0, 5.0]
    assert [quantile(values, share) for share in (0.0, 0.5, 1.0)] == [1.0, 3.0, 5.0]
    assert quantile(values, 0.95) == pytest.approx(4.8)
    assert quantile([7.0], 0.95) == 7.0
    with pytest.raises(ValueError, match="no quantile"):
        quantile([], 0.5)


def test_figures_bring_the_client_and_the_books_together() -> None:
    figures = judge(PERFORMANCE, ACCOUNT, in_flight=2)
    assert figures[FINISHED] == 3
    assert figures[MAKESPAN] == 5.0
    # Slots: 2 then 1 seconds, and 4 seconds.
    assert figures[TO_IDEAL] == pytest.approx(5.0 / 4.0)
    assert figures[REQUESTS] == 4.0
    assert figures[LAG_MEDIAN] == pytest.approx(0.5)
    assert figures[LAG] == pytest.approx(0.95)
    # The shares are 0.25, 0.25 and 0.1.
    assert figures[LAG_SHARE] == pytest.approx(0.25)
    assert figures[CPU] == pytest.approx(2.0)
    assert figures[MEMORY] == 50.0
    assert figures[SERVICE] == 0.5


def test_the_ideal_takes_the_tasks_in_the_order_of_their_making() -> None:
    late_first = Account(
        born=BORN,
        tasks={
            "1": Booked(created=9.0, duration=3.0, ended=12.0),
            "2": Booked(created=0.0, duration=1.0, ended=1.0),
            "3": Booked(created=0.5, duration=1.0, ended=1.5),
        },
        requests={},
    )
    performance = Performance(
        seconds=8.0, cpu_seconds=1.0, memory_kb=0.0, ended=[("1", BORN + 12.0)]
    )
    assert judge(performance, late_first, in_flight=2)[TO_IDEAL] == pytest.approx(8.0 / 4.0)


def test_an_arm_that_did_not_finish_has_no_makespan() -> None:
    performance = Performance(
        seconds=120.0,
        cpu_seconds=60.0,
        memory_kb=1.0,
        ended=[("1", BORN + 3.0)],
        is_whole=False,
    )
    figures = judge(performance, ACCOUNT, in_flight=2)
    assert {MAKESPAN, TO_IDEAL}.isdisjoint(figures)
    assert figures[FINISHED] == 1
    assert figures[CPU] == 60_000.0


def test_an_arm_that_finished_nothing_has_that_to_tell_alone() -> None:
    performance = Performance(
        seconds=120.0, cpu_seconds=60.0, memory_kb=1.0, ended=[], is_whole=False
    )
    assert judge(performance, ACCOUNT, in_flight=2) == {FINISHED: 0.0}


def test_cpu_is_told_against_the_floor_where_there_is_one() -> None:
    assert with_ratio({CPU: 3.0}, {CPU: 2.0})[CPU_RATIO] == 1.5
    assert CPU_RATIO not in with_ratio({CPU: 3.0}, None)
    assert CPU_RATIO not in with_ratio({FINISHED: 0.0}, {CPU: 2.0})
    assert CPU_RATIO not in with_ratio({CPU: 3.0}, {FINISHED: 0.0})


def test_medians_are_of_the_rounds_that_have_the_figure() -> None:
    rounds = [{CPU: 1.0, MAKESPAN: 9.0}, {CPU: 5.0}, {CPU: 2.0, MAKESPAN: 7.0}]
    assert medians(rounds) == {CPU: 2.0, MAKESPAN: 8.0}
