"""A road to the service on which everything takes a while, and a keeper whose disk is slow."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import define, field

from tests.scripted_service import (
    Asked,
    ScriptedTransport,
    full,
    record,
    refused,
    started,
    too_fast,
)
from tests.virtual_session import PROMPT
from tests.virtual_time import now
from wiro_async.errors import OutcomeUnknown, RequestNotSent, RunOutcomeUnknown, WiroError
from wiro_async.handle import TaskHandle
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer
from wiro_async.protocol.signing import Signature

OURS = PROMPT["prompt"]
CONNECTING, WRITING, ON_WIRE, RUNNING = 1.0, 0.5, 8.0, 2.0
# From the intent to the outcome.
LONGEST_ATTEMPT = WRITING + ON_WIRE + WRITING

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
    """Connecting takes a while, and so does a Run on the wire; a task runs for two seconds."""

    def __init__(self, says: list[Answer | WiroError]) -> None:
        super().__init__(self._say)
        self.says = list(says)
        self.made: dict[str, float] = {}

    @property
    def prompts(self) -> list[str]:
        return [asked.fields["prompt"] for asked in self.runs]

    @property
    def runs(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.endpoint == "/Run"]

    async def send(
        self,
        request: Request,
        signature: Signature,
        **notes: Any,  # noqa: ANN401 - handed on
    ) -> Answer:
        if not request.is_billable:
            return await super().send(request, signature)
        await asyncio.sleep(CONNECTING)
        if self.says[:1] == [UNREACHABLE]:
            del self.says[0]
            raise copy.copy(UNREACHABLE)
        return await super().send(request, signature, **notes)

    async def _say(self, asked: Asked) -> Answer:
        if asked.endpoint == "/Run":
            await asyncio.sleep(ON_WIRE)
            name = f"{len(self.made) + 1}"
            is_told = self.says and asked.fields["prompt"] == OURS
            said = self.says.pop(0) if is_told else started(name)
            if isinstance(said, WiroError):
                raise copy.copy(said)
            if b"taskid" in said.body:
                self.made[name] = now()
            return said
        task_id = asked.fields["taskid"]
        is_over = now() - self.made[task_id] > RUNNING
        return record(task_id, "task_postprocess_end" if is_over else "task_start")


@define
class Ledger:
    """A keeper whose disk is slow. One letter a note: intent, body, task, unknown, none."""

    notes: str = ""
    handles: list[TaskHandle] = field(factory=list)
    began: list[float] = field(factory=list)
    ended: list[float] = field(factory=list)

    async def before_sending(self) -> None:
        self.began.append(now())
        await self._note("i")

    def before_body(self) -> None:
        self.notes += "b"

    async def on_handle(self, handle: TaskHandle) -> None:
        await self._end("t")
        self.handles.append(handle)

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        assert error.params == PROMPT
        await self._end("u")

    async def on_no_task(self, error: WiroError) -> None:
        assert error.message
        await self._end("n")

    async def _note(self, letter: str) -> None:
        await asyncio.sleep(WRITING)
        self.notes += letter

    async def _end(self, letter: str) -> None:
        await self._note(letter)
        if len(self.ended) < len(self.began):  # or nothing had begun to go out
            self.ended.append(now())

    def check(self, road: Road) -> None:
        """Nothing went out without an intent, and each that did has one outcome, the right one."""
        assert re.fullmatch(r"(ib[tun]|n)*", self.notes), self.notes
        assert self.notes.count("i") == len(road.runs)
        assert len(self.began) == len(self.ended)
        assert [handle.task_id for handle in self.handles] == list(road.made)

    def was_busy(self, at: float) -> bool:
        """Whether a Run was on the wire then."""
        return any(
            begun <= at <= ended for begun, ended in zip(self.began, self.ended, strict=True)
        )
