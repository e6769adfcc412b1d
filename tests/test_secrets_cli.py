"""The command line tells neither key nor secret, whatever it is asked and however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.canary import SPEED, Canary, Recorder, canary, emulator, recorder
from tests.cli.conftest import emulating, variables
from tests.scripted_service import FLUX
from wiro_async.emulator import Emulator

__all__ = ["canary", "emulator", "recorder"]

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", FLUX, "-p", "prompt=a fox"),
    "run of nothing": ("run", "nobody/nothing"),
    "batch": ("batch", "p.txt", "--model", FLUX, "--out", "out", "--first-look", "0.02"),
    "batch that stops": ("batch", "p.txt", "--model", "nobody/nothing", "--out", "out"),
    "bad option": ("batch", "p.txt", "--moddel", FLUX, "--out", "out"),
    "bad value": ("run", FLUX, "--base-url", "ftp://nowhere"),
    "help": ("--help",),
    "another service": ("run", FLUX, "-p", "prompt=a", "--base-url", "http://127.0.0.1:9/v1"),
}


CHANGES: dict[str, dict[str, str]] = {
    "": {},
    "a blank in the key": {"WIRO_API_KEY": "{key} {key}"},
    "another secret": {"WIRO_API_SECRET": "another"},
}
CASES = {
    f"{name} {change}".strip(): (command, given)
    for name, command in COMMANDS.items()
    for change, given in CHANGES.items()
    if not given or name in ("run", "batch")
}


@pytest.mark.parametrize(("command", "changes"), CASES.values(), ids=CASES)
def test_the_command_line(
    canary: Canary,
    recorder: Recorder,
    emulator: Emulator,
    tmp_path: Path,
    command: tuple[str, ...],
    changes: dict[str, str],
) -> None:
    (tmp_path / "p.txt").write_text("a fox\na hen\na cow\n")
    given = {name: value.format(key=canary.key) for name, value in changes.items()}
    ran = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-X", "dev", "-W", "ignore", "-m", "wiro_async", *command],
        cwd=tmp_path,
        env={**os.environ, **variables(emulator), "WIRO_DEBUG": "1", "NO_COLOR": "1", **given},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout + ran.stderr
    recorder.hear("stdout", ran.stdout)
    recorder.hear("stderr", ran.stderr)
    recorder.read(tmp_path)


@pytest.mark.parametrize("stops", [1, 2])
def test_an_interrupted_command(
    canary: Canary, recorder: Recorder, tmp_path: Path, stops: int
) -> None:
    (tmp_path / "p.txt").write_text("a fox\na hen\na cow\n")
    slow = {"speed": SPEED, "median_seconds": 4000.0, "sigma": 0.0}
    with emulating(api_key=canary.key, api_secret=canary.secret, **slow) as emulator:
        process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "wiro_async", *COMMANDS["batch"], "--drain"],
            cwd=tmp_path,
            env={**os.environ, **variables(emulator), "WIRO_DEBUG": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        while len(emulator.books.tasks) < 3:
            signal.sigtimedwait([], 0.02)
        for _ in range(stops):
            process.send_signal(signal.SIGINT)
            signal.sigtimedwait([], 0.3)
        if stops == 1:
            process.kill()
        for name, said in zip(("stdout", "stderr"), process.communicate(timeout=20), strict=True):
            recorder.hear(name, said)
        recorder.read(tmp_path)
    assert "stopping" in str(recorder.heard)
