"""Small files that end at the same time: written in one go, and each with its own end."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from unittest import mock

import anyio.to_thread
import pytest

from tests.test_downloads_disk import raising
from wiro_async.downloads import flushing
from wiro_async.downloads.flushing import Flusher
from wiro_async.downloads.partfile import PartFile, sync_directory

NAMES = tuple(f"fox-{number:02}.png" for number in range(20))


def part_of(path: Path) -> PartFile:
    part = PartFile(path)
    part.take(path.name.encode())
    return part


def content_of(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


async def put_all(flusher: Flusher, directory: Path) -> list[Path | BaseException]:
    paths = [directory / name for name in NAMES]
    return await asyncio.gather(
        *(flusher.put_in_place(part_of(path), path) for path in paths), return_exceptions=True
    )


async def test_many_files_need_one_thread_and_one_flush_of_their_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hop = mock.Mock(wraps=anyio.to_thread.run_sync)
    sync = mock.Mock(wraps=sync_directory)
    monkeypatch.setattr(anyio.to_thread, "run_sync", hop)
    monkeypatch.setattr(flushing, "sync_directory", sync)
    assert await put_all(Flusher(), tmp_path) == [tmp_path / name for name in NAMES]
    assert hop.call_count == 1
    assert sync.call_args_list == [mock.call(tmp_path)]
    assert content_of(tmp_path) == dict(zip(NAMES, NAMES, strict=True))


async def test_all_are_on_their_way_before_the_first_flush_and_flushed_before_the_first_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noting(step: str) -> None:
        take = getattr(os, step)

        def note(*arguments: object) -> object:
            calls.append(step)
            return take(*arguments)

        monkeypatch.setattr(os, step, note)

    steps = [step for step in ("write", "posix_fadvise", "fsync", "link") if hasattr(os, step)]
    for step in steps:
        noting(step)
    monkeypatch.setattr(flushing, "sync_directory", mock.Mock())
    await put_all(Flusher(), tmp_path)
    *beginning, flushes, names = (
        [place for place, call in enumerate(calls) if call == step] for step in steps
    )
    assert max(map(max, beginning)) < min(flushes) <= max(flushes) < min(names)
    assert {len(places) for places in (*beginning, flushes, names)} == {len(NAMES)}


@pytest.mark.parametrize("step", ["open", "link"])
async def test_what_fails_for_one_file_fails_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    broken, take = OSError(errno.EFBIG, "too large"), getattr(os, step)

    def refuse_the_third(*arguments: object) -> object:
        if any(NAMES[2] in str(argument) for argument in arguments):
            raise broken
        return take(*arguments)

    monkeypatch.setattr(os, step, refuse_the_third)
    monkeypatch.setattr(Path, "rename", raising(broken))  # in place of a link that fails
    said = await put_all(Flusher(), tmp_path)
    assert said.pop(2) is broken
    assert said == [tmp_path / name for name in NAMES if name != NAMES[2]]


async def test_names_that_do_not_last_are_told_to_all_who_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = OSError(errno.EIO, "the disk is gone")
    monkeypatch.setattr(flushing, "sync_directory", raising(broken))
    assert await put_all(Flusher(), tmp_path) == [broken] * len(NAMES)


async def test_who_comes_while_the_thread_is_busy_goes_with_the_next_hop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    reached, go_on = asyncio.Event(), threading.Event()
    fsync = os.fsync

    def wait_once(descriptor: int) -> None:
        loop.call_soon_threadsafe(reached.set)
        assert go_on.wait(5)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", wait_once)
    flusher = Flusher()
    path = tmp_path / "first.png"
    first = asyncio.create_task(flusher.put_in_place(part_of(path), path))
    await reached.wait()
    rest = asyncio.create_task(put_all(flusher, tmp_path))
    await asyncio.sleep(0)
    go_on.set()
    assert await first == path
    assert await rest == [tmp_path / name for name in NAMES]


async def test_eager_tasks_do_not_stop_later_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_first_step(
        work: Coroutine[object, object, None], **_: object
    ) -> asyncio.Future[None] | asyncio.Task[None]:
        """Like a task of `asyncio.eager_task_factory`, which Python 3.11 does not have."""
        try:
            work.send(None)
        except StopIteration:
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        raise AssertionError("it was to end in its first step")

    broken = RuntimeError("can't start new thread")
    with monkeypatch.context() as patched:
        patched.setattr(anyio.to_thread, "run_sync", raising(broken))
        patched.setattr(asyncio, "create_task", run_first_step)
        flusher = Flusher()
        first = flusher.put_in_place(part_of(tmp_path / "a.png"), tmp_path / "a.png")
        with pytest.raises(RuntimeError, match="new thread"):
            await first
    async with asyncio.timeout(5):
        path = await flusher.put_in_place(part_of(tmp_path / "b.png"), tmp_path / "b.png")
    assert path.read_text() == "b.png"


async def test_where_there_is_no_thread_to_be_had_everybody_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = RuntimeError("can't start new thread")
    monkeypatch.setattr(anyio.to_thread, "run_sync", raising(broken))
    assert await put_all(Flusher(), tmp_path) == [broken] * len(NAMES)
