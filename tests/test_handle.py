from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import NoReturn

import pytest

from tests.scripted_service import (
    FLUX,
    Asked,
    ScriptedTransport,
    record,
    started,
)
from tests.virtual_session import EVEN, PROMPT, joined, slow_world
from tests.virtual_time import now, run_virtual
from wiro_async.errors import (
    OutcomeUnknown,
    SessionStateError,
    TaskFailed,
    TaskTimeout,
    TaskUnreachable,
)
from wiro_async.handle import TaskHandle, as_completed
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession
from wiro_async.task import Outcome, Task


class TestAwaiting:
    def test_it_gives_the_task_that_succeeded(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world(), poll_schedule=EVEN) as session:
                handle = await session.run(FLUX, PROMPT)
                assert repr(handle) == (f"<TaskHandle id=2221 model={FLUX} not looked at yet>")
                assert (handle.task, handle.status, handle.is_done, handle.looks) == (
                    *(None, None, False, 0),
                )
                task = await handle
                assert task.succeeded
                assert (await handle, await handle.wait()) == (task, task)
                assert handle.task is task
                assert repr(handle) == (f"<TaskHandle id=2221 model={FLUX} task_postprocess_end>")
                assert str(handle.token) not in repr(handle)
                assert handle.is_done
                assert 100 <= now() <= 110
                assert handle.looks <= 16

        run_virtual(scenario())

    def test_many_wait_for_one(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world()) as session:
                handle = await session.run(FLUX, PROMPT)
                tasks = await asyncio.gather(*[handle.wait() for _ in range(50)], handle)
                assert all(task is tasks[0] for task in tasks)

        run_virtual(scenario())

    def test_a_failure_is_an_error_to_await_and_an_outcome_to_wait(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world(failure_rate=1.0)) as session:
                handle = await session.run(FLUX, PROMPT)
                with pytest.raises(TaskFailed, match="exit code 1") as caught:
                    await handle
                task = await handle.wait()
                assert task.outcome is Outcome.FAILED
                error = caught.value
                assert (error.task_id, error.token) == (handle.task_id, handle.token)
                assert error.task is task
                assert "not billed" in error.message
                assert f"token {handle.token}" in error.message

        run_virtual(scenario())

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"debugerror": "out of\nmemory"}, "failed in task_error: out of memory"),
            ({}, "failed in task_error: the service gives no reason"),
        ],
    )
    def test_a_failure_says_what_the_service_says(self, fields: dict[str, str], said: str) -> None:
        async def script(_: Asked) -> Answer:
            return record("5", "task_error", **fields)

        async def scenario() -> None:
            async with joined(ScriptedTransport(script)) as session:
                with pytest.raises(TaskFailed, match=said):
                    await session.task(task_id="5")

        run_virtual(scenario())

    def test_patience_ends_and_the_watch_goes_on(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world(), poll_schedule=EVEN) as session:
                handle = await session.run(FLUX, PROMPT)
                with pytest.raises(TaskTimeout, match="after waiting 20 s") as caught:
                    await handle.wait(timeout_seconds=20)
                assert now() == 20
                assert caught.value.__cause__ is None
                assert (caught.value.task_id, caught.value.token) == ("2221", handle.token)
                assert caught.value.task is handle.task
                assert (await handle.wait(timeout_seconds=1000)).succeeded
                assert (await handle.wait(timeout_seconds=0)).succeeded

        run_virtual(scenario())

    def test_an_end_at_the_very_end_of_the_patience_counts(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world()) as session:
                handle = await session.run(FLUX, PROMPT)
                task = Task(id="2221", outcome=Outcome.CANCELLED)
                asyncio.get_running_loop().call_at(2.0, handle._watch.see, task, 2.0)
                assert await handle.wait(timeout_seconds=2.0) is task

        run_virtual(scenario())

    def test_without_a_timeout_it_waits_for_days(self) -> None:
        async def scenario() -> None:
            transport = slow_world(median_seconds=3 * 86_400.0)
            schedule = PollSchedule(first_seconds=600, max_seconds=3600)
            options = {"poll_schedule": schedule, "task_timeout_seconds": None}
            async with joined(transport, **options) as session:
                assert (await (await session.run(FLUX, PROMPT))).succeeded
                assert now() > 3 * 86_400

        run_virtual(scenario())

    def test_the_sessions_own_timeout_ends_it_for_everybody(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world(), task_timeout_seconds=30.0) as session:
                handle = await session.run(FLUX, PROMPT)
                errors = await asyncio.gather(handle.wait(), handle.wait(), return_exceptions=True)
                assert [type(error) for error in errors] == [TaskTimeout] * 2
                assert errors[0] is not errors[1], "each has a traceback of its own"
                assert str(errors[0]) == str(errors[1])
                assert session.statistics.in_flight == 0
                with pytest.raises(TaskTimeout):
                    await handle.stop()

        run_virtual(scenario())


