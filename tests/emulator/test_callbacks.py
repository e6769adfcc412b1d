"""The callback: who is called, with what, and how often."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.emulator.asking import Asker, asking
from wiro_async.emulator import Fault


@asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[tuple[str, asyncio.Queue[dict[str, Any]]]]:
    """A url that answers with these statuses in turn, the last one for good; what it was sent."""
    posts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    left = list(statuses)

    async def take(request: web.Request) -> web.Response:
        await posts.put(await request.json())
        return web.Response(status=left.pop(0) if len(left) > 1 else left[0])

    app = web.Application()
    app.router.add_post("/told", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/told", posts
    finally:
        await runner.cleanup()


async def called(ask: Asker, count: int) -> None:
    while ask.emulator.books.callbacks < count:  # noqa: ASYNC110 (there is no event for it)
        await asyncio.sleep(0.005)


async def test_the_record_of_an_ended_task_is_posted_once() -> None:
    async with receiver(200) as (url, posts), asking() as ask:
        task_id = await ask.run(callbackUrl=url)
        record = await asyncio.wait_for(posts.get(), 5)
        assert record == await ask.detail(task_id)
        await ask.finish(await ask.run("without"))
        assert ask.emulator.books.callbacks == 1


async def test_a_failed_and_a_stopped_task_are_posted_too() -> None:
    faults = [Fault(endpoint="Run", action="fail_task")]
    async with receiver(200) as (url, posts), asking(speed=20.0, faults=faults) as ask:
        await ask.run(callbackUrl=url)
        stopped = await ask.run("another", callbackUrl=url)
        await ask("Task/Cancel", {"taskid": stopped})
        told = [await asyncio.wait_for(posts.get(), 5) for _ in range(2)]
        assert {(one["status"], one["pexit"]) for one in told} == {
            ("task_cancel", "0"),
            ("task_postprocess_end", "1"),
        }


async def test_it_is_tried_again_until_somebody_says_200() -> None:
    async with receiver(500, 200) as (url, posts), asking() as ask:
        await ask.run(callbackUrl=url)
        await called(ask, 2)
        assert (await posts.get())["id"] == (await posts.get())["id"]
        await asyncio.sleep(0.05)
        assert ask.emulator.books.callbacks == 2


async def test_it_is_tried_three_times_and_no_more() -> None:
    async with receiver(500) as (url, _), asking() as ask:
        await ask.run(callbackUrl=url)
        await ask.run("nobody there", callbackUrl="http://127.0.0.1:1/")
        await ask.run("no url", callbackUrl="nonsense")
        await called(ask, 9)
        await asyncio.sleep(0.05)
        assert ask.emulator.books.callbacks == 9


async def test_closing_waits_for_no_callback() -> None:
    async with receiver(500) as (url, posts):
        async with asking(speed=1.0, median_seconds=0.05) as ask:
            await ask.run(callbackUrl=url)
            await asyncio.wait_for(posts.get(), 5)
            began = time.monotonic()
        assert time.monotonic() - began < 1.5, "the next try would be two seconds later"
        assert ask.emulator.books.callbacks == 1
