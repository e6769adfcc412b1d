"""What a run of tasks came to: arithmetic on what the client used and what the books say.

A *round* lets every arm run the same tasks once. CPU is told as a ratio to the floor of the same
round, because a busy machine slows both; of several rounds the median is told, figure by figure.
All times are in seconds; an arm that did not finish has no makespan, and what it has is of the
tasks that it did finish.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

MAKESPAN = "makespan s"
TO_IDEAL = "makespan / ideal"
REQUESTS = "requests a task"
LAG_MEDIAN = "lag p50 s"
LAG = "lag p95 s"
LAG_SHARE = "lag p95 / duration"
CPU = "CPU ms a task"
CPU_RATIO = "CPU / floor"
MEMORY = "kB a task in flight"
SERVICE = "service busy"
FINISHED = "finished"

Figures = Mapping[str, float]


@frozen(kw_only=True)
class Booked:
    """A task as the service's books have it; times since the service was made.

    Attributes:
        created: when it was made.
        duration: how long it was to take.
        ended: when it was terminal; None if it is not.
    """

    created: float
    duration: float
    ended: float | None


@frozen(kw_only=True)
class Account:
    """What the service saw of one run.

    Attributes:
        born: the unix time at which the service was made.
        tasks: by their ids.
        requests: how many came, by kind.
        cpu_seconds: what the service itself used.
    """

    born: float
    tasks: Mapping[str, Booked]
    requests: Mapping[str, int]
    cpu_seconds: float = 0.0


@frozen(kw_only=True)
class Performance:
    """What a client used for one run.

    Attributes:
        seconds: from its first request to its last file.
        cpu_seconds: of its process, without its imports.
        memory_kb: by which the peak of its resident memory grew.
        ended: the id of each task whose file it had, and the unix time at which it had it.
        is_whole: whether it came to its end in the time that it was given.
        errors: what went wrong, by the class of the error.
    """

    seconds: float
    cpu_seconds: float
    memory_kb: float
    ended: Sequence[tuple[str, float]]
    is_whole: bool = True
    errors: Mapping[str, int] = field(factory=dict)


def ideal_makespan(durations: Iterable[float], in_flight: int) -> float:
    """Find when the last task ends if a slot is never empty.

    The tasks are put, in their order, each into the slot that is free first.
    """
    slots = [0.0] * in_flight
    for duration in durations:
        heapq.heapreplace(slots, slots[0] + duration)
    return max(slots)


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value below which that share of the values lies, with a straight line between two.

    Raises:
        ValueError: if there are no values.
    """
    if not values:
        raise ValueError("no values have no quantile")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def judge(performance: Performance, account: Account, in_flight: int) -> Figures:
    """Bring what a client used and what the service's books say together.

    Args:
        performance: what the client used.
        account: what the service saw.
        in_flight: how many tasks might run at once.
    """
    finished = len(performance.ended)
    figures: dict[str, float] = {FINISHED: float(finished)}
    if not finished:
        return figures
    lags, shares = _lags(performance, account)
    figures |= {
        REQUESTS: sum(account.requests.values()) / finished,
        LAG_MEDIAN: quantile(lags, 0.5),
        LAG: quantile(lags, 0.95),
        LAG_SHARE: quantile(shares, 0.95),
        CPU: 1000 * performance.cpu_seconds / finished,
        MEMORY: performance.memory_kb / in_flight,
        SERVICE: account.cpu_seconds / performance.seconds,
    }
    if performance.is_whole:
        made = sorted(account.tasks.values(), key=lambda task: task.created)
        ideal = ideal_makespan((task.duration for task in made), in_flight)
        figures |= {MAKESPAN: performance.seconds, TO_IDEAL: performance.seconds / ideal}
    return figures


def _lags(performance: Performance, account: Account) -> tuple[list[float], list[float]]:
    """How long after each task's end its file was there: in seconds, and in its durations."""
    lags, shares = [], []
    for task_id, at in performance.ended:
        task = account.tasks[task_id]
        assert task.ended is not None  # noqa: S101 - its file was there
        lags.append(at - account.born - task.ended)
        shares.append(lags[-1] / task.duration)
    return lags, shares


def with_ratio(one: Figures, floor: Figures | None) -> Figures:
    """Add how much of the floor's CPU was used for a task, if the same round has a floor."""
    if floor is None or CPU not in one or CPU not in floor:
        return one
    return {**one, CPU_RATIO: one[CPU] / floor[CPU]}


def medians(rounds: Iterable[Figures]) -> Figures:
    """Give the median of each figure, over the rounds that have it."""
    gathered: dict[str, list[float]] = {}
    for figures in rounds:
        for name, value in figures.items():
            gathered.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in gathered.items()}