class TestStream:
    def test_it_tells_every_status_until_the_terminal_one(self) -> None:
        async def scenario() -> list[str]:
            async with joined(slow_world()) as session:
                handle = await session.run(FLUX, PROMPT)
                return [event.status async for event in handle.stream()]

        statuses = run_virtual(scenario())
        assert statuses[0] == "task_queue"
        assert statuses[-1] == "task_postprocess_end"
        assert len(statuses) == len(set(statuses)) >= 5

    def test_it_raises_where_the_watch_was_given_up(self) -> None:
        async def script(asked: Asked) -> Answer:
            if asked.at > 10:
                raise OutcomeUnknown("cut off")
            return record("1", "task_start")

        async def scenario() -> None:
            async with joined(ScriptedTransport(script)) as session:
                handle = session.task(task_id="1")
                events = handle.stream()
                assert (await anext(events)).status == "task_start"
                with pytest.raises(TaskUnreachable, match="cut off"):
                    await anext(events)

        run_virtual(scenario())

    def test_who_stops_early_leaves_no_reader(self) -> None:
        async def scenario() -> None:
            async with joined(slow_world()) as session:
                handle = await session.run(FLUX, PROMPT)
                async with aclosing(handle.stream()) as events:
                    async for _ in events:
                        break
                assert not handle._watch._readers
                await handle

        run_virtual(scenario())


class TestAsCompleted:
    """Tasks that end in an order of the test's making."""

    ORDER = (4, 2, 5, 1, 3)

    async def script(self, asked: Asked) -> Answer:
        if asked.endpoint == "/Run":
            return started(asked.fields["prompt"])
        number = asked.fields["taskid"]
        done = asked.at >= 10 * (1 + self.ORDER.index(int(number)))
        return record(number, "task_cancel" if done else "task_start")

    async def start(self, session: WiroSession) -> list[TaskHandle]:
        return [await session.run("o/m", {"prompt": str(number)}) for number in range(1, 6)]

    def test_they_come_as_they_end(self) -> None:
        async def scenario() -> None:
            async with joined(ScriptedTransport(self.script)) as session:
                handles = await self.start(session)
                ended = [handle async for handle in as_completed(handles)]
                assert [handle.task_id for handle in ended] == [str(n) for n in self.ORDER]
                again = [handle async for handle in as_completed(ended)]
                assert again == ended
                assert [handle async for handle in as_completed([])] == []

        run_virtual(scenario())

    def test_the_same_handle_twice_comes_twice(self) -> None:
        async def scenario() -> None:
            async with joined(ScriptedTransport(self.script)) as session:
                handle = (await self.start(session))[2]
                ended = [one async for one in as_completed([handle, handle])]
                assert ended == [handle, handle]

        run_virtual(scenario())

    def test_a_consumer_that_stops_early_leaves_nothing(self) -> None:
        async def scenario() -> None:
            async with joined(ScriptedTransport(self.script)) as session:
                handles = await self.start(session)
                before = [len(handle._watch._callbacks) for handle in handles]
                async with aclosing(as_completed(handles)) as ended:
                    async for handle in ended:
                        assert handle.task_id == "4"
                        break
                after = [len(handle._watch._callbacks) for handle in handles]
                assert after == [0 if n == 3 else count for n, count in enumerate(before)]
                await asyncio.gather(*[handle.wait() for handle in handles])

        run_virtual(scenario())


def test_on_another_loop_a_handle_says_so() -> None:
    async def forever(_: Asked) -> Answer:
        return record("1", "task_start")

    async def make() -> tuple[WiroSession, TaskHandle]:
        async with joined(ScriptedTransport(forever)) as session:
            return session, session.task(task_id="1")

    _, handle = run_virtual(make())

    async def scenario() -> None:
        for use in (handle.wait, handle.kill, handle.cancel, handle.stop):
            with pytest.raises(SessionStateError):
                await use()
        with pytest.raises(SessionStateError, match="another event loop"):
            await handle
        with pytest.raises(SessionStateError, match="another event loop"):
            await never(handle)

    run_virtual(scenario())


async def never(handle: TaskHandle) -> NoReturn:
    async for event in handle.stream():
        raise AssertionError(event)
    raise AssertionError("an end without an error")
