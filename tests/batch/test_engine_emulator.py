"""A batch against the emulator: what is on disk is what the service's books say."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import frozen

from tests.batch.source_cases import FLUX
from tests.batch.test_engine import lines
from wiro_async.batch.results import ItemStatus
from wiro_async.emulator import Emulator, Fault
from wiro_async.errors import InsufficientBalance
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession

SPEED = 200.0
# A task takes its 8 s in 40 ms: the schedule follows, and so does the patience after a failure.
SCHEDULE = PollSchedule().faster(SPEED)
POLICY = RetryPolicy(base_seconds=0.02, cap_seconds=0.1)


@frozen
class Place:
    emulator: Emulator
    session: WiroSession
    directory: Path

    def file_digest(self, line: dict[str, object]) -> str:
        files = line["files"]
        assert isinstance(files, list)
        (file,) = files
        digest = hashlib.sha256((self.directory / file["path"]).read_bytes()).hexdigest()
        assert digest == file["sha256"]
        return digest


def suffixes(directory: Path) -> list[str]:
    return [path.suffix for path in directory.iterdir()]


@asynccontextmanager
async def place(
    directory: Path, *, request_timeout_seconds: float = 10.0, **settings: object
) -> AsyncIterator[Place]:
    settings = {"speed": SPEED, "picture_pixels": 0, **settings}
    async with (
        Emulator(**settings) as emulator,  # type: ignore[arg-type] # handed on as they came
        WiroSession(
            emulator.api_key,
            emulator.api_secret,
            base_url=emulator.base_url,
            poll_schedule=SCHEDULE,
            retry_policy=POLICY,
            max_looks_per_second=2000.0,
            request_timeout_seconds=request_timeout_seconds,
            settle_seconds=0.05,
        ) as session,
    ):
        yield Place(emulator, session, directory)


async def test_every_file_belongs_to_its_prompt(tmp_path: Path) -> None:
    prompts = [f"lighthouse number {number}" for number in range(60)]
    # Each with a format of its own choice, so that not all the files are the same.
    requests = [
        {"prompt": prompt, "outputFormat": ("png", "jpeg")[index % 2]}
        for index, prompt in enumerate(prompts)
    ]
    async with place(tmp_path) as at:
        async with at.session.batch(
            requests, output_dir=tmp_path, model=FLUX, max_in_flight=12
        ) as batch:
            items = [item async for item in batch]
        books = at.emulator.books
    assert len(items) == 60
    assert batch.summary.ok
    assert batch.summary.cost == books.spent
    written = lines(tmp_path, "results.jsonl")
    for line in written:
        params = line["params"]
        assert isinstance(params, dict)
        (task_id,) = books.tasks_by_prompt[params["prompt"]]
        task = books.tasks[task_id]
        assert line["task_id"] == task_id
        assert line["token"] == task.token
        assert at.file_digest(line) == task.outputs[0].sha256
        assert task.parameters["outputFormat"] == params["outputFormat"]
    assert sorted(books.tasks_by_prompt) == sorted(prompts)
    assert len({item.paths for item in items}) == 60
    assert books.most_in_flight <= 12
    assert batch.summary.most_in_flight <= 12
    assert books.requests["Run"] == 60
    assert books.violations == []
    assert Counter(suffixes(tmp_path)) == {".png": 30, ".jpeg": 30, ".jsonl": 2}


async def test_a_mix_of_misfortunes_fails_exactly_the_failed(tmp_path: Path) -> None:
    faults = [
        Fault(endpoint="Run", action="fail_task", match="number 3", times=1),
        Fault(endpoint="Run", action="error_task", match="number 5", times=1),
        Fault(endpoint="Run", action="rate_limit", retry_after=0.05, skip=4, times=1),
        Fault(endpoint="cdn", action="truncate", times=1),
        Fault(endpoint="Task/Detail", action="status", status=502, skip=3, times=2),
        Fault(endpoint="Task/Detail", action="not_found", times=1),
        Fault(endpoint="cdn", action="status", status=403, match="number 7", times=None),
        Fault(endpoint="Run", action="drop_after", match="number 8", times=1),
    ]
    async with place(tmp_path, faults=faults, list_absent=True) as at:
        prompts = [f"number {number}" for number in range(10)]
        async with at.session.batch(prompts, output_dir=tmp_path, model=FLUX) as batch:
            items = {item.request.params["prompt"]: item async for item in batch}
        books = at.emulator.books
    failed = {prompt: item.status for prompt, item in items.items() if not item.ok}
    assert failed == {
        "number 3": ItemStatus.FAILED,
        "number 5": ItemStatus.FAILED,
        "number 7": ItemStatus.UNSAVED,
        "number 8": ItemStatus.UNKNOWN,
    }
    written = {str(line["custom_id"]): line for line in lines(tmp_path, "errors.jsonl")}
    assert sorted(written) == ["000004", "000006", "000008", "000009"]
    unknown = written["000009"]["error"]
    assert isinstance(unknown, dict)
    assert unknown["kind"] == "RunOutcomeUnknown"
    assert unknown["params"]["prompt"] == "number 8"
    assert unknown["sent_at"] > 0
    assert len(lines(tmp_path, "results.jsonl")) == 6
    assert {len(ids) for ids in books.tasks_by_prompt.values()} == {1}, "nothing is paid twice"
    assert batch.summary.repeats > 0
    assert batch.summary.counts == {
        ItemStatus.SUCCEEDED: 6,
        ItemStatus.FAILED: 2,
        ItemStatus.UNSAVED: 1,
        ItemStatus.UNKNOWN: 1,
    }
    for text in (json.dumps(line) for line in written.values()):
        assert str(at.emulator.api_secret) not in text
        assert "signature" not in text


async def test_an_empty_account_stops_the_batch(tmp_path: Path) -> None:
    async with place(tmp_path, balance=1, price=0.25) as at:
        prompts = (f"number {number}" for number in range(1000))
        async with at.session.batch(
            prompts, output_dir=tmp_path, model=FLUX, max_in_flight=2
        ) as batch:
            summary = await batch.wait()
    assert isinstance(summary.stopped_by, InsufficientBalance)
    assert summary.succeeded == 4
    assert summary.total <= 6
    assert at.emulator.books.requests["Run"] < 20


async def test_a_full_account_is_waited_for(tmp_path: Path) -> None:
    async with place(tmp_path, balance=30) as at:
        prompts = [f"number {number}" for number in range(12)]
        async with at.session.batch(prompts, output_dir=tmp_path, model=FLUX) as batch:
            assert (await batch.wait()).ok
    assert at.emulator.books.most_in_flight <= 3
    assert batch.summary.rejections > 0


async def test_lines_are_whole_while_it_runs(tmp_path: Path) -> None:
    seen: Counter[int] = Counter()
    async with place(tmp_path) as at:
        prompts = [f"{number} " + "é" * 5000 for number in range(20)]
        async with at.session.batch(
            prompts, output_dir=tmp_path, model=FLUX, max_in_flight=4
        ) as batch:
            async for item in batch:
                content = (tmp_path / "results.jsonl").read_bytes()
                assert content.endswith(b"\n")
                ids = [json.loads(line)["custom_id"] for line in content.splitlines()]
                assert item.custom_id in ids
                seen[len(ids)] += 1
    assert max(seen) == 20


async def test_a_stop_submits_nothing_that_waits_for_the_account(tmp_path: Path) -> None:
    async with place(tmp_path, balance=30, median_seconds=20.0) as at:
        prompts = [f"number {number}" for number in range(40)]
        async with at.session.batch(
            prompts, output_dir=tmp_path, model=FLUX, max_in_flight=20
        ) as batch:
            await anext(batch)
            batch.stop()
            at_the_stop = len(at.emulator.books.tasks)
            items = [item async for item in batch]
        made = len(at.emulator.books.tasks)
        # The account runs three at once: more cannot have been on the wire already.
        assert at_the_stop <= made <= at_the_stop + 3
        assert len(items) == made - 1


async def leave_on_the_wire(at: Place) -> None:
    """Cancel a batch of one when its Run has reached the service."""

    async def use() -> None:
        async with at.session.batch(["a"], output_dir=at.directory, model=FLUX) as batch:
            await batch.wait()

    using = asyncio.create_task(use())
    while not at.emulator.books.requests["Run"]:  # noqa: ASYNC110 - the books tell nobody
        await asyncio.sleep(0.005)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using


async def test_left_while_a_run_is_on_the_wire_its_task_is_kept(tmp_path: Path) -> None:
    faults = [Fault(endpoint="Run", action="delay", seconds=0.3)]
    async with place(tmp_path, faults=faults) as at:
        await leave_on_the_wire(at)
    (line,) = lines(tmp_path, "errors.jsonl")
    assert list(at.emulator.books.tasks) == [line["task_id"]]
    assert line["status"] == "unfinished"


async def test_left_while_a_run_gets_lost_it_is_recorded_as_unknown(tmp_path: Path) -> None:
    faults = [Fault(endpoint="Run", action="delay", seconds=0.6)]
    async with place(tmp_path, faults=faults, request_timeout_seconds=0.2) as at:
        await leave_on_the_wire(at)
        assert len(at.emulator.books.tasks) == 1, "it is paid"
    (line,) = lines(tmp_path, "errors.jsonl")
    assert line["status"] == "unknown"


async def test_stopped_while_runs_are_on_the_wire_they_are_finished(tmp_path: Path) -> None:
    faults = [
        Fault(endpoint="Run", action="delay", seconds=0.2, match="slow", times=None),
        Fault(endpoint="Run", action="delay", seconds=0.8, match="lost"),
    ]
    async with place(tmp_path, faults=faults, request_timeout_seconds=0.4) as at:
        prompts = ["slow 1", "slow 2", "lost", "slow 3", "slow 4"]
        async with at.session.batch(
            prompts, output_dir=tmp_path, model=FLUX, max_in_flight=3
        ) as batch:
            while at.emulator.books.requests["Run"] < 3:  # noqa: ASYNC110 - the books tell nobody
                await asyncio.sleep(0.01)
            batch.stop()
            items = {item.request.params["prompt"]: item.status async for item in batch}
    assert items == {
        "slow 1": ItemStatus.SUCCEEDED,
        "slow 2": ItemStatus.SUCCEEDED,
        "lost": ItemStatus.UNKNOWN,
    }
    assert at.emulator.books.requests["Run"] == 3
