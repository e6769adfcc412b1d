"""The emulator's world behind the addresses of three other services.

The peers' clients speak to fal's queue, to replicate's predictions and to runway's tasks. Each is
as thin as it can be: a submit makes a task of the world, a look tells how it stands, and the file
is the one that the emulator serves. The fields are those that the clients read.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Self

from aiohttp import web
from attrs import define, field

from wiro_async.emulator import cdn
from wiro_async.emulator.books import BookedTask, Books
from wiro_async.emulator.catalog import CATALOG
from wiro_async.emulator.refusals import Refusal
from wiro_async.emulator.shelf import Shelf
from wiro_async.emulator.timeline import QUEUED
from wiro_async.emulator.world import Terms, Wish, World

MODEL = "black-forest-labs/flux-pro-1-1-ultra"
_BALANCE = Decimal(10_000_000)
# So long replicate's service holds a request whose client does not say how long.
_HELD_SECONDS = 60.0
_WAIT = re.compile(r"wait(?:=(\d+))?")
_WHEN = "2026-01-01T00:00:00Z"
_GRACE_SECONDS = 0.1

_Shown = Callable[[BookedTask], Mapping[str, Any]]


@define(kw_only=True, eq=False)
class PeerService:
    """Three services on one port, an async context manager.

    Attributes:
        median_seconds: the median of the tasks' durations.
        clock: seconds since whenever.
        base_url: ``http://127.0.0.1:port``, once it is entered.
        socket_url: "": none of the clients wants one.
    """

    median_seconds: float
    clock: Callable[[], float] = time.monotonic
    base_url: str = field(init=False, default="")
    socket_url: str = field(init=False, default="")
    _world: World = field(init=False)
    _shelf: Shelf = field(init=False, factory=lambda: Shelf(0))
    _born: float = field(init=False)
    _runner: web.AppRunner = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._born = self.clock()
        self._world = World(
            Terms(epoch=time.time(), balance=_BALANCE, median_seconds=self.median_seconds)
        )

    @property
    def books(self) -> Books:
        """What really happened, brought up to date."""
        return self._world.look(self._now())

    async def __aenter__(self) -> Self:
        app = web.Application()
        for path, show in (("/v1/predictions", self._prediction), ("/fal/model", self._queued)):
            app.router.add_post(path, self._submitting(show))
        app.router.add_post("/v1/text_to_image", self._submitting(self._made))
        for path, show in (
            ("/v1/predictions/{id}", self._prediction),
            ("/v1/tasks/{id}", self._task),
            ("/fal/model/requests/{id}/status", self._status),
            ("/fal/model/requests/{id}", self._result),
        ):
            app.router.add_get(path, self._looking(show))
        app.router.add_get("/cdn/{folder}/{name}", self._file)
        listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE_SECONDS)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        self._shelf.clear()

    def _now(self) -> float:
        return self.clock() - self._born

    def _submitting(self, show: _Shown) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self._world.books.requests["submit"] += 1
            body = await request.json()
            # replicate's prompt is an input, runway calls it text.
            prompt = body.get("input", body).get("prompt") or body["promptText"]
            task = self._make(prompt)
            held = _WAIT.fullmatch(request.headers.get("Prefer", ""))
            if held is not None:
                await asyncio.sleep(min(float(held[1] or _HELD_SECONDS), task.due - self._now()))
            return web.json_response(show(self._find(task.id)))

        return handle

    def _looking(self, show: _Shown) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self._world.books.requests["look"] += 1
            return web.json_response(show(self._find(request.match_info["id"])))

        return handle

    async def _file(self, request: web.Request) -> web.Response:
        self._world.books.requests["cdn"] += 1
        task = self._find(self._shelf.task_of(request.match_info["folder"]))
        return cdn.serve(request, self._shelf.open_picture(task.id, task.outputs[0]))

    def _make(self, prompt: str) -> BookedTask:
        now = self._now()
        task = self._world.run(Wish(model=CATALOG[MODEL], prompt=prompt), now)
        assert not isinstance(task, Refusal)  # noqa: S101 - it has money enough
        self._world.picture_drawn(task.id, self._shelf.pixel(task.id, "png"), now)
        return task

    def _find(self, task_id: str) -> BookedTask:
        task = self._world.find(self._now(), task_id=task_id)
        if task is None:
            raise web.HTTPNotFound
        return task

    def _urls(self, task: BookedTask) -> list[str]:
        return [f"{self.base_url}{output.path}" for output in task.outputs]

    def _queued(self, task: BookedTask) -> Mapping[str, Any]:
        url = f"{self.base_url}/fal/model/requests/{task.id}"
        return {
            "request_id": task.id,
            "response_url": url,
            "status_url": f"{url}/status",
            "cancel_url": f"{url}/cancel",
        }

    def _status(self, task: BookedTask) -> Mapping[str, Any]:
        if task.terminal:
            return {"status": "COMPLETED", "logs": None, "metrics": {}}
        if task.status == QUEUED:
            return {"status": "IN_QUEUE", "queue_position": 0}
        return {"status": "IN_PROGRESS", "logs": None}

    def _result(self, task: BookedTask) -> Mapping[str, Any]:
        return {"task": task.id, "images": [{"url": url} for url in self._urls(task)]}

    def _prediction(self, task: BookedTask) -> Mapping[str, Any]:
        running = "starting" if task.status == QUEUED else "processing"
        return {
            "id": task.id,
            "model": MODEL,
            "version": "5c7d5dc6",
            "status": "succeeded" if task.terminal else running,
            "input": {"prompt": task.prompt},
            "output": self._urls(task) or None,
            "created_at": _WHEN,
        }

    def _made(self, task: BookedTask) -> Mapping[str, Any]:
        return {"id": task.id, "estimatedCost": {"credits": 5}}

    def _task(self, task: BookedTask) -> Mapping[str, Any]:
        common = {"id": task.id, "createdAt": _WHEN}
        if task.terminal:
            done = {"status": "SUCCEEDED", "cost": {"credits": 5}, "output": self._urls(task)}
            return common | done
        return common | {"status": "RUNNING", "progress": 0.5, "estimatedCost": {"credits": 5}}
