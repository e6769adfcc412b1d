"""Cancelling whoever waits for a Run, in every style that asyncio and anyio have."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tests.cancellation_styles import ON_WIRE, Style, every_style, slow
from tests.keepers import Notebook
from tests.scripted_service import FLUX, Asked, ScriptedTransport, full, started, too_fast
from tests.virtual_session import joined
from tests.virtual_time import now, run_virtual
from wiro_async.handle import TaskHandle
from wiro_async.protocol.responses import Answer


@every_style
def test_a_run_on_the_wire_is_finished_and_its_task_watched(style: Style) -> None:
    async def scenario() -> None:
        transport = slow(started())
        keeper = Notebook()
        async with joined(transport) as session:
            await style(lambda: session.start(FLUX, {"prompt": "x"}, keeper))
            assert now() == ON_WIRE
            assert [handle.task_id for handle in keeper.handles] == ["2221"]
            assert keeper.told == ["before sending", "before body", "handle"]
            assert session.statistics.in_flight == 1
            await keeper.handles[0]
            assert session.statistics.in_flight == 0
        assert len(transport.times("/Run")) == 1

    run_virtual(scenario())


@every_style
def test_a_run_that_ends_unknown_meanwhile_is_told_all_the_same(style: Style) -> None:
    async def scenario() -> None:
        transport = slow(Answer(http_status=502, body=b"<html>"))
        keeper = Notebook()
        async with joined(transport) as session:
            await style(lambda: session.start(FLUX, {"prompt": "x"}, keeper))
            assert session.statistics.in_flight == 0
        assert [error.params for error in keeper.unknown] == [{"prompt": "x"}]
        assert keeper.told == ["before sending", "before body", "unknown"]
        assert len(transport.times("/Run")) == 1

    run_virtual(scenario())


@every_style
def test_and_where_nobody_is_told_it_is_logged(
    style: Style, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        transport = slow(Answer(http_status=502, body=b"<html>"))
        async with joined(transport) as session:
            await style(lambda: session.run(FLUX, {"prompt": "x"}))

    run_virtual(scenario())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "may be billed" in caplog.text


@every_style
def test_a_run_that_was_refused_meanwhile_gives_its_slot_back(style: Style) -> None:
    async def scenario() -> None:
        transport = slow(full(5))
        async with joined(transport) as session:
            await style(lambda: session.run(FLUX, {"prompt": "x"}))
            assert now() == ON_WIRE
            assert session.statistics.in_flight == 0
        assert len(transport.times("/Run")) == 1

    run_virtual(scenario())


@every_style
def test_before_the_wire_nothing_is_sent_and_no_slot_is_kept(style: Style) -> None:
    """The one slot is taken by a task that runs for a minute."""

    async def scenario() -> None:
        transport = slow(started())
        async with joined(transport, max_in_flight=1) as session:
            first = await session.run(FLUX, {"prompt": "first"})
            await style(lambda: session.run(FLUX, {"prompt": "second"}))
            assert now() < ON_WIRE + 5
            await first
            assert session.statistics.in_flight == 0
            await session.run(FLUX, {"prompt": "third"})
        prompts = [a.fields["prompt"] for a in transport.asked if a.endpoint == "/Run"]
        assert prompts == ["first", "third"]

    run_virtual(scenario())


@every_style
@pytest.mark.parametrize("answer", [too_fast("90"), full(5)], ids=["paused", "account full"])
def test_while_it_waits_for_its_next_attempt_it_just_ends(answer: Answer, style: Style) -> None:
    async def script(_: Asked) -> Answer:
        return answer

    async def scenario() -> None:
        transport = ScriptedTransport(script)
        async with joined(transport) as session:
            await style(lambda: session.run(FLUX, {"prompt": "x"}))
            assert now() <= 4
            assert session.statistics.in_flight == 0

    run_virtual(scenario())


def test_at_each_of_its_first_steps_either_nothing_is_sent_or_the_task_is_watched() -> None:
    async def scenario() -> None:
        transport = slow(started())
        sent: list[int] = []
        for ticks in range(8):
            async with joined(transport, max_in_flight=1) as session:
                keeper = Notebook()
                task = asyncio.ensure_future(session.start(FLUX, {"prompt": "x"}, keeper))
                for _ in range(ticks):
                    await asyncio.sleep(0)
                before = len(transport.asked)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                sent.append(len(transport.times("/Run")))
                assert session.statistics.in_flight == len(keeper.handles)
                assert len(transport.asked) == len(transport.times("/Run")) >= before
        assert [later - earlier for earlier, later in pairwise(sent)].count(1) == sent[-1]
        assert (sent[0], sent[-1]) == (0, sent[-1])
        assert 1 <= sent[-1] <= 7

    run_virtual(scenario())


@every_style
def test_cancelling_who_awaits_leaves_the_task_watched(style: Style) -> None:
    async def scenario() -> None:
        async with joined(slow(started())) as session:
            handle = await session.run(FLUX, {"prompt": "x"})

            async def wait() -> TaskHandle:
                await handle
                return handle

            await style(wait)
            assert not handle.is_done
            assert (await handle).succeeded

    run_virtual(scenario())
