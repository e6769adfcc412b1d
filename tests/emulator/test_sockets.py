"""The websocket of the emulator: what is told of whom, in which order, and in each manner."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from tests.emulator.asking import ECHO, FLUX, Asker, asking
from wiro_async.emulator import Fault

LIFE = [
    *("task_accept", "task_assign", "task_preprocess_start", "task_preprocess_end", "task_start"),
    *("task_output", "task_output", "task_output", "task_output"),
    *("task_output_full", "task_end", "task_postprocess_start", "task_postprocess_end"),
]
SLOW = {"speed": 40.0, "sigma": 0.0}


@asynccontextmanager
async def socket(ask: Asker) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with ask.http.ws_connect(ask.emulator.socket_url) as connection:
        yield connection


async def follow(ask: Asker, connection: aiohttp.ClientWebSocketResponse, task_id: str) -> None:
    token = ask.emulator.books.tasks[task_id].token
    await connection.send_json({"type": "task_info", "tasktoken": token})


async def frames_of(
    connection: aiohttp.ClientWebSocketResponse, *task_ids: str
) -> dict[str, list[dict[str, Any]]]:
    """All frames until each of these tasks has ended."""
    frames: dict[str, list[dict[str, Any]]] = {task_id: [] for task_id in task_ids}
    open_ends = set(task_ids)
    while open_ends:
        frame = await connection.receive_json(timeout=10)
        if frame["type"] == "connected":
            continue
        frames[frame["id"]].append(frame)
        if frame["type"] in {"task_postprocess_end", "task_cancel"}:
            open_ends.discard(frame["id"])
    return frames


def types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]


async def test_one_connection_follows_many_tasks() -> None:
    async with asking(**SLOW) as ask, socket(ask) as connection:
        ids = [await ask.run(f"prompt {number}") for number in range(3)]
        for task_id in ids:
            await follow(ask, connection, task_id)
        told = await frames_of(connection, *ids)
        books = ask.emulator.books
        for task_id, frames in told.items():
            assert types(frames) == LIFE
            assert {frame["tasktoken"] for frame in frames} == {books.tasks[task_id].token}
            assert all(frame["result"] is True for frame in frames)
        assert books.frames == 3 * len(LIFE)
        assert books.requests["socket"] == 1
        assert sum(books.requests.values()) == sum(books.answers.values())


async def test_messages_are_null_but_for_progress_and_outputs() -> None:
    async with asking(**SLOW) as ask, socket(ask) as connection:
        task_id = await ask.run()
        await follow(ask, connection, task_id)
        frames = (await frames_of(connection, task_id))[task_id]
        progress = [frame["message"] for frame in frames if frame["type"] == "task_output"]
        assert [one["percentage"] for one in progress] == ["0", "25", "50", "75"]
        assert all(isinstance(value, str) for one in progress for value in one.values())
        (last,) = frames[-1]["message"]
        assert last["url"] == (await ask.detail(task_id))["outputs"][0]["url"]
        assert "pexit" not in frames[-1]
        assert all(frame["message"] is None for frame in frames[:5])


async def test_a_language_model_s_frames_hold_all_that_it_has_said() -> None:
    async with asking(**SLOW) as ask, socket(ask) as connection:
        task_id = str((await ask(ECHO, {"prompt": "x" * 40})).json["taskid"])
        await follow(ask, connection, task_id)
        frames = (await frames_of(connection, task_id))[task_id]
        said = [frame["message"] for frame in frames if frame["type"] == "task_output"]
        assert len(said) == 4
        for earlier, later in pairwise(said):
            assert later["raw"].startswith(earlier["raw"])
            assert len(later["raw"]) > len(earlier["raw"])
            assert later["answer"] == [later["raw"]]


async def test_nothing_is_told_again_to_who_comes_late() -> None:
    async with asking(speed=1000.0) as ask, socket(ask) as connection:
        ended = await ask.run()
        await ask.finish(ended)
        await follow(ask, connection, ended)
        running = await ask.run("another")
        await follow(ask, connection, running)
        told = await frames_of(connection, running)
        assert set(told) == {running}


async def test_a_failing_task_has_a_line_of_its_log_before_its_end() -> None:
    faults = [Fault(endpoint="Run", action="fail_task")]
    async with asking(**SLOW, faults=faults) as ask, socket(ask) as connection:
        task_id = await ask.run()
        await follow(ask, connection, task_id)
        frames = (await frames_of(connection, task_id))[task_id]
        assert types(frames)[-2:] == ["task_error", "task_postprocess_end"]
        assert isinstance(frames[-2]["message"], str)
        assert frames[-1]["message"] == []


async def test_a_task_that_is_stopped_is_told_at_once() -> None:
    async with asking(speed=1.0) as ask, socket(ask) as connection:
        task_id = await ask.run()
        await follow(ask, connection, task_id)
        assert (await ask("Task/Cancel", {"taskid": task_id})).json["result"] is True
        assert types((await frames_of(connection, task_id))[task_id]) == ["task_cancel"]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01",
        "no json",
        "[]",
        '{"type":"task_info"}',
        '{"type":"task_info","tasktoken":7}',
        '{"type":"task_info","tasktoken":"nobody"}',
        '{"type":"other","tasktoken":"nobody"}',
    ],
)
async def test_what_is_no_registration_is_ignored(sent: str | bytes) -> None:
    async with asking(**SLOW) as ask, socket(ask) as connection:
        if isinstance(sent, bytes):
            await connection.send_bytes(sent)
        else:
            await connection.send_str(sent)
        task_id = await ask.run()
        await follow(ask, connection, task_id)
        assert types((await frames_of(connection, task_id))[task_id]) == LIFE


async def test_a_service_that_follows_one_task_a_connection() -> None:
    async with asking(**SLOW, socket_manner="one") as ask, socket(ask) as connection:
        first, second = await ask.run("one"), await ask.run("two")
        await follow(ask, connection, first)
        await follow(ask, connection, second)
        told = await frames_of(connection, first)
        assert types(told[first]) == LIFE
        await ask.finish(second)
        assert ask.emulator.books.frames == len(LIFE)


async def test_a_socket_that_says_nothing() -> None:
    async with asking(speed=1000.0, socket_manner="silent") as ask, socket(ask) as connection:
        task_id = await ask.run()
        await follow(ask, connection, task_id)
        await ask.finish(task_id)
        with pytest.raises(TimeoutError):
            await connection.receive(timeout=0.05)


async def test_a_service_without_a_socket() -> None:
    async with asking(socket_manner="absent") as ask:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await ask.http.ws_connect(ask.emulator.socket_url)
        assert caught.value.status == 404


async def test_a_connection_can_have_a_short_life() -> None:
    async with asking(socket_life_seconds=0.05) as ask, socket(ask) as connection:
        assert (await connection.receive_json(timeout=5))["type"] == "connected"
        ended = await connection.receive(timeout=5)
        assert ended.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}


async def test_closing_the_emulator_ends_its_connections() -> None:
    async with aiohttp.ClientSession() as http:
        async with asking(speed=1.0) as ask:
            connection = await http.ws_connect(ask.emulator.socket_url)
            await connection.send_json({"type": "task_info", "tasktoken": "nobody"})
            assert json.loads((await connection.receive()).data)["type"] == "connected"
        ended = await asyncio.wait_for(connection.receive(), 5)
        assert ended.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}


async def test_a_run_answers_before_anything_is_told() -> None:
    async with asking(**SLOW) as ask:
        assert (await ask(FLUX, {"prompt": "x"})).json["result"] is True
        assert ask.emulator.books.frames == 0


async def test_at_every_address_the_files_told_of_are_where_the_listener_came_by() -> None:
    async with (
        asking(**SLOW, host="0.0.0.0") as ask,
        ask.http.ws_connect(ask.emulator.socket_url, headers={"Host": "emulator:9000"}) as there,
    ):
        task_id = await ask.run()
        await follow(ask, there, task_id)
        (output,) = (await frames_of(there, task_id))[task_id][-1]["message"]
        assert output["url"].startswith("http://emulator:9000/cdn/")
