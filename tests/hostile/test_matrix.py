"""Each cell of the table, played on real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.checks import assert_expected, assert_lawful
from tests.hostile.rows import Cell
from tests.hostile.scene import play
from tests.hostile.table import CELLS


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
async def test_a_fault_has_one_right_answer(cell: Cell, tmp_path: Path) -> None:
    played = await play(cell, tmp_path)
    assert_lawful(played)
    assert_expected(played)
