"""Two that want one output directory: one of them has it, and the other leaves it alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.batch.journal.judging import files
from tests.batch.journal.stage import NAME
from tests.batch.test_engine import lines
from tests.batch.test_engine_emulator import place
from tests.cli.conftest import FLUX, emulating, variables
from wiro_async.batch.journal.lock import take_lock
from wiro_async.emulator import Emulator
from wiro_async.errors import JournalError

PROMPTS = [f"picture {number}" for number in range(8)]


def command(*options: str) -> list[str]:
    places = ("prompts.txt", "--model", FLUX, "--out", "out")
    return [sys.executable, "-m", "wiro_async", "batch", *places, *options]


def environment(emulator: Emulator | None) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WIRO_")}
    return plain if emulator is None else {**plain, **variables(emulator)}


@contextmanager
def running(
    folder: Path, emulator: Emulator | None, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """``wiro batch``, until it ends by itself or with the test."""
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - this very program
            command("-n", "2", "--first-look", "0.05", "--settle", "0.2", *options),
            cwd=folder,
            env=environment(emulator),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def run(folder: Path, emulator: Emulator | None, *options: str) -> tuple[int, str]:
    with running(folder, emulator, *options) as process:
        code = process.wait(60)
    return code, (folder / "log").read_text()


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Hold it where it is, all its threads."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: "State:\tT" in Path(f"/proc/{process.pid}/status").read_text())
    time.sleep(0.3)  # real time: what the system was handed before still reaches the service


def check_through(folder: Path, emulator: Emulator) -> None:
    tasks = emulator.books.tasks_by_prompt
    assert {prompt: len(ids) for prompt, ids in tasks.items()} == dict.fromkeys(PROMPTS, 1)
    written = [str(line["custom_id"]) for line in lines(folder / "out", "results.jsonl")]
    assert sorted(written) == [f"{number + 1:06d}" for number in range(len(PROMPTS))]
    assert lines(folder / "out", "errors.jsonl") == []


@pytest.mark.parametrize("options", [(), ("--on-unknown", "resubmit", "--retry-failed")])
def test_the_second_names_the_first_and_touches_nothing(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    out, second = tmp_path / "out", tmp_path / "second"
    second.mkdir()
    (second / "out").symlink_to(out)
    with emulating(median_seconds=60.0, sigma=0.1) as emulator:
        with running(tmp_path, emulator) as first:
            wait_until(lambda: len(emulator.books.tasks) > 2)
            stop(first)
            before, asked = files(out), emulator.books.requests.total()
            owner = json.loads(before[f"{NAME}.lock"])
            code, said = run(second, emulator, *options)
            assert code == 2
            for part in (str(first.pid), socket.gethostname(), owner["since"], "in use", "out"):
                assert part in said
            assert "Traceback" not in said
            assert files(out) == before
            assert emulator.books.requests.total() == asked
            first.send_signal(signal.SIGCONT)
            assert first.wait(60) == 0
        assert owner["pid"] == first.pid
        check_through(tmp_path, emulator)


def test_after_a_kill_the_next_one_starts_at_once(tmp_path: Path) -> None:
    with emulating(median_seconds=60.0, sigma=0.1) as emulator:
        with running(tmp_path, emulator) as first:
            wait_until(lambda: len(emulator.books.tasks) > 2)
            first.kill()
            first.wait(10)
        assert json.loads((tmp_path / "out" / f"{NAME}.lock").read_bytes())["pid"] == first.pid
        code, said = run(tmp_path, emulator)
        assert code == 0, said
        check_through(tmp_path, emulator)


def test_a_drawing_worker_that_outlives_the_batch_does_not_hold_its_lock(tmp_path: Path) -> None:
    options = ("--emulator", "--median", "1000", "--speed", "1000")
    with running(tmp_path, None, *options) as first:
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
        wait_until(lambda: children.read_text().split())
        (worker,) = map(int, children.read_text().split())
        # Stopped before it is a program of its own, it would still have all that its parent has.
        wait_until(lambda: b"pictures" in Path(f"/proc/{worker}/cmdline").read_bytes())
        os.kill(worker, signal.SIGSTOP)
        try:
            wait_until((tmp_path / "out" / "results.jsonl").exists)
            with pytest.raises(JournalError, match=f"process {first.pid}"):
                take_lock(tmp_path / "out" / NAME)
            first.kill()
            first.wait(10)
            assert Path(f"/proc/{worker}").exists()
            take_lock(tmp_path / "out" / NAME).release()
        finally:
            os.kill(worker, signal.SIGKILL)
    code, said = run(tmp_path, None, "--emulator", "--speed", "100")
    assert code == 0, said


async def test_two_batches_of_one_process_are_one_too_many(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with place(out) as at:
        one, two, three = (
            at.session.batch(PROMPTS, output_dir=out, model=FLUX, journal=out / NAME)
            for _ in range(3)
        )
        async with one:
            await anext(one)
            with pytest.raises(JournalError, match=rf"in use by process {os.getpid()} "):
                await two.__aenter__()
            assert (await one.wait()).ok
        async with three:
            assert (await three.wait()).earlier == len(PROMPTS)
        assert at.emulator.books.requests["Run"] == len(PROMPTS)
    assert len(lines(out, "results.jsonl")) == len(PROMPTS)


async def test_two_directories_are_nobody_s_quarrel(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        one, two = (
            at.session.batch(
                [f"{name} {prompt}" for prompt in PROMPTS],
                output_dir=tmp_path / name,
                model=FLUX,
                journal=tmp_path / name / NAME,
            )
            for name in ("one", "two")
        )
        async with one, two:
            assert (await one.wait()).ok
            assert (await two.wait()).ok
