"""The websocket: frames about the tasks whose tokens a connection has sent.

A client connects, sends ``{"type": "task_info", "tasktoken": ...}`` for each task, and hears of
each change from then on; what happened before is not told again (facts of the API, "Websocket").
A status is a frame without a message; while a model draws there are frames with its progress, in
texts; a language model's frames hold all that it has said so far; a failing task has a frame
`task_error`, which is a line of its log and not its end; the last frame lists the outputs, and
not the exit code. Nobody knows whether the service lets one connection follow several tasks, nor
what else it can do, so each way can be tried: `SocketManner`.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any

import attrs
from aiohttp import WSMsgType, web

from wiro_async.emulator.answers import Scribe
from wiro_async.emulator.books import BookedTask, Books, Fate
from wiro_async.emulator.herald import Herald
from wiro_async.emulator.timeline import DONE, OUTPUT, begins_at
from wiro_async.emulator.world import World

SOCKET = "socket"


class SocketManner(Enum):
    """How the socket behaves."""

    MANY = "many"
    """It tells of every task whose token it was sent."""
    ONE = "one"
    """It tells of the first task only; other tokens on the same connection are ignored."""
    SILENT = "silent"
    """It takes every token and never says a word."""
    ABSENT = "absent"
    """There is none: HTTP 404."""


@attrs.frozen(kw_only=True)
class Sockets:
    """Serves the websocket of one emulator."""

    world: World
    herald: Herald
    scribe: Scribe
    now: Callable[[], float]
    manner: SocketManner
    life_seconds: float | None
    """Real seconds after which each connection is cut; `None` for never."""
    origin_for: Callable[[web.Request], str | None]
    """As the service has it."""
    closing: asyncio.Future[None]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection to its end."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        origin = self.origin_for(request) or self.scribe.origin
        scribe = attrs.evolve(self.scribe, origin=origin)
        listener = Listener(scribe, self.now, self.world.books)
        if self.manner is not SocketManner.SILENT:
            listener.frames.put_nowait({"type": "connected", "version": "1.0"})
        tasks = [
            asyncio.ensure_future(part)
            for part in (self._read(socket, listener), _write(socket, listener))
        ]
        try:
            await asyncio.wait(
                [*tasks, self.closing],
                timeout=self.life_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self.herald.forget(listener)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            request.protocol.force_close()
        return socket

    async def _read(self, socket: web.WebSocketResponse, listener: "Listener") -> None:
        registered = 0
        async for message in socket:
            token = _token_of(message.data) if message.type is WSMsgType.TEXT else ""
            task = self.world.find(self.now(), token=token) if token else None
            if task is None or self.manner is SocketManner.SILENT:
                continue
            if self.manner is SocketManner.MANY or not registered:
                self.herald.follow(task, listener)
            registered += 1


@attrs.define(eq=False)
class Listener:
    """What one connection is to be told, in order."""

    scribe: Scribe
    now: Callable[[], float]
    books: Books
    frames: asyncio.Queue[Mapping[str, Any]] = attrs.field(init=False, factory=asyncio.Queue)

    def hear(self, task: BookedTask, status: str, share: float) -> None:
        """Turn what happened to a task into frames."""
        message: object = None
        if status == OUTPUT:
            message = _progress(task, share)
        elif status == DONE:
            message = self.scribe.record(task, self.now())["outputs"]
            if task.fate is Fate.FAIL:
                self._say(task, "task_error", "The emulated model gave up on this prompt.")
        self._say(task, status, message)

    def _say(self, task: BookedTask, kind: str, message: object) -> None:
        self.books.frames += 1
        self.frames.put_nowait(
            {
                "type": kind,
                "id": task.id,
                "tasktoken": task.token,
                "message": message,
                "result": True,
            }
        )


async def _write(socket: web.WebSocketResponse, listener: Listener) -> None:
    with suppress(ConnectionError):
        while True:
            await socket.send_str(json.dumps(await listener.frames.get()))


def _progress(task: BookedTask, share: float) -> object:
    """What a model tells on its way: all numbers are texts."""
    begun = begins_at(OUTPUT)
    done = min(1.0, max(0.0, (share - begun) / (begins_at("task_output_full") - begun)))
    if task.answer is not None:
        said = task.answer[: round(done * len(task.answer))]
        return {"thinking": [], "answer": [said], "raw": said, "isThinking": False}
    elapsed = (share - begun) * task.duration
    left = elapsed * (1 - done) / done if done else task.duration
    return {
        "percentage": f"{100 * done:.0f}",
        "stepCurrent": f"{28 * done:.0f}",
        "stepTotal": "28",
        "speed": f"{28 * done / elapsed if elapsed > 0 else 0:.2f}",
        "speedType": "it/s",
        "elapsedTime": f"{elapsed:.1f}",
        "remainingTime": f"{left:.1f}",
    }


def _token_of(text: str) -> str:
    try:
        frame = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(frame, dict) or frame.get("type") != "task_info":
        return ""
    token = frame.get("tasktoken")
    return token if isinstance(token, str) else ""
