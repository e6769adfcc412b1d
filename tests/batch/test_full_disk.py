"""A disk that is really full: the system's limit of a file's size, and a file system of its own.

The second needs the right to mount one; where there is none, the first has to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.batch.journal.stage import NAME
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
    return subprocess.run(  # noqa: S603 - this very program
        [
            *(sys.executable, "-c", WIRO, str(limit), "batch", *places),
            *("--first-look", "0.02", "--settle", "0.2"),
        ],
        cwd=folder,
        env={**os.environ, **variables(emulator)},
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


def check_failed(ran: subprocess.CompletedProcess[str], out: Path) -> None:
    assert ran.returncode in (1, 2), ran.stderr
    assert "Traceback" not in ran.stderr
    assert "out/" in ran.stderr, "it names the file"
    assert not [path for path in out.glob("*.png") if path.stat().st_size == 0]


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


@pytest.mark.parametrize("limit", [20_000, 45_000, 70_000])
def test_a_file_that_may_not_grow_ends_the_batch_and_it_goes_on_later(
    tmp_path: Path, limit: int
) -> None:
    prompts = prepare(tmp_path)
    with emulating() as emulator:
        ran = wiro(tmp_path, emulator, limit)
        check_failed(ran, tmp_path / "out")
        made = len(emulator.books.tasks)
        assert made < PROMPTS
        assert limit > 20_000 or made == 0, "there was no room for an intent"
        check_through(emulator, tmp_path, prompts)


def test_a_picture_that_does_not_fit_is_paid_once_and_fetched_later(tmp_path: Path) -> None:
    prompts = prepare(tmp_path, 3)
    limit = 100_000  # room for the journal, none for a picture
    with emulating(picture_pixels=1200) as emulator:
        ran = wiro(tmp_path, emulator, limit)
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
        assert "File too large" in ran.stderr
        assert [*(tmp_path / "out").glob("*.png")] == []
        assert [*(tmp_path / "out").glob(".*.part")] == []
        check_through(emulator, tmp_path, prompts)


@cache
def can_mount() -> bool:
    """Whether this process may mount a file system."""
    return (
        shutil.which("mount") is not None
        and shutil.which("unshare") is not None
        and subprocess.run(  # noqa: S603 - a command of the system
            [shutil.which("unshare") or "", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            check=False,
            capture_output=True,
        ).returncode
        == 0
    )


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    mount = shutil.which("mount") or ""
    umount = shutil.which("umount") or ""
    folder.mkdir()
    subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)  # noqa: S603
    try:
        yield
    finally:
        subprocess.run([umount, folder], check=True)  # noqa: S603


@pytest.mark.parametrize("size", ["64k", "112k", "200k"] if can_mount() else [])
def test_a_file_system_that_is_full_ends_the_batch_and_it_goes_on_later(
    tmp_path: Path, size: str
) -> None:
    prompts = prepare(tmp_path)
    out = tmp_path / "out"
    with emulating() as emulator, small_disk(out, size):
        ran = wiro(tmp_path, emulator, NO_LIMIT)
        check_failed(ran, out)
        assert len(emulator.books.tasks) < PROMPTS
        assert (out / NAME).exists()
        mount = shutil.which("mount") or ""
        subprocess.run([mount, "-o", "remount,size=20m", out], check=True)  # noqa: S603
        check_through(emulator, tmp_path, prompts)
