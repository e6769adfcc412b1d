"""From a request to a watched task: who holds the slot, and who is told, and when."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from attrs import define, field

from tests.keepers import Notebook
from tests.scripted_service import (
    FLUX,
    Asked,
    ScriptedTransport,
    answered,
    full,
    record,
    refused,
    started,
    too_fast,
)
from tests.virtual_session import EVEN, PROMPT, joined
from tests.virtual_time import now, run_virtual, settle
from wiro_async.errors import (
    ConcurrencyLimitReached,
    InsufficientBalance,
    JournalError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RequestNotSent,
    RunOutcomeUnknown,
    WiroError,
)
from wiro_async.handle import TaskHandle
from wiro_async.protocol.matching import LostRun
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession

EMPTY = refused(97, "Insufficient balance")
LOST = OutcomeUnknown("/Run: cut off", endpoint="/Run", evidence="cut off")
FULL_DISK = JournalError("the disk is full")


@define
class Runs:
    """Each Run takes a second and ends with its step; tasks end after a minute."""

    steps: list[Answer | WiroError]
    ends_at: float = 60.0
    rows: list[dict[str, object]] = field(factory=list)

    async def __call__(self, asked: Asked) -> Answer:
        if asked.endpoint == "/Task/List":
            return answered({"tasklist": self.rows, "result": True})
        if asked.endpoint == "/Task/Detail":
            name = asked.fields.get("taskid") or asked.fields["tasktoken"].removeprefix("tok-")
            done = asked.at >= self.ends_at
            return record(name, "task_postprocess_end" if done else "task_start", pexit="0")
        await asyncio.sleep(1.0)
        step = self.steps.pop(0)
        if isinstance(step, WiroError):
            raise step
        return step


@define(eq=False)
class Clocked(Notebook):
    """Remembers also when it was told, and what was known then."""

    at: list[float] = field(factory=list)
    raises: dict[str, WiroError] = field(factory=dict)
    is_caller_told: bool = False

    def tell(self, what: str) -> None:
        assert not self.is_caller_told, "the caller learns it last"
        self.at.append(now())
        if what in self.raises:
            raise self.raises[what]

    async def before_sending(self) -> None:
        await super().before_sending()
        self.tell("before sending")

    async def on_handle(self, handle: TaskHandle) -> None:
        await super().on_handle(handle)
        await asyncio.sleep(5.0)  # as long as a slow disk takes
        self.tell("handle")

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        await super().on_unknown(error)
        self.tell("unknown")

    async def on_no_task(self, error: WiroError) -> None:
        await super().on_no_task(error)
        self.tell("no task")


async def start(session: WiroSession, keeper: Clocked) -> TaskHandle:
    try:
        return await session.start(FLUX, PROMPT, keeper)
    finally:
        keeper.is_caller_told = True


@pytest.mark.parametrize(
    ("steps", "told", "kind"),
    [
        ([started()], ["before sending", "before body", "handle"], None),
        ([EMPTY], ["before sending", "before body", "no task"], InsufficientBalance),
        ([LOST], ["before sending", "before body", "unknown"], RunOutcomeUnknown),
        (
            [answered({}, http_status=500)],
            ["before sending", "before body", "unknown"],
            RunOutcomeUnknown,
        ),
        (
            [full(5), started()],
            ["before sending", "before body", "no task", "before sending", "before body", "handle"],
            None,
        ),
        (
            [too_fast("3"), RequestNotSent("reset"), started()],
            ["before sending", "before body", "no task"] * 2
            + ["before sending", "before body", "handle"],
            None,
        ),
    ],
)
def test_the_keeper_is_told_of_each_attempt_before_the_caller(
    steps: list[Answer | WiroError], told: list[str], kind: type[WiroError] | None
) -> None:
    async def scenario() -> None:
        async with joined(ScriptedTransport(Runs(steps)), poll_schedule=EVEN) as session:
            keeper = Clocked()
            if kind is None:
                handle = await start(session, keeper)
                assert keeper.handles == [handle]
            else:
                with pytest.raises(kind) as caught:
                    await start(session, keeper)
                assert [*keeper.refused, *keeper.unknown][-1] is caught.value
            assert keeper.told == told
            assert session.statistics.in_flight == (kind is None)

    run_virtual(scenario())


def test_what_the_attempts_in_between_were_refused_for_is_told_too() -> None:
    async def scenario() -> None:
        steps = [full(5), too_fast("3"), started()]
        async with joined(ScriptedTransport(Runs([*steps])), poll_schedule=EVEN) as session:
            keeper = Clocked()
            await start(session, keeper)
            kinds = [type(error) for error in keeper.refused]
            assert kinds == [ConcurrencyLimitReached, RateLimited]

    run_virtual(scenario())


def test_a_lost_run_can_be_looked_for_by_the_keeper_already() -> None:
    class Looking(Clocked):
        async def on_unknown(self, error: RunOutcomeUnknown) -> None:
            await super().on_unknown(error)
            assert error._finder is not None

    async def scenario() -> None:
        async with joined(ScriptedTransport(Runs([LOST]))) as session:
            with pytest.raises(RunOutcomeUnknown):
                await start(session, Looking())

    run_virtual(scenario())


def test_the_task_is_watched_while_the_keeper_writes_it_down() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(Runs([started()]))
        async with joined(transport, poll_schedule=EVEN) as session:
            keeper = Clocked()
            starting = asyncio.create_task(start(session, keeper))
            await asyncio.sleep(5.5)
            assert transport.times("/Task/Detail") == [4.0], "three seconds after the answer"
            assert not starting.done()
            await starting

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("what", "step", "runs", "in_flight"),
    [
        ("before sending", started(), 0, 0),
        ("handle", started(), 1, 1),
        ("unknown", LOST, 1, 0),
        ("no task", EMPTY, 1, 0),
    ],
)
def test_what_the_keeper_raises_comes_out_and_no_slot_is_lost(
    what: str, step: Answer | WiroError, runs: int, in_flight: int
) -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(Runs([step]))
        async with joined(transport, poll_schedule=EVEN) as session:
            keeper = Clocked(raises={what: FULL_DISK})
            with pytest.raises(JournalError):
                await start(session, keeper)
            assert len(transport.times("/Run")) == runs
            assert session.statistics.in_flight == in_flight, "a task keeps its slot to its end"
            await asyncio.sleep(100.0)
            assert session.statistics.in_flight == 0

    run_virtual(scenario())


def test_a_caller_that_is_cancelled_on_the_wire_leaves_the_keeper_informed() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(Runs([started()]))
        async with joined(transport, poll_schedule=EVEN) as session:
            keeper = Clocked()
            starting = asyncio.create_task(start(session, keeper))
            await asyncio.sleep(0.5)
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            assert starting.cancelled()
            assert keeper.told == ["before sending", "before body", "handle"]
            assert keeper.at == [0.0, 6.0], "the writing down is waited for as well"
            (handle,) = keeper.handles
            assert (await handle).succeeded

    run_virtual(scenario())


def test_a_wait_for_a_slot_tells_the_keeper_nothing() -> None:
    async def scenario() -> None:
        transport = ScriptedTransport(Runs([started(), started("2222")]))
        async with joined(transport, poll_schedule=EVEN, max_in_flight=1) as session:
            await start(session, Clocked())
            keeper = Clocked()
            waiting = asyncio.create_task(start(session, keeper))
            await asyncio.sleep(10.0)
            assert keeper.told == []
            await waiting
            assert now() > 60
            assert transport.times("/Run")[1] > 60

    run_virtual(scenario())


class TestAdopting:
    @pytest.mark.parametrize("named", [{"task_id": "7"}, {"token": "tok-7"}])
    def test_a_task_that_exists_takes_a_slot_until_its_end(self, named: dict[str, str]) -> None:
        async def scenario() -> None:
            transport = ScriptedTransport(Runs([started()]))
            async with joined(transport, poll_schedule=EVEN, max_in_flight=1) as session:
                handle = await session.adopt(FLUX, **named)
                assert handle.model == FLUX
                waiting = asyncio.create_task(start(session, Clocked()))
                await settle()
                assert transport.times("/Task/Detail") == [0.0], "it is looked at at once"
                assert session.statistics.in_flight == 1
                assert (await handle).id == "7"
                assert transport.times("/Run") == []
                await waiting
                assert transport.times("/Run") == [now() - 6]

        run_virtual(scenario())

    def test_one_that_is_not_there_gives_its_slot_back(self) -> None:
        async def missing(_: Asked) -> Answer:
            return refused(1, "There is no task yet.")

        async def scenario() -> None:
            async with joined(ScriptedTransport(missing)) as session:
                handle = await session.adopt(FLUX, task_id="7")
                with pytest.raises(NotFound):
                    await handle
                assert session.statistics.in_flight == 0

        run_virtual(scenario())

    def test_who_is_cancelled_while_it_waits_for_a_slot_holds_none(self) -> None:
        async def scenario() -> None:
            transport = ScriptedTransport(Runs([]))
            async with joined(transport, poll_schedule=EVEN, max_in_flight=1) as session:
                first = await session.adopt(FLUX, task_id="7")
                second = asyncio.create_task(session.adopt(FLUX, task_id="8"))
                await asyncio.sleep(5.0)
                second.cancel()
                await first
                assert session.statistics.in_flight == 0
                assert second.cancelled()

        run_virtual(scenario())


def listed(task_id: str) -> dict[str, object]:
    owner, _, project = FLUX.partition("/")
    named = {"modelslugowner": owner, "modelslugproject": project}
    return {"id": task_id, "socketaccesstoken": f"tok-{task_id}", "parameters": PROMPT, **named}


@pytest.mark.parametrize("how", ["started", "adopted by id", "adopted by token", "watched"])
def test_a_task_that_this_session_knows_is_found_for_nobody(how: str) -> None:
    async def scenario() -> None:
        runs = Runs([started()], rows=[listed("2221")])
        async with joined(ScriptedTransport(runs), poll_schedule=EVEN) as session:
            match how:
                case "started":
                    await start(session, Clocked())
                case "adopted by id":
                    await session.adopt(FLUX, task_id="2221")
                case "adopted by token":
                    await session.adopt(FLUX, token="tok-2221")
                case _:
                    session.task(task_id="2221")
            lost = LostRun(key="", model=FLUX, params=PROMPT, sent_at=time.time())
            assert await session.find(lost) is None

    run_virtual(scenario())


def test_while_a_run_is_on_the_wire_its_like_is_not_taken_for_a_lost_one() -> None:
    async def scenario() -> None:
        runs = Runs([started("2222")], rows=[listed("2221")])
        transport = ScriptedTransport(runs)
        async with joined(transport, poll_schedule=EVEN, settle_seconds=0.4) as session:
            starting = asyncio.create_task(start(session, Clocked()))
            lost = LostRun(key="", model=FLUX, params=PROMPT, sent_at=time.time())
            assert await session.find(lost)
            readings = transport.times("/Task/List")
            assert readings[0] > 6.0, "five of them the keeper's: only then it is settled"
            await starting

    run_virtual(scenario())
