"""A batch that is started again: from each state of a journal, what is asked and what comes out."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import field, frozen

from tests.batch.emulated import Emulated, emulated
from tests.batch.source_cases import FLUX
from tests.batch.test_engine import lines
from wiro_async.batch.journal.opening import open_store
from wiro_async.batch.journal.states import State
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import ItemStatus
from wiro_async.errors import InvalidRequest, TaskError
from wiro_async.protocol.records import keep_record
from wiro_async.task import JsonObject, JsonValue, Task
from wiro_async.tracking import tracker

FOX = {"custom_id": "fox", "prompt": "a fox"}
HEN = {"custom_id": "hen", "prompt": "a hen"}

SUCCEEDED, UNKNOWN, SKIPPED = ItemStatus.SUCCEEDED, ItemStatus.UNKNOWN, ItemStatus.SKIPPED
FAILED = ItemStatus.FAILED

FILES = ("results.jsonl", "errors.jsonl")

Facts = Callable[[Task], dict[str, JsonValue]]
Step = tuple[State, Facts]


def written(directory: Path) -> list[list[str]]:
    """What the two files say, but for the last milliseconds of each item."""
    return [
        sorted(str({**line, "elapsed_seconds": None}) for line in lines(directory, name))
        for name in FILES
    ]


def write_journal(at: Emulated, steps: list[tuple[State, JsonObject]], **request: str) -> None:
    """Have an item come to a state as an earlier run of the batch would."""
    request = {"prompt": "a fox", "custom_id": "fox", **request}
    store = open_store(at.journal)
    store.begin()
    name = request.pop("custom_id")
    entry = store.plan(BatchRequest(custom_id=name, model=FLUX, params=request))
    assert entry is not None
    for state, facts in steps:
        store.change(entry.position, state, facts)
    store.commit()
    store.close()


async def make_task(at: Emulated, prompt: str = "a fox") -> Task:
    """A task that an earlier run has started, at its end."""
    async with at.session() as session:
        handle = await session.run(FLUX, {"prompt": prompt})
        return await handle.wait()


def sent(_: Task) -> dict[str, JsonValue]:
    return {"sent_at": time.time()}


def by_id(task: Task) -> dict[str, JsonValue]:
    return {**sent(task), "task_id": task.id, "token": task.token}


def by_token(task: Task) -> dict[str, JsonValue]:
    return {**sent(task), "token": task.token}


def ended(task: Task) -> dict[str, JsonValue]:
    return {**by_id(task), "record": keep_record(task)}


def gone_wrong(task: Task) -> dict[str, JsonValue]:
    error = {"kind": "TaskFailed", "message": "it failed"}
    return {**ended(task), "status": "failed", "error": error}


def given_up(task: Task) -> dict[str, JsonValue]:
    error = {"kind": "RunOutcomeUnknown", "message": "nobody knows"}
    return {**sent(task), "status": "skipped", "error": error}


INTENT: list[Step] = [(State.INTENT, sent)]
LOST: list[Step] = [*INTENT, (State.UNKNOWN, sent)]
BY_ID: list[Step] = [*INTENT, (State.SUBMITTED, by_id)]
BY_TOKEN: list[Step] = [*INTENT, (State.SUBMITTED, by_token)]
TERMINAL: list[Step] = [*BY_ID, (State.TERMINAL, ended)]
WRONG: list[Step] = [*BY_ID, (State.FAILED, gone_wrong)]
GIVEN_UP: list[Step] = [*LOST, (State.SKIPPED, given_up)]

HOLD: dict[str, object] = {}
SKIP: dict[str, object] = {"on_unknown": "skip"}
RESUBMIT: dict[str, object] = {"on_unknown": "resubmit"}
RETRY: dict[str, object] = {"retry_failed": True}


@frozen
class Case:
    """A state, what a person chooses, and what comes of it: these requests, and no others."""

    name: str
    steps: list[Step]
    choices: dict[str, object]
    status: ItemStatus
    asked: tuple[str, ...] = ()
    is_made: bool = True
    """Whether the service has a task of it."""
    is_earlier: bool = field(kw_only=True, default=False)


RUN, LOOK, LIST, FETCH = "Run", "Task/Detail", "Task/List", "cdn"
FOUND, FROM_START = (LIST, LOOK, FETCH), (RUN, LOOK, FETCH)
CASES = [
    Case("planned", [], HOLD, SUCCEEDED, FROM_START, is_made=False),
    Case("intent, made", INTENT, HOLD, SUCCEEDED, FOUND),
    Case("intent, made, resubmit", INTENT, RESUBMIT, SUCCEEDED, FOUND),
    Case("intent, made, skip", INTENT, SKIP, SUCCEEDED, FOUND),
    Case("intent, not made", INTENT, HOLD, UNKNOWN, (LIST,), is_made=False),
    Case("intent, not made, skip", INTENT, SKIP, SKIPPED, (LIST,), is_made=False),
    Case(
        "intent, not made, resubmit",
        INTENT,
        RESUBMIT,
        SUCCEEDED,
        (LIST, *FROM_START),
        is_made=False,
    ),
    Case("unknown, made", LOST, HOLD, SUCCEEDED, FOUND),
    Case("unknown, made, resubmit", LOST, RESUBMIT, SUCCEEDED, FOUND),
    Case("unknown, not made", LOST, HOLD, UNKNOWN, (LIST,), is_made=False),
    Case("unknown, not made, skip", LOST, SKIP, SKIPPED, (LIST,), is_made=False),
    Case(
        "unknown, not made, resubmit", LOST, RESUBMIT, SUCCEEDED, (LIST, *FROM_START), is_made=False
    ),
    Case("submitted by id", BY_ID, HOLD, SUCCEEDED, (LOOK, FETCH)),
    Case("submitted by token", BY_TOKEN, RESUBMIT, SUCCEEDED, (LOOK, FETCH)),
    Case("terminal", TERMINAL, HOLD, SUCCEEDED, (LOOK, FETCH)),
    Case("failed", WRONG, HOLD, FAILED, is_earlier=True),
    Case("failed, resubmit", WRONG, RESUBMIT, FAILED, is_earlier=True),
    Case("failed, retried", WRONG, RETRY, SUCCEEDED, FROM_START),
    Case("skipped", GIVEN_UP, HOLD, SKIPPED, is_earlier=True),
    Case("skipped, resubmit", GIVEN_UP, RESUBMIT, SKIPPED, is_earlier=True),
    Case("skipped, retried", GIVEN_UP, RETRY, SKIPPED, is_earlier=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_from_each_state_it_goes_on_where_it_was(tmp_path: Path, case: Case) -> None:
    async with emulated(tmp_path, median_seconds=1.0) as at:
        task = await make_task(at) if case.is_made else Task(id="1", token="t")
        write_journal(at, [(state, facts(task)) for state, facts in case.steps])
        ran = await at.run([FOX], **case.choices)
        assert ran.statuses == {"fox": case.status}
        assert set(ran.asked) == set(case.asked)
        assert ran.items["fox"].is_earlier is case.is_earlier
        assert ran.summary.earlier == case.is_earlier
        (line,) = lines(tmp_path, "results.jsonl") + lines(tmp_path, "errors.jsonl")
        assert (line["custom_id"], line["status"]) == ("fox", case.status)
        if case.status is SUCCEEDED:
            assert (tmp_path / "fox.png").exists()
            before = written(tmp_path)
            again = await at.run([FOX], **case.choices)
            assert not again.asked, "and then there is nothing left to do"
            assert again.statuses == {"fox": SUCCEEDED}
            assert written(tmp_path) == before


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_picture_that_is_gone_or_changed_is_fetched_again_and_not_paid_again(
    tmp_path: Path,
    is_gone: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with emulated(tmp_path) as at:
        first = await at.run([FOX, HEN])
        picture = tmp_path / "fox.png"
        picture.unlink() if is_gone else picture.write_bytes(b"moustache")
        ran = await at.run([FOX, HEN])
        assert ran.statuses == {"fox": SUCCEEDED, "hen": SUCCEEDED}
        assert set(ran.asked) == {LOOK, FETCH}
        assert ran.asked[FETCH] == 1
        (path,) = ran.items["fox"].paths
        assert path.exists()
        assert ran.items["fox"].files[0].sha256 == first.items["fox"].files[0].sha256
        assert is_gone or picture.read_bytes() == b"moustache", "nothing is written over"
        names = [line["custom_id"] for line in lines(tmp_path, "results.jsonl")]
        assert sorted(map(str, names)) == ["fox", "hen"]
        assert ran.summary.cost == first.summary.cost


async def test_an_id_that_stands_for_another_request_is_refused_by_name(tmp_path: Path) -> None:
    async with emulated(tmp_path) as at:
        await at.run([{**FOX, "seed": 7}])
        ran = await at.run([{**FOX, "prompt": "a red fox", "aspectRatio": "1:1", "seed": "7"}, HEN])
        error = ran.items["fox"].error
        assert isinstance(error, InvalidRequest)
        assert error.field == "custom_id"
        assert "prompt was 'a fox' and is now 'a red fox'" in error.message
        assert "aspectRatio was not there and is now '1:1'" in error.message
        assert "seed" not in error.message, "a number and its text are the same"
        assert ran.items["hen"].ok
        assert ran.asked[RUN] == 1
        names = [line["custom_id"] for line in lines(tmp_path, "results.jsonl")]
        assert names == ["fox", "hen"], "what was done before is still there"


async def test_a_longer_input_runs_what_is_new(tmp_path: Path) -> None:
    async with emulated(tmp_path) as at:
        await at.run([FOX])
        ran = await at.run([FOX, HEN])
        assert ran.asked[RUN] == 1
        assert [item.is_earlier for item in ran.items.values()] == [True, False]
        assert ran.summary.ok


async def test_a_shorter_input_still_sees_to_what_is_in_flight(tmp_path: Path) -> None:
    async with emulated(tmp_path) as at:
        task = await make_task(at)
        write_journal(at, [(state, facts(task)) for state, facts in BY_ID])
        write_journal(at, [], custom_id="owl", prompt="an owl")
        ran = await at.run([HEN])
        assert ran.statuses == {"fox": SUCCEEDED, "hen": SUCCEEDED}
        assert ran.asked[RUN] == 1, "what was only planned, and is not wanted any more, is not"


async def test_what_is_left_over_comes_first(tmp_path: Path) -> None:
    async with emulated(tmp_path) as at:
        async with at.session() as session:
            handle = await session.run(FLUX, {"prompt": "a fox"})
        facts: JsonObject = {"sent_at": time.time(), "task_id": handle.task_id}
        write_journal(at, [(State.INTENT, facts), (State.SUBMITTED, facts)])
        ran = await at.run([HEN, FOX], max_in_flight=1)
        assert list(ran.items) == ["fox", "hen"]
        first, second = at.emulator.books.tasks.values()
        assert first.ended is not None
        assert second.created > first.ended


async def test_a_finished_batch_asks_for_nothing_and_writes_the_same(tmp_path: Path) -> None:
    requests = [{"custom_id": f"id-{number}", "prompt": f"{number}"} for number in range(20)]
    async with emulated(tmp_path, failure_rate=0.3, seed=3) as at:
        first = await at.run(requests)
        assert 0 < first.summary.succeeded < 20
        before = written(tmp_path)
        for _ in range(2):
            ran = await at.run(requests)
            assert not ran.asked
            assert ran.summary.earlier == 20
            assert ran.statuses == first.statuses
            assert ran.summary.cost == first.summary.cost
            assert written(tmp_path) == before
        retried = await at.run(requests, retry_failed=True)
        assert retried.asked[RUN] == 20 - first.summary.succeeded


async def test_what_a_dead_run_left_half_written_is_gone(tmp_path: Path) -> None:
    async with emulated(tmp_path) as at:
        await at.run([FOX])
        with (tmp_path / "results.jsonl").open("a") as file:
            file.write('{"custom_id": "hen", "sta')
        (tmp_path / ".hen.png.0a1b2c3d.part").write_bytes(b"half")
        ran = await at.run([FOX, HEN])
        assert ran.summary.ok
        assert [line["custom_id"] for line in lines(tmp_path, "results.jsonl")] == ["fox", "hen"]
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]  # noqa: PTH208


@pytest.mark.parametrize("steps", [BY_ID, BY_TOKEN, TERMINAL])
async def test_a_task_that_asked_for_something_else_is_not_saved_under_its_name(
    tmp_path: Path, steps: list[Step]
) -> None:
    async with emulated(tmp_path) as at:
        task = await make_task(at, "somebody else's hen")
        write_journal(at, [(state, facts(task)) for state, facts in steps])
        ran = await at.run([FOX])
        item = ran.items["fox"]
        assert item.status is ItemStatus.UNFINISHED
        assert isinstance(item.error, TaskError)
        assert "has other parameters at this service" in item.error.message
        assert ran.asked[FETCH] == ran.asked[RUN] == 0
        assert not (tmp_path / "fox.png").exists()


async def test_a_service_that_does_not_know_the_task_is_told_of_and_asked_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "_MISSING_GRACE_SECONDS", 0.02)
    async with emulated(tmp_path) as at:
        names: dict[str, JsonValue] = {"task_id": "4711", "token": "t"}
        write_journal(at, [(State.INTENT, {}), (State.SUBMITTED, names)])
        for _ in range(2):
            ran = await at.run([FOX])
            item = ran.items["fox"]
            assert item.status is ItemStatus.UNFINISHED
            assert isinstance(item.error, TaskError)
            assert "the journal has task 4711 (token t) for 'fox'" in item.error.message
            assert ran.asked[RUN] == 0


async def test_one_that_is_interrupted_again_and_again_comes_to_its_end(tmp_path: Path) -> None:
    requests = [{"custom_id": f"id-{number}", "prompt": f"{number}"} for number in range(12)]
    async with emulated(tmp_path) as at:
        for _ in range(4):
            async with (
                at.session() as session,
                session.batch(
                    requests,
                    output_dir=tmp_path,
                    model=FLUX,
                    journal=at.journal,
                    max_in_flight=3,
                ) as batch,
            ):
                await asyncio.sleep(0.04)
                batch.stop(drain=False)
        ran = await at.run(requests)
        assert ran.summary.ok
        assert at.emulator.books.requests[RUN] == 12
        assert {len(ids) for ids in at.emulator.books.tasks_by_prompt.values()} == {1}
        names = [str(line["custom_id"]) for line in lines(tmp_path, "results.jsonl")]
        assert sorted(names) == sorted(str(one["custom_id"]) for one in requests)
        assert lines(tmp_path, "errors.jsonl") == []
