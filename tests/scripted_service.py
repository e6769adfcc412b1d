"""The service without a wire: scripted answers, or the emulator's world, behind `Transport`.

`ScriptedTransport` hands each attempt to a function of the test; `WorldTransport` to the
emulator's desk, at the running loop's time. Both keep what was asked, in order.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen

from wiro_async.api import Api
from wiro_async.emulator import answers
from wiro_async.emulator.books import BookedFile, BookedTask
from wiro_async.emulator.desk import Call, Desk
from wiro_async.emulator.refusals import Refusal
from wiro_async.emulator.world import Terms, World
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.protocol.signing import Credentials, Signature
from wiro_async.transport import Timeouts, Transport

FLUX = "black-forest-labs/flux-pro-1-1-ultra"
KEY = "key-of-the-tests"
SECRET = "secret-of-the-tests"

_PIXEL = BookedFile(name="0.png", path="/cdn/x/0.png", content_type="image/png", size=1, sha256="")


@frozen
class Asked:
    """One attempt as it was sent."""

    at: float
    request: Request
    headers: Mapping[str, str]

    @property
    def endpoint(self) -> str:
        return self.request.endpoint

    @property
    def fields(self) -> dict[str, Any]:
        return dict(json.loads(self.request.body))


Script = Callable[[Asked], Awaitable[Answer]]


class ScriptedTransport(Transport):
    """Answers with what the script says, or raises what it raises."""

    def __init__(self, script: Script) -> None:
        super().__init__(base_url="https://nowhere.test/v1", timeouts=Timeouts())
        self.script = script
        self.asked: list[Asked] = []

    async def open(self) -> None:
        return

    async def aclose(self) -> None:
        return

    async def send(
        self,
        request: Request,
        signature: Signature,
        *,
        before_sending: Callable[[], Awaitable[None]] | None = None,
        before_body: Callable[[], None] | None = None,
    ) -> Answer:
        if before_sending is not None:
            await before_sending()
        if before_body is not None:
            before_body()
        asked = Asked(asyncio.get_running_loop().time(), request, signature.headers())
        self.asked.append(asked)
        return await self.script(asked)

    def times(self, endpoint: str) -> list[float]:
        return [asked.at for asked in self.asked if asked.endpoint == endpoint]


class WorldTransport(ScriptedTransport):
    """The emulator's world at the loop's time; `trip_seconds` is each request's own time."""

    def __init__(self, terms: Terms | None = None, *, trip_seconds: float = 0.0) -> None:
        super().__init__(self._answer)
        self.world = World(terms or Terms())
        self.trip_seconds = trip_seconds
        self._desk = Desk(self.world, "https://cdn.nowhere.test")

    @property
    def tasks(self) -> list[BookedTask]:
        return list(self.world.look(asyncio.get_running_loop().time()).tasks.values())

    async def _answer(self, asked: Asked) -> Answer:
        await asyncio.sleep(self.trip_seconds)
        now = asyncio.get_running_loop().time()
        model = asked.request.path.removeprefix("/Run/")
        endpoint = asked.endpoint.removeprefix("/")
        said = self._desk.answer(Call(endpoint=endpoint, now=now, fields=asked.fields, model=model))
        if isinstance(said, Refusal):
            return answered(answers.refused(said), http_status=said.http_status)
        if endpoint == "Run":
            self.world.picture_drawn(said["taskid"], _PIXEL, now)
        return answered(said)


def answered(body: object, *, http_status: int = 200, retry_after: str | None = None) -> Answer:
    return Answer(http_status=http_status, body=json.dumps(body).encode(), retry_after=retry_after)


def started(task_id: str = "2221") -> Answer:
    return answered(
        {"errors": [], "taskid": task_id, "socketaccesstoken": f"tok-{task_id}", "result": True}
    )


def record(task_id: str, status: str, **more: object) -> Answer:
    row = {"id": task_id, "socketaccesstoken": f"tok-{task_id}", "status": status, **more}
    return answered({"total": "1", "errors": [], "tasklist": [row], "result": True})


def refused(code: object, message: str, http_status: int = 200) -> Answer:
    errors = [{"code": code, "message": message}]
    return answered({"result": False, "errors": errors}, http_status=http_status)


def full(limit: int) -> Answer:
    return refused(
        96,
        "You have reached your concurrent task limit. With your current balance of $50.00, you "
        f"can run up to {limit} tasks at the same time. Add funds ...",
    )


def too_fast(retry_after: str | None) -> Answer:
    return answered({}, http_status=429, retry_after=retry_after)


def make_api(
    transport: Transport, *, policy: RetryPolicy | None = None, secret: str | None = SECRET
) -> Api:
    """An Api whose dice always show a half."""
    return Api(
        transport=transport,
        credentials=Credentials(api_key=KEY, api_secret=secret),
        policy=policy or RetryPolicy(),
        dice=lambda: 0.5,
    )
