"""A man in the middle: between a client and the emulator, on two ports of this machine.

One port is the API's, the other one the CDN's, so that they are different origins, as they are at
the service. Each request is read whole from a raw socket. It is handed on to the emulator, and the
answer handed back, unless it is one that the fault is for: then the fault's deed has the line.

A third port is nobody's: where a redirect or a url leads that must not get a credential. It keeps
all that it hears.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

from attrs import define, evolve, field, frozen

from tests.hostile.wire import CDN, Heard, Line, Reply, ask, page
from wiro_async.emulator import Emulator

_SHUT_SECONDS = 0.03


class Phase(StrEnum):
    """Which of an endpoint's requests are struck."""

    FIRST = "first"
    MIDDLE = "second"
    EVER = "for ever"

    def strikes(self, number: int) -> bool:
        """Whether the request of this number, from 1, is struck."""
        return {"first": number == 1, "second": number == 2}.get(self, True)


@define(eq=False, repr=False)
class Strike:
    """One request that is struck, and what a deed may do about it.

    Attributes:
        tries: how many requests for the same target were struck, this one included.
        foreign: the origin of nobody's port.
    """

    line: Line
    heard: Heard
    tries: int
    origin: str
    foreign: str
    _hand_on: Callable[[Heard], Awaitable[Reply]]

    async def forward(self, heard: Heard | None = None) -> Reply:
        """Let the emulator do it, or another request in its place; what it answers."""
        return await self._hand_on(heard or self.heard)

    async def say(self, reply: Reply) -> bool:
        """Write a whole answer; the connection may be used again."""
        await self.line.say(reply.render())
        return True


# It says whether the connection goes on.
Deed = Callable[[Strike], Awaitable[bool]]
# What a port does to whoever connects, before anything is known of the request.
Greeting = Callable[[Line], Awaitable[None]]
Change = Callable[[Reply, Strike], Reply]


@frozen(kw_only=True)
class Plan:
    """What is to go wrong, where and when.

    Attributes:
        deed: done to a struck request.
        at_door: the port itself is struck: shut, or greeting whoever comes with `greeting`.
        change: what becomes of every answer of the records' endpoint while the plan holds, so
            that a record can say what the CDN then does.
        is_run_lost: whether the answer to the first Run is lost, so that its task is looked for.
    """

    endpoint: str
    phase: Phase
    deed: Deed | None = None
    at_door: bool = False
    greeting: Greeting | None = None
    change: Change | None = None
    is_run_lost: bool = False


