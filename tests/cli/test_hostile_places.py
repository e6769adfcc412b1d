"""A batch whose ground is pulled away while it runs: one message, the right exit code, and nothing
is lost or paid twice when the same command is started again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.batch.test_engine import lines
from tests.cli.conftest import FLUX, emulating, variables
from tests.cli.processes import Process, process_of
from wiro_async.emulator import Emulator, Fault

PROMPTS = 24
COMMAND = ("batch", "p.txt", "--model", FLUX, "--out", "out", "--first-look", "0.02", "-n", "4")
PLAIN = "import sys; from wiro_async.cli.app import run_app; sys.exit(run_app())"
# Refuses every file that is opened for writing by Python once there is a file called "now".
READ_ONLY = """
import errno, io, os, sys
from wiro_async.cli.app import run_app

def refuse(function):
    def call(place, *arguments, **options):
        if os.path.exists("now") and ".part" in str(place):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(place))
        return function(place, *arguments, **options)
    return call

os.open = refuse(os.open)
io.open = refuse(io.open)
sys.exit(run_app())
"""
IMPATIENT = """
import functools, sys
from wiro_async import session
from wiro_async.cli.app import run_app
session.RetryPolicy = functools.partial(
    session.RetryPolicy, base_seconds=0.01, cap_seconds=0.05, max_outage_seconds=0.5
)
sys.exit(run_app())
"""


def running(
    folder: Path, emulator: Emulator, script: str = PLAIN
) -> AbstractContextManager[Process]:
    (folder / "p.txt").write_text("".join(f"number {n}\n" for n in range(PROMPTS)))
    return process_of(folder, emulator, "-c", script, *COMMAND)


def wait_for_tasks(emulator: Emulator, count: int) -> None:
    while len(emulator.books.tasks) < count:
        threading.Event().wait(0.02)


def check_goes_on(folder: Path, emulator: Emulator) -> None:
    with running(folder, emulator) as process:
        assert process.end() == 0, process.said
    assert len(emulator.books.tasks_by_prompt) == PROMPTS
    assert {len(ids) for ids in emulator.books.tasks_by_prompt.values()} == {1}
    assert len(lines(folder / "out", "results.jsonl")) == PROMPTS
    assert lines(folder / "out", "errors.jsonl") == []


def check_told_once(process: Process, words: str) -> None:
    assert process.said.count("stopped early: ") == 1
    assert words in process.said.partition("stopped early: ")[2]
    assert "Traceback" not in process.said
    assert "this should not have happened" not in process.said


def move_journal(folder: Path) -> Callable[[], object]:
    there, away = folder / "out" / "batch.sqlite", folder / "away.sqlite"
    there.rename(away)
    return lambda: away.rename(there)


def move_directory(folder: Path) -> Callable[[], object]:
    there, away = folder / "out", folder / "away"
    there.rename(away)

    def put_back() -> None:
        shutil.rmtree(there, ignore_errors=True)  # what was saved since then
        away.rename(there)

    return put_back


def put_a_folder_there(folder: Path) -> Callable[[], object]:
    path = folder / "out" / "results.jsonl"
    path.unlink()
    path.mkdir()
    return path.rmdir


def remove_errors(folder: Path) -> Callable[[], object]:
    (folder / "out" / "errors.jsonl").unlink()
    return lambda: None


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (move_journal, "out/batch.sqlite is not there any more: nothing is sent"),
        (move_directory, "out/batch.sqlite is not there any more: nothing is sent"),
        (put_a_folder_there, "out/results.jsonl is not there any more, or no file any more"),
        (remove_errors, "out/errors.jsonl is not there any more"),
    ],
)
def test_what_is_moved_away_under_a_batch_stops_it_until_it_is_put_back(
    tmp_path: Path, do: Callable[[Path], Callable[[], object]], words: str
) -> None:
    with emulating(median_seconds=20.0) as emulator:
        with running(tmp_path, emulator) as process:
            wait_for_tasks(emulator, 8)
            put_back = do(tmp_path)
            assert process.end() == 1
        assert len(emulator.books.tasks) < PROMPTS
        check_told_once(process, words)
        put_back()
        check_goes_on(tmp_path, emulator)


def test_a_directory_that_is_removed_under_a_batch_stops_it(tmp_path: Path) -> None:
    with emulating(median_seconds=20.0) as emulator, running(tmp_path, emulator) as process:
        wait_for_tasks(emulator, 8)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert process.end() == 1
        assert len(emulator.books.tasks) < PROMPTS
    check_told_once(process, "is not there any more")


def test_what_is_removed_while_the_last_tasks_run_is_told_as_well(tmp_path: Path) -> None:
    with emulating(median_seconds=80.0, sigma=0.0) as emulator:
        with running(tmp_path, emulator) as process:
            wait_for_tasks(emulator, PROMPTS)
            put_back = put_a_folder_there(tmp_path)
            assert process.end() == 1
        check_told_once(process, "out/results.jsonl is not there any more")
        put_back()
        check_goes_on(tmp_path, emulator)


def test_a_disk_that_becomes_read_only_stops_it(tmp_path: Path) -> None:
    with emulating(median_seconds=20.0) as emulator:
        with running(tmp_path, emulator, READ_ONLY) as process:
            wait_for_tasks(emulator, 8)
            (tmp_path / "now").touch()
            assert process.end() == 1
        assert len(emulator.books.tasks) < PROMPTS
        check_told_once(process, "Read-only file system")
        check_goes_on(tmp_path, emulator)


def test_a_key_that_is_withdrawn_stops_it(tmp_path: Path) -> None:
    with emulating(median_seconds=20.0) as emulator:
        with running(tmp_path, emulator) as process:
            wait_for_tasks(emulator, 8)
            emulator.add_fault(Fault(endpoint="Run", action="status", status=401, times=1))
            assert process.end() == 1
        assert len(emulator.books.tasks) < PROMPTS
        check_told_once(process, "check WIRO_API_KEY")
        check_goes_on(tmp_path, emulator)


def test_a_service_that_goes_away_for_good_ends_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with emulating(median_seconds=20.0) as emulator:
            process = stack.enter_context(running(tmp_path, emulator, IMPATIENT))
            wait_for_tasks(emulator, 8)
        # A Run may be on the wire when the service goes; it is looked for, for half a minute.
        assert process.end(60) == 1
    check_told_once(process, "could not be reached")
    known = [line["status"] for line in lines(tmp_path / "out", "errors.jsonl")]
    assert set(known) <= {"unfinished", "unsaved", "unknown", "refused"}
    assert len(known) + len(lines(tmp_path / "out", "results.jsonl")) >= 8


def test_a_terminal_that_is_closed_interrupts_it(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests too may run under nohup
    try:
        with emulating(median_seconds=400.0) as emulator:
            with running(tmp_path, emulator) as process:
                wait_for_tasks(emulator, 4)
                process.popen.send_signal(signal.SIGHUP)
                assert process.end() == 130
            assert "go on with: " in process.said
    finally:
        signal.signal(signal.SIGHUP, before)
    assert "Traceback" not in process.said


def test_nohup_has_it_go_on(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a child takes over
    try:
        with emulating() as emulator, running(tmp_path, emulator) as process:
            wait_for_tasks(emulator, 4)
            process.popen.send_signal(signal.SIGHUP)
            assert process.end() == 0, process.said
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "streams", [">&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full", ">/dev/full", "2>&1 | true"]
)
def test_a_batch_needs_no_stream(tmp_path: Path, streams: str) -> None:
    with emulating() as emulator:
        (tmp_path / "p.txt").write_text("a fox\na hen\n")
        (tmp_path / "wiro.py").write_text(PLAIN)
        ran = subprocess.run(  # noqa: S602 - redirections are what this is about
            f"{{ '{sys.executable}' wiro.py {' '.join(COMMAND)}; echo $? >code; }} {streams}",
            shell=True,
            cwd=tmp_path,
            env={**os.environ, **variables(emulator)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (tmp_path / "code").read_text() == "0\n"
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
    assert len(lines(tmp_path / "out", "results.jsonl")) == 2
