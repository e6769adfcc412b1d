"""A loopback HTTP server that fails on purpose, and counts what it had read by then.

One server serves one submit of one client. It is written on asyncio's streams alone: a web
framework would answer, close and count by rules of its own. Its rules:

1. A request counts once it was read whole, head and body, and not before.
2. A request is *payable* if it counts and the client has no proof that it made no task: it was
   answered with a task, or the fault befell it after it was read. Two answers are such a proof,
   429 ("not now") and 307 ("not here").
3. A fault befalls the first request (or connection) alone, or every one.
4. Every answer ends its connection, so that no request can meet one that has gone stale.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from enum import Enum, auto
from typing import Self

from attrs import define, field, frozen

# Later than the first attempt of every client, and earlier than the last.
_LISTENS_AFTER_SECONDS = 0.5
_SECONDS_WITHOUT_END = 600.0
_FIRST_TASK = 770_000

_NGINX = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n"
    "<center><h1>{0}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class Moment(Enum):
    """When a fault befalls."""

    BEFORE_CONNECTING = auto()
    BEFORE_READING = auto()
    AFTER_READING = auto()


Misdeed = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


@frozen(kw_only=True)
class Fault:
    """One way to fail.

    Attributes:
        name: a row's name.
        misdeed: what is done to the connection, given the url that a redirect leads to.
        moment: when it is done.
        could_make_task: whether a request that met it may have made a task, for all that the
            client can know.
        can_befall_all: whether it makes sense for every request.
    """

    name: str
    misdeed: Misdeed
    moment: Moment = Moment.AFTER_READING
    could_make_task: bool = True
    can_befall_all: bool = True


def build_answer(
    status: str, body: str, content_type: str = "application/json", extra: str = ""
) -> bytes:
    """Build a whole HTTP answer that ends its connection."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body.encode())}\r\n{extra}Connection: close\r\n\r\n"
    )
    return (head + body).encode()


