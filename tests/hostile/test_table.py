"""The table as a whole: its size, its page in the documentation, and that each row can fail."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.hostile import scene
from tests.hostile.middleman import Phase
from tests.hostile.rows import EVERYWHERE, Row
from tests.hostile.sabotage import LAWS, SABOTAGES, fails, is_missed, sabotaged
from tests.hostile.table import CELLS, ROWS, render

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_there_are_three_hundred_cells_and_more_none_twice() -> None:
    assert len(CELLS) >= 300
    assert [name for name, count in Counter(cell.name for cell in CELLS).items() if count > 1] == []


def test_every_endpoint_fails_in_every_phase_that_it_has() -> None:
    seen = {(cell.endpoint, cell.phase) for cell in CELLS}
    asked_once = {"Task/Kill", "Task/Cancel", "Tool/Detail"}
    wanted = {
        (endpoint, phase)
        for endpoint in EVERYWHERE
        for phase in Phase
        if endpoint not in asked_once or phase is not Phase.MIDDLE
    }
    assert seen == wanted


def test_the_page_of_the_documentation_is_this_table() -> None:
    opening, table = PAGE.read_text().split("<!-- python -m tests.hostile -->\n\n")
    assert table == render()
    assert opening.startswith("# Faults")


def test_each_line_of_the_table_has_its_six_places() -> None:
    lines = [line for line in render().splitlines() if line.startswith("|")]
    assert len(lines) == len(ROWS) + 2 * len({row.group for row in ROWS})
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7}


def test_each_row_names_a_line_of_defence_and_each_of_them_is_tried() -> None:
    assert {row.sabotage for row in ROWS} == set(SABOTAGES)


def _first_row(name: str) -> Row:
    return next(row for row in ROWS if row.sabotage == name)


# All rows: python -m tests.hostile --sabotage
@pytest.mark.parametrize("name", SABOTAGES)
def test_a_defence_that_is_taken_away_is_missed(name: str) -> None:
    assert is_missed(_first_row(name))


@pytest.mark.parametrize("name", LAWS)
def test_what_holds_of_every_cell_is_looked_at(name: str) -> None:
    cell_name, patches = LAWS[name]
    (cell,) = [one for one in CELLS if one.name == cell_name]
    assert not fails(cell)
    with sabotaged(patches):
        assert fails(cell)


def test_what_is_red_for_another_reason_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def break_down(*_: object) -> None:
        raise LookupError("the scene itself is broken")

    monkeypatch.setattr(scene, "play", break_down)
    with pytest.raises(LookupError):
        fails(CELLS[0])
