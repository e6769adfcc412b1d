"""Every way in which a look can fail: met once it costs nothing, met for ever it has an end."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.scripted_service import Asked, ScriptedTransport, answered, record, refused, too_fast
from tests.tracking.stage import set_up
from tests.virtual_session import PROMPT, joined
from tests.virtual_time import now, run_virtual
from wiro_async.errors import OutcomeUnknown, RequestNotSent, TaskUnreachable, WiroError
from wiro_async.protocol.responses import Answer
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.task import Outcome
from wiro_async.tracking.watch import Watch

DETAIL = "/Task/Detail"
RUNNING = {"id": "1", "socketaccesstoken": "tok-1", "status": "task_start"}


def listed(*rows: object) -> Answer:
    return answered({"result": True, "errors": [], "tasklist": [*rows]})


def body(raw: bytes, http_status: int = 200) -> Answer:
    return Answer(http_status=http_status, body=raw)


WHOLE = record("1", "task_start").body
FAULTS: dict[str, Answer | WiroError] = {
    "refused": RequestNotSent(f"{DETAIL}: refused", endpoint=DETAIL),
    "reset": OutcomeUnknown(f"{DETAIL}: reset", endpoint=DETAIL),
    "timeout": OutcomeUnknown(f"{DETAIL}: timeout", endpoint=DETAIL, evidence="timeout"),
    "cut": body(WHOLE[: len(WHOLE) // 2]),
    "empty": body(b""),
    "html": body(b"<!DOCTYPE html><html>"),
    "gzip that is none": body(b"\x1f\x8b\x08\x00junk"),
    "null": body(b"null"),
    "list": body(b"[]"),
    "text": body(b'"text"'),
    "number": body(b"7"),
    "deep": body(b"[" * 100_000),
    "empty object": answered({}),
    "no task list": answered({"result": True, "errors": []}),
    "null task list": answered({"result": True, "tasklist": None}),
    "number for a task list": answered({"result": True, "tasklist": 7}),
    "text for a task list": answered({"result": True, "tasklist": "junk"}),
    "rows that are none": listed(None, 7, "x", []),
    "row of nothing": listed({}),
    "row of nulls": listed(dict.fromkeys(RUNNING)),
    "no status": listed({**RUNNING, "status": None}),
    "status that is none": listed({**RUNNING, "status": ["task_postprocess_end"]}),
    "another task": listed({**RUNNING, "id": "9", "socketaccesstoken": "tok-9"}),
    "bare 404": body(b"<html>", 404),
    "bare 403": body(b"<html>", 403),
    "refusal": refused(0, "Request parameter [taskid] is required"),
    "server error": refused(0, "Something went wrong."),
    "balance": refused(97, "Insufficient balance"),
    "limit": refused(96, "You have reached your concurrent task limit."),
    "429": too_fast(None),
    "429 with a date in the past": too_fast("Sun, 01 Mar 1970 12:00:00 GMT"),
    "503 that asks for a wait": answered({}, http_status=503, retry_after="7"),
    **{str(code): answered({}, http_status=code) for code in (204, 301, 500, 502, 503, 504)},
}


async def watched(fault: Answer | WiroError, first: int, last: int) -> Watch:
    """A watch that has ended and met this at its looks from `first` to `last`."""
    looks = 0

    async def script(asked: Asked) -> Answer:
        nonlocal looks
        await asyncio.sleep(0)
        if asked.fields["taskid"] != "1":
            return record("2", "task_start")
        looks += 1
        if not first <= looks <= last:
            return record("1", "task_postprocess_end" if asked.at > 30 else "task_start")
        if isinstance(fault, WiroError):
            raise fault
        return fault

    stage = set_up(script)
    other = stage.watch("2")
    watch = stage.watch()
    await watch.wait_done()
    assert other.error is None
    await stage.tracker.aclose()
    return watch


@pytest.mark.parametrize("look", [1, 2, 4])
@pytest.mark.parametrize("name", FAULTS)
def test_once_it_costs_no_task(name: str, look: int) -> None:
    async def scenario() -> None:
        watch = await watched(FAULTS[name], look, look)
        assert watch.error is None
        assert watch.task is not None
        assert watch.task.outcome is Outcome.SUCCEEDED
        assert now() < 60

    run_virtual(scenario())


@pytest.mark.parametrize("is_seen", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_for_ever_it_ends_with_all_that_is_known(name: str, *, is_seen: bool) -> None:
    async def scenario() -> None:
        error = (await watched(FAULTS[name], 2 if is_seen else 1, 10**9)).error
        assert isinstance(error, TaskUnreachable)
        assert (error.task_id, error.token) == ("1", "tok-1" if is_seen else None)
        assert (error.task.status if error.task else None) == ("task_start" if is_seen else None)
        assert ("last seen in task_start" if is_seen else "never seen") in error.message
        assert error.message.isprintable()
        assert 60 < now() < 900

    run_virtual(scenario())


@pytest.mark.parametrize("name", FAULTS)
def test_for_ever_and_alone_it_ends_too(name: str) -> None:
    async def script(_: Asked) -> Answer:
        await asyncio.sleep(0)
        fault = FAULTS[name]
        if isinstance(fault, WiroError):
            raise fault
        return fault

    async def scenario() -> None:
        stage = set_up(script)
        watch = stage.watch()
        await watch.wait_done()
        assert isinstance(watch.error, TaskUnreachable)
        assert now() <= 700
        assert watch.looks <= 70
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_a_record_that_goes_backwards_is_told_as_it_comes() -> None:
    statuses = ["task_output", "task_queue", "task_output", "7", "task_postprocess_end"]

    async def script(_: Asked) -> Answer:
        return record("1", statuses.pop(0))

    async def scenario() -> None:
        stage = set_up(script)
        watch = stage.watch()
        reader = watch.open_reader()
        await watch.wait_done()
        told = []
        while (event := reader.get_nowait()) is not None:
            told.append(event.status)
        assert told == ["task_output", "task_queue", "task_output", "7", "task_postprocess_end"]
        await asyncio.sleep(600)
        assert watch.looks == 5, "what is terminal is never looked at again"
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_a_status_that_could_steer_a_terminal_does_not_reach_a_message() -> None:
    async def script(asked: Asked) -> Answer:
        status = "\x1b[2J\ud800task"
        if asked.at > 4:
            raise FAULTS["reset"]  # type: ignore[misc] # it is an error
        row = {**RUNNING, "status": status, "socketaccesstoken": "tok\n\x1b[2J"}
        return Answer(http_status=200, body=json.dumps({"tasklist": [row]}).encode())

    async def scenario() -> None:
        stage = set_up(script, policy=RetryPolicy(max_failed_looks=3))
        watch = stage.watch()
        await watch.wait_done()
        assert isinstance(watch.error, TaskUnreachable)
        assert watch.error.message.isprintable()
        watch.error.message.encode()
        await stage.tracker.aclose()

    run_virtual(scenario())


@pytest.mark.parametrize("name", ["reset", "401", "429 for an hour"])
def test_a_session_that_is_closed_in_trouble_leaves_nothing_running(name: str) -> None:
    """`run_virtual` fails where an asyncio task is left, pytest where an error is not retrieved."""
    trouble = {
        **FAULTS,
        "401": answered({}, http_status=401),
        "429 for an hour": too_fast("3600"),
    }[name]

    async def script(asked: Asked) -> Answer:
        await asyncio.sleep(0.1)
        if asked.endpoint == "/Run":
            number = len(transport.times("/Run"))
            return answered({"result": True, "taskid": f"{number}"})
        if isinstance(trouble, WiroError):
            raise trouble
        return trouble

    transport = ScriptedTransport(script)

    async def scenario() -> None:
        async with joined(transport) as session:
            handles = [await session.run("o/m", PROMPT) for _ in range(30)]
            streams = [asyncio.ensure_future(anext(handle.stream())) for handle in handles[:5]]
            awaited = [asyncio.ensure_future(handle.wait()) for handle in handles[5:20]]
            await asyncio.sleep(9)
        ends = await asyncio.gather(*streams, *awaited, return_exceptions=True)
        assert all(isinstance(end, WiroError) for end in ends)

    run_virtual(scenario())
