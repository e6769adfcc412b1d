"""Pictures of what the benchmarks measured; needs matplotlib, the extra `benchmarks`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol


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
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")  # no window, wherever this runs
    # The same numbers give the same file, byte for byte.
    matplotlib.rcParams["svg.hashsalt"] = "soak"
    pyplot = import_module("matplotlib.pyplot")
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
    for axes in (memory, counts):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
