"""``wiro batch`` in a process of its own on a disk that fills up: it says so, waits and goes on.

The disk is a small file system of its own, where this process may mount one, and everywhere one
that only says that it is full.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from attrs import frozen

from tests.batch.test_engine import lines
from tests.batch.test_full_disk import can_mount, mount, prepare, small_disk
from tests.cli.conftest import FLUX, emulating
from tests.cli.processes import Process, process_of
from wiro_async.emulator import Emulator

PROMPTS = 12
TOTAL = 8_000_000
WIRO = """
import shutil, sys
from pathlib import Path
from types import SimpleNamespace
from wiro_async.batch import gate
from wiro_async.cli.app import run_app

gate._TRY_SECONDS = 0.3

def tell(_):
    return SimpleNamespace(total=8_000_000, free=int(Path("room").read_text()))

if Path("room").exists():
    shutil.disk_usage = tell
sys.exit(run_app())
"""


@frozen
class Disk:
    """Where the output goes."""

    folder: Path
    is_real: bool

    def fill(self) -> None:
        """Leave a little, and less than the reserve."""
        if self.is_real:
            filler = self.folder / "out" / "filler"
            filler.write_bytes(b"0" * (TOTAL - 250_000))
        else:
            self._tell(250_000)

    def empty(self) -> None:
        if self.is_real:
            (self.folder / "out" / "filler").unlink()
        else:
            self._tell(TOTAL)

    def _tell(self, free: int) -> None:
        fresh = self.folder / "room.new"
        fresh.write_text(str(free))
        fresh.replace(self.folder / "room")


@pytest.fixture(params=["said", *(["real"] if can_mount() else [])])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path, is_real=request.param == "real")
    (tmp_path / "p.txt").write_text("".join(f"number {n}\n" for n in range(PROMPTS)))
    if made.is_real:
        with small_disk(tmp_path / "out", f"{TOTAL}"):
            yield made
    else:
        yield made


def running(
    folder: Path, emulator: Emulator, *options: str, file: str = "p.txt"
) -> AbstractContextManager[Process]:
    command = ("-c", WIRO, "batch", file, "--model", FLUX, "--out", "out")
    return process_of(folder, emulator, *command, "--first-look", "0.02", "-n", "3", *options)


def check_through(disk: Disk, emulator: Emulator) -> None:
    assert {len(ids) for ids in emulator.books.tasks_by_prompt.values()} == {1}
    assert len(emulator.books.tasks) == PROMPTS
    assert len(lines(disk.folder / "out", "results.jsonl")) == PROMPTS
    assert lines(disk.folder / "out", "errors.jsonl") == []
    assert len([*(disk.folder / "out").glob("*.png")]) == PROMPTS
    assert [*(disk.folder / "out").glob(".*.part")] == []


def test_a_disk_that_is_full_from_the_start_is_told_before_anything_is_paid(disk: Disk) -> None:
    disk.fill()
    with emulating() as emulator, running(disk.folder, emulator) as process:
        process.wait_for("the disk that holds out is full .*: nothing more is submitted; it goes")
        process.wait_for("0/12, paused, 0 in flight")
        assert emulator.books.requests["Run"] == 0
        disk.empty()
        assert process.end() == 0, process.said
        check_through(disk, emulator)
    assert process.said.count("is full") == 1, "one line when it begins"
    assert process.said.count("there is room on the disk again: it goes on") == 1
    assert "12 requests: 12 succeeded" in process.said


def test_ctrl_c_ends_a_pause_at_once_and_the_same_command_goes_on(disk: Disk) -> None:
    disk.fill()
    with emulating() as emulator:
        with running(disk.folder, emulator) as process:
            process.wait_for("nothing more is submitted")
            process.popen.send_signal(signal.SIGINT)
            assert process.end() == 130
        assert "go on with: " in process.said
        assert "room on the disk again" not in process.said
        assert "Traceback" not in process.said
        disk.empty()
        with running(disk.folder, emulator) as process:
            assert process.end() == 0, process.said
        check_through(disk, emulator)


def test_when_the_patience_is_over_it_ends_and_the_same_command_goes_on(disk: Disk) -> None:
    disk.fill()
    with emulating() as emulator:
        with running(disk.folder, emulator, "--disk-patience", "0.5") as process:
            assert process.end() == 1
        assert "stopped early: the disk that holds out is full" in process.said
        assert "make room, and start the same batch again" in process.said
        assert "Traceback" not in process.said
        assert emulator.books.requests["Run"] == 0
        disk.empty()
        with running(disk.folder, emulator) as process:
            assert process.end() == 0, process.said
        check_through(disk, emulator)


if can_mount():

    def test_a_picture_that_did_not_fit_is_saved_when_there_is_room(tmp_path: Path) -> None:
        """The disk fills up in the middle of a picture, which is larger than the reserve."""
        prompts = prepare(tmp_path, 3)
        out = tmp_path / "out"
        with emulating(picture_pixels=2400) as emulator, small_disk(out, "560k"):
            with running(tmp_path, emulator, "-n", "1", file="prompts.txt") as process:
                process.wait_for("the disk that holds out is full .*: nothing more is submitted")
                mount("-o", "remount,size=20m", out)
                assert process.end() == 0, process.said
            assert {len(ids) for ids in emulator.books.tasks_by_prompt.values()} == {1}
            assert emulator.books.tasks_by_prompt.keys() == set(prompts)
            assert [path.stat().st_size > 100_000 for path in out.glob("*.png")] == [True] * 3
            assert [*out.glob(".*.part")] == []
            assert len(lines(out, "results.jsonl")) == 3
        assert "000003.png does not fit" in process.said
        assert "there is room on the disk again" in process.said
