"""The garbage collector while ``wiro batch`` runs: seldom, and as before when it is over."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.cli.conftest import FLUX, Wiro
from wiro_async.batch.engine import Batch
from wiro_async.cli import show
from wiro_async.cli.memory import seldom_searched


def test_what_is_there_is_left_alone_and_what_comes_is_looked_at_less_often() -> None:
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    with seldom_searched():
        assert gc.get_freeze_count() > frozen + 1000
        assert all(seldom > often for seldom, often in zip(gc.get_threshold(), usual, strict=True))
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, frozen)
    with pytest.raises(KeyError), seldom_searched():
        raise KeyError
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, frozen)


@pytest.mark.usefixtures("emulator")
def test_a_batch_runs_in_it(wiro: Wiro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.txt").write_text("one\n")
    usual = gc.get_threshold()
    seen: list[tuple[int, int, int]] = []
    update = show._Lines.update

    def watching(self: show._Lines, batch: Batch) -> None:
        seen.append(gc.get_threshold())
        update(self, batch)

    monkeypatch.setattr(show._Lines, "update", watching)
    assert wiro("batch", "p.txt", "--model", FLUX, "--out", "out").code == 0
    assert seen
    assert usual not in seen
    assert gc.get_threshold() == usual
