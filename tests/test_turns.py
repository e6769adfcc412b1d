from __future__ import annotations

import asyncio

import pytest

from tests.virtual_time import now, run_virtual, settle
from wiro_async.protocol.limits import RequestPace
from wiro_async.turns import Turns


def paced(rate: float | None = 10.0) -> Turns:
    """A row that moves on ten times a second."""
    return Turns(RequestPace(rate))


def test_without_a_limit_nobody_waits() -> None:
    async def scenario() -> None:
        turns = paced(None)
        await asyncio.gather(*[turns.wait(is_run=False) for _ in range(1000)])
        assert now() == 0

    run_virtual(scenario())


def test_runs_go_before_all_others_and_each_kind_in_its_order() -> None:
    async def scenario() -> None:
        turns = paced()
        order: list[tuple[str, float]] = []

        async def go(name: str) -> None:
            await turns.wait(is_run=name.startswith("run"))
            order.append((name, round(now(), 3)))

        names = ["look 1", "look 2", "run 1", "look 3", "run 2"]
        waiting = [asyncio.ensure_future(go(name)) for name in names]
        await asyncio.sleep(0.25)
        waiting.append(asyncio.ensure_future(go("run 3")))
        await asyncio.gather(*waiting)
        assert order == [
            ("look 1", 0.0),
            ("run 1", 0.1),
            ("run 2", 0.2),
            ("run 3", 0.3),
            ("look 2", 0.4),
            ("look 3", 0.5),
        ]

    run_virtual(scenario())


def test_a_pause_that_begins_while_they_wait_holds_for_them() -> None:
    async def scenario() -> None:
        turns = paced()
        waiting = [asyncio.ensure_future(turns.wait(is_run=True)) for _ in range(3)]
        await settle()
        turns.pace.on_limited(now(), 5.0)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(waiting[1:], return_when=asyncio.FIRST_COMPLETED)
        assert now() == 5
        await asyncio.gather(*waiting)

    run_virtual(scenario())


def test_a_pace_that_grows_is_theirs_too() -> None:
    async def scenario() -> None:
        turns = paced(0.5)
        waiting = [asyncio.ensure_future(turns.wait(is_run=True)) for _ in range(200)]
        await settle()
        turns.pace.rate = 100.0
        await asyncio.gather(*waiting)
        assert now() < 4

    run_virtual(scenario())


@pytest.mark.parametrize("is_run", [True, False])
def test_who_gives_up_is_passed_over_and_takes_no_place(*, is_run: bool) -> None:
    async def scenario() -> None:
        turns = paced()
        waiting = [asyncio.ensure_future(turns.wait(is_run=is_run)) for _ in range(50)]
        await settle()
        for one in waiting[1:-1]:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert now() < 0.2
        assert turns.pace.waiting == 0

    run_virtual(scenario())


def test_the_pace_knows_how_many_wait() -> None:
    async def scenario() -> None:
        turns = paced()
        waiting = [asyncio.ensure_future(turns.wait(is_run=True)) for _ in range(4)]
        await settle()
        assert turns.pace.waiting == 3
        await asyncio.gather(*waiting)
        assert turns.pace.waiting == 0

    run_virtual(scenario())


def test_who_comes_when_the_pace_is_forgotten_does_not_overtake_who_waits() -> None:
    async def scenario() -> None:
        turns = paced()
        await turns.wait(is_run=True)
        order: list[str] = []

        async def go(name: str) -> None:
            await turns.wait(is_run=True)
            order.append(name)

        waits = asyncio.ensure_future(go("waits"))
        await settle()
        turns.pace.rate = None
        await asyncio.gather(waits, go("comes"))
        assert order == ["waits", "comes"]

    run_virtual(scenario())
