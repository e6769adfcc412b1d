"""A hub between a tracker before a scripted service and a socket that a test speaks through."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field

from tests.scripted_service import Asked, record
from tests.tracking.stage import Stage, set_up
from tests.virtual_time import now
from wiro_async.errors import TransportError
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.responses import Answer
from wiro_async.tracking.watch import Watch
from wiro_async.tracking.websocket import SocketHub

# A look every two seconds, for a task that nobody speaks for.
EVERY_TWO = PollSchedule(first_seconds=2.0, growth=1.0, max_seconds=2.0, jitter=0.0)
REFUSED = TransportError("the socket: refused", endpoint="socket")


@define(eq=False)
class FakeSocket:
    """One connection; the test is its other side."""

    opened_at: float
    tokens: list[str] = field(factory=list)
    is_closed: bool = False
    bug: Exception | None = None
    _inbox: asyncio.Queue[str | None] = field(factory=asyncio.Queue)

    async def send(self, text: str) -> None:
        await asyncio.sleep(0)
        if self.bug is not None:
            raise self.bug
        self.tokens.append(json.loads(text)["tasktoken"])

    async def receive(self) -> str | bytes | None:
        return await self._inbox.get()

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.is_closed = True

    def say(self, token: str, kind: str, message: object = None) -> None:
        self.say_text(json.dumps({"type": kind, "tasktoken": token, "message": message}))

    def say_text(self, text: str) -> None:
        self._inbox.put_nowait(text)

    def cut(self) -> None:
        self._inbox.put_nowait(None)


@define(eq=False)
class PushStage:
    """A hub, its tracker and the service behind both.

    Attributes:
        statuses: what Task/Detail says of each task.
        refusals: how many more connections are refused.
    """

    stage: Stage
    hub: SocketHub
    statuses: dict[str, str] = field(factory=dict)
    refusals: int = 0
    sockets: list[FakeSocket] = field(factory=list)
    dials: list[float] = field(factory=list)

    async def dial(self) -> FakeSocket:
        self.dials.append(now())
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            raise REFUSED
        self.sockets.append(FakeSocket(now()))
        return self.sockets[-1]

    async def answer(self, asked: Asked) -> Answer:
        await asyncio.sleep(0)
        task_id = asked.fields.get("taskid") or asked.fields["tasktoken"].removeprefix("tok-")
        return record(task_id, self.statuses.get(task_id, "task_start"))

    def watch(self, task_id: str = "1", *, has_token: bool = True) -> Watch:
        return self.stage.tracker.watch(
            task_id=task_id, token=f"tok-{task_id}" if has_token else None
        )

    @property
    def socket(self) -> FakeSocket:
        return self.sockets[-1]

    def looks(self, task_id: str = "1") -> list[float]:
        return [
            asked.at
            for asked in self.stage.transport.asked
            if asked.fields.get("taskid") == task_id
        ]


@asynccontextmanager
async def push_stage(*, refusals: int = 0, rate: float = 1000.0) -> AsyncIterator[PushStage]:
    """Everything at work; looks at what nobody speaks for every two seconds."""

    async def answer(asked: Asked) -> Answer:
        return await push.answer(asked)

    async def dial() -> FakeSocket:
        return await push.dial()

    stage = set_up(answer, schedule=EVERY_TWO, rate=rate)
    hub = SocketHub(tracker=stage.tracker, dial=dial, dice=lambda: 0.5)
    push = PushStage(stage, hub, refusals=refusals)
    stage.tracker.on_watch.append(hub.follow)
    stage.tracker.on_look.append(hub.on_look)
    try:
        yield push
    finally:
        await hub.aclose()
        await stage.tracker.aclose()
