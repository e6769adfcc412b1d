"""The service on HTTP: headers, paths, cut connections, and nothing that it decides itself.

Each request passes the same stations in the same order: it is counted, its credentials are
checked (`auth.py`), the project's rate (`limits.py`), its body read (`bodies.py`), the script
of faults asked (`faults.py`), the desk asked (`desk.py`), and the answer sent, or spoilt as
the fault wants it. The CDN's requests skip credentials, rate and body.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from aiohttp import web

from wiro_async.emulator import answers, refusals
from wiro_async.emulator.auth import CREDENTIAL_HEADERS, Doorkeeper
from wiro_async.emulator.bodies import MOST_BYTES_OF_A_FILE, read_body
from wiro_async.emulator.books import BookedTask, Fate
from wiro_async.emulator.cdn import serve
from wiro_async.emulator.desk import Call, Desk
from wiro_async.emulator.faults import API_ENDPOINTS, CDN, Fault, Script
from wiro_async.emulator.limits import TokenBucket, stated_limit
from wiro_async.emulator.refusals import Refusal
from wiro_async.emulator.shelf import Shelf
from wiro_async.emulator.sockets import SOCKET, SocketManner, Sockets
from wiro_async.emulator.spoiling import EXPIRED, spoil
from wiro_async.emulator.world import World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FATES = {"fail_task": Fate.FAIL, "error_task": Fate.ERROR}


@attrs.frozen(kw_only=True)
class Service:
    """The parts that the handlers work with."""

    world: World
    desk: Desk
    doorkeeper: Doorkeeper
    bucket: TokenBucket | None
    script: Script
    shelf: Shelf
    sockets: Sockets
    now: Callable[[], float]
    """Service seconds."""
    clock: Callable[[], float]
    """Real seconds."""
    failure: Callable[[], str | None]
    """Why the emulator cannot go on, if it cannot."""
    on_run: Callable[[BookedTask], None]
    """Told of every new task."""
    on_stop: Callable[[str], None]
    """Told the id of every task that is stopped."""
    origin_for: Callable[[web.Request], str | None]
    """Where the CDN's urls begin for whoever sent this; `None` for where they always do."""
    closing: asyncio.Future[None]
    """Done when the emulator closes: nobody is kept waiting after that."""

    def application(self) -> web.Application:
        """Give the web application with every path of the service."""
        app = web.Application(client_max_size=MOST_BYTES_OF_A_FILE)
        for endpoint in API_ENDPOINTS:
            path = "Run/{owner}/{model}" if endpoint == "Run" else endpoint
            app.router.add_post(f"/v1/{path}", self._handler(endpoint))
        app.router.add_get("/cdn/{folder}/{name}", self._file)
        if self.sockets.manner is not SocketManner.ABSENT:
            app.router.add_get("/v1", self._socket)
        app.router.add_get("/emulator/books", self._books)
        app.router.add_route("*", "/{path:.*}", self._nowhere)
        return app

    def _handler(self, endpoint: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._api(endpoint, request)

        return handle

    async def _api(self, endpoint: str, request: web.Request) -> web.StreamResponse:
        self.world.books.requests[endpoint] += 1
        broken = self._broken()
        if broken is not None:
            return broken
        refusal = self.doorkeeper.check(request.headers) or self._hurry()
        if refusal is not None:
            return self._say(refusal)
        body = await read_body(request, self.shelf)
        if isinstance(body, Refusal):
            return self._say(body)
        owner, model = request.match_info.get("owner"), request.match_info.get("model")
        call = Call(
            endpoint=endpoint,
            now=self.now(),
            fields=body.fields,
            uploads=body.uploads,
            model=f"{owner}/{model}",
            origin=self.origin_for(request),
        )
        fault = self.script.pick(endpoint, self.desk.prompt(call))
        if fault is None:
            return self._say(self._do(call))
        self._count(f"fault {fault.action}")
        if fault.done_first:
            response = _response(self._do(attrs.evolve(call, fate=_FATES.get(fault.action))))
        else:
            response = _response(self._excuse(fault))
        return await spoil(request, response, fault, self.closing)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        books = self.world.books
        books.requests[CDN] += 1
        sent = [name for name in CREDENTIAL_HEADERS if name in request.headers]
        if sent:
            books.violations.append(f"{', '.join(sent)} sent to the CDN for {request.path}")
        folder, name = request.match_info["folder"], request.match_info["name"]
        task = self.world.find(self.now(), task_id=self.shelf.task_of(folder))
        prompt = "" if task is None else task.prompt
        fault = self.script.pick(CDN, prompt, is_part="Range" in request.headers)
        response = self._lookup(request, task, (folder, name), fault)
        if fault is None:
            self._count("ok" if response.status in (200, 206) else f"http {response.status}")
            return response
        self._count(f"fault {fault.action}")
        if not fault.done_first:
            response = _response(self._excuse(fault))
        return await spoil(request, response, fault, self.closing)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self.world.books.requests[SOCKET] += 1
        self._count("ok")
        return await self.sockets.serve(request)

    async def _books(self, _: web.Request) -> web.StreamResponse:
        now = self.now()
        return web.json_response({"now": now, **self.world.look(now).to_dict()})

    async def _nowhere(self, _: web.Request) -> web.StreamResponse:
        self.world.books.requests["unknown"] += 1
        return self._say(refusals.NO_SUCH_PATH)

    def _lookup(
        self,
        request: web.Request,
        task: BookedTask | None,
        place: tuple[str, str],
        fault: Fault | None,
    ) -> web.Response:
        if task is None:
            item = self.shelf.open_upload(*place)
        elif request.query.get(answers.RENEWAL, "0") != str(task.renewals):
            return web.Response(status=403, text=EXPIRED)
        else:
            picture = task.drawn if task.terminal and not task.deleted else None
            wanted = picture is not None and picture.name == place[1]
            item = self.shelf.open_picture(task.id, picture) if picture and wanted else None
            task.renewals += fault is not None and fault.action == "expire"
        if item is None:
            return web.Response(status=404, text="No such file.")
        return serve(request, item, fault)

    def _do(self, call: Call) -> dict[str, Any] | Refusal:
        answer = self.desk.answer(call)
        if call.endpoint == "Run" and not isinstance(answer, Refusal):
            self.on_run(self.world.books.tasks[answer["taskid"]])
        if call.endpoint in ("Task/Kill", "Task/Cancel") and not isinstance(answer, Refusal):
            self.on_stop(answer["tasklist"][0]["id"])
        return answer

    def _hurry(self) -> Refusal | None:
        wait = self.bucket.take(self.clock()) if self.bucket is not None else 0.0
        return refusals.too_many_requests(wait) if wait else None

    def _broken(self) -> web.Response | None:
        failure = self.failure()
        if failure is None:
            return None
        self._count("http 500")
        return web.Response(status=500, text=failure)

    def _excuse(self, fault: Fault) -> Refusal:
        """Give the refusal with which a fault's action answers; any will do where none shows."""
        balance = self.world.books.balance
        excuses = {
            "rate_limit": refusals.too_many_requests(fault.retry_after),
            "limit": refusals.limit_reached(balance, stated_limit(balance)),
            "no_balance": refusals.NO_BALANCE,
            "unauthorized": refusals.SIGNATURE_WRONG,
        }
        return excuses.get(fault.action, refusals.TASK_UNKNOWN)

    def _say(self, answer: dict[str, Any] | Refusal) -> web.Response:
        self._count(answer.kind if isinstance(answer, Refusal) else "ok")
        return _response(answer)

    def _count(self, kind: str) -> None:
        self.world.books.answers[kind] += 1


def _response(answer: dict[str, Any] | Refusal) -> web.Response:
    if not isinstance(answer, Refusal):
        return web.json_response(answer)
    response = web.json_response(answers.refused(answer), status=answer.http_status)
    if answer.retry_after is not None:
        response.headers["Retry-After"] = f"{answer.retry_after:.3f}".rstrip("0").rstrip(".")
    return response
