"""Callbacks over real sockets: from the emulator to a receiver in an aiohttp app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from attrs import define

from tests.scripted_service import FLUX
from tests.serving import served
from wiro_async.batch.results import ItemStatus
from wiro_async.emulator import Emulator, Fault
from wiro_async.errors import ConfigurationError
from wiro_async.protocol.polling import PollSchedule
from wiro_async.session import WiroSession
from wiro_async.tracking import webhook
from wiro_async.tracking.webhook import CallbackUrl, WebhookReceiver

# Longer than any test may take: what is done before was called for.
NEVER = PollSchedule(first_seconds=1000.0, max_seconds=1000.0)
PROMPT = {"prompt": "a lighthouse"}


@define
class Stage:
    """A receiver under a prefix of an app, and the service that calls there."""

    receiver: WebhookReceiver
    emulator: Emulator
    wiro: WiroSession


@asynccontextmanager
async def receiving() -> AsyncIterator[WebhookReceiver]:
    made: list[WebhookReceiver] = []

    def make_app(address: str) -> web.Application:
        made.append(WebhookReceiver(f"{address}/inner/hooks/"))
        inner, app = web.Application(), web.Application()
        inner.add_subapp("/hooks", made[0].aiohttp_app())
        app.add_subapp("/inner", inner)
        return app

    async with served(make_app):
        yield made[0]


@asynccontextmanager
async def staged(*faults: Fault) -> AsyncIterator[Stage]:
    async with (
        receiving() as receiver,
        Emulator(speed=200, picture_pixels=0, faults=faults) as emulator,
        WiroSession(
            emulator.api_key,
            emulator.api_secret,
            base_url=emulator.base_url,
            poll_schedule=NEVER,
            tracking="poll",
            settle_seconds=0.1,
        ) as wiro,
    ):
        yield Stage(receiver, emulator, wiro)


async def test_a_task_that_is_called_for_needs_one_look() -> None:
    async with staged() as stage:
        handle = await stage.wiro.run(FLUX, PROMPT, callback_url=stage.receiver.url_for())
        assert (await handle.wait(timeout_seconds=20)).succeeded
        assert handle.looks == 1
        assert stage.emulator.books.callbacks == 1  # a 200 at once: it is not tried again


async def test_a_failed_task_is_called_for_too() -> None:
    async with staged(Fault(endpoint="Run", action="fail_task")) as stage:
        handle = await stage.wiro.run(FLUX, PROMPT, callback_url=stage.receiver.url_for())
        assert not (await handle.wait(timeout_seconds=20)).succeeded


async def test_a_batch_gives_each_run_a_url_and_goes_on_with_others(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(40)]
    async with staged(Fault(endpoint="Run", action="drop_after", skip=5)) as stage:

        async def run() -> list[bool]:
            async with stage.wiro.batch(
                prompts,
                output_dir=tmp_path,
                model=FLUX,
                journal=tmp_path / "journal.sqlite",
                max_in_flight=10,
                callback_url=stage.receiver.url_for,
            ) as batch:
                return [
                    item.is_earlier async for item in batch if item.status is ItemStatus.SUCCEEDED
                ]

        assert await asyncio.wait_for(run(), 60) == [False] * 40
        urls = [task.callback_url for task in stage.emulator.books.tasks.values()]
        assert len(set(urls)) == len(urls) == 40
        assert await asyncio.wait_for(run(), 60) == [True] * 40
        assert len(stage.receiver._urls) <= 1  # the error of the Run whose answer was lost has it


async def test_a_request_s_own_url_wins_in_a_batch(tmp_path: Path) -> None:
    async with staged() as stage:
        own = stage.receiver.url_for()
        rows = [{**PROMPT, "callbackUrl": own}]
        async with stage.wiro.batch(
            rows, output_dir=tmp_path, model=FLUX, callback_url=stage.receiver.url_for
        ) as batch:
            await asyncio.wait_for(batch.wait(), 20)
        (task,) = stage.emulator.books.tasks.values()
        assert task.callback_url == own


async def test_a_batch_refuses_one_url_for_all(tmp_path: Path) -> None:
    async with staged() as stage:
        with pytest.raises(ConfigurationError, match="url_for itself"):
            stage.wiro.batch(
                [PROMPT],
                output_dir=tmp_path,
                callback_url=stage.receiver.url_for(),  # type: ignore[arg-type] # what is tested
            )


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(url: str, *lines: str) -> bytes:
    first = f"POST {urlsplit(url).path} HTTP/1.1"
    return "\r\n".join([first, "Host: my.app", *lines, "", ""]).encode()


async def status_line(reader: asyncio.StreamReader) -> bytes:
    """The first line of the next answer, which has no body."""
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    return answer.partition(b"\r\n")[0]


def calls(receiver: WebhookReceiver) -> int:
    (url,) = receiver._urls.values()
    return url._calls


async def test_a_body_that_never_ends_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_MOST_BODY_SECONDS", 0.05)
    async with receiving() as receiver:
        url = receiver.url_for()
        async with connected(url) as (reader, writer):
            writer.write(head(url, "Content-Length: 100") + b"{")
            assert await status_line(reader) == b"HTTP/1.1 200 OK"
            assert calls(receiver) == 1
            # The next request on the connection shows that aiohttp is done with this one.
            writer.write(bytes(99) + head(f"{url}x", "Connection: close"))
            assert await status_line(reader) == b"HTTP/1.1 404 Not Found"
            await reader.read()


async def test_a_huge_body_is_answered_before_its_end() -> None:
    async with receiving() as receiver:
        url = receiver.url_for()
        async with connected(url) as (reader, writer):
            enough = webhook._MOST_BODY_BYTES + (1 << 17)
            writer.write(head(url, f"Content-Length: {enough + 1}"))
            writer.write(bytes(enough))
            assert await status_line(reader) == b"HTTP/1.1 200 OK"
            writer.write(b"}" + head(f"{url}x", "Connection: close"))
            assert await status_line(reader) == b"HTTP/1.1 404 Not Found"
            await reader.read()


@pytest.mark.parametrize(
    ("line", "rest"),
    [("Transfer-Encoding: chunked", b"zz\r\nno number\r\n"), ("Content-Length: 100", b"{")],
    ids=["nonsense", "cut off"],
)
async def test_a_body_that_breaks_is_no_error_of_the_app(
    caplog: pytest.LogCaptureFixture, line: str, rest: bytes
) -> None:
    async with receiving() as receiver:
        url = receiver.url_for()
        async with connected(url) as (_, writer):
            writer.write(head(url, line))
            await writer.drain()
            await heard(receiver)
            writer.write(rest)
            await writer.drain()
        # Its own connection has broken; the app serves on.
        async with aiohttp.ClientSession() as http, http.post(url) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == []


async def test_a_body_that_is_not_what_it_says_is_answered() -> None:
    async with receiving() as receiver:
        url = receiver.url_for()
        async with connected(url) as (reader, writer):
            writer.write(head(url, "Content-Length: 10", "Content-Encoding: gzip"))
            await heard(receiver)
            writer.write(b"0123456789")
            assert await status_line(reader) == b"HTTP/1.1 200 OK"
            await reader.read()


async def heard(receiver: WebhookReceiver) -> None:
    while not calls(receiver):  # noqa: ASYNC110 (there is no event for it)
        await asyncio.sleep(0.005)


async def test_strangers_learn_nothing_and_leave_nothing() -> None:
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        url = receiver.url_for()
        for number in range(200):
            async with http.post(f"{url}{number}", data=b"{}") as answer:
                assert (answer.status, await answer.read()) == (404, b"")
        for method in ("GET", "HEAD", "DELETE"):
            for path in (url, f"{url}x"):
                async with http.request(method, path) as answer:
                    assert (answer.status, await answer.read()) == (405, b"")
                    assert answer.headers["Allow"] == "POST"
        assert isinstance(url, CallbackUrl)
        assert calls(receiver) == 0
        assert len(receiver._urls) == 1
