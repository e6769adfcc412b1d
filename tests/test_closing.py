"""What closing a session leaves behind: nothing, and everybody told."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.cancellation_styles import ON_WIRE, Style, every_style, slow
from tests.keepers import Notebook
from tests.scripted_service import FLUX, ScriptedTransport, started
from tests.virtual_session import joined
from tests.virtual_time import now, run_virtual, settle
from wiro_async.errors import SessionStateError
from wiro_async.handle import TaskHandle
from wiro_async.session import WiroSession


class TestClosing:
    @every_style
    def test_a_session_is_closed_whole_in_a_cancelled_scope(self, style: Style) -> None:
        keeper = Notebook()

        async def live() -> TaskHandle:
            async with joined(slow(started())) as session:
                await session.start(FLUX, {"prompt": "x"}, keeper)
                await keeper.handles[0]
            raise AssertionError

        async def scenario() -> None:
            with suppress(asyncio.CancelledError):
                await style(live)
            await settle()
            with pytest.raises(SessionStateError, match="was closed while task 2221"):
                await keeper.handles[0].wait()

        run_virtual(scenario())

    def test_who_waits_for_a_slot_is_told_and_sends_nothing(self) -> None:
        async def scenario() -> None:
            transport = slow(started())
            async with joined(transport, max_in_flight=1) as session:
                await session.run(FLUX, {"prompt": "x"})
                waiting = [asyncio.ensure_future(session.run(FLUX, {"prompt": "y"}))] * 1
                waiting.append(asyncio.ensure_future(session.run(FLUX, {"prompt": "z"})))
                await settle()
            errors = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(error) for error in errors] == [SessionStateError] * 2
            assert len(transport.times("/Run")) == 1

        run_virtual(scenario())

    def test_a_run_on_the_wire_is_finished_first(self) -> None:
        async def scenario() -> None:
            keeper = Notebook()
            async with joined(slow(started())) as session:
                running = asyncio.ensure_future(session.start(FLUX, {"prompt": "x"}, keeper))
                await asyncio.sleep(1)
            assert now() == ON_WIRE
            assert [await running] == keeper.handles

        run_virtual(scenario())

    def test_a_closing_that_is_cancelled_leaves_nothing_open(self) -> None:
        closed: list[str] = []

        class Noting(ScriptedTransport):
            async def aclose(self) -> None:
                closed.append("transport")

        async def close_impatiently(session: WiroSession) -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await session.aclose()

        async def scenario() -> None:
            async with joined(Noting(slow(started()).script)) as session:
                running = asyncio.ensure_future(session.run(FLUX, {"prompt": "x"}))
                await asyncio.sleep(1)
                await close_impatiently(session)
                assert closed == ["transport"]
                with pytest.raises(SessionStateError, match="task 2221"):
                    await (await running)

        run_virtual(scenario())
