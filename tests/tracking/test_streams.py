from __future__ import annotations

import asyncio

from tests.tracking.stage import Life, Stage, set_up
from tests.virtual_time import now, run_virtual, settle
from wiro_async.errors import TaskUnreachable
from wiro_async.protocol.converter import make_converter
from wiro_async.task import Outcome, Task, TaskEvent
from wiro_async.tracking.watch import Watch

_CONVERTER = make_converter()


def seen(status: str, **fields: object) -> Task:
    return _CONVERTER.structure({"id": "1", "status": status, **fields}, Task)


async def read(watch: Watch, *, pause: float = 0.0) -> list[str]:
    reader = watch.open_reader()
    statuses = []
    while (event := await reader.get()) is not None:
        statuses.append(event.status)
        await asyncio.sleep(pause)
    watch.close_reader(reader)
    return statuses


STORY = ["task_queue", "task_assign", "task_start", "task_output", "task_postprocess_end"]


async def tell(watch: Watch, story: list[str]) -> None:
    for status in story:
        await asyncio.sleep(1)
        watch.see(seen(status), now())


def test_several_readers_each_at_its_own_speed() -> None:
    async def scenario() -> None:
        watch = Watch(started_at=0.0)
        readers = [asyncio.ensure_future(read(watch, pause=pause)) for pause in (0, 0.5, 60)]
        await settle()
        await tell(watch, STORY)
        assert await asyncio.gather(*readers) == [STORY] * 3

    run_virtual(scenario())


def test_a_late_reader_begins_with_the_last_known() -> None:
    async def scenario() -> None:
        watch = Watch(started_at=0.0)
        await tell(watch, STORY[:3])
        late = asyncio.ensure_future(read(watch))
        await settle()
        await tell(watch, STORY[3:])
        assert await late == STORY[2:]
        assert await read(watch) == STORY[-1:]

    run_virtual(scenario())


def test_a_repeated_status_is_no_second_event() -> None:
    async def scenario() -> None:
        watch = Watch(started_at=0.0)
        reader = asyncio.ensure_future(read(watch))
        await settle()
        await tell(watch, ["task_queue", "task_queue", "task_start", "task_start", "task_queue"])
        await tell(watch, ["task_cancel"])
        assert await reader == ["task_queue", "task_start", "task_queue", "task_cancel"]

    run_virtual(scenario())


def test_a_status_of_which_nobody_knows_passes_through() -> None:
    async def scenario() -> None:
        watch = Watch(started_at=0.0)
        await tell(watch, ["task_sings"])
        event = watch.last_event
        assert isinstance(event, TaskEvent)
        assert (event.status, event.outcome) == ("task_sings", Outcome.RUNNING)
        assert not event.is_terminal
        assert not watch.is_done

    run_virtual(scenario())


def test_events_tell_when_they_were_seen() -> None:
    async def scenario() -> None:
        await asyncio.sleep(100)
        watch = Watch(started_at=now())
        await tell(watch, STORY[:3])
        assert watch.last_event is not None
        assert watch.last_event.elapsed_seconds == 3
        assert watch.last_event.task_id == "1"

    run_virtual(scenario())


def test_a_watch_that_is_given_up_ends_its_streams() -> None:
    async def scenario() -> None:
        watch = Watch(started_at=0.0)
        reader = asyncio.ensure_future(read(watch))
        await tell(watch, STORY[:2])
        watch.give_up(TaskUnreachable("gone"))
        assert await reader == STORY[:2]
        assert await read(watch) == STORY[1:2]

    run_virtual(scenario())


def test_a_reader_that_is_closed_is_not_fed() -> None:
    async def scenario() -> None:
        watch = Watch(started_at=0.0)
        reader = watch.open_reader()
        watch.close_reader(reader)
        watch.close_reader(reader)
        await tell(watch, STORY)
        assert reader.empty()

    run_virtual(scenario())


def test_what_a_watch_learns_is_kept() -> None:
    watch = Watch(started_at=0.0, token="known")
    watch.see(seen("task_start", socketaccesstoken="other"), 1.0)
    assert (watch.task_id, watch.token) == ("1", "known")
    assert watch.describe() == "task 1, token known, last seen in task_start"
    assert Watch(started_at=0.0).describe() == "a task, never seen"


def test_the_scheduler_sleeps_until_it_is_needed() -> None:
    """Nothing to watch means no timer: the virtual loop would fail a wait without end."""

    async def scenario() -> Stage:
        stage = set_up(Life(0))
        for _ in range(3):
            watch = stage.watch()
            await watch.wait_done()
            await asyncio.sleep(1000)
        await stage.tracker.aclose()
        return stage

    assert len(run_virtual(scenario()).looks()) == 3


def test_what_comes_after_the_end_changes_nothing() -> None:
    watch = Watch(started_at=0.0)
    reader = watch.open_reader()
    watch.see(seen("task_postprocess_end"), 1)
    watch.see(seen("task_cancel"), 2)
    assert watch.task is not None
    assert watch.task.outcome is Outcome.SUCCEEDED
    assert reader.qsize() == 2, "the end, and that it is one"
    given_up = Watch(started_at=0.0)
    given_up.give_up(TaskUnreachable("gone"))
    given_up.see(seen("task_start"), 1)
    assert given_up.task is None
