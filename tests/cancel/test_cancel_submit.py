"""Cancelled at any step of starting a task: what went out is known to its keeper, and no more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

import pytest

from tests.cancel.road import LONGEST_ATTEMPT, OURS, STORIES, Ledger, Road
from tests.cancel.stepping import AimedLoop, AtLabel, Cut, Style, play, sweep
from tests.cancel.styles import Counted, by_cancel, every_style, in_turn
from tests.keepers import Notebook
from tests.loopback import Connection, serve
from tests.scripted_service import (
    FLUX,
    KEY,
    SECRET,
    started,
)
from tests.virtual_session import PROMPT, joined
from tests.virtual_time import now, settle
from wiro_async.crashpoints import passing
from wiro_async.errors import WiroError
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession
from wiro_async.shield import finish

FEWEST_STEPS = 9


async def start(session: WiroSession, keeper: Ledger, prompt: str = OURS) -> None:
    with suppress(WiroError):  # as the story wants it: the keeper knows
        await session.start(FLUX, {"prompt": prompt}, keeper)


async def start_alone(cut: Cut, says: list[Answer | WiroError]) -> None:
    """A session with a single slot, and nobody else who wants it."""
    road, keeper = Road(says), Ledger()
    async with joined(road, max_in_flight=1) as session:
        await cut(Counted(partial(start, session, keeper)))
        # Connecting is not on the wire yet: it goes with the caller.
        bound = LONGEST_ATTEMPT if keeper.was_busy(cut.struck_at) else 0.0
        assert cut.seconds < bound + 0.001
        assert session.statistics.in_flight == len(keeper.handles)
        await check_aftermath(session, keeper, road)


async def start_between(cut: Cut, says: list[Answer | WiroError]) -> None:
    """One task has the slot; another start waits for it behind the one that is cancelled."""
    road, keeper = Road(says), Ledger()

    async def follow() -> None:
        await asyncio.sleep(1)
        await start(session, keeper, "another")

    async with joined(road, max_in_flight=1) as session:
        await start(session, keeper, "another")
        follower = asyncio.ensure_future(follow())
        await cut(Counted(partial(start, session, keeper)))
        ours = len(road.runs)
        await follower
        assert road.prompts[ours:].count(OURS) == 0
        await check_aftermath(session, keeper, road)


async def check_aftermath(session: WiroSession, keeper: Ledger, road: Road) -> None:
    keeper.check(road)
    sent = len(road.runs)
    for handle in keeper.handles:
        await handle
    await asyncio.sleep(1000)
    assert len(road.runs) == sent
    assert session.statistics.in_flight == 0
    assert not session._slots._turns
    await start(session, keeper, "another")
    assert road.prompts[sent:] == ["another"]
    keeper.check(road)
    await keeper.handles[-1]


@every_style
@pytest.mark.parametrize("story", ["answered at once", "lost", "full at first"])
def test_at_every_step_what_went_out_is_known_and_nothing_goes_out_after(
    story: str, style: Style
) -> None:
    assert sweep(lambda cut: start_alone(cut, STORIES[story]), style) > FEWEST_STEPS


@in_turn
@pytest.mark.parametrize("story", STORIES)
def test_so_it_is_whatever_the_service_says(story: str, styles: list[Style]) -> None:
    assert sweep(lambda cut: start_alone(cut, STORIES[story]), *styles) > FEWEST_STEPS


@every_style
def test_at_every_step_of_waiting_for_a_slot_it_goes_to_the_next_in_the_row(style: Style) -> None:
    assert sweep(lambda cut: start_between(cut, []), style) > FEWEST_STEPS


@in_turn
def test_so_it_does_where_the_account_is_full(styles: list[Style]) -> None:
    assert sweep(lambda cut: start_between(cut, STORIES["full at first"]), *styles) > FEWEST_STEPS


@pytest.mark.parametrize("story", ["answered at once", "full at first"])
def test_closed_at_any_step_a_session_waits_for_what_is_on_the_wire(story: str) -> None:
    async def close_meanwhile(cut: Cut) -> None:
        road, keeper = Road(STORIES[story]), Ledger()
        async with joined(road, max_in_flight=1) as session:

            async def close() -> None:
                await session.aclose()
                keeper.check(road)
                assert all(handle.is_done for handle in keeper.handles)
                sent = len(road.runs)
                await asyncio.sleep(1000)
                assert len(road.runs) == sent

            def strike() -> bool:
                cut.struck_at = now()
                closing.append(asyncio.ensure_future(close()))
                return False

            closing: list[asyncio.Task[None]] = []
            starting = asyncio.ensure_future(start(session, keeper))
            with cut.arm(strike):
                await starting
            await asyncio.gather(*closing)
            keeper.check(road)

    assert sweep(close_meanwhile, by_cancel) > FEWEST_STEPS


CONNECTIONS = 64
"""As many as the transport has for Runs; a session's slots can be many more."""
ALL_TAKEN = "test.all_taken"


@every_style
def test_who_waits_for_a_connection_goes_at_once_and_nothing_is_sent(style: Style) -> None:
    read: list[int] = []
    asked = asyncio.Event()

    async def answer_late(connection: Connection) -> None:
        await connection.read_request()
        read.append(connection.number)
        if len(read) == CONNECTIONS:
            await asked.wait()
            await settle()
            passing(ALL_TAKEN)
        await connection.released.wait()
        body = started(f"{connection.number}").body
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        await connection.write(head % len(body) + body)

    async def scenario(cut: Cut) -> None:
        keeper = Notebook()

        async def use() -> None:
            asked.set()
            await session.start(FLUX, PROMPT, keeper)

        async with (
            serve(answer_late) as server,
            WiroSession(
                KEY, SECRET, base_url=server.base_url, max_in_flight=CONNECTIONS
            ) as session,
        ):
            session._slots.raise_ceiling(CONNECTIONS + 1)
            for number in range(CONNECTIONS):  # so many at once were borne before
                session._slots.on_accepted(number)
            for number in range(CONNECTIONS):
                session._slots.release(number)
            others = [asyncio.ensure_future(session.run(FLUX, PROMPT)) for _ in range(CONNECTIONS)]
            asyncio.get_running_loop().call_later(2, server.released.set)  # so that it ends
            await settle()
            await cut(Counted(use))
            server.released.set()
            await asyncio.gather(*others)
            assert cut.was_struck
            assert cut.seconds < 1
            assert keeper.told == []
            assert len(read) == CONNECTIONS

    play(scenario, Cut(style, AtLabel(ALL_TAKEN)), AimedLoop)


@every_style
def test_work_that_is_begun_is_finished_at_every_step(style: Style) -> None:
    async def scenario(cut: Cut) -> None:
        notes: list[str] = []

        async def work() -> str:
            notes.append("begun")
            await asyncio.sleep(1)
            await asyncio.sleep(0)
            notes.append("finished")
            return "result"

        async def use() -> None:
            await asyncio.sleep(1)
            assert await finish(work()) == "result"
            notes.append("used")

        was_cancelled = await cut(Counted(use))
        assert notes in ([], ["begun", "finished"], ["begun", "finished", "used"])
        assert was_cancelled == (notes[-1:] != ["used"])

    assert sweep(scenario, style) >= 5
