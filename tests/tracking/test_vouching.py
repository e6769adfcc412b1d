"""Somebody else says that a task runs: its look is put off, and nothing is decided by that."""

from __future__ import annotations

import asyncio

import pytest

from tests.scripted_service import Asked, record
from tests.tracking.stage import Life, set_up
from tests.virtual_time import now, run_virtual
from wiro_async.errors import TaskTimeout, TaskUnreachable
from wiro_async.protocol.responses import Answer
from wiro_async.tracking.watch import Watch


def test_a_task_that_is_vouched_for_is_looked_at_when_the_voucher_ends() -> None:
    async def scenario() -> None:
        stage = set_up(Life(100))
        watch, other = stage.watch("1"), stage.watch("2")
        stage.tracker.vouch(watch, 20.0)
        await asyncio.sleep(19.0)
        asked = [asked.fields["taskid"] for asked in stage.transport.asked]
        assert "1" not in asked, "it was put off"
        assert asked.count("2") >= 4, "of another nothing was said"
        await asyncio.sleep(1.5)
        assert watch.looks == 1
        await asyncio.sleep(20)
        assert watch.looks > 3, "with nobody to vouch any more it is looked at as ever"
        assert other.task is not None
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_as_long_as_it_is_vouched_for_no_look_is_spent() -> None:
    async def scenario() -> None:
        stage = set_up(Life(1000))
        watches = [stage.watch(str(number)) for number in range(50)]
        for _ in range(100):
            for watch in watches:
                stage.tracker.vouch(watch, 3.0)
            await asyncio.sleep(1.0)
        assert stage.looks() == []
        await asyncio.sleep(3.0)
        assert len(stage.looks()) == 50
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_it_does_not_bring_a_look_forward_that_was_due_later() -> None:
    async def scenario() -> None:
        stage = set_up(Life(100))
        watch = stage.watch()
        stage.tracker.vouch(watch, 0.5)
        await watch.wait_done()
        assert stage.looks()[0] == pytest.approx(3)
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_a_look_that_is_asked_for_is_taken_whoever_vouches() -> None:
    async def scenario() -> None:
        stage = set_up(Life(2))
        watch = stage.watch()
        stage.tracker.vouch(watch, 500.0)
        await asyncio.sleep(2.5)
        stage.tracker.look_now(watch)
        stage.tracker.vouch(watch, 500.0)
        await watch.wait_done()
        assert (now(), watch.looks) == (2.5, 1)
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_a_look_under_way_goes_on_and_the_next_one_is_put_off() -> None:
    async def script(asked: Asked) -> Answer:
        await asyncio.sleep(1)
        return record("1", "task_postprocess_end" if asked.at > 30 else "task_start")

    async def scenario() -> None:
        stage = set_up(script)
        watch = stage.watch()
        await asyncio.sleep(3.5)
        stage.tracker.vouch(watch, 40.0)
        await watch.wait_done()
        assert stage.looks() == pytest.approx([3.0, 43.6])
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_a_deadline_is_kept_all_the_same() -> None:
    async def scenario() -> None:
        stage = set_up(Life(1000))
        watch = stage.watch(timeout_seconds=20.0)
        stage.tracker.vouch(watch, 500.0)
        await watch.wait_done()
        assert (now(), watch.looks) == (20, 1)
        assert isinstance(watch.error, TaskTimeout)
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_those_who_wish_to_know_hear_of_each_watch_and_of_each_record() -> None:
    async def scenario() -> None:
        stage = set_up(Life(5))
        begun: list[Watch] = []
        seen: list[str] = []
        stage.tracker.on_watch.append(begun.append)
        stage.tracker.on_look.append(lambda watch: seen.append(watch.task.status))  # type: ignore[union-attr] # a record came
        watch = stage.watch(model="owner/model")
        assert begun == [watch]
        assert set(stage.tracker.watches) == {watch}
        assert watch.model == "owner/model"
        await watch.wait_done()
        assert seen == ["task_start", "task_postprocess_end"]
        assert not stage.tracker.watches
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_a_page_of_the_list_takes_the_place_of_a_look() -> None:
    async def scenario() -> None:
        stage = set_up(Life(1000), rate=10.0)
        waits = [stage.tracker.reserve_look(now()) for _ in range(12)]
        assert waits[:2] == [0.0, 0.0]
        assert waits[-1] == pytest.approx(1.0)
        stage.watch(is_new=False)
        await asyncio.sleep(5)
        assert stage.looks()[0] == pytest.approx(1.1)
        await stage.tracker.aclose()

    run_virtual(scenario())


@pytest.mark.parametrize(("trip", "second"), [(1.0, 6.0), (10.0, 14.4)])
def test_waits_are_counted_from_look_to_look_but_never_left_out(trip: float, second: float) -> None:
    async def script(_: Asked) -> Answer:
        await asyncio.sleep(trip)
        return record("1", "task_start")

    async def scenario() -> None:
        stage = set_up(script)
        stage.watch()
        await asyncio.sleep(20)
        assert stage.looks()[:2] == pytest.approx([3.0, second])
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_who_waits_long_because_of_a_crowd_waits_no_longer_when_it_has_gone() -> None:
    async def scenario() -> None:
        stage = set_up(Life(1000), rate=2.0)
        watches = [stage.watch(str(number)) for number in range(100)]
        await asyncio.sleep(1.0)
        for watch in watches[:98]:
            watch.give_up(TaskUnreachable("of no interest any more"))
        stage.tracker.look_now(watches[98])
        await asyncio.sleep(4.0)
        assert watches[99].looks >= 1
        await stage.tracker.aclose()

    run_virtual(scenario())
