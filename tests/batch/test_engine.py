"""The batch's pipeline: order, laziness, and what one item's end means for the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from tests.batch.fake_runner import FakeRunner
from tests.virtual_time import settle
from wiro_async.batch import engine
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import ItemStatus
from wiro_async.errors import (
    ConfigurationError,
    DownloadError,
    InvalidRequest,
    OutputDirectoryError,
    RequestRefused,
    RunOutcomeUnknown,
    SessionStateError,
    TaskCancelled,
    TaskFailed,
    TaskUnreachable,
    WiroError,
)


def lines(directory: Path, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / name).read_text().splitlines()]


async def test_items_come_in_the_order_in_which_they_end(tmp_path: Path) -> None:
    runner = FakeRunner(holds=True)
    order = ["c", "a", "d", "b"]
    async with runner.batch(list("abcd"), tmp_path) as batch:
        for prompt in order:
            await settle()
            runner.ends[prompt].set()
            item = await anext(batch)
            assert item.request.params == {"prompt": prompt}
            assert item.ok
            assert item.paths == (tmp_path / f"{item.custom_id}.png",)
            assert lines(tmp_path, "results.jsonl")[-1]["custom_id"] == item.custom_id
        with pytest.raises(StopAsyncIteration):
            await anext(batch)
    assert [line["custom_id"] for line in lines(tmp_path, "results.jsonl")] == [
        *("000003", "000001", "000004", "000002")
    ]
    assert lines(tmp_path, "errors.jsonl") == []


@pytest.mark.parametrize(
    ("most_waiting", "window"), [(2_000, 6), (1, 4)], ids=["as many again", "a few more"]
)
async def test_the_input_is_read_no_faster_than_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_waiting: int, window: int
) -> None:
    monkeypatch.setattr(engine, "_MOST_WAITING", most_waiting)
    read = taken = 0

    def source() -> Iterator[str]:
        nonlocal read
        for number in range(100):
            read += 1
            yield str(number)

    runner = FakeRunner()
    async with runner.batch(source(), tmp_path, max_in_flight=3) as batch:
        assert read == 0
        while True:
            await settle()
            assert read - taken <= window, "three that run, and those that wait"
            try:
                await anext(batch)
            except StopAsyncIteration:
                break
            taken += 1
    assert (read, taken) == (100, 100)
    assert runner.most_in_flight <= 3


@pytest.mark.parametrize(
    ("max_in_flight", "window"), [(1, 2), (100, 200), (2_000, 3_000), (10_000, 11_000)]
)
def test_of_many_that_may_run_not_as_many_again_wait(max_in_flight: int, window: int) -> None:
    assert engine.window_size(max_in_flight) == window


async def test_no_more_tasks_run_at_once_than_allowed(tmp_path: Path) -> None:
    runner = FakeRunner(holds=True)
    async with runner.batch(list("abcdef"), tmp_path, max_in_flight=2) as batch:
        for ended, prompt in enumerate("abcdef"):
            await settle()
            assert runner.started == list("abcdef")[: ended + 2]
            runner.ends[prompt].set()
            assert (await anext(batch)).ok
    assert runner.most_in_flight == 2


async def test_a_slow_download_holds_no_place_in_flight(tmp_path: Path) -> None:
    runner = FakeRunner()
    for prompt in "ab":
        runner.saves[prompt].clear()
    async with runner.batch(list("abcdefgh"), tmp_path, max_in_flight=2) as batch:
        done = [(await anext(batch)).request.params["prompt"] for _ in range(6)]
        assert done == list("cdefgh")
        for prompt in "ba":
            runner.saves[prompt].set()
            assert (await anext(batch)).request.params["prompt"] == prompt
    assert batch.summary.ok


async def test_a_slow_caller_stops_nobody_but_the_reading(tmp_path: Path) -> None:
    runner = FakeRunner()
    async with runner.batch(map(str, range(50)), tmp_path, max_in_flight=2) as batch:
        await settle()
        assert len(runner.started) == 4
        assert len(lines(tmp_path, "results.jsonl")) == 4, "recorded before anybody takes them"
        count = 0
        async for _ in batch:
            count += 1
            await asyncio.sleep(0.001)
    assert count == 50


@pytest.mark.parametrize(
    ("stage", "error", "status"),
    [
        ("refused", RequestRefused("no"), ItemStatus.REFUSED),
        ("refused", InvalidRequest("no"), ItemStatus.REFUSED),
        ("refused", RunOutcomeUnknown("who knows", model="m"), ItemStatus.UNKNOWN),
        ("errors", TaskFailed("failed", task_id="9"), ItemStatus.FAILED),
        ("errors", TaskCancelled("cancelled"), ItemStatus.CANCELLED),
        ("errors", TaskUnreachable("gone"), ItemStatus.UNFINISHED),
        ("spoilt", DownloadError("half", url="u"), ItemStatus.UNSAVED),
    ],
)
async def test_one_item_s_failure_is_its_own(
    tmp_path: Path, stage: str, error: WiroError, status: ItemStatus
) -> None:
    runner = FakeRunner()
    setattr(runner, stage, {"b": error})
    async with runner.batch(list("abcd"), tmp_path) as batch:
        items = [item async for item in batch]
    (failed,) = [item for item in items if not item.ok]
    assert failed.custom_id == "000002"
    assert failed.error is error
    assert failed.status is status
    assert batch.summary.counts == {ItemStatus.SUCCEEDED: 3, status: 1}
    assert batch.summary.stopped_by is None
    assert not batch.summary.ok
    (line,) = lines(tmp_path, "errors.jsonl")
    assert line["custom_id"] == "000002"
    assert line["status"] == status.value
    assert line["task_id"] == (None if stage == "refused" else failed.task_id)


async def test_what_is_no_request_is_refused_in_its_place(tmp_path: Path) -> None:
    runner = FakeRunner()
    wrong = cast("list[str]", ["a", 5, {"seed": "1", 2: "x"}, None, "b", {"custom_id": ""}])
    async with runner.batch(wrong, tmp_path) as batch:
        items = [item async for item in batch]
    assert sorted(runner.started) == ["a", "b"]
    refused = {item.custom_id: item.error for item in items if not item.ok}
    assert sorted(refused) == ["000002", "000003", "000004", "000006"]
    assert "request 2 (index 1): a int is no request" in str(refused["000002"])
    assert batch.summary.counts[ItemStatus.REFUSED] == 4


async def test_an_id_twice_is_refused_without_a_run(tmp_path: Path) -> None:
    requests = [
        BatchRequest(custom_id="fox", params={"prompt": "a"}),
        BatchRequest(custom_id="hen", params={"prompt": "b"}),
        BatchRequest(custom_id="fox", params={"prompt": "c"}),
    ]
    runner = FakeRunner()
    async with runner.batch(requests, tmp_path) as batch:
        items = [item async for item in batch]
    assert runner.started == ["a", "b"]
    (refused,) = [item for item in items if item.status is ItemStatus.REFUSED]
    assert refused.request.params["prompt"] == "c"
    assert "'fox' was used before in this batch" in str(refused.error)


async def test_an_async_source_is_read_as_lazily(tmp_path: Path) -> None:
    asked: asyncio.Queue[None] = asyncio.Queue()
    runner = FakeRunner(holds=True)

    async def source() -> AsyncIterator[str]:
        for prompt in "abcd":
            asked.put_nowait(None)
            yield prompt

    async with runner.batch(source(), tmp_path, max_in_flight=1) as batch:
        await settle()
        assert asked.qsize() == 2
        for prompt in "abcd":
            runner.ends[prompt].set()
        assert len([item async for item in batch]) == 4


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_the_source_raises_comes_after_the_last_item(
    tmp_path: Path, *, is_async: bool
) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        yield "b"
        raise ZeroDivisionError("the caller's own")

    async def broken_async() -> AsyncIterator[str]:
        for prompt in broken():
            yield prompt

    runner = FakeRunner()
    async with runner.batch(broken_async() if is_async else broken(), tmp_path) as batch:
        items = [await anext(batch), await anext(batch)]
        with pytest.raises(ZeroDivisionError, match="the caller's own"):
            await anext(batch)
        with pytest.raises(StopAsyncIteration):
            await anext(batch)
    assert len(items) == 2
    assert batch.summary.succeeded == 2
    assert not batch.summary.ok, "not every request was read"


async def test_wait_goes_through_all_and_sums_up(tmp_path: Path) -> None:
    runner = FakeRunner(errors={"c": TaskFailed("failed")})
    async with runner.batch(list("abcd"), tmp_path, max_in_flight=3) as batch:
        summary = await batch.wait()
        assert summary is batch.summary
    assert summary.total == 4
    assert summary.succeeded == 3
    assert summary.cost == Decimal("0.18")
    assert (summary.files, summary.size_bytes) == (3, 18)
    assert (summary.repeats, summary.rejections) == (12, 8)
    assert summary.most_in_flight == runner.most_in_flight <= 3
    assert 0 <= summary.elapsed_seconds < 5
    at_the_end = summary.elapsed_seconds
    await asyncio.sleep(0.01)
    assert batch.summary.elapsed_seconds == at_the_end, "it is over"


async def test_counts_are_this_batch_s_own(tmp_path: Path) -> None:
    runner = FakeRunner()
    for name in ("one", "two"):
        async with runner.batch(list("ab"), tmp_path / name) as batch:
            await batch.wait()
        assert (batch.summary.repeats, batch.summary.rejections) == (6, 4)


async def test_in_flight_is_told_while_it_runs(tmp_path: Path) -> None:
    runner = FakeRunner(holds=True)
    async with runner.batch(list("ab"), tmp_path) as batch:
        await settle()
        assert batch.in_flight == 2
        runner.ends["a"].set()
        await anext(batch)
        assert batch.in_flight == 1
        assert batch.summary.total == 1
        runner.ends["b"].set()
    assert batch.in_flight == 0


async def test_nothing_to_do(tmp_path: Path) -> None:
    async with FakeRunner().batch([], tmp_path / "new") as batch:
        assert (await batch.wait()).total == 0
    assert batch.summary.ok
    assert lines(tmp_path / "new", "results.jsonl") == []


async def test_a_batch_is_used_once_and_inside(tmp_path: Path) -> None:
    batch = FakeRunner().batch(list("a"), tmp_path)
    assert batch.summary.total == 0
    with pytest.raises(SessionStateError, match="runs inside `async with"):
        await anext(batch)
    async with batch:
        await batch.wait()
    with pytest.raises(SessionStateError, match="runs inside `async with"):
        await batch.wait()
    with pytest.raises(SessionStateError, match="started before"):
        await batch.__aenter__()


@pytest.mark.parametrize("name", ["results.jsonl", "errors.jsonl"])
async def test_a_directory_with_results_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    runner = FakeRunner()
    batch = runner.batch(list("ab"), tmp_path)
    with pytest.raises(OutputDirectoryError, match=f"already holds .*{name}"):
        await batch.__aenter__()
    assert runner.started == []
    (tmp_path / name).unlink()
    async with batch:  # nothing was begun, so it can be begun
        await batch.wait()
    assert batch.summary.succeeded == 2


def test_what_is_no_collection_is_refused_at_once(tmp_path: Path) -> None:
    for wrong in ("prompt", b"x", {"prompt": "x"}, BatchRequest(), 5, None):
        with pytest.raises(ConfigurationError):
            FakeRunner().batch(cast("list[str]", wrong), tmp_path)
