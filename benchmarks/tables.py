"""Tables in Markdown, as they stand in the docs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.figures import FINISHED, Figures
from benchmarks.settings import Promise

_NOTHING = "-"


def write_number(value: float | None) -> str:
    """Write a figure with three digits that count, or a dash if there is none."""
    if value is None:
        return _NOTHING
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2  # noqa: PLR2004
    if abs(value) < 0.1:  # noqa: PLR2004
        decimals = 3
    return f"{value:.{decimals}f}"


def table(rows: Iterable[Sequence[str]], head: Sequence[str]) -> Iterator[str]:
    """Write a table whose columns are as wide as they have to be; the lines of it."""
    lines = [head, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    for number, line in enumerate(lines):
        cells = [
            text.rjust(width) if number and place else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "| " + " | ".join(cells) + " |"
        if not number:
            yield "|" + "---|" * len(head)


def figures_table(
    medians: Mapping[str, Figures], columns: Sequence[str], tasks: int
) -> Iterator[str]:
    """Write a row for each arm; one that did not finish says how far it came."""
    rows = []
    for name, figures in medians.items():
        finished = int(figures.get(FINISHED, 0))
        shown = name if finished == tasks else f"{name} ({finished:,} of {tasks:,} done)"
        rows.append([shown, *(write_number(figures.get(column)) for column in columns)])
    return table(rows, ["client", *columns])


def promises_table(
    promises: Iterable[Promise], measured: Mapping[str, Mapping[str, Figures]]
) -> Iterator[str]:
    """Write what was promised beside what was measured; what was not measured is left out."""
    rows = []
    for promise in promises:
        value = measured.get(promise.setting, {}).get(promise.arm, {}).get(promise.figure)
        if value is not None:
            verdict = "reached" if value <= promise.bound else "missed"
            numbers = (f"{promise.bound:g}", write_number(value))
            rows.append([promise.setting, promise.arm, promise.figure, *numbers, verdict])
    return table(rows, ["setting", "client", "figure", "at most", "measured", ""])
