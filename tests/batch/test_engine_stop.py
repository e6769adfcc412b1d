"""A batch that ends early and in peace: nothing more is begun, what is in flight is recorded."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.batch.fake_runner import FakeRunner
from tests.batch.test_engine import lines
from tests.virtual_time import settle
from wiro_async.batch.results import ItemStatus
from wiro_async.errors import (
    AuthenticationFailed,
    InsufficientBalance,
    OutputDirectoryError,
    RequestNotSent,
    TaskFailed,
    WiroError,
)


def endless() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield str(number)


@pytest.mark.parametrize(
    "error",
    [
        InsufficientBalance("Insufficient balance", code="97"),
        AuthenticationFailed("Project authorization is not valid.", http_status=401),
        RequestNotSent("the service could not be reached"),
    ],
)
async def test_what_the_next_would_meet_as_well_stops_the_batch(
    tmp_path: Path, error: WiroError
) -> None:
    runner = FakeRunner(holds=True, refused={"3": error})
    async with runner.batch(endless(), tmp_path, max_in_flight=3) as batch:
        item = await anext(batch)
        assert item.error is error
        assert item.status is ItemStatus.REFUSED
        await settle()
        assert runner.started == ["1", "2", "3"]
        runner.ends["1"].set()
        runner.ends["2"].set()
        rest = [item async for item in batch]
    assert sorted(item.custom_id for item in rest) == ["000001", "000002"]
    assert runner.started == ["1", "2", "3"]
    assert batch.summary.stopped_by is error
    assert batch.summary.is_stopped
    assert not batch.summary.ok
    assert len(lines(tmp_path, "errors.jsonl")) == 1
    assert len(lines(tmp_path, "results.jsonl")) == 2


async def test_an_authorization_lost_on_the_way_leaves_the_task_s_id(tmp_path: Path) -> None:
    error = AuthenticationFailed("not valid any more")
    runner = FakeRunner(errors={"2": error})
    async with runner.batch(endless(), tmp_path, max_in_flight=1) as batch:
        items = [item async for item in batch]
    assert [item.status for item in items] == [ItemStatus.SUCCEEDED, ItemStatus.UNFINISHED]
    (line,) = lines(tmp_path, "errors.jsonl")
    assert line["task_id"] == "id-2"
    assert batch.summary.stopped_by is error


async def test_the_first_reason_is_the_one_that_is_told(tmp_path: Path) -> None:
    first, second = InsufficientBalance("empty"), AuthenticationFailed("who?")
    runner = FakeRunner(refused={"1": first, "2": second})
    async with runner.batch(endless(), tmp_path) as batch:
        assert (await batch.wait()).stopped_by is first
    assert "stopped early: empty" in str(batch.summary)


async def test_a_full_disk_stops_and_the_item_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = FakeRunner()
    async with runner.batch(endless(), tmp_path, max_in_flight=1) as batch:
        assert (await anext(batch)).ok
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def write(*_: object) -> int:
            raise full

        with monkeypatch.context() as broken:
            broken.setattr(os, "write", write)
            runner.ends["2"].set()
            rest = [item async for item in batch]
    unsaved = rest[-1]
    assert unsaved.status is ItemStatus.UNSAVED
    assert isinstance(unsaved.error, OutputDirectoryError)
    assert "No space left" in unsaved.error.message
    assert unsaved.task_id is not None
    assert batch.summary.stopped_by is not None
    assert batch.summary.is_stopped
    assert len(runner.started) <= 3


async def test_stop_lets_what_is_in_flight_end(tmp_path: Path) -> None:
    runner = FakeRunner(holds=True)
    async with runner.batch(endless(), tmp_path, max_in_flight=2) as batch:
        await settle()
        batch.stop()
        batch.stop()
        for prompt in "12":
            runner.ends[prompt].set()
        items = [item async for item in batch]
    assert len(items) == 2
    assert all(item.ok for item in items)
    assert runner.started == ["1", "2"]
    assert batch.summary.stopped_by is None
    assert batch.summary.is_stopped
    assert not batch.summary.ok


async def test_stop_before_the_start_begins_nothing(tmp_path: Path) -> None:
    runner = FakeRunner()
    batch = runner.batch(endless(), tmp_path)
    batch.stop(reason := InsufficientBalance("known before"))
    async with batch:
        assert (await batch.wait()).total == 0
    assert runner.started == []
    assert batch.summary.stopped_by is reason


async def test_stop_when_all_is_read_changes_nothing(tmp_path: Path) -> None:
    runner = FakeRunner(holds=True)
    async with runner.batch(["a"], tmp_path) as batch:
        await settle()
        batch.stop()
        runner.ends["a"].set()
        assert (await batch.wait()).ok


async def test_stop_wakes_from_a_source_that_gives_nothing_more(tmp_path: Path) -> None:
    is_closed = False

    async def stuck() -> AsyncIterator[str]:
        nonlocal is_closed
        yield "a"
        try:
            await asyncio.Event().wait()
        finally:
            is_closed = True

    async with FakeRunner().batch(stuck(), tmp_path) as batch:
        assert (await anext(batch)).ok
        await settle()
        batch.stop()
        with pytest.raises(StopAsyncIteration):
            await anext(batch)
    assert is_closed
    assert batch.summary.total == 1


@pytest.mark.parametrize("is_early", [False, True])
async def test_leaving_early_lets_what_is_in_flight_end(tmp_path: Path, *, is_early: bool) -> None:
    runner = FakeRunner(holds=True)
    runner.ends["1"].set()

    async def end_them() -> None:
        await settle()
        for prompt in list(runner.started):
            runner.ends[prompt].set()

    async with asyncio.TaskGroup() as others:
        async with runner.batch(endless(), tmp_path, max_in_flight=2) as batch:
            if not is_early:
                async for item in batch:
                    assert item.custom_id == "000001"
                    break
                await settle()
            others.create_task(end_them())
        # Here nothing runs any more.
        assert runner.in_flight == 0
    assert len(lines(tmp_path, "results.jsonl")) == len(runner.started)
    assert batch.summary.total == len(runner.started)
    assert batch.summary.is_stopped


async def test_leaving_early_is_cut_short_by_a_cancellation(tmp_path: Path) -> None:
    runner = FakeRunner(holds=True)
    entered = asyncio.Event()

    async def use() -> None:
        async with runner.batch(endless(), tmp_path, max_in_flight=2):
            await settle()
            entered.set()

    task = asyncio.create_task(use())
    await entered.wait()
    await settle()
    assert not task.done(), "it lets two tasks end"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await task
    assert {line["task_id"] for line in lines(tmp_path, "errors.jsonl")} == {"id-1", "id-2"}


async def test_a_failure_does_not_make_room_for_what_was_stopped(tmp_path: Path) -> None:
    runner = FakeRunner(holds=True, errors={"1": TaskFailed("failed")})
    async with runner.batch(endless(), tmp_path, max_in_flight=1) as batch:
        await settle()
        batch.stop()
        runner.ends["1"].set()
        assert [item.status async for item in batch] == [ItemStatus.FAILED]
    assert runner.started == ["1"], "the second was read and not begun"
    assert batch.summary.total == 1