@define(eq=False, repr=False)
class Door:
    """A port that can be shut and opened again."""

    serve: Callable[[Line], Awaitable[None]]
    greeting: Greeting | None = None
    port: int = 0
    lines: list[Line] = field(factory=list)
    _server: asyncio.Server | None = None
    _running: set[asyncio.Task[None]] = field(factory=set)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        if self._server is not None:
            return
        # The protocol by name, or asyncio leaves Nagle's algorithm on.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._meet, sock=listener, limit=1 << 24)

    def shut(self) -> None:
        """Refuse whoever comes, and let nobody go on who is here."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.end_lines()

    def end_lines(self) -> None:
        for line in self.lines:
            line.writer.close()

    async def aclose(self) -> None:
        self.shut()
        running = [task for task in self._running if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for line in self.lines:
            line.writer.transport.abort()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        self.lines.append(line)
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            if self.greeting is None:
                await self.serve(line)
            else:
                await self.greeting(line)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._running.discard(task)
            writer.close()


@define(eq=False, repr=False)
class Middleman:
    """The two ports, nobody's port, and what was heard on each."""

    emulator: Emulator
    plan: Plan
    api: Door = field(init=False)
    cdn: Door = field(init=False)
    nobody: Door = field(init=False)
    requests: list[Heard] = field(factory=list)
    struck: list[Heard] = field(factory=list)
    is_over: bool = False
    has_struck_door: bool = False
    _counts: Counter[str] = field(factory=Counter)
    _timers: set[asyncio.Task[None]] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.api, self.cdn = Door(self._serve), Door(self._serve)
        self.nobody = Door(self._stay_strange)

    @property
    def base_url(self) -> str:
        return f"{self.api.origin}/v1"

    def heard_by(self, door: Door) -> bytes:
        """Every byte that came in at a port."""
        return b"\n".join(bytes(line.heard) for line in door.lines)

    def end(self) -> None:
        """Let nothing more go wrong."""
        self.is_over = True

    async def strike_door(self) -> None:
        """Now is when the port fails, if it is to."""
        if not self.plan.at_door or self.is_over or self.has_struck_door:
            return
        self.has_struck_door = True
        door = self.cdn if self.plan.endpoint == CDN else self.api
        if self.plan.greeting is None:
            door.shut()
        else:
            door.greeting = self.plan.greeting
            door.end_lines()
        if self.plan.phase is not Phase.EVER:
            self._timers.add(asyncio.create_task(self._mend(door)))

    async def mend(self) -> None:
        """The fault is over: both ports are open, and nothing more goes wrong."""
        self.end()
        for door in (self.api, self.cdn):
            door.greeting = None
            await door.open()

    async def aclose(self) -> None:
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        for door in (self.api, self.cdn, self.nobody):
            await door.aclose()

    async def _mend(self, door: Door) -> None:
        await asyncio.sleep(_SHUT_SECONDS)
        door.greeting = None
        await door.open()

    async def _serve(self, line: Line) -> None:
        while (heard := await line.hear()) is not None:
            self.requests.append(heard)
            endpoint = heard.endpoint
            self._counts[endpoint] += 1
            if endpoint == "Run" and self.plan.is_run_lost and self._counts[endpoint] == 1:
                await self._hand_on(heard)
                await self.strike_door()
                return
            if self._is_struck(endpoint):
                self.struck.append(heard)
                assert self.plan.deed is not None
                goes_on = await self.plan.deed(self._strike(line, heard))
            else:
                goes_on = await self._pass_on(line, heard)
            if not goes_on:
                return

    def _strike(self, line: Line, heard: Heard) -> Strike:
        return Strike(
            line,
            heard,
            tries=sum(one.target == heard.target for one in self.struck),
            origin=(self.cdn if heard.endpoint == CDN else self.api).origin,
            foreign=self.nobody.origin,
            hand_on=self._hand_on,
        )

    def _is_struck(self, endpoint: str) -> bool:
        if self.is_over or self.plan.deed is None or self.plan.endpoint != endpoint:
            return False
        return self.plan.phase.strikes(self._counts[endpoint])

    async def _pass_on(self, line: Line, heard: Heard) -> bool:
        reply = await self._hand_on(heard)
        if self.plan.change is not None and not self.is_over:
            reply = self.plan.change(reply, self._strike(line, heard))
        is_last = self._is_door_due(heard, reply)
        if is_last:
            reply = reply.with_header(b"Connection", b"close")
        await line.say(reply.render())
        if is_last:
            await self.strike_door()
        return not is_last

    def _is_door_due(self, heard: Heard, reply: Reply) -> bool:
        """Whether this answer is the last one before the port fails."""
        if not self.plan.at_door or self.is_over or self.has_struck_door:
            return False
        if self.plan.endpoint == CDN:
            return b"/cdn/" in reply.body
        return self.plan.endpoint == "Task/Detail" and heard.endpoint == "Run"

    async def _hand_on(self, heard: Heard) -> Reply:
        reply = await ask("127.0.0.1", self.emulator.port, heard)
        body = reply.body.replace(self.emulator.origin.encode(), self.cdn.origin.encode())
        return evolve(reply, body=body)

    async def _stay_strange(self, line: Line) -> None:
        """Nobody's port: it asks for what it must not get, and hears all."""
        while await line.hear() is not None:
            await line.say(page(200, body=b"a stranger's answer").render())


@asynccontextmanager
async def between(emulator: Emulator, plan: Plan) -> AsyncIterator[Middleman]:
    middleman = Middleman(emulator, plan)
    try:
        for door in (middleman.api, middleman.cdn, middleman.nobody):
            await door.open()
        yield middleman
    finally:
        await middleman.aclose()
