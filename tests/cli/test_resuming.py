"""``wiro batch`` on a directory that holds a batch: what it goes on from, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.batch.test_engine import lines
from tests.cli.conftest import FLUX, Wiro
from wiro_async.emulator import Emulator

BATCH = ("batch", "p.csv", "-m", FLUX, "--out", "out", "--first-look", "0.02")
EMBEDDED = ("--emulator", "--speed", "200", "--median", "2")


def write(folder: Path, count: int, *, noun: str = "number") -> None:
    rows = "".join(f"id-{n},{noun} {n}\n" for n in range(count))
    (folder / "p.csv").write_text(f"custom_id,prompt\n{rows}")


def test_a_longer_file_adds_its_rows(wiro: Wiro, emulator: Emulator, tmp_path: Path) -> None:
    write(tmp_path, 3)
    assert wiro(*BATCH).code == 0
    write(tmp_path, 5)
    ran = wiro(*BATCH)
    assert ran.code == 0
    assert "5 requests: 5 succeeded (3 of them in earlier runs)" in ran.err
    assert emulator.books.requests["Run"] == 5


@pytest.mark.parametrize(("count", "named"), [(1, 1), (30, 10)])
def test_changed_rows_are_refused_with_their_lines_before_anything_is_sent(
    wiro: Wiro, emulator: Emulator, tmp_path: Path, count: int, named: int
) -> None:
    write(tmp_path, count)
    assert wiro(*BATCH).code == 0
    asked = emulator.books.requests.total()
    write(tmp_path, count + 1, noun="letter")
    ran = wiro(*BATCH)
    assert ran.code == 2
    assert ran.err.count("stands for another request in this batch's journal") == named
    assert "p.csv, line 2: the custom_id 'id-0'" in ran.err
    assert "prompt was 'number 0' and is now 'letter 0'" in ran.err
    assert emulator.books.requests.total() == asked


def test_pictures_of_an_emulator_are_not_gone_on_from(
    wiro: Wiro, emulator: Emulator, tmp_path: Path
) -> None:
    pytest.importorskip("PIL")
    write(tmp_path, 2)
    assert wiro(*BATCH, *EMBEDDED).code == 0
    ran = wiro(*BATCH)
    assert ran.code == 2
    assert "out holds a batch that was run on an embedded emulator, and this is the" in ran.err
    assert emulator.books.requests.total() == 0
    assert wiro(*BATCH[:-4], "--out", "real", "--first-look", "0.02").code == 0
    ran = wiro(*BATCH[:-4], "--out", "real", *EMBEDDED)
    assert ran.code == 2
    assert "real holds a batch that was run on the service, and this is an embedded" in ran.err


def test_what_was_in_flight_on_an_emulator_that_is_gone_is_run_again(
    wiro: Wiro, tmp_path: Path
) -> None:
    pytest.importorskip("PIL")
    write(tmp_path, 4)
    out = tmp_path / "out"
    with subprocess.Popen(  # noqa: S603 - this very program
        [
            *(sys.executable, "-m", "wiro_async", *BATCH),
            *("--emulator", "--speed", "1", "--median", "3600"),
        ],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("WIRO_")},
        stderr=subprocess.DEVNULL,
    ) as process:
        journal = out / "batch.sqlite"
        while not journal.exists() or journal.read_bytes().count(b"submitted") < 8:
            threading.Event().wait(0.05)
        process.send_signal(signal.SIGKILL)
    ran = wiro(*BATCH, *EMBEDDED)
    assert ran.code == 0, ran.err
    assert "4 requests: 4 succeeded" in ran.err
    assert "earlier runs" not in ran.err
    assert len(lines(out, "results.jsonl")) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--on-unknown", "guess"), "--on-unknown is 'guess': it is one of hold, skip, resubmit"),
        (("--drain", "--cancel-on-interrupt"), "--drain and --cancel-on-interrupt are two ways"),
        (("--settle", "0"), "--settle"),
    ],
)
def test_options_that_cannot_be(
    wiro: Wiro, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    write(tmp_path, 1)
    ran = wiro(*BATCH, *EMBEDDED, *options)
    assert ran.code == 2
    assert words in ran.err
    assert not (tmp_path / "out").exists()
