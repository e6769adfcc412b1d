"""``wiro batch --max-cost``: what is said, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import FLUX, Wiro
from wiro_async.emulator import Emulator, Fault

BATCH = ("batch", "p.txt", "-m", FLUX, "--out", "out", "--first-look", "0.02")


def write_prompts(folder: Path) -> None:
    (folder / "p.txt").write_text("".join(f"number {number}\n" for number in range(10)))


@pytest.mark.parametrize("cost", ["0", "-1", "nan", "inf", "much"])
def test_a_limit_is_a_number_above_nought(wiro: Wiro, tmp_path: Path, cost: str) -> None:
    write_prompts(tmp_path)
    ran = wiro(*BATCH, f"--max-cost={cost}", "--emulator")
    assert ran.code == 2
    assert "--max-cost" in ran.err
    assert not (tmp_path / "out").exists()


def test_it_stops_at_the_limit_and_goes_on_with_a_higher_one(
    wiro: Wiro, emulator: Emulator, tmp_path: Path
) -> None:
    write_prompts(tmp_path)
    ran = wiro(*BATCH, "--max-cost", "0.30")
    assert ran.code == 1
    assert "5 requests: 5 succeeded" in ran.err
    assert "spent $0.30, reserved $0.00 for 0 tasks" in ran.err
    assert "stopped early: the limit is $0.30, $0.30 is spent" in ran.err
    assert emulator.books.requests["Run"] == 5
    ran = wiro(*BATCH, "--max-cost", "1")
    assert ran.code == 0
    assert "10 succeeded (5 of them in earlier runs)" in ran.err
    assert "spent $0.60" in ran.err
    assert emulator.books.requests["Run"] == 10


def test_what_is_unknown_is_told_apart(wiro: Wiro, emulator: Emulator, tmp_path: Path) -> None:
    emulator.add_fault(Fault(endpoint="Run", action="drop_before", match="number 3"))
    write_prompts(tmp_path)
    ran = wiro(*BATCH, "--max-cost", "1", "--settle", "0.05")
    assert ran.code == 1
    assert "9 succeeded, 1 unknown" in ran.err
    assert "spent $0.54, reserved $0.06 for 1 task whose end is not known" in ran.err
    assert "--on-unknown resubmit" in ran.err
