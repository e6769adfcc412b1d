"""Cancelled at any step of starting a task: what went out is known to its keeper, and no more."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from unittest import mock

import pytest
from attrs import define, field

from tests.cancel.stepping import AfterSteps, Cut, Style, play, sweep
from tests.cancel.styles import by_cancel, every_style
from tests.scripted_service import (
    FLUX,
    Asked,
    ScriptedTransport,
    full,
    record,
    refused,
    started,
    too_fast,
)
from tests.virtual_session import PROMPT, joined
from tests.virtual_time import now
from wiro_async.errors import OutcomeUnknown, RequestNotSent, RunOutcomeUnknown, WiroError
from wiro_async.handle import TaskHandle
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession
from wiro_async.shield import finish

CONNECTING, WRITING, ON_WIRE, RUNNING = 1.0, 0.5, 10.0, 25.0
LONGEST_ATTEMPT = CONNECTING + WRITING + ON_WIRE + WRITING

UNREACHABLE = RequestNotSent("/Run: nobody there", endpoint="/Run", evidence="nothing was written")
LOST = OutcomeUnknown("/Run: cut off", endpoint="/Run", evidence="the headers went out")
BAD_GATEWAY = Answer(http_status=502, body=b"<html>")
REFUSED = refused(0, "Request parameter [prompt] required")

# What the service says to one Run after the other; in the end there is a task.
STORIES: Mapping[str, list[Answer | WiroError]] = MappingProxyType(
    {
        "answered at once": [],
        "refused": [REFUSED],
        "lost": [LOST],
        "answered by a gateway": [BAD_GATEWAY],
        "asked to be slower": [too_fast("5"), too_fast(None)],
        "not reached at first": [UNREACHABLE, UNREACHABLE],
        "full at first": [full(5), full(5)],
        "full, and then lost": [full(5), LOST],
    }
)


class Road(ScriptedTransport):
    """Connecting takes a while, and so does a Run on the wire; a task runs for 25 seconds."""

    def __init__(self, says: list[Answer | WiroError]) -> None:
        super().__init__(self._say)
        self.says = list(says)
        self.made: dict[str, float] = {}
        self.began: list[float] = []

    @property
    def runs(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.endpoint == "/Run"]

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        before_sending: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        if not request.is_billable:
            return await super().send(request, headers)
        self.began.append(now())
        await asyncio.sleep(CONNECTING)
        if self.says[:1] == [UNREACHABLE]:
            del self.says[0]
            raise UNREACHABLE
        return await super().send(request, headers, before_sending=before_sending)

    async def _say(self, asked: Asked) -> Answer:
        if asked.endpoint == "/Run":
            await asyncio.sleep(ON_WIRE)
            said = self.says.pop(0) if self.says else started(f"{len(self.asked)}")
            if isinstance(said, WiroError):
                raise said
            if b"taskid" in said.body:
                self.made[f"{len(self.asked)}"] = now()
            return said
        task_id = asked.fields["taskid"]
        is_over = now() - self.made[task_id] > RUNNING
        return record(task_id, "task_postprocess_end" if is_over else "task_start")


@define
class Ledger:
    """A keeper whose disk is slow. One letter a note: intent, task, unknown, none."""

    notes: str = ""
    handles: list[TaskHandle] = field(factory=list)
    ended: list[float] = field(factory=list)

    async def before_sending(self) -> None:
        await self._note("i")

    async def on_handle(self, handle: TaskHandle) -> None:
        await self._note("t")
        self.handles.append(handle)

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        assert error.params == PROMPT
        await self._note("u")

    async def on_no_task(self, error: WiroError) -> None:
        assert error.message
        await self._note("n")

    async def _note(self, letter: str) -> None:
        await asyncio.sleep(WRITING)
        self.notes += letter
        if letter != "i":
            self.ended.append(now())

    def check(self, road: Road) -> None:
        """Nothing went out without an intent, and each that did has one outcome, the right one."""
        assert re.fullmatch(r"(i[tun]|n)*", self.notes), self.notes
        assert self.notes.count("i") == len(road.runs)
        assert len(road.began) == len(self.ended)
        assert [handle.task_id for handle in self.handles] == list(road.made)

    def was_busy(self, road: Road, at: float) -> bool:
        """Whether an attempt was under way then."""
        return any(
            begun <= at <= ended for begun, ended in zip(road.began, self.ended, strict=True)
        )


async def start(session: WiroSession, keeper: Ledger) -> None:
    with suppress(WiroError):  # as the story wants it: the keeper knows
        await session.start(FLUX, PROMPT, keeper)


async def starting(cut: Cut, says: list[Answer | WiroError]) -> None:
    road, keeper = Road(says), Ledger()
    async with joined(road, max_in_flight=1) as session:
        await cut(partial(start, session, keeper))
        await check_aftermath(cut, session, keeper, road)


async def check_aftermath(cut: Cut, session: WiroSession, keeper: Ledger, road: Road) -> None:
    keeper.check(road)
    assert cut.seconds <= (LONGEST_ATTEMPT if keeper.was_busy(road, cut.struck_at) else 0.0)
    sent = len(road.runs)
    assert session.statistics.in_flight == len(keeper.handles)
    for handle in keeper.handles:
        await handle
    await asyncio.sleep(1000)
    assert len(road.runs) == sent
    assert session.statistics.in_flight == 0
    road.says.clear()
    await (await session.start(FLUX, PROMPT, keeper))
    keeper.check(road)


@every_style
@pytest.mark.parametrize("says", STORIES.values(), ids=STORIES)
def test_at_every_step_what_went_out_is_known_and_nothing_goes_out_after(
    says: list[Answer | WiroError], style: Style
) -> None:
    steps = sweep(lambda cut: starting(cut, says), style)
    print(steps)
