"""Servers on this machine that speak raw bytes, and count what they saw of each connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import SupportsIndex

from attrs import define, field

from tests.virtual_time import settle

JSON_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
    b'{"result":true}'
)


class _Ear(asyncio.StreamReader):
    """A reader that also keeps whatever came in, asked for or not."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = bytearray()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.heard.extend(data)
        super().feed_data(data)


@define
class Connection:
    """One connection: what came in, and the ways to answer or end it.

    Attributes:
        number: how many connections came before it.
        requests: what `read_request` gave.
        reached: set by a behaviour when it is where the test wants it.
        released: set by a test that lets a behaviour go on.
    """

    reader: _Ear
    writer: asyncio.StreamWriter
    number: int
    reached: asyncio.Event
    released: asyncio.Event
    requests: list[bytes] = field(factory=list)

    @property
    def heard(self) -> bytes:
        """All bytes that came in, without TLS where the server speaks it."""
        return bytes(self.reader.heard)

    async def listen(self, count: int) -> None:
        """Read until so many bytes have come in at least, then close the ears."""
        while len(self.reader.heard) < count and await self.reader.read(65536):
            pass
        self.stop_listening()

    def stop_listening(self) -> None:
        """Leave what comes from now on in the system's buffers."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined] # both kinds have it

    async def read_request(self) -> bytes:
        """One whole request; b"" where the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        whole = head + await self.reader.readexactly(length)
        self.requests.append(whole)
        return whole

    async def write(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    def cut(self) -> None:
        """End its own side with FIN, without a goodbye of TLS; what still comes in is borne."""
        self.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End it with RST: what was not read is thrown away."""
        handle = self.writer.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@define
class Loopback:
    """A server that is running."""

    port: int
    scheme: str = "http"
    connections: list[Connection] = field(factory=list)
    reached: asyncio.Event = field(factory=asyncio.Event)
    released: asyncio.Event = field(factory=asyncio.Event)

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[bytes]:
        return [request for one in self.connections for request in one.requests]


Behaviour = Callable[[Connection], Awaitable[None]]


@asynccontextmanager
async def serve(behave: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """A server that treats every connection with `behave`, then closes it."""
    loopback = Loopback(port=0, scheme="http" if tls is None else "https")
    running: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Ear)
        connection = Connection(
            reader,
            writer,
            number=len(loopback.connections),
            reached=loopback.reached,
            released=loopback.released,
        )
        loopback.connections.append(connection)
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await behave(connection)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()

    # The protocol by name, or asyncio leaves Nagle's algorithm on, and an answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    # Small, so that a large request does not fit into what the system takes unread.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    server = await asyncio.get_running_loop().create_server(
        lambda: asyncio.StreamReaderProtocol(_Ear(), meet), sock=listener, ssl=tls
    )
    loopback.port = listener.getsockname()[1]
    try:
        yield loopback
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for connection in loopback.connections:
            connection.writer.transport.abort()  # TLS would wait for the other side's goodbye
        await settle()


def answering(*answers: bytes) -> Behaviour:
    """Read a request, answer it; so many times, then close."""

    async def behave(connection: Connection) -> None:
        for answer in answers:
            if not await connection.read_request():
                return
            await connection.write(answer)

    return behave


async def stay_silent(connection: Connection) -> None:
    """Read a request and never answer it."""
    await connection.read_request()
    await asyncio.Event().wait()


async def reset_at_once(connection: Connection) -> None:
    """End the connection without reading."""
    connection.reset()


async def reset_after_reading(connection: Connection) -> None:
    """Read a whole request, then end the connection."""
    await connection.read_request()
    connection.reset()


async def cut_in_the_middle(connection: Connection) -> None:
    """Read a request, answer a part of what was announced, and close."""
    await connection.read_request()
    await connection.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"result":')


async def stall_in_the_middle(connection: Connection) -> None:
    """Read a request, answer a part of what was announced, and say no more."""
    await connection.read_request()
    await connection.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"result":')
    await asyncio.Event().wait()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
