"""A batch that is left by an exception or a cancellation: ids are kept, nothing leaks."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import anyio
import pytest

from tests.batch.fake_runner import FakeHandle, FakeRunner
from tests.batch.test_engine import lines
from tests.virtual_time import settle
from wiro_async.batch.engine import Batch

Use = Callable[[], Coroutine[object, object, None]]


class UsersOwnError(Exception):
    """Nothing that the library knows."""


async def by_cancel(use: Use) -> None:
    task = asyncio.ensure_future(use())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def by_cancel_again_and_again(use: Use) -> None:
    task = asyncio.ensure_future(use())
    await settle()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


async def by_timeout(use: Use) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await use()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def by_wait_for(use: Use) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(use(), 0.3)


async def by_task_group(use: Use) -> None:
    async def fail() -> None:
        await settle()
        raise UsersOwnError

    async def run_both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(use())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await run_both()
    assert [type(error) for error in caught.value.exceptions] == [UsersOwnError]


async def by_move_on_after(use: Use) -> None:
    with anyio.move_on_after(0.3) as scope:
        await use()
    assert scope.cancelled_caught


async def by_anyio_group(use: Use) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(use)
        await settle()
        group.cancel_scope.cancel()


STYLES = [
    by_cancel,
    by_cancel_again_and_again,
    by_timeout,
    by_wait_for,
    by_task_group,
    by_move_on_after,
    by_anyio_group,
]


async def leave_by_an_error(batch: Batch, *, taking: int = 0) -> None:
    async def use() -> None:
        async with batch:
            for _ in range(taking):
                assert (await anext(batch)).ok
            await settle()
            raise UsersOwnError

    with pytest.raises(UsersOwnError):
        await use()


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only counted


def assert_is_left_in_order(runner: FakeRunner, directory: Path, batch: Batch) -> None:
    unfinished = lines(directory, "errors.jsonl")
    assert {line["task_id"] for line in unfinished} == {"id-1", "id-2"}
    assert {line["token"] for line in unfinished} == {"token-1", "token-2"}
    assert {line["status"] for line in unfinished} == {"unfinished"}
    assert "goes on at the service" in str(unfinished[0]["error"])
    assert runner.started == ["a", "b"]
    assert runner.in_flight == 0
    assert batch.in_flight == 0
    assert batch.summary.total == 2
    assert not batch.summary.ok


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
@pytest.mark.parametrize("is_iterating", [True, False])
@pytest.mark.parametrize("leave", STYLES)
async def test_cancelled_in_every_style(
    tmp_path: Path, leave: Callable[[Use], Awaitable[None]], *, is_iterating: bool
) -> None:
    runner = FakeRunner(holds=True)
    batch = runner.batch(list("abcdef"), tmp_path, max_in_flight=2)

    async def use() -> None:
        async with batch:
            if is_iterating:
                async for _ in batch:
                    raise AssertionError("nothing has ended")
            await asyncio.Event().wait()

    before = open_files()
    await leave(use)
    assert_is_left_in_order(runner, tmp_path, batch)
    assert open_files() == before


@pytest.mark.parametrize(
    "error", [UsersOwnError("mine"), KeyError("x"), asyncio.CancelledError("by hand")]
)
async def test_the_user_s_own_exception_comes_out_as_it_is(
    tmp_path: Path, error: BaseException
) -> None:
    runner = FakeRunner(holds=True)
    batch = runner.batch(list("abcdef"), tmp_path, max_in_flight=2)

    async def use() -> None:
        async with batch:
            await settle()
            raise error

    with pytest.raises(type(error)) as caught:
        await use()
    assert caught.value is error
    assert_is_left_in_order(runner, tmp_path, batch)


async def test_what_ended_before_stays_in_the_results(tmp_path: Path) -> None:
    runner = FakeRunner(holds=True)
    runner.ends["a"].set()
    await leave_by_an_error(runner.batch(list("ab"), tmp_path), taking=1)
    assert [line["custom_id"] for line in lines(tmp_path, "results.jsonl")] == ["000001"]
    assert [line["custom_id"] for line in lines(tmp_path, "errors.jsonl")] == ["000002"]


async def test_what_waits_for_the_caller_is_recorded_once(tmp_path: Path) -> None:
    await leave_by_an_error(FakeRunner().batch(list("abc"), tmp_path))
    assert len(lines(tmp_path, "results.jsonl")) == 3
    assert lines(tmp_path, "errors.jsonl") == []


async def test_a_download_that_is_cut_is_paid_and_unsaved(tmp_path: Path) -> None:
    runner = FakeRunner()
    runner.saves["a"].clear()
    batch = runner.batch(["a"], tmp_path)
    await leave_by_an_error(batch)
    (line,) = lines(tmp_path, "errors.jsonl")
    assert line["status"] == "unsaved"
    assert line["cost"] == "0.06"
    assert line["task_id"] == "id-1"
    assert "it is paid" in str(line["error"])
    assert batch.summary.cost > 0


async def test_a_defect_below_ends_the_batch_and_keeps_the_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    runner = FakeRunner(holds=True)
    monkeypatch.setattr(FakeHandle, "save_outputs", fail)
    batch = runner.batch(list("ab"), tmp_path)

    async def use() -> None:
        async with batch:
            await settle()
            runner.ends["a"].set()
            await batch.wait()

    with pytest.raises(ExceptionGroup) as caught:
        await use()
    assert caught.group_contains(ZeroDivisionError)
    assert "id-2" in (tmp_path / "errors.jsonl").read_text()
    assert batch.in_flight == 0
