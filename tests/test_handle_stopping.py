from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tests.scripted_service import (
    FLUX,
    Asked,
    ScriptedTransport,
    answered,
    record,
    refused,
)
from tests.virtual_session import EVEN, PROMPT, joined, slow_world
from tests.virtual_time import now, run_virtual, settle
from wiro_async.errors import (
    NotFound,
    OutcomeUnknown,
    RequestRefused,
    TaskCancelled,
)
from wiro_async.protocol.responses import Answer
from wiro_async.task import Outcome


class TestStopping:
    @pytest.mark.parametrize(
        ("at", "ways"),
        [(1, ["/Task/Cancel"]), (50, ["/Task/Cancel", "/Task/Kill"])],
    )
    def test_it_takes_the_way_that_works(self, at: float, ways: list[str]) -> None:
        async def scenario() -> None:
            transport = slow_world()
            async with joined(transport) as session:
                handle = await session.run(FLUX, PROMPT)
                await asyncio.sleep(at)
                task = await handle.stop()
                assert task.outcome is Outcome.CANCELLED
                assert now() == at
                assert [a.endpoint for a in transport.asked if a.endpoint in ways] == ways
                with pytest.raises(TaskCancelled, match="not billed") as caught:
                    await handle
                assert (caught.value.task_id, caught.value.task) == (handle.task_id, task)
                assert await handle.stop() is task
                assert transport.tasks[0].cost == 0

        run_virtual(scenario())

    def test_between_two_states_it_waits_and_tries_again(self) -> None:
        """From 6 to 12 % of its life neither Cancel nor Kill takes the emulator's task."""

        async def scenario() -> None:
            transport = slow_world()
            async with joined(transport, poll_schedule=EVEN) as session:
                handle = await session.run(FLUX, PROMPT)
                await asyncio.sleep(6.5)
                task = await handle.stop()
                assert task.outcome is Outcome.CANCELLED
                assert 12 <= now() <= 17
                tries = transport.times("/Task/Kill")
                gaps = [later - earlier for earlier, later in pairwise(tries)]
                assert gaps == pytest.approx([0.5, 1, 2, 4][: len(gaps)])

        run_virtual(scenario())

    def test_a_task_that_was_faster_is_what_it_is(self) -> None:
        async def script(asked: Asked) -> Answer:
            if asked.endpoint == "/Task/Detail":
                return record("1", "task_postprocess_end" if asked.at > 4 else "task_start")
            return refused(0, "Request parameters are invalid.")

        async def scenario() -> None:
            async with joined(ScriptedTransport(script)) as session:
                handle = session.task(task_id="1")
                await settle()
                assert (await handle.stop()).succeeded

        run_virtual(scenario())

    def test_cancel_and_kill_alone_say_when_they_do_not_work(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world()) as session:
                handle = await session.run(FLUX, PROMPT)
                await asyncio.sleep(8)
                with pytest.raises(NotFound, match="cancel"):
                    await handle.cancel()
                with pytest.raises(NotFound, match="cancel"):
                    await handle.kill()
                await asyncio.sleep(12)
                await handle.kill()
                with pytest.raises(TaskCancelled):
                    await handle
                assert now() == 20, "what was stopped is looked at at once"

        run_virtual(scenario())

    def test_a_kill_is_repeated_when_its_answer_is_lost(self) -> None:
        lost = 2

        async def script(asked: Asked) -> Answer:
            nonlocal lost
            if asked.endpoint == "/Task/Kill":
                lost -= 1
                if lost >= 0:
                    raise OutcomeUnknown("cut off")
                return answered({"result": "true"})
            return record("1", "task_cancel" if lost < 0 else "task_start")

        async def scenario() -> None:
            transport = ScriptedTransport(script)
            async with joined(transport) as session:
                handle = session.task(token="tok-1")
                await handle.kill()
                assert (await handle.wait()).outcome is Outcome.CANCELLED
            kills = [asked.fields for asked in transport.asked if asked.endpoint == "/Task/Kill"]
            assert kills == [{"socketaccesstoken": "tok-1"}] * 3

        run_virtual(scenario())


class TestNamedByToken:
    def test_cancel_asks_for_the_id_first(self) -> None:
        async def scenario() -> None:
            transport = slow_world()
            async with joined(transport) as session:
                token = (await session.run(FLUX, PROMPT)).token
                handle = session.task(token=token)
                assert (handle.task_id, handle.model) == (None, None)
                await handle.cancel()
                assert handle.task_id == "2221"
            bodies = [a.fields for a in transport.asked if a.endpoint == "/Task/Cancel"]
            assert bodies == [{"taskid": "2221"}]
            assert {"tasktoken": token} in [asked.fields for asked in transport.asked]

        run_virtual(scenario())

    def test_stop_works_too(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world()) as session:
                token = (await session.run(FLUX, PROMPT)).token
                await asyncio.sleep(40)
                assert (await session.task(token=token).stop()).outcome is Outcome.CANCELLED

        run_virtual(scenario())

    def test_a_token_that_nobody_knows_is_said_to_be(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world()) as session:
                with pytest.raises(NotFound):
                    await session.task(token="wrong").cancel()

        run_virtual(scenario())


class TestDeletingFiles:
    def test_it_needs_the_end(self) -> None:
        async def scenario() -> None:
            transport = slow_world()
            async with joined(transport) as session:
                handle = await session.run(FLUX, PROMPT)
                with pytest.raises((NotFound, RequestRefused)):
                    await handle.delete_files()
                await handle
                await handle.delete_files()
                await handle.delete_files()
                assert transport.tasks[0].deleted

        run_virtual(scenario())

    def test_a_handle_without_a_token_waits_for_the_record_that_names_it(self) -> None:
        async def scenario() -> None:
            transport = slow_world()
            async with joined(transport) as session:
                await session.run(FLUX, PROMPT)
                await session.task(task_id="2221").delete_files()
                assert now() >= 100
                assert transport.tasks[0].deleted

        run_virtual(scenario())
