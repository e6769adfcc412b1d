"""What a server can do to an attempt: how far it lets it come, and how it leaves it then."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.certificates import GOOD, server_tls
from tests.loopback import Behaviour, Connection, Loopback, free_port

BODY = b'{"taskid":"2221","socketaccesstoken":"tok"}'
HALF = BODY[:25]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWER = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


async def forever() -> None:
    await asyncio.Event().wait()


# How far: each returns when the server is there.


async def unread(connection: Connection) -> None:
    """The request lies in the system's buffers."""
    connection.stop_listening()
    await connection.released.wait()


async def head(connection: Connection) -> None:
    await connection.listen(1)


async def middle(connection: Connection) -> None:
    await connection.listen(2_000_000)


async def whole(connection: Connection) -> None:
    await connection.read_request()


def saying(content: bytes, after: Behaviour = whole) -> Behaviour:
    async def behave(connection: Connection) -> None:
        await after(connection)
        await connection.write(content)

    return behave


# How it ends then.


async def cut(connection: Connection) -> None:
    connection.cut()
    await forever()


async def reset(connection: Connection) -> None:
    connection.reset()


async def stall(connection: Connection) -> None:
    connection.reached.set()
    await forever()


async def close(connection: Connection) -> None:
    """A proper end, with a goodbye where TLS is spoken."""
    connection.writer.close()


ENDINGS: dict[str, Behaviour] = {"cut": cut, "reset": reset, "stall": stall}


def then(*deeds: Behaviour) -> Behaviour:
    async def behave(connection: Connection) -> None:
        for deed in deeds:
            await deed(connection)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first connection is treated with the first, and so on."""

    async def behave(connection: Connection) -> None:
        await behaviours[connection.number](connection)

    return behave


def crowd_of(count: int) -> Behaviour:
    """So many requests wait for the test's word; what comes on a connection after is answered."""

    async def behave(connection: Connection) -> None:
        await connection.read_request()
        if connection.number == count - 1:
            connection.reached.set()
        await connection.released.wait()
        await connection.write(ANSWER)
        while await connection.read_request():
            await connection.write(ANSWER)

    return behave


# Before there is a connection of HTTP.


async def greeting(connection: Connection) -> None:
    """What opens TLS came in, and nobody here speaks it."""
    await connection.reader.read(1)


async def half_hello(connection: Connection) -> None:
    """A half of what a server of TLS answers first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = server_tls(GOOD).wrap_bio(incoming, outgoing, server_side=True)
    while not outgoing.pending:
        incoming.write(await connection.reader.read(65536))
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            continue
    await connection.write(outgoing.read(outgoing.pending // 2))


@asynccontextmanager
async def nobody(_: object) -> AsyncIterator[Loopback]:
    """A port that refuses."""
    yield Loopback(port=free_port())


@asynccontextmanager
async def full_house(_: object) -> AsyncIterator[Loopback]:
    """A port whose queue is full: the system answers nothing, as a black hole would."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        place = listener.getsockname()
        guests: list[socket.socket] = []
        try:
            while not guests or await _is_taken_in(guests[-1], place):
                guests.append(socket.socket())
                guests[-1].setblocking(False)  # noqa: FBT003 - the socket's own signature
            yield Loopback(port=place[1])
        finally:
            for guest in guests:
                guest.close()


async def _is_taken_in(guest: socket.socket, place: tuple[str, int]) -> bool:
    found = guest.connect_ex(place)
    assert found in {0, errno.EINPROGRESS}
    # A connection to this machine is made at once or not at all.
    for _ in range(3):
        await asyncio.sleep(0)
    return guest.connect_ex(place) in {0, errno.EISCONN}
