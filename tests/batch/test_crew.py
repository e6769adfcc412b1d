"""The crew of a batch: whoever leaves it has waited for everyone."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.virtual_time import now, run_virtual, settle
from wiro_async.batch.crew import Crew


class ItsOwnError(Exception):
    """What a task of a crew fails with."""


def no_matter() -> None:
    """Bear it that a task has failed."""


async def last(seconds: float, ended: list[float] | None = None) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        if ended is not None:
            ended.append(now())


def test_who_leaves_has_waited_for_all() -> None:
    async def scenario() -> None:
        async with Crew(no_matter) as crew:
            for seconds in (3, 9, 1):
                crew.start(last(seconds))
        assert now() == 9
        assert not crew.is_cancelled

    run_virtual(scenario())


def test_a_task_may_begin_with_another_one() -> None:
    async def scenario() -> None:
        ended: list[float] = []
        async with Crew(no_matter) as crew:

            async def go_on() -> None:
                await last(2, ended)
                crew.start(last(3, ended))

            crew.start(go_on())
        assert ended == [2, 5]

    run_virtual(scenario())


def test_the_first_that_fails_ends_the_others_and_comes_out() -> None:
    async def scenario() -> None:
        ended: list[float] = []
        told: list[float] = []

        async def fail() -> None:
            await asyncio.sleep(2)
            raise ItsOwnError

        async def use() -> None:
            async with Crew(lambda: told.append(now())) as crew:
                crew.start(last(60, ended))
                crew.start(fail())
                await asyncio.sleep(3)

        with pytest.raises(ItsOwnError):
            await use()
        assert (ended, told) == ([2], [2])

    run_virtual(scenario())


def test_an_error_of_its_body_ends_the_others_and_comes_out() -> None:
    async def scenario() -> None:
        ended: list[float] = []

        async def use() -> None:
            async with Crew(no_matter) as crew:
                crew.start(last(60, ended))
                await asyncio.sleep(2)
                raise ItsOwnError

        with pytest.raises(ItsOwnError):
            await use()
        assert ended == [2]

    run_virtual(scenario())


def test_a_cancelled_one_starts_nothing_more() -> None:
    async def scenario() -> None:
        ended: list[float] = []
        async with Crew(no_matter) as crew:
            crew.start(last(60, ended))
            await asyncio.sleep(1)
            crew.cancel()
            crew.start(last(60, ended))
        assert (ended, crew.is_cancelled) == ([1], True)

    run_virtual(scenario())


async def by_cancel(use: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(use())
    await asyncio.sleep(2)
    for _ in range(3):  # by whoever loses patience
        task.cancel()
        await asyncio.sleep(0.5)
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_scope(use: Callable[[], Awaitable[None]]) -> None:
    with anyio.move_on_after(2) as scope:
        await use()
    assert scope.cancelled_caught


@pytest.mark.parametrize("style", [by_cancel, by_scope])
@pytest.mark.parametrize("body_seconds", [60, 0], ids=["inside", "leaving"])
def test_a_cancelled_caller_waits_for_those_that_take_their_time(
    style: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]], body_seconds: float
) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    async def tidy_up(ended: list[float]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await last(5, ended)

    async def scenario() -> None:
        ended: list[float] = []

        async def use() -> None:
            async with Crew(no_matter) as crew:
                crew.start(tidy_up(ended))
                await asyncio.sleep(body_seconds)

        counting = asyncio.create_task(count_turns())
        await style(use)
        counting.cancel()
        assert ended == [pytest.approx(7)]

    run_virtual(scenario())
    # In a busy loop no time would pass at all, and no turn come.
    assert turns == pytest.approx(700, abs=10)


async def test_it_keeps_nothing_of_what_has_ended() -> None:
    class Kept:
        """What a task holds."""

    async def hold(kept: Kept) -> None:
        await settle()
        assert kept is not None

    async with Crew(no_matter) as crew:
        kept = Kept()
        gone = weakref.ref(kept)
        crew.start(hold(kept))
        del kept
        await settle()
        await settle()
        gc.collect()
        assert gone() is None
