"""``wiro batch`` in a process of its own: Ctrl-C once and twice, SIGTERM, a real terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.batch.test_engine import lines
from tests.cli.conftest import FLUX, emulating
from tests.cli.processes import Process, process_of
from wiro_async.emulator import Emulator

STOPS = [signal.SIGINT, signal.SIGTERM]


def running(
    folder: Path, emulator: Emulator, *options: str, terminal: bool = False
) -> AbstractContextManager[Process]:
    (folder / "p.csv").write_text("prompt\n" + "".join(f"number {n}\n" for n in range(60)))
    command = ("-m", "wiro_async", "batch", "p.csv", "--model", FLUX, "--out", "out")
    options = ("--first-look", "0.05", *options)
    return process_of(folder, emulator, *command, *options, terminal=terminal)


@pytest.mark.parametrize("stop", STOPS)
def test_the_first_leaves_what_is_in_flight_to_the_service(
    tmp_path: Path, stop: signal.Signals
) -> None:
    with emulating(median_seconds=400.0, sigma=0.0) as emulator:
        with running(tmp_path, emulator, "-n", "4") as process:
            while len(emulator.books.tasks) < 4:
                threading.Event().wait(0.02)
            process.popen.send_signal(stop)
            assert process.end() == 130
        assert (
            "stopping: nothing more is submitted, 4 in flight go on at the service" in process.said
        )
        command = re.search(r"go on with: wiro (batch p\.csv .*)", process.said)
        assert command
        assert "--first-look 0.05 -n 4" in command[1]
        assert "Traceback" not in process.said
        assert len(emulator.books.tasks) == 4
        assert {line["status"] for line in lines(tmp_path / "out", "errors.jsonl")} == {
            "unfinished"
        }
        with running(tmp_path, emulator, "-n", "60") as process:
            assert process.end() == 0, process.said
        books = emulator.books
    assert "60 requests: 60 succeeded" in process.said
    assert len(books.tasks) == 60
    assert len(lines(tmp_path / "out", "results.jsonl")) == 60
    assert lines(tmp_path / "out", "errors.jsonl") == []


def test_with_drain_the_first_lets_it_finish(tmp_path: Path) -> None:
    with (
        emulating(median_seconds=60.0, sigma=0.3) as emulator,
        running(tmp_path, emulator, "-n", "4", "--drain") as process,
    ):
        process.wait_for(r"\d/60, ")
        process.popen.send_signal(signal.SIGINT)
        assert process.end() == 130
        tasks = emulator.books.tasks
    assert re.search(
        r"stopping: nothing more is submitted, \d in flight finish; press", process.said
    )
    assert len(tasks) < 20
    assert all(task.terminal for task in tasks.values())
    written = lines(tmp_path / "out", "results.jsonl")
    assert {line["task_id"] for line in written} == tasks.keys()
    assert lines(tmp_path / "out", "errors.jsonl") == []
    assert f"{len(tasks)} requests: {len(tasks)} succeeded" in process.said
    assert "Traceback" not in process.said


def test_with_cancel_the_first_ends_it_at_the_service(tmp_path: Path) -> None:
    with emulating(median_seconds=2000.0, sigma=0.0) as emulator:
        with running(tmp_path, emulator, "-n", "4", "--cancel-on-interrupt") as process:
            while len(emulator.books.tasks) < 4:
                threading.Event().wait(0.02)
            process.popen.send_signal(signal.SIGINT)
            assert process.end() == 130
        assert "4 in flight are cancelled" in process.said
        tasks = emulator.books.tasks
        assert len(tasks) == 4
        assert {task.status for task in tasks.values()} == {"task_cancel"}
        assert emulator.books.spent == 0
        with running(tmp_path, emulator, "-n", "4") as process:
            while len(emulator.books.tasks) < 8:
                threading.Event().wait(0.02)
            process.popen.send_signal(signal.SIGINT)
            assert process.end() == 130
        again = [task.prompt for task in emulator.books.tasks.values()]
    assert sorted(again[:4]) == sorted(again[4:]), "run again, since nothing is left of them"


@pytest.mark.parametrize("stop", STOPS)
def test_the_second_leaves_at_once(tmp_path: Path, stop: signal.Signals) -> None:
    with emulating(median_seconds=400.0, sigma=0.0) as emulator:
        with running(tmp_path, emulator, "-n", "4", "--drain") as process:
            while len(emulator.books.tasks) < 4:
                threading.Event().wait(0.02)
            process.popen.send_signal(stop)
            process.wait_for("press Ctrl-C again")
            process.popen.send_signal(stop)
            assert process.end() == 130
        assert "left at once: " in process.said
        assert "go on with: wiro batch p.csv" in process.said
        assert "Traceback" not in process.said
        with running(tmp_path, emulator, "-n", "60") as process:
            assert process.end() == 0, process.said
        assert len(emulator.books.tasks) == 60
    assert len(lines(tmp_path / "out", "results.jsonl")) == 60


def test_a_real_terminal_sees_the_bar(tmp_path: Path) -> None:
    with (
        emulating() as emulator,
        running(tmp_path, emulator, "-n", "20", terminal=True) as process,
    ):
        assert process.end() == 0, process.said
    for part in ("\x1b[", "━", "60/60", "in flight, 0 without result, $3.60", "0:00:0"):
        assert part in process.said
    assert "60 requests: 60 succeeded" in process.said


def test_ctrl_c_while_standard_input_is_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "wiro_async", "batch", "-", "--model", FLUX, "--out", "out"]
    with subprocess.Popen(  # noqa: S603 - this very program
        command,
        cwd=tmp_path,
        env={**os.environ, "WIRO_API_KEY": "key", "WIRO_BASE_URL": "http://127.0.0.1:9/v1"},
        stdin=reading,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(reading)
        os.write(writing, b"a fox\n" * 20_000)  # more than a pipe holds: it is being read
        time.sleep(0.5)  # until it waits for more, like a person who sees nothing happen
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=10)
        finally:
            os.close(writing)
            process.kill()
    assert process.returncode == 130
    assert err == "wiro: interrupted\n"
    assert list(tmp_path.iterdir()) == []
