"""Pictures of what the benchmarks measured; needs matplotlib, the extra `benchmarks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from benchmarks.figures import CPU_RATIO, LAG_SHARE, REQUESTS, Figures

# A label is about as wide as seven requests a task, and of its lines so many fill the picture.
_LABEL_REQUESTS = 7.0
_LINES = 32


class Measured(Protocol):
    """A client's process at one moment."""

    @property
    def seconds(self) -> float:
        """Since the run began."""
        ...

    @property
    def in_flight(self) -> int:
        """Tasks that run at the service."""
        ...

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        ...

    @property
    def files(self) -> int:
        """Open file descriptors, sockets among them."""
        ...

    @property
    def tasks(self) -> int:
        """Tasks of asyncio."""
        ...


def plot_soak(samples: Sequence[Measured], path: Path) -> None:
    """Draw memory, open files and tasks over time; the file's ending says in which format."""
    pyplot = _pyplot()
    minutes = [sample.seconds / 60 for sample in samples]
    figure, (memory, counts) = pyplot.subplots(2, sharex=True, figsize=(8, 5), layout="constrained")
    memory.plot(minutes, [sample.memory_mb for sample in samples], color="tab:blue")
    memory.set_ylim(bottom=0)
    memory.set_ylabel("memory, MB")
    for name, values in {
        "tasks in flight": [sample.in_flight for sample in samples],
        "asyncio tasks": [sample.tasks for sample in samples],
        "open files": [sample.files for sample in samples],
    }.items():
        counts.plot(minutes, values, label=name)
    counts.set_ylim(bottom=0)
    counts.set_xlabel("minutes")
    counts.legend(loc="center right", frameon=False)
    _save(figure, path)


class Account(Protocol):
    """How an account stands at one moment, as its service sees it."""

    @property
    def seconds(self) -> float:
        """Since the service was opened."""
        ...

    @property
    def limit(self) -> int | None:
        """Tasks that may run at once; None for any number."""
        ...

    @property
    def in_flight(self) -> int:
        """Tasks that run."""
        ...

    @property
    def made(self) -> int:
        """Tasks made so far."""
        ...

    @property
    def rejected(self) -> int:
        """Runs that were rejected so far, by code 96."""
        ...

    @property
    def limited(self) -> int:
        """Requests that were answered 429 so far."""
        ...


def plot_controller(name: str, samples: Sequence[Account], path: Path) -> None:
    """Draw the stated limit, what runs, and what was rejected, over time."""
    pyplot = _pyplot()
    pyplot.rcParams["svg.fonttype"] = "none"  # text as text: there are many of these pictures
    ran = [sample for sample in samples if sample.made]
    ran = ran[:: max(1, len(ran) // 300)]
    seconds = [sample.seconds - ran[0].seconds for sample in ran]
    figure, (places, refused) = pyplot.subplots(
        2, sharex=True, figsize=(8, 4.5), layout="constrained", height_ratios=(2, 1)
    )
    places.plot(seconds, [sample.in_flight for sample in ran], label="in flight")
    limits = [float("nan") if sample.limit is None else sample.limit for sample in ran]
    places.step(seconds, limits, where="post", color="black", linestyle=":", label="stated limit")
    places.set_ylim(bottom=0)
    places.set_title(name, loc="left")
    places.legend(frameon=False)
    refused.step(seconds, [sample.rejected for sample in ran], where="post", label="rejected (96)")
    refused.step(seconds, [sample.limited for sample in ran], where="post", label="429")
    refused.set_ylim(0, max(10.0, 1.2 * max(ran[-1].rejected, ran[-1].limited)))
    refused.set_xlabel("seconds")
    refused.set_ylabel("so far")
    refused.legend(loc="upper left", frameon=False)
    _save(figure, path)


def plot_clients(medians: Mapping[str, Figures], path: Path) -> None:
    """Draw what each client asks for and what it gets: requests against lag, and its CPU."""
    pyplot = _pyplot()
    figure, (asked, used) = pyplot.subplots(
        1, 2, figsize=(11, 5), layout="constrained", width_ratios=(3, 2)
    )
    names = [name for name, figures in medians.items() if LAG_SHARE in figures]
    for name in names:
        x, y = medians[name][REQUESTS], medians[name][LAG_SHARE]
        asked.scatter(x, y, color=_color(name), zorder=2)
    points = {name: (medians[name][REQUESTS], medians[name][LAG_SHARE]) for name in names}
    for name, height in label_heights(points).items():
        where = (points[name][0], height)
        asked.annotate(
            name, where, xytext=(6, 0), textcoords="offset points", fontsize=8, va="center"
        )
    asked.set_yscale("log")
    asked.set_xlim(0, 1.25 * max(medians[name][REQUESTS] for name in names))
    asked.set_xlabel("requests a task, of every kind")
    asked.set_ylabel("lag p95 / duration")
    drawn = [name for name in reversed(names) if CPU_RATIO in medians[name]]
    used.barh(
        drawn,
        [medians[name][CPU_RATIO] for name in drawn],
        color=[_color(name) for name in drawn],
    )
    used.tick_params(axis="y", labelsize=8)
    used.set_xlabel("CPU a task / floor")
    _save(figure, path)


def label_heights(points: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Where each label stands in a plot with a log axis: at its point, or under another label."""
    lags = [lag for _, lag in points.values()]
    line = (max(lags) / min(lags)) ** (1 / _LINES)
    heights: dict[str, float] = {}
    for name, (requests, lag) in sorted(points.items(), key=lambda point: -point[1][1]):
        under = (
            height / line
            for other, height in heights.items()
            if abs(points[other][0] - requests) < _LABEL_REQUESTS
        )
        heights[name] = min([lag, *under])
    return heights


def _color(name: str) -> str:
    if name.startswith(("floor", "plain")):
        return "tab:gray"
    return "tab:blue" if name.startswith("wiro") else "tab:orange"


def _pyplot() -> Any:  # noqa: ANN401 - matplotlib's
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")  # no window, wherever this runs
    # The same numbers give the same file, byte for byte.
    matplotlib.rcParams["svg.hashsalt"] = "wiro"
    return import_module("matplotlib.pyplot")


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib's
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    import_module("matplotlib.pyplot").close(figure)
