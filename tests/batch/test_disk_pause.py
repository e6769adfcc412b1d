"""A full disk pauses a batch: what waits, who tries, when it goes on, and when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.batch.fake_runner import FakeRunner
from tests.batch.small_disk import LARGE, SmallDisk, batch_on
from tests.batch.test_engine import lines
from tests.virtual_time import now, run_virtual, settle
from wiro_async.batch.engine import Batch
from wiro_async.batch.gate import RESERVE_BYTES, Room, measure_room
from wiro_async.batch.results import BatchItem, ItemStatus
from wiro_async.errors import DownloadError, OutputDirectoryError, WiroError

PROMPTS = [f"picture {number}" for number in range(12)]


def is_paused(batch: Batch) -> bool:
    return batch.paused_by is not None


async def take(batch: Batch, items: list[BatchItem]) -> None:
    async for item in batch:
        items.append(item)  # noqa: PERF401 - those before a cancellation count


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - in virtual time
        await asyncio.sleep(0.1)


async def until_paused(batch: Batch) -> WiroError:
    await until(lambda: batch.paused_by is not None)
    await settle()
    assert batch.paused_by is not None
    return batch.paused_by


def test_it_pauses_and_goes_on_by_itself_when_there_is_room(tmp_path: Path) -> None:
    disk, runner, items = SmallDisk(room=1), FakeRunner(), list[BatchItem]()

    async def scenario() -> None:
        async with batch_on(disk, runner, PROMPTS, tmp_path) as batch:
            taking = asyncio.create_task(take(batch, items))
            reason = await until_paused(batch)
            assert isinstance(reason, OutputDirectoryError)
            assert f"the disk that holds {tmp_path} is full" in reason.message
            await asyncio.sleep(2)
            made, reserved = len(runner.handles), batch.summary.reserved_tasks
            assert reserved == 0, "no money is set aside for what is not submitted"
            began = now()
            await asyncio.sleep(60)
            assert len(runner.handles) == made < len(PROMPTS), "nothing more is submitted"
            assert batch.summary.reserved_tasks == reserved
            tried = disk.tries_after(began)
            assert 8 <= len(tried) <= 12, "one every few seconds, not all at once"
            assert len({prompt for _, prompt in tried}) > 1, "each has its turn"
            assert is_paused(batch)
            assert not batch.summary.stopped_by
            disk.room = 100
            await taking
            assert not is_paused(batch)
        assert batch.summary.ok

    run_virtual(scenario())
    assert [item.status for item in items] == [ItemStatus.SUCCEEDED] * len(PROMPTS)
    assert len(runner.handles) == len(PROMPTS), "nothing is run twice"
    assert len(lines(tmp_path, "results.jsonl")) == len(PROMPTS)
    assert lines(tmp_path, "errors.jsonl") == []


def test_the_trial_goes_alone_and_then_all_go_together(tmp_path: Path) -> None:
    disk, runner = SmallDisk(), FakeRunner()

    async def scenario() -> None:
        async with batch_on(disk, runner, PROMPTS[:6], tmp_path, max_in_flight=6) as batch:
            taking = asyncio.create_task(batch.wait())
            await until_paused(batch)
            await asyncio.sleep(2)
            disk.most_at_once = 0
            await asyncio.sleep(30)
            assert disk.most_at_once == 1
            disk.room = 100
            assert (await taking).ok
            assert disk.most_at_once == 5

    run_virtual(scenario())


def test_tasks_in_flight_are_watched_and_their_pictures_wait(tmp_path: Path) -> None:
    disk, runner = SmallDisk(), FakeRunner(holds=True)

    async def scenario() -> None:
        async with batch_on(disk, runner, PROMPTS, tmp_path, max_in_flight=3) as batch:
            taking = asyncio.create_task(batch.wait())
            await settle()
            runner.ends["picture 0"].set()
            await until_paused(batch)
            assert runner.in_flight == 3
            made, began = dict(runner.handles), now()
            for handle in made.values():
                runner.ends[handle.prompt].set()
            await asyncio.sleep(4)
            assert runner.in_flight == 0, "their ends were seen"
            assert disk.tries_after(began) == []
            assert runner.handles == made
            disk.room = 100
            for prompt in PROMPTS:
                runner.ends[prompt].set()
            assert (await taking).ok

    run_virtual(scenario())


def test_before_the_disk_is_full_the_reserve_holds_runs_and_downloads(tmp_path: Path) -> None:
    disk, runner = SmallDisk(room=100), FakeRunner()
    disk.make_low()

    async def scenario() -> None:
        async with batch_on(disk, runner, PROMPTS, tmp_path) as batch:
            taking = asyncio.create_task(batch.wait())
            reason = await until_paused(batch)
            assert "67.1 MB free, 67.1 MB are kept" in reason.message
            await asyncio.sleep(20)
            assert (runner.started, disk.tries) == ([], []), "it is told before anything is paid"
            disk.free_bytes = RESERVE_BYTES
            await until(lambda: len(disk.tries) >= 3)
            disk.make_low()
            await until_paused(batch)
            made, tried = len(runner.handles), len(disk.tries)
            await asyncio.sleep(30)
            assert len(runner.handles) == made < len(PROMPTS)
            assert len(disk.tries) == tried, "no download begins below the reserve"
            disk.free_bytes = LARGE
            assert (await taking).ok

    run_virtual(scenario())


def test_a_picture_that_did_not_fit_is_not_tried_below_the_reserve(tmp_path: Path) -> None:
    disk, runner = SmallDisk(), FakeRunner()

    async def scenario() -> None:
        async with batch_on(disk, runner, PROMPTS, tmp_path) as batch:
            taking = asyncio.create_task(batch.wait())
            await until_paused(batch)
            await asyncio.sleep(2)
            disk.make_low()
            began = now()
            await asyncio.sleep(30)
            assert disk.tries_after(began) == []
            disk.free_bytes, disk.room = LARGE, 100
            assert (await taking).ok

    run_virtual(scenario())


def test_a_run_that_was_about_to_go_out_is_called_back_and_goes_out_later(tmp_path: Path) -> None:
    """It had its place and its money already, and gives both back."""
    disk, runner = SmallDisk(room=100, seconds=0), FakeRunner(holds=True)

    async def scenario() -> None:
        async with batch_on(disk, runner, PROMPTS[:4], tmp_path, max_in_flight=2) as batch:
            taking = asyncio.create_task(batch.wait())
            await asyncio.sleep(2)
            assert batch.summary.reserved_tasks == 4
            disk.make_low()
            runner.ends["picture 0"].set()
            runner.ends["picture 1"].set()
            await until_paused(batch)
            await asyncio.sleep(2)
            assert runner.started[2:] == PROMPTS[2:4]
            assert len(runner.handles) == 2
            assert batch.summary.reserved_tasks == 0
            disk.free_bytes = LARGE
            for prompt in PROMPTS:
                runner.ends[prompt].set()
            assert (await taking).ok
            assert len(runner.handles) == 4

    run_virtual(scenario())


def test_looks_at_the_disk_are_few(tmp_path: Path) -> None:
    disk, runner = SmallDisk(room=1000, seconds=0.01), FakeRunner()
    prompts = [str(number) for number in range(500)]

    async def scenario() -> None:
        async with batch_on(disk, runner, prompts, tmp_path, max_in_flight=1) as batch:
            assert (await batch.wait()).ok
        assert disk.looks <= now() + 1

    run_virtual(scenario())


@pytest.mark.parametrize("patience", [0.01, 42.0, 600.0])
@pytest.mark.parametrize("is_low", [False, True])
def test_when_the_patience_is_over_it_stops(
    tmp_path: Path, patience: float, *, is_low: bool
) -> None:
    disk, runner, items = SmallDisk(room=3), FakeRunner(), list[BatchItem]()

    async def scenario() -> None:
        batch = batch_on(disk, runner, PROMPTS, tmp_path, patience_seconds=patience)
        async with batch:
            taking = asyncio.create_task(take(batch, items))
            if is_low:
                await until(lambda: bool(disk.tries))
                disk.make_low()
            await until_paused(batch)
            began = now()
            await taking
            assert patience - 1 <= now() - began <= patience + 3
        stopped_by = batch.summary.stopped_by
        assert isinstance(stopped_by, OutputDirectoryError)
        assert f"the disk that holds {tmp_path} is full" in stopped_by.message
        assert f"has been for {patience:.0f} s" in stopped_by.message
        assert batch.summary.is_stopped
        assert not batch.summary.ok

    run_virtual(scenario())
    made = len(runner.handles)
    assert made < len(PROMPTS)
    assert len(items) == made, "what has a task is told, what was not begun is not"
    lost = [item for item in items if not item.ok]
    for item in lost:
        assert item.status is ItemStatus.UNSAVED
        assert isinstance(item.error, DownloadError)
        assert item.error.is_full
        assert item.task_id is not None
    assert len(lines(tmp_path, "errors.jsonl")) == len(lost)
    assert is_low or lost


async def by_stop(batch: Batch, taking: asyncio.Task[None]) -> None:
    batch.stop()
    await taking


async def by_interrupt(batch: Batch, taking: asyncio.Task[None]) -> None:
    batch.stop(drain=False)
    await taking


async def by_batch_cancel(batch: Batch, taking: asyncio.Task[None]) -> None:
    await batch.cancel()
    await taking


async def by_caller_cancel(_: Batch, taking: asyncio.Task[None]) -> None:
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking


Way = Callable[[Batch, "asyncio.Task[None]"], Awaitable[None]]


@pytest.mark.parametrize("way", [by_stop, by_interrupt, by_batch_cancel, by_caller_cancel])
@pytest.mark.parametrize("seconds", [2.0, 5.5, 6.5])
def test_a_pause_ends_at_once_with_the_batch(tmp_path: Path, way: Way, seconds: float) -> None:
    """Between two tries, in the middle of one, and after one."""
    disk, runner, items = SmallDisk(), FakeRunner(), list[BatchItem]()

    async def scenario() -> None:
        batch = batch_on(disk, runner, PROMPTS, tmp_path)

        async def use() -> None:
            async with batch:
                await take(batch, items)

        taking = asyncio.create_task(use())
        await asyncio.sleep(0)
        await until_paused(batch)
        await asyncio.sleep(seconds)
        made, began = len(runner.handles), now()
        before = [prompt for _, prompt in disk.tries]
        await way(batch, taking)
        after = [prompt for _, prompt in disk.tries[len(before) :]]
        assert not set(after) & set(before), "what did not fit is not tried once more"
        assert now() - began <= 1, "no longer than a try takes that has begun"
        assert len(runner.handles) == made

    run_virtual(scenario())
    written = lines(tmp_path, "errors.jsonl")
    assert {line["task_id"] for line in written} == runner.handles.keys()
    assert {line["status"] for line in written} == {"unsaved"}


def test_a_picture_that_does_not_fit_lets_those_pass_that_are_paid(tmp_path: Path) -> None:
    disk, runner, items = SmallDisk(room=100), FakeRunner(), list[BatchItem]()
    disk.misfits = {"picture 0"}

    async def scenario() -> None:
        batch = batch_on(disk, runner, PROMPTS, tmp_path, max_in_flight=3, patience_seconds=100)
        async with batch:
            await take(batch, items)
        assert batch.summary.stopped_by is not None

    run_virtual(scenario())
    (lost,) = [item for item in items if not item.ok]
    assert lost.request.params == {"prompt": "picture 0"}
    assert len(items) == len(runner.handles) < len(PROMPTS)


def test_an_output_that_is_lost_otherwise_opens_nothing_and_stops_nothing(tmp_path: Path) -> None:
    disk, items = SmallDisk(), list[BatchItem]()
    runner = FakeRunner(spoilt={"picture 1": DownloadError("gone")})

    async def scenario() -> None:
        async with batch_on(disk, runner, PROMPTS, tmp_path) as batch:
            taking = asyncio.create_task(take(batch, items))
            await until_paused(batch)
            await asyncio.sleep(20)
            disk.room = 100
            await taking
        assert batch.summary.stopped_by is None

    run_virtual(scenario())
    (lost,) = [item for item in items if not item.ok]
    assert lost.error is runner.spoilt["picture 1"]
    assert len(items) == len(PROMPTS)


def test_another_fault_of_the_disk_is_not_waited_for(tmp_path: Path) -> None:
    error = DownloadError("picture 1 is paid but not saved: read-only file system")
    error.is_disk = True
    runner = FakeRunner(spoilt={"picture 1": error})

    async def scenario() -> None:
        async with runner.batch(PROMPTS, tmp_path, max_in_flight=1) as batch:
            assert (await batch.wait()).stopped_by is error
        assert now() == 0

    run_virtual(scenario())
    assert len(runner.handles) < 5


def test_where_nobody_tells_the_room_only_a_full_disk_pauses(tmp_path: Path) -> None:
    assert measure_room(tmp_path / "nowhere") is None
    here = measure_room(tmp_path)
    assert here is not None
    assert 0 < here.free_bytes < here.total_bytes


@pytest.mark.parametrize(
    ("free", "total", "is_low"),
    [
        (RESERVE_BYTES, LARGE, False),
        (RESERVE_BYTES - 1, LARGE, True),
        (50_000, 1_000_000, False),
        (49_999, 1_000_000, True),
        (0, 0, False),  # a file system that does not count
        (0, 1_000_000, True),
    ],
)
def test_the_reserve_is_a_small_part_of_a_small_disk(
    free: int, total: int, *, is_low: bool
) -> None:
    assert Room(free_bytes=free, total_bytes=total).is_low is is_low