def _answering(answer: bytes) -> Misdeed:
    async def misdeed(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(answer)
        await writer.drain()

    return misdeed


def _page(status: str) -> Misdeed:
    return _answering(build_answer(status, _NGINX.format(status), "text/html"))


async def _close(_: asyncio.StreamWriter, __: str) -> None:
    """Leave the rest to the server, which closes every connection."""


async def _reset(writer: asyncio.StreamWriter, _: str) -> None:
    # SO_LINGER of no seconds makes the kernel send RST where it would send FIN, see socket(7).
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def _stay_silent(_: asyncio.StreamWriter, __: str) -> None:
    await asyncio.sleep(_SECONDS_WITHOUT_END)


async def _redirect(writer: asyncio.StreamWriter, elsewhere: str) -> None:
    extra = f"Location: {elsewhere}\r\n"
    writer.write(build_answer("307 Temporary Redirect", "", extra=extra))
    await writer.drain()


_HALF = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{"id": "'
_DETAIL = '{"detail": "%s"}'

NO_FAULT = Fault(name="none", misdeed=_close)
FAULTS: tuple[Fault, ...] = (
    Fault(name="cut (FIN) after it was read", misdeed=_close),
    Fault(name="reset (RST) after it was read", misdeed=_reset),
    Fault(name="silence until the client's timeout", misdeed=_stay_silent),
    Fault(name="cut in mid-answer", misdeed=_answering(_HALF)),
    Fault(name="200 with a page of HTML", misdeed=_page("200 OK")),
    Fault(
        name="500 with JSON",
        misdeed=_answering(build_answer("500 Internal Server Error", _DETAIL % "failed")),
    ),
    Fault(name="502 with nginx's page", misdeed=_page("502 Bad Gateway")),
    Fault(
        name="503 with JSON",
        misdeed=_answering(build_answer("503 Service Unavailable", _DETAIL % "busy")),
    ),
    Fault(name="504 with nginx's page", misdeed=_page("504 Gateway Time-out")),
    Fault(
        name="429, Retry-After: 0",
        misdeed=_answering(
            build_answer("429 Too Many Requests", _DETAIL % "slower", extra="Retry-After: 0\r\n")
        ),
        could_make_task=False,
    ),
    Fault(
        name="307 to another port",
        misdeed=_redirect,
        could_make_task=False,
        can_befall_all=False,  # it would be a circle
    ),
    Fault(
        name="cut before it was read",
        misdeed=_close,
        moment=Moment.BEFORE_READING,
        could_make_task=False,
    ),
    Fault(
        name="connection refused",
        misdeed=_close,
        moment=Moment.BEFORE_CONNECTING,
        could_make_task=False,
    ),
)


@define
class FaultyServer:
    """The service that one submit meets; an async context manager.

    Attributes:
        fault: what goes wrong.
        befalls_all: whether it does so for every request, or for the first one alone.
        path: where submits are posted; a request for anything else is answered with 404 and
            not counted.
        answer: the JSON of a good answer, for a task's id.
        origin: ``http://127.0.0.1:port``, once it is entered.
        requests: submits that were read whole.
        payable: those of them that could have made a task.
        tasks: the ids that were handed out.
        keys: names of the headers that could make a repeat harmless.
    """

    fault: Fault
    befalls_all: bool
    path: str
    answer: Callable[[str], Mapping[str, object]]
    origin: str = field(init=False, default="")
    requests: int = field(init=False, default=0)
    payable: int = field(init=False, default=0)
    tasks: list[str] = field(init=False, factory=list)
    keys: set[str] = field(init=False, factory=set)
    _connections: int = field(init=False, default=0)
    _elsewhere: str = field(init=False, default="")
    _open: set[asyncio.Task[None]] = field(init=False, factory=set)
    _stack: AsyncExitStack = field(init=False, factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self._end_connections)
        elsewhere, port = await self._bind()
        self._elsewhere = f"http://127.0.0.1:{port}{self.path}"
        await elsewhere.start_serving()
        server, port = await self._bind()
        self.origin = f"http://127.0.0.1:{port}"
        if self.fault.moment is not Moment.BEFORE_CONNECTING:
            await server.start_serving()
        elif not self.befalls_all:
            self._keep(asyncio.create_task(self._serve_later(server)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _bind(self) -> tuple[asyncio.Server, int]:
        # Bound, and not listening yet: a connection is refused, and nobody else gets the port.
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, start_serving=False)
        self._stack.callback(server.close)
        port: int = server.sockets[0].getsockname()[1]
        return server, port

    async def _serve_later(self, server: asyncio.Server) -> None:
        await asyncio.sleep(_LISTENS_AFTER_SECONDS)
        await server.start_serving()

    async def _end_connections(self) -> None:
        ending = list(self._open)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A client that has gone meanwhile is no news: it is what some faults are for.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                self._connections += 1
                if self._befalls(Moment.BEFORE_READING, self._connections):
                    return
                await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start, headers = _split_head(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(int(headers["content-length"]))
        if start.split(" ")[:2] != ["POST", self.path]:
            writer.write(build_answer("404 Not Found", _DETAIL % "not here"))
            return
        self.requests += 1
        self.keys.update(name for name in headers if "idempoten" in name)
        if self._befalls(Moment.AFTER_READING, self.requests):
            self.payable += self.fault.could_make_task
            await self.fault.misdeed(writer, self._elsewhere)
            return
        self.payable += 1
        self.tasks.append(str(_FIRST_TASK + self.requests))
        writer.write(build_answer("200 OK", json.dumps(self.answer(self.tasks[-1]))))
        await writer.drain()

    def _befalls(self, moment: Moment, number: int) -> bool:
        if self.fault is NO_FAULT or self.fault.moment is not moment:
            return False
        return self.befalls_all or number == 1


def _split_head(head: bytes) -> tuple[str, dict[str, str]]:
    start, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = dict(line.split(":", 1) for line in lines)
    return start, {name.lower(): text.strip() for name, text in headers.items()}
