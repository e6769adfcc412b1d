"""The apps of the docs, as they are printed, before the emulator."""

from __future__ import annotations

import ast
import json
import re
import runpy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import wiro_async
from tests.serving import served
from wiro_async.emulator import Emulator, Fault

DOCS = Path(__file__).parents[1] / "docs"
PROMPT = {"prompt": "a lighthouse"}


def printed(mark: str) -> str:
    """The program of docs/webhooks.md that follows the comment."""
    found = re.search(
        rf"^<!-- {mark} -->\n```python\n(.+?)^```$",
        (DOCS / "webhooks.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found, mark
    return found[1]


@asynccontextmanager
async def emulated(
    monkeypatch: pytest.MonkeyPatch,
    *faults: Fault,
    **settings: Any,  # noqa: ANN401 - Emulator's
) -> AsyncIterator[Emulator]:
    """An emulator to which the environment points."""
    settings = {"speed": 50.0, "picture_pixels": 0, **settings}
    async with Emulator(faults=faults, **settings) as emulator:
        monkeypatch.setenv("WIRO_API_KEY", emulator.api_key)
        monkeypatch.setenv("WIRO_API_SECRET", str(emulator.api_secret))
        monkeypatch.setenv("WIRO_BASE_URL", emulator.base_url)
        monkeypatch.setenv("WIRO_SOCKET_URL", emulator.socket_url)
        yield emulator


async def test_the_aiohttp_app_draws_and_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "example.py"
    program.write_text(printed("aiohttp"))
    make_app: Callable[[str], web.Application] = runpy.run_path(str(program))["make_app"]
    async with (
        emulated(monkeypatch) as emulator,
        served(make_app) as address,
        aiohttp.ClientSession() as http,
    ):
        async with http.post(f"{address}/draw", json=PROMPT) as answer:
            told = await answer.json()
        async with http.get(told["picture"]) as picture:
            assert (await picture.read()).startswith(b"\x89PNG")
        (task,) = emulator.books.tasks.values()
        assert task.callback_url.startswith(f"{address}/hooks/")
        async with http.post(task.callback_url) as late:
            assert late.status == 200


def test_the_two_apps_of_the_page_are_one_in_two_frameworks() -> None:
    programs = {mark: ast.parse(printed(mark)) for mark in ("aiohttp", "starlette")}
    for mark, program in programs.items():
        offered = [
            alias.name
            for node in program.body
            if isinstance(node, ast.ImportFrom) and node.module == "wiro_async"
            for alias in node.names
        ]
        assert offered == ["WebhookReceiver", "WiroSession"], mark
        assert set(offered) <= set(wiro_async.__all__)
        calls = {
            node.func.attr
            for node in ast.walk(program)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert {"url_for", "run"} <= calls, mark
    assert "receiver.aiohttp_app()" in ast.unparse(programs["aiohttp"])
    assert "Mount('/hooks', app=receiver.asgi)" in ast.unparse(programs["starlette"])


async def follow(http: aiohttp.ClientSession, url: str) -> list[tuple[str, dict[str, Any]]]:
    """The server-sent events of a url, to their end."""
    async with http.get(url) as answer:
        assert answer.content_type == "text/event-stream"
        text = await answer.text()
    blocks = [block.split("\n") for block in text.split("\n\n") if block]
    assert all(len(block) == 2 for block in blocks), text
    return [
        (kind.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for kind, data in blocks
    ]


@asynccontextmanager
async def running_app(
    monkeypatch: pytest.MonkeyPatch,
    *faults: Fault,
    **settings: Any,  # noqa: ANN401 - Emulator's
) -> AsyncIterator[tuple[Emulator, str, aiohttp.ClientSession]]:
    make_app = runpy.run_path(str(DOCS / "examples" / "app.py"))["make_app"]
    async with (
        emulated(monkeypatch, *faults, **settings) as emulator,
        served(lambda _: make_app()) as address,
        aiohttp.ClientSession() as http,
    ):
        yield emulator, address, http


async def test_the_example_app_shows_a_task_from_prompt_to_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_app(monkeypatch) as (_, address, http):
        async with http.get(address) as page:
            assert "EventSource" in await page.text()
        async with http.post(f"{address}/tasks", json=PROMPT) as answer:
            assert answer.status == 201
            task_id = (await answer.json())["task"]
        events = await follow(http, f"{address}/tasks/{task_id}/events")
        assert [kind for kind, _ in events[:-1]] == ["status"] * (len(events) - 1)
        assert events[-2][1]["status"] == "task_postprocess_end"
        kind, end = events[-1]
        assert (kind, end["error"]) == ("end", None)
        async with http.get(end["pictures"][0]) as picture:
            assert (await picture.read()).startswith(b"\x89PNG")
        # Again, as after a lost connection: the same end.
        assert (await follow(http, f"{address}/tasks/{task_id}/events"))[-1] == ("end", end)


async def test_the_example_app_tells_what_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    fails = Fault(endpoint="Run", action="fail_task")
    async with running_app(monkeypatch, fails) as (emulator, address, http):
        for body in (b"", b"[]", b"{}", b'{"prompt": " "}'):
            async with http.post(f"{address}/tasks", data=body) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]
        assert not emulator.books.tasks
        async with http.post(f"{address}/tasks", json=PROMPT) as answer:
            task_id = (await answer.json())["task"]
        ((kind, end),) = (await follow(http, f"{address}/tasks/{task_id}/events"))[-1:]
        assert (kind, end["pictures"]) == ("end", [])
        assert "failed" in end["error"]
        ((kind, end),) = await follow(http, f"{address}/tasks/999/events")
        assert kind == "end"
        assert "999" in end["error"]


async def test_the_example_app_tells_that_the_service_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        running_app(monkeypatch, balance=0) as (_, address, http),
        http.post(f"{address}/tasks", json=PROMPT) as answer,
    ):
        assert answer.status == 502
        assert "balance" in (await answer.json())["error"].lower()


async def test_the_example_app_stops_while_somebody_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_app = runpy.run_path(str(DOCS / "examples" / "app.py"))["make_app"]
    async with (
        aiohttp.ClientSession() as http,
        emulated(monkeypatch, speed=1.0, median_seconds=3600.0),
    ):
        async with served(lambda _: make_app()) as address:
            async with http.post(f"{address}/tasks", json=PROMPT) as answer:
                task_id = (await answer.json())["task"]
            following = await http.get(f"{address}/tasks/{task_id}/events")
        # Else the app would have waited for this one, and cut it off in the end.
        assert "event: end" in await following.text()
        following.release()
