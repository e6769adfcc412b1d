"""Push over real sockets: a whole session before the emulator in each of its manners.

The looks are so far apart that only what is pushed can end a task in time, or so near that a
socket which is of no use must not hold anything up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from tests.loopback import Behaviour, Connection, serve
from tests.raw_sockets import BINARY, PING, framed, read_token, saying, shake_hands
from wiro_async import Outcome, PollSchedule, TaskEvent, WiroSession
from wiro_async.emulator import Emulator
from wiro_async.tracking.websocket import SocketHub

FLUX = "black-forest-labs/flux-pro-1-1-ultra"
ECHO = "wiro-emulator/echo-llm"
FAR_APART = PollSchedule(first_seconds=60.0, max_seconds=60.0)
NEAR = PollSchedule(first_seconds=0.05, max_seconds=0.05)


@asynccontextmanager
async def pushing(
    schedule: PollSchedule, *, socket_url: str | None = None, **settings: object
) -> AsyncIterator[tuple[WiroSession, Emulator]]:
    settings = {"picture_pixels": 0, "median_seconds": 0.4, "balance": 10_000, **settings}
    async with (
        Emulator(**settings) as emulator,  # type: ignore[arg-type] # handed on
        WiroSession(
            emulator.api_key,
            emulator.api_secret,
            base_url=emulator.base_url,
            socket_url=socket_url or emulator.socket_url,
            tracking="socket",
            poll_schedule=schedule,
            max_looks_per_second=1000,
        ) as wiro,
    ):
        yield wiro, emulator


def hub_of(wiro: WiroSession) -> SocketHub:
    assert wiro._hub is not None
    return wiro._hub


async def run_many(wiro: WiroSession, count: int) -> None:
    """So many tasks at once, all of which succeed, within a bound of time."""

    async def one(number: int) -> None:
        handle = await wiro.run(FLUX, {"prompt": f"prompt {number}"})
        assert (await handle).succeeded

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


async def test_the_end_of_each_task_is_known_without_waiting_for_a_look() -> None:
    async with pushing(FAR_APART) as (wiro, emulator):
        await run_many(wiro, 50)
        assert emulator.books.requests["socket"] == 1
        assert emulator.books.requests["Task/Detail"] <= 60
        assert hub_of(wiro).is_proven
        assert hub_of(wiro)._tasks == {}


async def test_failures_and_cancelled_tasks_are_pushed_too() -> None:
    async with pushing(FAR_APART, failure_rate=1.0) as (wiro, emulator):
        async with asyncio.timeout(30):
            failing = await wiro.run(FLUX, {"prompt": "a lighthouse"})
            assert (await failing.wait()).outcome is Outcome.FAILED
        assert emulator.books.requests["Task/Detail"] == 1
    async with pushing(FAR_APART, median_seconds=60) as (wiro, emulator):
        async with asyncio.timeout(30):
            stopped = await wiro.run(FLUX, {"prompt": "a lighthouse"})
            assert (await stopped.stop()).outcome is Outcome.CANCELLED


@pytest.mark.parametrize("manner", ["one", "silent"])
async def test_a_socket_that_does_not_follow_is_given_up_and_nothing_waits(
    manner: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="wiro_async")
    async with pushing(NEAR, socket_manner=manner) as (wiro, emulator):
        await run_many(wiro, 20)
        await asyncio.sleep(1.2)  # what is late might come
        assert hub_of(wiro).has_given_up
        assert "said nothing of 3 tasks in a row" in caplog.text
        await run_many(wiro, 5)
        assert emulator.books.requests["socket"] == 1


async def test_a_service_without_a_socket_costs_nobody_anything() -> None:
    async with pushing(NEAR, socket_manner="absent") as (wiro, emulator):
        await run_many(wiro, 20)
        assert not hub_of(wiro).is_proven
        assert emulator.books.requests["unknown"] <= 4


async def test_connections_that_live_shortly_lose_nothing() -> None:
    async with pushing(NEAR, socket_life_seconds=0.1, sigma=0.0, median_seconds=1.0) as (
        wiro,
        emulator,
    ):
        await run_many(wiro, 20)
        assert emulator.books.requests["socket"] >= 2
        assert not hub_of(wiro).has_given_up


async def events_of(wiro: WiroSession, model: str, params: dict[str, str]) -> list[TaskEvent]:
    handle = await wiro.run(model, params)
    async with asyncio.timeout(30):
        return [event async for event in handle.stream()]


async def test_a_stream_tells_of_progress_between_the_statuses() -> None:
    async with pushing(FAR_APART, sigma=0.0) as (wiro, _):
        events = await events_of(wiro, FLUX, {"prompt": "a lighthouse"})
    told = [event.progress for event in events if event.progress is not None]
    assert [progress.percentage for progress in told] == [0.0, 25.0, 50.0, 75.0]
    assert {(progress.steps, progress.speed_type) for progress in told} == {(28, "it/s")}
    statuses = list(dict.fromkeys(event.status for event in events))
    assert statuses[-4:] == [
        "task_output_full",
        "task_end",
        "task_postprocess_start",
        "task_postprocess_end",
    ]
    assert [event.is_terminal for event in events] == [False] * (len(events) - 1) + [True]
    assert {event.task_id for event in events} == {events[-1].task.id}
    assert events[-1].outcome is Outcome.SUCCEEDED
    assert events[-1].task.outputs, "the last one is made of the record"


async def test_a_stream_tells_what_a_language_model_has_said_so_far() -> None:
    async with pushing(FAR_APART, sigma=0.0) as (wiro, _):
        events = await events_of(wiro, ECHO, {"prompt": "x" * 40})
    texts = [event.text for event in events if event.text]
    assert len(texts) >= 2
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    whole = events[-1].task.text
    assert whole is not None
    assert whole.startswith(texts[-1])


async def test_a_stream_tells_the_lines_of_a_failing_task() -> None:
    async with pushing(FAR_APART, failure_rate=1.0) as (wiro, _):
        events = await events_of(wiro, FLUX, {"prompt": "a lighthouse"})
    assert [event.log for event in events if event.log] == [
        "The emulated model gave up on this prompt."
    ]
    assert events[-1].outcome is Outcome.FAILED


async def flood(connection: Connection) -> None:
    await shake_hands(connection)
    frame = framed('{"type":"task_output","tasktoken":"nobody","message":"x"}')
    while True:
        await connection.write(frame * 100)


async def lie(connection: Connection) -> None:
    """Each task is over, it says, again and again, until somebody believes it."""
    await shake_hands(connection)
    while True:
        token = await read_token(connection)
        for kind in ("task_postprocess_end", "task_cancel", "task_error") * 50:
            await connection.write(framed(f'{{"type":"{kind}","tasktoken":"{token}"}}'))


async def break_off(connection: Connection) -> None:
    await shake_hands(connection)
    token = await read_token(connection)
    await connection.write(framed(f'{{"type":"task_start","tasktoken":"{token}"}}'))
    await connection.write(framed("a frame of which half comes")[:10])
    connection.reset()


ODD = saying(
    framed(b"\x00" * 1000, BINARY),
    framed("null"),
    framed("[]"),
    framed("[" * 10_000),
    framed('{"type":null,"tasktoken":[]}'),
    framed("ping", PING),
    framed('{"type":"task_output","tasktoken":"x","message":"' + "\\u0000" * 1000 + '"}'),
)


@pytest.mark.parametrize(
    "behave",
    [ODD, saying(framed("x" * 9_000_000)), flood, lie, break_off],
    ids=["odd", "giant", "flood", "lie", "break off"],
)
async def test_whatever_a_socket_does_each_task_ends_well(behave: Behaviour) -> None:
    async with serve(behave) as server:
        url = f"ws://127.0.0.1:{server.port}/v1"
        async with pushing(NEAR, socket_url=url) as (wiro, emulator):
            await run_many(wiro, 10)
            assert emulator.books.requests["Task/Detail"] <= 400
        assert server.connections


async def test_a_session_closes_at_once_while_its_socket_is_stuck() -> None:
    async def stick(connection: Connection) -> None:
        await shake_hands(connection)
        connection.stop_listening()
        await asyncio.Event().wait()

    async with serve(stick) as server:
        url = f"ws://127.0.0.1:{server.port}/v1"
        async with pushing(NEAR, socket_url=url, median_seconds=60) as (wiro, _):
            await wiro.run(FLUX, {"prompt": "a lighthouse"})
            await asyncio.sleep(0.1)
            async with asyncio.timeout(3):
                await wiro.aclose()
