"""What a reader of a stream gets when a socket speaks, and what a slow one does not."""

from __future__ import annotations

import asyncio
import json

import pytest
from attrs import evolve

from tests.tracking.test_streams import seen
from tests.virtual_time import run_virtual, settle
from wiro_async.protocol.frames import decode_frame
from wiro_async.task import Outcome, Progress, Task, TaskEvent
from wiro_async.tracking.readers import EventQueue
from wiro_async.tracking.watch import Watch

MOST = 100
EVENT = TaskEvent(status="task_output", outcome=Outcome.RUNNING, task=Task(), elapsed_seconds=0.0)


def news(number: int) -> TaskEvent:
    return evolve(EVENT, log=f"line {number}")


def left(queue: EventQueue) -> list[TaskEvent | None]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


def test_all_comes_in_its_order_as_long_as_it_is_read() -> None:
    queue = EventQueue()
    for number in range(MOST * 3):
        queue.put_news(news(number))
        queue.put_nowait(evolve(EVENT, status=f"status {number}"))
        assert left(queue) == [news(number), evolve(EVENT, status=f"status {number}")]


def test_the_oldest_news_give_way_and_no_status_does() -> None:
    queue = EventQueue()
    statuses = [evolve(EVENT, status=f"status {number}") for number in range(500)]
    for number, status in enumerate(statuses):
        queue.put_nowait(status)
        queue.put_news(news(number))
    queue.put_nowait(None)
    told = left(queue)
    assert [one for one in told if one in statuses] == statuses
    assert [one for one in told if one and one.log] == [news(one) for one in range(400, 500)]
    assert told[-1] is None


def test_what_was_read_makes_room() -> None:
    queue = EventQueue()
    for number in range(MOST):
        queue.put_news(news(number))
    assert [queue.get_nowait() for _ in range(2)] == [news(0), news(1)]
    for number in range(MOST, MOST + 3):
        queue.put_news(news(number))
    assert left(queue) == [news(number) for number in range(3, MOST + 3)]


def test_news_that_look_the_same_are_told_apart() -> None:
    queue = EventQueue()
    for _ in range(MOST + 1):
        queue.put_news(evolve(EVENT, log="the same"))
    assert queue.qsize() == MOST


def test_a_reader_that_waits_is_woken() -> None:
    async def scenario() -> None:
        queue = EventQueue()
        reading = asyncio.ensure_future(queue.get())
        await settle()
        queue.put_news(news(1))
        assert await reading == news(1)

    run_virtual(scenario())


def tell(watch: Watch, kind: str, message: object = None, at: float = 1.0) -> None:
    frame = decode_frame(json.dumps({"type": kind, "tasktoken": "t", "message": message}))
    assert frame is not None
    watch.hear(frame, at)


def test_a_frame_s_status_is_an_event_once() -> None:
    watch = Watch(started_at=1.0, task_id="1", token="t")
    reader = watch.open_reader()
    tell(watch, "task_accept", at=2.0)
    tell(watch, "task_accept")
    watch.see(seen("task_accept"), 3.0)
    tell(watch, "task_start")
    first, second = left(reader)
    assert first is not None
    assert second is not None
    assert (first.status, first.outcome, first.elapsed_seconds) == (
        "task_accept",
        Outcome.RUNNING,
        1.0,
    )
    assert first.task == Task(id="1", token="t", status="task_accept")
    assert (second.status, second.task) == ("task_start", evolve(seen("task_accept"),
        status="task_start"))  # fmt: skip
    assert watch.task == seen("task_accept"), "what a frame says is no record"


def test_an_end_that_a_frame_tells_is_no_event() -> None:
    watch = Watch(started_at=0.0, task_id="1", token="t")
    reader = watch.open_reader()
    tell(watch, "task_postprocess_end")
    tell(watch, "task_cancel")
    assert left(reader) == []
    assert not watch.is_done


def test_a_line_of_the_log_keeps_the_status() -> None:
    watch = Watch(started_at=0.0, task_id="1", token="t")
    reader = watch.open_reader()
    tell(watch, "task_error", "a warning")
    tell(watch, "task_start")
    tell(watch, "task_error", "another")
    tell(watch, "task_error", None)
    told = [(event.status, event.log) for event in left(reader) if event]
    assert told == [("", "a warning"), ("task_start", None), ("task_start", "another")]


def test_progress_comes_with_the_change_and_between() -> None:
    watch = Watch(started_at=0.0, task_id="1", token="t")
    reader = watch.open_reader()
    for percentage in ("0", "50"):
        tell(watch, "task_output", {"percentage": percentage})
    tell(watch, "task_output", {"answer": ["A light"], "thinking": ["Hm"]})
    first, second, third = left(reader)
    assert first is not None
    assert second is not None
    assert third is not None
    assert [first.progress, second.progress] == [
        Progress(percentage=0.0),
        Progress(percentage=50.0),
    ]
    assert (third.text, third.thinking) == ("A light", "Hm")
    assert watch.last_event is first


def test_a_task_known_by_its_token_alone_is_read_by_its_record_first() -> None:
    watch = Watch(started_at=0.0, token="t")
    reader = watch.open_reader()
    tell(watch, "task_start")
    assert left(reader) == []
    watch.see(seen("task_start"), 1.0)
    tell(watch, "task_output")
    assert [event and event.task_id for event in left(reader)] == ["1", "1"]


@pytest.mark.parametrize("kind", ["task_start", "task_error"])
def test_nothing_is_told_after_the_end(kind: str) -> None:
    watch = Watch(started_at=0.0, task_id="1", token="t")
    watch.see(seen("task_postprocess_end"), 1.0)
    reader = watch.open_reader()
    before = left(reader)
    tell(watch, kind, "x")
    assert left(reader) == []
    assert before[-1] is None


def test_what_nobody_reads_is_not_kept() -> None:
    watch = Watch(started_at=0.0, task_id="1", token="t")
    tell(watch, "task_start")
    assert watch.last_event is None
