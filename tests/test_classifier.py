"""Sent or not sent: what is said of an attempt, against what the server really read of it."""

from __future__ import annotations

import pytest

from tests.certificates import trust_the_tests
from tests.classifier_answers import CELLS, REQUIRED
from tests.classifier_stage import Cell, Verdict, assert_expected, assert_lawful, play


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
async def test_what_is_said_is_what_the_server_saw(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_the_tests(monkeypatch)
    performed = await play(cell, monkeypatch)
    assert_lawful(performed)
    assert_expected(performed)


def test_the_table_covers_what_it_has_to() -> None:
    cells = [(cell.phase, cell.behaviour) for cell in CELLS]
    assert len(set(cells)) == len(cells) >= 60
    assert set(cells) >= REQUIRED
    assert {cell.expected for cell in CELLS} == set(Verdict)
