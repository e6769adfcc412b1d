"""Cancelled at any step of waiting for a task, following, stopping or looking for one.

The caller goes at once, and the task is watched on: its end is seen, and its slot comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from typing import Any, Protocol

import pytest

from tests.cancel.stepping import Cut, Style, sweep
from tests.cancel.styles import Counted, every_style, in_turn
from tests.scripted_service import (
    FLUX,
    Asked,
    ScriptedTransport,
    answered,
    record,
    refused,
    started,
)
from tests.virtual_session import EVEN, PROMPT, joined
from tests.virtual_time import now
from wiro_async.errors import NotFound, TaskTimeout
from wiro_async.handle import TaskHandle, as_completed
from wiro_async.protocol.matching import LostRun
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession

FEWEST_STEPS = 7
TRIP, RUNNING = 0.5, 12.0


class Verb(Protocol):
    """What a caller does with a task."""

    __name__: str

    def __call__(self, session: WiroSession, handle: TaskHandle, /) -> Coroutine[Any, Any, None]:
        """Do it."""
        ...


class Bureau(ScriptedTransport):
    """Answers after half a second; tasks run for twelve, in two states, unless they are killed."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.made: dict[str, float] = {}
        self.killed: set[str] = set()

    async def _answer(self, asked: Asked) -> Answer:
        await asyncio.sleep(TRIP)
        fields = asked.fields
        name = fields.get("taskid") or fields.get("socketaccesstoken", "").removeprefix("tok-")
        match asked.endpoint:
            case "/Run":
                name = f"{len(self.made) + 1}"
                self.made[name] = now()
                return started(name)
            case "/Task/Cancel":
                return refused(1, "Task is not in a cancellable state.")
            case "/Task/Kill":
                self.killed.add(name)
                return answered({"errors": [], "result": True})
            case "/Task/List":
                return answered({"tasklist": [], "total": "0", "errors": [], "result": True})
            case _:
                name = name or fields["tasktoken"].removeprefix("tok-")
                return record(name, self._status(name))

    def _status(self, name: str) -> str:
        if name in self.killed:
            return "task_cancel"
        age = now() - self.made[name]
        stages = ["task_queue", "task_start", "task_postprocess_end"]
        return stages[min(2, int(age / RUNNING * 2))]


async def awaiting(_: WiroSession, handle: TaskHandle) -> None:
    await handle


async def waiting_patiently(_: WiroSession, handle: TaskHandle) -> None:
    await handle.wait(timeout_seconds=100)


async def waiting_impatiently(_: WiroSession, handle: TaskHandle) -> None:
    with suppress(TaskTimeout):
        await handle.wait(timeout_seconds=RUNNING / 2)


async def following(_: WiroSession, handle: TaskHandle) -> None:
    async with aclosing(handle.stream()) as events:
        assert [event.status async for event in events][-1] == "task_postprocess_end"


async def waiting_for_all(session: WiroSession, handle: TaskHandle) -> None:
    other = await session.run(FLUX, PROMPT)
    async with aclosing(as_completed([other, handle])) as ended:
        assert [one async for one in ended] == [handle, other]


async def stopping(_: WiroSession, handle: TaskHandle) -> None:
    await handle.stop()


async def cancelling_by_token(session: WiroSession, handle: TaskHandle) -> None:
    with suppress(NotFound):
        await session.task(token=handle.token).cancel()


async def deleting_by_id(session: WiroSession, handle: TaskHandle) -> None:
    await session.task(task_id=handle.task_id).delete_files()


async def adopting(session: WiroSession, handle: TaskHandle) -> None:
    await (await session.adopt(FLUX, token=handle.token))


async def looking_for_a_lost_run(session: WiroSession, _: TaskHandle) -> None:
    assert await session.find(LostRun(key="", model=FLUX, params=PROMPT, sent_at=0.0)) is None


VERBS: list[Verb] = [
    waiting_patiently,
    following,
    waiting_for_all,
    cancelling_by_token,
    deleting_by_id,
    adopting,
    looking_for_a_lost_run,
]


def name_of(verb: Verb) -> str:
    return verb.__name__


async def watching(cut: Cut, verb: Verb) -> None:
    bureau = Bureau()
    async with joined(bureau, max_in_flight=2, poll_schedule=EVEN, settle_seconds=2) as session:
        handle = await session.run(FLUX, PROMPT)
        watch = handle._watch
        callbacks, waiters = list(watch._callbacks), watch._waiters
        await cut(Counted(lambda: verb(session, handle)))
        # Of what was sent nothing is waited for: it costs nothing, or can be asked again.
        on_wire = 0.0 if verb is not waiting_for_all else TRIP
        assert cut.seconds <= on_wire
        assert not watch._readers
        assert handle.is_done or (watch._callbacks, watch._waiters) == (callbacks, waiters)
        asked = len(bureau.times("/Run")), len(bureau.times("/Task/Kill"))
        await handle.wait()
        await asyncio.sleep(1000)
        assert (len(bureau.times("/Run")), len(bureau.times("/Task/Kill"))) == asked
        assert session.statistics.in_flight == 0
        assert session._search._wanted == {}
        assert session._search._reading is None
        await (await session.run(FLUX, PROMPT))


@every_style
@pytest.mark.parametrize("verb", [awaiting, waiting_impatiently, stopping], ids=name_of)
def test_at_every_step_the_caller_goes_and_the_task_is_watched_on(verb: Verb, style: Style) -> None:
    assert sweep(lambda cut: watching(cut, verb), style) >= FEWEST_STEPS


@in_turn
@pytest.mark.parametrize("verb", VERBS, ids=name_of)
def test_so_it_is_whatever_the_caller_waits_for(verb: Verb, styles: list[Style]) -> None:
    assert sweep(lambda cut: watching(cut, verb), *styles) >= FEWEST_STEPS
