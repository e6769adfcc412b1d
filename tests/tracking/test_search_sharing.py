"""One search for many: Runs on the wire, finders that come and go, and the closing."""

from __future__ import annotations

import asyncio

import pytest

from tests.tracking.project_list import (
    FOX,
    ProjectList,
    lost,
    row,
    search_in,
    wall_clock,
)
from tests.virtual_time import now, run_virtual
from wiro_async.errors import (
    SessionStateError,
)
from wiro_async.protocol.matching import LostRun
from wiro_async.task import JsonValue, Task
from wiro_async.tracking.search import Search

__all__ = ["wall_clock"]

A, B = row("1", 1.0), row("2", 2.0)


async def send(search: Search, seconds: float, model: str = "o/m", **params: JsonValue) -> None:
    """Have a Run on the wire for so long."""
    with search.sending(model, params or FOX):
        await asyncio.sleep(seconds)


@pytest.mark.parametrize(
    ("model", "params", "readings"),
    [
        ("o/m", {"prompt": "a fox"}, [20, 25]),
        ("O/m", {"prompt": "a fox", "seed": None}, [20, 25]),
        ("o/m", {"prompt": "a hen"}, [10, 15]),
        ("o/n", {"prompt": "a fox"}, [10, 15]),
    ],
)
def test_while_an_identical_run_is_on_the_wire_nothing_is_concluded(
    model: str, params: dict[str, str | None], readings: list[float]
) -> None:
    project = ProjectList([[A]])

    async def scenario() -> float:
        search = search_in(project)
        on_wire = [
            asyncio.create_task(send(search, seconds, model, **params))
            for seconds in (9.0, 17.0, 12.0)
        ]
        assert await search.find(lost())
        ended = now()
        await asyncio.gather(*on_wire)
        return ended

    assert run_virtual(scenario()) == readings[-1]
    assert project.readings == readings


def test_neither_is_it_concluded_then_that_there_is_none() -> None:
    project = ProjectList([[]])

    async def scenario() -> float:
        search = search_in(project)
        on_wire = asyncio.create_task(send(search, 101.0))
        assert await search.find(lost()) is None
        ended = now()
        await on_wire
        return ended

    assert run_virtual(scenario()) == 120
    assert project.readings == [105, 110, 115, 120]


def test_a_run_that_goes_out_while_the_list_is_read_counts_too() -> None:
    project = ProjectList([[A]], trip_seconds=1.0)

    async def scenario() -> float:
        search = search_in(project)
        finding = asyncio.create_task(search.find(lost()))
        await asyncio.sleep(11.0)
        await send(search, 2.0)
        assert await finding
        return now()

    # Read from 10 to 12 in vain, then from 17 and from 24 on.
    assert run_virtual(scenario()) == 26
    assert project.readings == [10, 17, 24]


def test_one_that_joins_later_has_its_own_time() -> None:
    project = ProjectList([[B, A]])

    async def scenario() -> list[float]:
        search = search_in(project)
        ends: list[float] = []

        async def look(run: LostRun) -> None:
            assert await search.find(run)
            ends.append(now())

        first = asyncio.create_task(look(lost()))
        await asyncio.sleep(7.0)
        await asyncio.gather(first, look(lost(7.0)))
        return ends

    assert run_virtual(scenario()) == [15, 22]
    assert project.readings == [10, 15, 17, 22]


def test_one_finder_that_is_cancelled_leaves_the_others_alone() -> None:
    async def scenario() -> None:
        search = search_in(ProjectList([[A]]))
        finders = [asyncio.create_task(search.find(lost(float(second)))) for second in range(3)]
        await asyncio.sleep(12.0)
        finders[0].cancel()
        found = await asyncio.gather(*finders, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert isinstance(found[1], Task), "the row falls to the next oldest"
        assert found[2] is None

    run_virtual(scenario())


def test_when_all_are_cancelled_nothing_is_read_any_more() -> None:
    project = ProjectList([[A]])

    async def scenario() -> None:
        search = search_in(project)
        finders = [asyncio.create_task(search.find(lost())) for _ in range(2)]
        await asyncio.sleep(12.0)
        for finder in finders:
            finder.cancel()
        await asyncio.gather(*finders, return_exceptions=True)
        await asyncio.sleep(100.0)

    run_virtual(scenario())
    assert project.readings == [10]


@pytest.mark.parametrize("after", [0.0, 5.0, 10.5, 12.0])
def test_a_closing_ends_the_search_and_says_so(after: float) -> None:
    async def scenario() -> None:
        search = search_in(ProjectList([[A]], trip_seconds=1.0))
        await search.aclose()
        finders = [asyncio.create_task(search.find(lost())) for _ in range(2)]
        await asyncio.sleep(after)
        await search.aclose()
        await search.aclose()
        for found in await asyncio.gather(*finders, return_exceptions=True):
            assert isinstance(found, SessionStateError)
            assert "closed" in found.message
        assert now() == after

    run_virtual(scenario())


def test_each_reads_on_until_its_own_end() -> None:
    async def scenario() -> list[float]:
        search = search_in(ProjectList([[A]]))
        ends: list[float] = []

        async def look(run: LostRun) -> None:
            await search.find(run)
            ends.append(now())

        await asyncio.gather(look(lost(params={"prompt": "a hen"})), look(lost()))
        return ends

    assert run_virtual(scenario()) == [15, 25]
