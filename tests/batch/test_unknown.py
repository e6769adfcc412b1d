"""Runs of a batch whose answers are lost: found, held, skipped or sent again, and never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen

from tests.batch.test_engine import lines
from tests.lossy_world import ECHO, Loss, LossyWorld
from tests.tracking.project_list import wall_clock
from tests.virtual_session import joined
from tests.virtual_time import now, run_virtual
from wiro_async.batch.results import BatchItem, BatchSummary, ItemStatus
from wiro_async.batch.runner import OnUnknown
from wiro_async.emulator.desk import Listing
from wiro_async.errors import RunOutcomeUnknown

__all__ = ["wall_clock"]

SUCCEEDED, UNKNOWN, SKIPPED = ItemStatus.SUCCEEDED, ItemStatus.UNKNOWN, ItemStatus.SKIPPED


@frozen
class Ended:
    """A batch in memory that is over; times are in virtual seconds."""

    items: dict[str, BatchItem]
    summary: BatchSummary
    seconds: float

    @property
    def statuses(self) -> list[ItemStatus]:
        return [self.items[name].status for name in sorted(self.items)]


def run_batch(
    world: LossyWorld,
    directory: Path,
    prompts: Sequence[str] = ("a fox",),
    *,
    on_unknown: OnUnknown = "hold",
    max_in_flight: int = 10,
) -> Ended:
    async def scenario() -> Ended:
        async with (
            joined(world) as session,
            session.batch(
                prompts,
                output_dir=directory,
                model=ECHO,
                on_unknown=on_unknown,
                max_in_flight=max_in_flight,
            ) as batch,
        ):
            items = {item.custom_id: item async for item in batch}
        return Ended(items, batch.summary, now())

    return run_virtual(scenario())


@pytest.mark.parametrize("on_unknown", ["hold", "skip", "resubmit"])
def test_a_task_that_was_made_is_found_and_followed(tmp_path: Path, on_unknown: OnUnknown) -> None:
    world = LossyWorld({"a fox": ("made",)})
    ended = run_batch(world, tmp_path, on_unknown=on_unknown)
    assert ended.statuses == [SUCCEEDED]
    assert ended.summary.ok
    assert world.times("/Run") == [0.0]
    (line,) = lines(tmp_path, "results.jsonl")
    (task,) = world.world.books.tasks.values()
    assert (line["task_id"], line["token"]) == (task.id, task.token)
    assert line["text"] == "You said: a fox"
    assert lines(tmp_path, "errors.jsonl") == []


@pytest.mark.parametrize(
    ("on_unknown", "status", "runs"),
    [("hold", UNKNOWN, 1), ("skip", SKIPPED, 1), ("resubmit", SUCCEEDED, 2)],
)
def test_what_is_not_found_is_the_persons_choice(
    tmp_path: Path, on_unknown: OnUnknown, status: ItemStatus, runs: int
) -> None:
    world = LossyWorld({"a fox": ("not made",)})
    ended = run_batch(world, tmp_path, on_unknown=on_unknown)
    assert ended.statuses == [status]
    assert len(world.times("/Run")) == runs
    if runs == 1:
        assert ended.seconds == pytest.approx(25, abs=0.1), "four readings, and no more waiting"
        (line,) = lines(tmp_path, "errors.jsonl")
        assert line["status"] == status
        error = line["error"]
        assert isinstance(error, dict)
        assert error["kind"] == "RunOutcomeUnknown"
        assert error["params"] == {"prompt": "a fox"}
        assert "not sent again" in error["message"]
    else:
        assert world.times("/Run")[1] >= 25, "only after it was looked for"


def test_one_that_shows_too_late_is_paid_once_more_only_where_that_was_chosen(
    tmp_path: Path,
) -> None:
    late = Listing(lag_seconds=60.0)
    world = LossyWorld({"a fox": ("made",)}, late)
    assert run_batch(world, tmp_path / "1").statuses == [UNKNOWN]
    assert world.made("a fox") == 1
    world = LossyWorld({"a fox": ("made",)}, late)
    assert run_batch(world, tmp_path / "2", on_unknown="resubmit").statuses == [SUCCEEDED]
    assert world.made("a fox") == 2


@pytest.mark.parametrize("second", ["made", "not made"])
def test_one_that_is_lost_again_is_sent_no_third_time(tmp_path: Path, second: Loss) -> None:
    world = LossyWorld({"a fox": ("not made", second, "not made")})
    ended = run_batch(world, tmp_path, on_unknown="resubmit")
    assert len(world.times("/Run")) == 2
    assert ended.statuses == [SUCCEEDED if second == "made" else UNKNOWN]


def test_of_two_that_look_alike_one_is_found_and_the_other_is_not_guessed(tmp_path: Path) -> None:
    world = LossyWorld({"a fox": ("made", "not made")})
    ended = run_batch(world, tmp_path, ["a fox", "a fox"])
    assert sorted(ended.statuses) == [SUCCEEDED, UNKNOWN]
    assert world.made("a fox") == 1


def test_two_that_look_alike_are_given_a_task_each(tmp_path: Path) -> None:
    world = LossyWorld({"a fox": ("made", "made")})
    ended = run_batch(world, tmp_path, ["a fox", "a fox"])
    assert ended.statuses == [SUCCEEDED, SUCCEEDED]
    ids = {item.task_id for item in ended.items.values()}
    assert ids == set(world.world.books.tasks)


@pytest.mark.parametrize("lost", range(4))
def test_a_task_of_the_same_prompt_that_was_answered_is_not_taken(
    tmp_path: Path, lost: int
) -> None:
    steps: list[Loss] = ["answered"] * 4
    steps[lost] = "not made"
    world = LossyWorld({"a fox": tuple(steps)})
    ended = run_batch(world, tmp_path, ["a fox"] * 4)
    assert sorted(ended.statuses) == [SUCCEEDED] * 3 + [UNKNOWN]
    ids = [item.task_id for item in ended.items.values() if item.ok]
    assert sorted(ids, key=str) == sorted(world.world.books.tasks)


def test_those_that_are_lost_hold_nobody_up(tmp_path: Path) -> None:
    world = LossyWorld({"a fox": ("not made",)}, median_seconds=5.0)
    ended = run_batch(world, tmp_path, ["a fox", "a hen", "an owl", "a bat"], max_in_flight=1)
    assert ended.statuses == [UNKNOWN, SUCCEEDED, SUCCEEDED, SUCCEEDED]
    assert world.times("/Run")[1] < 2, "its place is free as soon as its answer is lost"
    assert ended.seconds < 30


@pytest.mark.parametrize(
    ("on_unknown", "status"), [("hold", UNKNOWN), ("skip", SKIPPED), ("resubmit", SUCCEEDED)]
)
def test_a_list_that_is_not_there_leaves_it_unknown_and_not_refused(
    tmp_path: Path, on_unknown: OnUnknown, status: ItemStatus
) -> None:
    world = LossyWorld({"a fox": ("made",)}, Listing(is_absent=True))
    ended = run_batch(world, tmp_path, on_unknown=on_unknown)
    assert ended.statuses == [status]
    if status is not SUCCEEDED:
        (item,) = ended.items.values()
        assert isinstance(item.error, RunOutcomeUnknown)
        assert "could not be looked for" in item.error.message
    assert world.made("a fox") == (2 if on_unknown == "resubmit" else 1)


def test_a_stop_sends_nothing_again_but_still_looks_for_what_was_lost_before(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        world = LossyWorld({"a fox": ("made",), "a hen": ("not made",)})
        async with (
            joined(world) as session,
            session.batch(
                ["a fox", "a hen", "an owl"],
                output_dir=tmp_path,
                model=ECHO,
                on_unknown="resubmit",
                max_in_flight=2,
            ) as batch,
        ):
            await asyncio.sleep(5.0)
            batch.stop()
            items = {item.request.params["prompt"]: item.status async for item in batch}
        assert items["a fox"] is SUCCEEDED
        assert items["a hen"] is UNKNOWN
        assert world.made("a hen") == 0

    run_virtual(scenario())


def test_a_batch_that_is_left_notes_what_is_unknown(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = LossyWorld({"a fox": ("made",)})
        async with (
            joined(world) as session,
            session.batch(["a fox"], output_dir=tmp_path, model=ECHO) as batch,
        ):
            await asyncio.sleep(5.0)
            batch.stop(drain=False)
            assert [item async for item in batch] == []
        assert now() == 5

    run_virtual(scenario())
    (line,) = lines(tmp_path, "errors.jsonl")
    assert line["status"] == "unknown"


def test_a_session_that_is_closed_meanwhile_is_no_answer(tmp_path: Path) -> None:
    """Not found is one thing, and not having looked is another: nothing is given up for good."""

    async def scenario() -> list[BatchItem]:
        world = LossyWorld({"a fox": ("made",)})
        async with joined(world) as session:
            batch = session.batch(["a fox"], output_dir=tmp_path, model=ECHO, on_unknown="skip")
            async with batch:
                await asyncio.sleep(5.0)
                await session.aclose()
                return [item async for item in batch]

    (item,) = run_virtual(scenario())
    assert item.status is UNKNOWN
