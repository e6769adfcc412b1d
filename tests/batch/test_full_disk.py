"""A disk that is really full: the system's limit of a file's size, and a file system of its own.

The second needs the right to mount one; where there is none, the first has to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.batch.test_engine import lines
from tests.cli.conftest import FLUX, emulating, variables
from wiro_async.emulator import Emulator

PROMPTS = 24
WIRO = """
import resource, sys
from wiro_async.cli.app import run_app
limit = int(sys.argv.pop(1))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(run_app())
"""
NO_LIMIT = 0


def wiro(folder: Path, emulator: Emulator, limit: int) -> subprocess.CompletedProcess[str]:
    """``wiro batch`` in a process of its own, none of whose files may grow beyond a size."""
    places = ("prompts.txt", "--model", FLUX, "--out", "out", "-n", "6")
    # Measuring its coverage would write files too, which the limit does not bear.
    unmeasured = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")
    }
    return subprocess.run(  # noqa: S603 - this very program
        [
            *(sys.executable, "-c", WIRO, str(limit), "batch", *places),
            *("--first-look", "0.02", "--settle", "0.2", "--disk-patience", "0.1"),
        ],
        cwd=folder,
        env={**unmeasured, **variables(emulator)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def prepare(folder: Path, count: int = PROMPTS) -> list[str]:
    prompts = [f"picture {number} of {'a very long story ' * 20}" for number in range(count)]
    (folder / "prompts.txt").write_text("\n".join(prompts))
    return prompts


def check_through(emulator: Emulator, folder: Path, prompts: list[str]) -> None:
    ran = wiro(folder, emulator, NO_LIMIT)
    assert ran.returncode == 0, ran.stderr
    assert {len(ids) for ids in emulator.books.tasks_by_prompt.values()} == {1}
    assert emulator.books.tasks_by_prompt.keys() == set(prompts)
    written = [str(line["custom_id"]) for line in lines(folder / "out", "results.jsonl")]
    assert sorted(written) == [f"{number + 1:06d}" for number in range(len(prompts))]
    names = {path.name for path in (folder / "out").iterdir()}
    assert {f"{number + 1:06d}.png" for number in range(len(prompts))} <= names
    assert not [name for name in names if name.endswith((".part", ".new"))]


@cache
def can_mount() -> bool:
    """Whether this process may mount a file system; tried where it does not stay."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    trial = [unshare, "--mount", "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    return subprocess.run(trial, check=False, capture_output=True).returncode == 0  # noqa: S603


def mount(*arguments: str | Path, command: str = "mount") -> None:
    program = shutil.which(command)
    assert program is not None
    subprocess.run([program, *arguments], check=True)  # noqa: S603 - a command of the system


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield
    finally:
        mount(folder, command="umount")


@pytest.mark.parametrize(
    "room", [20_000, 45_000, 70_000, *(("64k", "112k", "200k") if can_mount() else ())]
)
def test_a_full_disk_ends_the_batch_and_it_goes_on_later(tmp_path: Path, room: int | str) -> None:
    prompts = prepare(tmp_path)
    out = tmp_path / "out"
    with emulating() as emulator, ExitStack() as stack:
        if isinstance(room, int):
            ran = wiro(tmp_path, emulator, room)
        else:
            stack.enter_context(small_disk(out, room))
            ran = wiro(tmp_path, emulator, NO_LIMIT)
        assert ran.returncode in (1, 2), ran.stderr
        assert "Traceback" not in ran.stderr
        assert "out/" in ran.stderr, "it names the file"
        assert [path for path in out.glob("*.png") if not path.stat().st_size] == []
        made = len(emulator.books.tasks)
        assert made < PROMPTS
        assert room != 20_000 or made == 0, "there was no room for an intent"
        if isinstance(room, str):
            mount("-o", "remount,size=20m", out)
        check_through(emulator, tmp_path, prompts)


def test_a_picture_that_does_not_fit_is_paid_once_and_fetched_later(tmp_path: Path) -> None:
    prompts = prepare(tmp_path, 3)
    limit = 100_000  # room for the journal, none for a picture
    with emulating(picture_pixels=2400) as emulator:
        ran = wiro(tmp_path, emulator, limit)
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
        assert "File too large" in ran.stderr
        assert [*(tmp_path / "out").glob("*.png")] == []
        assert [*(tmp_path / "out").glob(".*.part")] == []
        check_through(emulator, tmp_path, prompts)
