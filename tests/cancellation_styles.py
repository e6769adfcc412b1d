"""Cancelling after a second whoever waits, in every style that asyncio and anyio have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from tests.scripted_service import Asked, ScriptedTransport, record
from wiro_async.handle import TaskHandle
from wiro_async.protocol.responses import Answer

Start = Callable[[], Awaitable[TaskHandle]]


async def by_cancel(start: Start) -> None:
    task = asyncio.ensure_future(start())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def by_cancel_again_and_again(start: Start) -> None:
    task = asyncio.ensure_future(start())
    for _ in range(4):
        await asyncio.sleep(1)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_cancel_twice_at_once(start: Start) -> None:
    task = asyncio.ensure_future(start())
    await asyncio.sleep(1)
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_timeout(start: Start) -> None:
    async def limited() -> None:
        async with asyncio.timeout(1):
            await start()

    with pytest.raises(TimeoutError):
        await limited()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def by_wait_for(start: Start) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(start(), 1)


async def by_task_group(start: Start) -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise ZeroDivisionError

    async def run_both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(use(start))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await run_both()
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


async def by_move_on_after(start: Start) -> None:
    with anyio.move_on_after(1) as scope:
        await use(start)
    assert scope.cancelled_caught


async def by_fail_after(start: Start) -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(1):
        await use(start)


async def by_anyio_task_group(start: Start) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(use, start)
        await anyio.sleep(1)
        group.cancel_scope.cancel()


async def by_both(start: Start) -> None:
    task = asyncio.ensure_future(by_move_on_after(start))
    await asyncio.sleep(3)
    task.cancel()
    with suppress(asyncio.CancelledError):  # the scope alone is enough off the wire
        await task


async def use(start: Start) -> None:
    """The cancellation goes through at the latest where the caller waits next."""
    await start()
    await anyio.lowlevel.checkpoint()
    raise AssertionError("the cancellation was lost")


STYLES = [
    by_cancel,
    by_cancel_again_and_again,
    by_cancel_twice_at_once,
    by_timeout,
    by_wait_for,
    by_task_group,
    by_move_on_after,
    by_fail_after,
    by_anyio_task_group,
    by_both,
]
Style = Callable[[Start], Awaitable[None]]
every_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)


# A Run takes ten seconds on the wire.
ON_WIRE = 10.0


def slow(answer: Answer) -> ScriptedTransport:
    async def script(asked: Asked) -> Answer:
        if asked.endpoint == "/Run":
            await asyncio.sleep(ON_WIRE)
            return answer
        return record("2221", "task_postprocess_end" if asked.at > 60 else "task_start")

    return ScriptedTransport(script)
