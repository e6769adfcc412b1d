"""What can looking alone do? Requests against lag: the best of all schedules, ours, and others.

For several kinds of durations: the optimum, by dynamic programming over the very distribution that
the tasks are drawn from; this library, which begins knowing nothing and learns from the tasks
that end; and the fixed schedules that people and other clients use. All in virtual time and without
a wire, so it measures schedules and nothing else.

A look is one request for one task. The lag is the time from a task's end to the look that finds
it, as a share of the task's duration. In both, less is better, and one is bought with the other:
the optimum is a curve, a point of it for each price of a look. The table's last columns hold each
schedule against it: the looks that the best of all schedules takes for the same lag, and the
requests of all kinds, with a Run and a file for each task, over those of that one.

    python -m benchmarks.frontier
    python -m benchmarks.frontier --plot docs/images/frontier.svg     # needs matplotlib

Longer than the other files because the optimum, and what is held against it, is told in one piece.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import math
import random
import statistics
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import accumulate, pairwise
from pathlib import Path

from attrs import define, field, frozen

from wiro_async.protocol.learning import ALONE, Learned, Load, Told, Waits
from wiro_async.protocol.polling import PollSchedule
from wiro_async.tracking.agenda import on_beat

MEDIAN_SECONDS = 2.0
_SAMPLE = 2000
_GRID = 240
_ROUNDS = 9
_PRICES = tuple(0.001 * 1.5**step for step in range(14))
_MODEL = "owner/model"
# A task's Run and its file.
_OTHER_REQUESTS = 2

Quantile = Callable[[float], float]


@frozen(kw_only=True)
class Point:
    """What a schedule comes to.

    Attributes:
        looks: for each task, on average.
        lag: as a share of the task's duration, on average.
        late: the same, which one in twenty exceeds.
    """

    looks: float
    lag: float
    late: float


def lognormal(sigma: float) -> Quantile:
    """A lognormal law of durations."""
    normal = statistics.NormalDist()
    return lambda share: MEDIAN_SECONDS * math.exp(sigma * normal.inv_cdf(share))


def pareto(index: float) -> Quantile:
    """A law with a heavy tail."""
    least = MEDIAN_SECONDS * 0.5 ** (1 / index)
    return lambda share: least * (1 - share) ** (-1 / index)


LAWS: Mapping[str, Quantile] = {
    "lognormal, sigma 0.2": lognormal(0.2),
    "lognormal, sigma 0.5": lognormal(0.5),
    "lognormal, sigma 1.0": lognormal(1.0),
    "Pareto, index 1.5": pareto(1.5),
}


def sample_of(law: Quantile) -> list[float]:
    """Durations that stand for a law, in order; no luck in it."""
    return [law((place + 0.5) / _SAMPLE) for place in range(_SAMPLE)]


def best_looks(sample: Sequence[float], price: float) -> list[float]:
    """The ages at which to look that cost least, by dynamic programming.

    Args:
        sample: the durations, in order.
        price: what a look costs, as a share of a duration of lag.
    """
    # A factor apart, from a tenth of the shortest on; the last is past the longest.
    first, last = sample[0] / 2, sample[-1] * 1.0001
    ages = [0.0, *(first * (last / first) ** (step / (_GRID - 1)) for step in range(_GRID))]
    ended = [bisect_right(sample, age) for age in ages]
    inverses = [0.0, *accumulate(1 / seconds for seconds in sample)]
    weights = [inverses[number] for number in ended]
    costs = [0.0] * len(ages)
    following = [0] * len(ages)
    for here in range(len(ages) - 2, -1, -1):
        asked = price * (len(sample) - ended[here])
        costs[here], following[here] = min(
            (
                asked
                + ages[there] * (weights[there] - weights[here])
                - (ended[there] - ended[here])
                + costs[there],
                there,
            )
            for there in range(here + 1, len(ages))
        )
    looks, place = [], following[0]
    while place:
        looks.append(ages[place])
        place = following[place]
    return looks


def measure(sample: Sequence[float], looks: Sequence[float]) -> Point:
    """What these ages come to for tasks of these durations."""
    places = [bisect_left(looks, seconds) for seconds in sample]
    shares = [looks[place] / seconds - 1 for place, seconds in zip(places, sample, strict=True)]
    return Point(
        looks=statistics.fmean(places) + 1,
        lag=statistics.fmean(shares),
        late=sorted(shares)[int(0.95 * len(shares))],
    )


def frontier(law: Quantile) -> list[Point]:
    """The best that can be had at each price, the dearest looks first."""
    sample = sample_of(law)
    return [measure(sample, best_looks(sample, price)) for price in reversed(_PRICES)]


@define
class Play:
    """A number of tasks, so many at once, looked at as `waits` say; in virtual time."""

    waits: Waits
    law: Quantile
    seed: int
    in_flight: int = 100
    _dice: random.Random = field(init=False)
    _due: list[tuple[float, int]] = field(init=False, factory=list)
    # By number: when it began, how long it takes, and the age at the last look.
    _tasks: dict[int, tuple[float, float, float]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311 - the same tasks each time

    def run(self, tasks: int) -> Point:
        """Run them all, the next one beginning where one is found to have ended."""
        looks, shares = 0, []
        begun = min(tasks, self.in_flight)
        for number in range(begun):
            self._begin(number, 0.0)
        while self._due:
            now, number = heapq.heappop(self._due)
            since, seconds, seen = self._tasks[number]
            looks += 1
            if now - since < seconds:
                self._tasks[number] = (since, seconds, now - since)
                self._put(number, now)
                continue
            del self._tasks[number]
            shares.append((now - since) / seconds - 1)
            self._learn(seen, now - since)
            if begun < tasks:
                self._begin(begun, now)
                begun += 1
        late = sorted(shares)[int(0.95 * len(shares))]
        return Point(looks=looks / tasks, lag=statistics.fmean(shares), late=late)

    def _begin(self, number: int, now: float) -> None:
        self._tasks[number] = (now, self.law(self._dice.random()), 0.0)
        self._put(number, now)

    def _put(self, number: int, now: float) -> None:
        load = Load(tasks=len(self._tasks))
        age = now - self._tasks[number][0]
        wait = self.waits.wait_seconds(_MODEL, age, self._dice.random(), load)
        heapq.heappush(self._due, (on_beat(now, wait), number))

    def _learn(self, seen: float, found: float) -> None:
        self.waits.note(_MODEL, seen, found)
        if self.waits.wants_fit(_MODEL):
            self.waits.fit(_MODEL, [age for _, _, age in self._tasks.values() if age > 0])


def every(seconds: float) -> Callable[[], Waits]:
    """One look each so many seconds."""
    schedule = PollSchedule(first_seconds=seconds, growth=1.0, max_seconds=seconds, jitter=0.0)
    return lambda: Told(schedule)


@define
class Geometric(Told):
    """The first look where it was told, each later one a quarter of the age after the last."""

    def wait_seconds(
        self, model: str | None, elapsed_seconds: float, dice: float, load: Load = ALONE
    ) -> float:
        """As the class says."""
        del model, dice, load
        return elapsed_seconds / 4 or self.schedule.first_seconds


# The others' default intervals, as their code has them in the releases of benchmarks/peers.txt.
SCHEDULES: Mapping[str, Callable[[], Waits]] = {
    "wiro_async, learning": Learned,
    "25 % of the age": lambda: Geometric(PollSchedule(first_seconds=0.4 * MEDIAN_SECONDS)),
    "PollSchedule()": lambda: Told(PollSchedule()),
    "every 0.1 s (fal-client)": every(0.1),
    "every 0.5 s (replicate)": every(0.5),
    "every 2 s (Wiro's Node client)": every(2.0),
    "every 3 s (Wiro's others)": every(3.0),
    "every 6 s (runwayml)": every(6.0),
}


def play(make: Callable[[], Waits], law: Quantile, tasks: int, in_flight: int) -> Point:
    """The medians of several rounds, each with other tasks."""
    rounds = [
        Play(make(), law, seed=seed, in_flight=in_flight).run(tasks) for seed in range(_ROUNDS)
    ]
    return Point(
        looks=statistics.median(one.looks for one in rounds),
        lag=statistics.median(one.lag for one in rounds),
        late=statistics.median(one.late for one in rounds),
    )


def best_looks_for(curve: Sequence[Point], lag: float) -> float:
    """The looks of the best schedule with this lag; on a line between its neighbours."""
    for dear, cheap in pairwise(curve):
        if cheap.lag <= lag <= dear.lag:
            share = math.log(lag / dear.lag) / math.log(cheap.lag / dear.lag)
            return math.exp(math.log(dear.looks) * (1 - share) + math.log(cheap.looks) * share)
    return math.nan


def rows(tasks: int, in_flight: int) -> Iterator[tuple[str, list[Point], dict[str, Point]]]:
    """Of each law: its name, the frontier, and what each schedule comes to."""
    for name, law in LAWS.items():
        points = {who: play(make, law, tasks, in_flight) for who, make in SCHEDULES.items()}
        yield name, frontier(law), points


def print_table(name: str, curve: Sequence[Point], points: Mapping[str, Point]) -> None:
    """Print what one law comes to."""
    print(f"\n{name}:\n")
    print("| schedule | looks a task | lag / duration | p95 | looks of the best | requests / its |")
    print("|---|---|---|---|---|---|")
    for who, point in points.items():
        best = best_looks_for(curve, point.lag)
        ratio = (point.looks + _OTHER_REQUESTS) / (best + _OTHER_REQUESTS)
        shown = " | " if math.isnan(best) else f"{best:.1f} | {ratio:.2f}"
        print(f"| {who} | {point.looks:.1f} | {point.lag:.3f} | {point.late:.2f} | {shown} |")


def draw(results: Sequence[tuple[str, Sequence[Point], Mapping[str, Point]]], path: Path) -> None:
    """Draw the curves; the file's ending says in which format."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")  # no window, wherever this runs
    # The same numbers give the same file, byte for byte.
    matplotlib.rcParams["svg.hashsalt"] = "frontier"
    pyplot = import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(2, 2, figsize=(9, 7), layout="constrained")
    for (name, curve, points), axis in zip(results, axes.flat, strict=True):
        axis.plot(
            [one.looks for one in curve],
            [one.lag for one in curve],
            color="black",
            label="the best of all schedules",
        )
        for who, point in points.items():
            is_ours = who.startswith("wiro_async")
            axis.plot(
                point.looks, point.lag, "*" if is_ours else "o", ms=12 if is_ours else 5, label=who
            )
        axis.set(title=name, xscale="log", yscale="log")
        axis.tick_params(axis="x", which="minor", labelbottom=False)
        axis.set(xlabel="looks a task", ylabel="lag / duration, mean")
    axes.flat[0].legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> int:
    """Read the options, reckon, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--plot", type=Path, help="a file for the picture of it: .svg or .png")
    options = parser.parse_args()
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install -e '.[benchmarks]'")
    print(
        f"{options.tasks} tasks, {options.in_flight} in flight, median {MEDIAN_SECONDS:g} s; "
        f"medians of {_ROUNDS} rounds"
    )
    results = []
    for result in rows(options.tasks, options.in_flight):
        print_table(*result)
        results.append(result)
    if options.plot is not None:
        draw(results, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
