"""All rows and cells, and the page of the documentation that shows them."""

from __future__ import annotations

from itertools import groupby

from tests.hostile import (
    rows_of_answers,
    rows_of_bodies,
    rows_of_files,
    rows_of_places,
    rows_of_records,
    rows_of_the_way,
)
from tests.hostile.middleman import Phase
from tests.hostile.rows import Cell, Row

ROWS: tuple[Row, ...] = (
    *rows_of_the_way.ROWS,
    *rows_of_answers.ROWS,
    *rows_of_bodies.ROWS,
    *rows_of_records.ROWS,
    *rows_of_files.ROWS,
    *rows_of_places.ROWS,
)
CELLS: tuple[Cell, ...] = tuple(cell for row in ROWS for cell in row.cells())

_HEAD = (
    "| what goes wrong | where | when | what the library does | what you see | what you can do |",
    "|---|---|---|---|---|---|",
)


def render() -> str:
    """The table in Markdown, a heading for each group."""
    counts = f"{len(ROWS)} faults, {len(CELLS)} cells"
    parts = [f"{counts}: a cell is one fault at one endpoint, in one phase."]
    for group, rows in groupby(ROWS, key=lambda row: row.group):
        parts.append(f"## {group}")
        parts.append("\n".join([*_HEAD, *(_line(row) for row in rows)]))
    return "\n\n".join(parts) + "\n"


def _line(row: Row) -> str:
    places = ", ".join(f"{place}" for place in row.endpoints)
    phases = ", ".join(phase for phase in Phase if phase in row.phases)
    words = row.words
    return f"| {row.name} | {places} | {phases} | {words.does} | {words.sees} | {words.can} |"
