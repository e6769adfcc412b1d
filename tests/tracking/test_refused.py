"""A session that is refused in the middle: every watch ends at once, none of its tasks is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.batch.emulated import emulated
from tests.scripted_service import FLUX, Asked, answered, record, refused
from tests.tracking.stage import Life, set_up
from tests.virtual_session import joined, slow_world
from tests.virtual_time import now, run_virtual, settle
from wiro_async.batch.results import ItemStatus
from wiro_async.emulator.faults import Fault
from wiro_async.errors import AuthenticationFailed
from wiro_async.protocol.requests import build_detail
from wiro_async.protocol.responses import Answer, decode_tasks

REFUSALS = [
    answered({}, http_status=401),
    Answer(http_status=401, body=b"<html>"),
    refused(98, "Please sign in"),
    refused("99", "token expired"),
    refused(None, "Requested ip 1.2.3.4 is not allowed."),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=range(len(REFUSALS)))
def test_every_watch_ends_at_once_with_its_own_name(refusal: Answer) -> None:
    async def scenario() -> None:
        stage = set_up(Life(trouble={1: refusal}))
        watches = [stage.watch(str(number)) for number in range(200)]
        await asyncio.gather(*[watch.wait_done() for watch in watches])
        assert now() == pytest.approx(3)
        for number, watch in enumerate(watches):
            assert isinstance(watch.error, AuthenticationFailed)
            assert watch.error.message.startswith(f"task {number}, ")
            assert watch.error.endpoint == "/Task/Detail"
        assert len({id(watch.error) for watch in watches}) == 200
        before = len(stage.looks())
        assert before <= 11, "one burst"
        await asyncio.sleep(600)
        assert len(stage.looks()) == before
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_looks_that_are_under_way_are_broken_off() -> None:
    async def script(asked: Asked) -> Answer:
        if asked.fields["taskid"] == "0":
            await asyncio.sleep(5)
            return REFUSALS[0]
        await asyncio.sleep(50)
        return record(asked.fields["taskid"], "task_postprocess_end")

    async def scenario() -> None:
        stage = set_up(script)
        watches = [stage.watch(str(number), is_new=False) for number in range(20)]
        await asyncio.gather(*[watch.wait_done() for watch in watches])
        assert now() == pytest.approx(5)
        await settle()
        assert not stage.tracker._looks
        assert all(watch.task is None for watch in watches)
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_the_session_itself_goes_on_for_whoever_mends_it() -> None:
    async def scenario() -> None:
        stage = set_up(Life(0, trouble={1: REFUSALS[4]}))
        watch = stage.watch()
        await watch.wait_done()
        rows = await stage.api.call(build_detail(task_id="1"), decode_tasks)
        assert [row.id for row in rows] == ["1"]
        again = stage.watch(is_new=False)
        await again.wait_done()
        assert again.error is None
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_a_batch_ends_with_one_request_and_nothing_more_is_run(tmp_path: Path) -> None:
    transport = slow_world()
    answer = transport.script

    async def script(asked: Asked) -> Answer:
        return REFUSALS[0] if asked.at > 60 else await answer(asked)

    transport.script = script

    async def scenario() -> None:
        async with (
            joined(transport) as session,
            session.batch(
                [f"number {one}" for one in range(500)],
                output_dir=tmp_path,
                model=FLUX,
                max_in_flight=50,
            ) as batch,
        ):
            items = [item async for item in batch]
        assert {item.status for item in items} == {ItemStatus.UNFINISHED}
        assert len(items) == 50
        assert isinstance(batch.summary.stopped_by, AuthenticationFailed)

    run_virtual(scenario())
    assert len(transport.times("/Run")) == 50
    assert len([asked for asked in transport.asked if asked.at > 60]) == 1


async def test_the_same_batch_started_again_pays_nothing_twice(tmp_path: Path) -> None:
    prompts = [f"number {one}" for one in range(30)]
    async with emulated(tmp_path) as world:
        world.emulator.add_fault(
            Fault(endpoint="Task/Detail", action="unauthorized", skip=5, times=1)
        )
        first = await world.run(prompts, max_in_flight=10)
        assert isinstance(first.summary.stopped_by, AuthenticationFailed)
        assert ItemStatus.UNFINISHED in first.statuses.values()
        second = await world.run(prompts, max_in_flight=10)
        assert set(second.statuses.values()) == {ItemStatus.SUCCEEDED}
        assert len(second.items) == 30
        assert first.asked["Run"] + second.asked["Run"] == 30
