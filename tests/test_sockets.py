"""Websockets over real sockets: what goes out, and what becomes of whatever comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest

from tests.certificates import ELSEWHERE, EXPIRED, GOOD, STRANGER, server_tls, trust_the_tests
from tests.loopback import Behaviour, Connection, Loopback, free_port, reset_at_once, serve
from tests.raw_sockets import BINARY, PING, PONG, framed, read_frame, saying, shake_hands
from wiro_async import sockets
from wiro_async.errors import TransportError
from wiro_async.sockets import Socket, Sockets
from wiro_async.timeouts import Timeouts

HELLO = '{"type":"task_info","tasktoken":"t"}'


@asynccontextmanager
async def dialling(url: str, **timeouts: float) -> AsyncIterator[Sockets]:
    made = Sockets(url=url, timeouts=Timeouts(**timeouts))
    try:
        yield made
    finally:
        await made.aclose()


def url_of(server: Loopback, scheme: str = "ws") -> str:
    return f"{scheme}://127.0.0.1:{server.port}/v1"


@asynccontextmanager
async def connected(behave: Behaviour) -> AsyncIterator[tuple[Socket, Loopback]]:
    """A registration has been sent over the connection."""
    async with serve(behave) as server, dialling(url_of(server)) as made:
        socket = await made.dial()
        await socket.send(HELLO)
        try:
            yield socket, server
        finally:
            await socket.close()


async def test_nothing_that_is_secret_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))

    async def behave(connection: Connection) -> None:
        await shake_hands(connection, b"Set-Cookie: who=me; Path=/")

    async with serve(behave) as server:
        made = Sockets(url=url_of(server), timeouts=Timeouts(), trusts_environment=True)
        for _ in range(2):
            await (await made.dial()).close()
        await made.aclose()
    assert len(server.requests) == 2
    for request in server.requests:
        head = request.lower()
        assert head.startswith(b"get /v1 http/1.1\r\n")
        assert b"user-agent: wiro-async" in head
        for name in (b"authorization", b"cookie", b"x-api-key", b"x-signature", b"hidden"):
            assert name not in head
        assert b"sec-websocket-extensions" not in head


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(connection: Connection) -> None:
        await shake_hands(connection)

    async with serve(elsewhere) as other:
        location = f"Location: http://127.0.0.1:{other.port}/v1".encode()

        async def redirect(connection: Connection) -> None:
            await connection.read_request()
            answer = (b"HTTP/1.1 307 Temporary Redirect", location, b"Content-Length: 0", b"", b"")
            await connection.write(b"\r\n".join(answer))

        async with serve(redirect) as server, dialling(url_of(server)) as made:
            with pytest.raises(TransportError, match="redirects"):
                await made.dial()
        assert other.connections == []


async def say_404(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def say_nothing(connection: Connection) -> None:
    await connection.reader.read(-1)


async def grant_to_somebody_else(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(
    "behave",
    [say_404, say_nothing, reset_at_once, grant_to_somebody_else],
    ids=["404", "silence", "reset", "for somebody else"],
)
async def test_what_is_no_websocket_is_told_in_words(behave: Behaviour) -> None:
    async with serve(behave) as server, dialling(url_of(server), connect_seconds=0.2) as made:
        with pytest.raises(TransportError, match="the socket: ") as caught:
            await asyncio.wait_for(made.dial(), 10)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


async def test_a_port_where_nobody_listens() -> None:
    async with dialling(f"ws://127.0.0.1:{free_port()}/v1") as made:
        with pytest.raises(TransportError, match="the socket: "):
            await made.dial()


@pytest.mark.parametrize("kind", [STRANGER, ELSEWHERE, EXPIRED])
async def test_a_certificate_that_does_not_fit_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_the_tests(monkeypatch)
    async with (
        serve(say_nothing, server_tls(kind)) as server,
        dialling(url_of(server, "wss")) as made,
    ):
        with pytest.raises(TransportError, match="certificate"):
            await made.dial()


async def test_a_certificate_that_fits_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    trust_the_tests(monkeypatch)
    async with (
        serve(saying(framed("yes")), server_tls(GOOD)) as server,
        dialling(url_of(server, "wss")) as made,
    ):
        socket = await made.dial()
        await socket.send(HELLO)
        assert await socket.receive() == "yes"
        await socket.close()


async def test_messages_come_whole_and_in_order() -> None:
    split = framed("one, in ", first=0x01) + framed("two parts", first=0x80)
    stream = framed("first") + framed(b"\x00\xff", BINARY) + split + framed("")
    async with connected(saying(*(bytes([byte]) for byte in stream))) as (socket, _):
        told = [await socket.receive() for _ in range(4)]
        assert told == ["first", b"\x00\xff", "one, in two parts", ""]


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (framed("half of this message")[:9],),
        (framed("never told", first=0xC1),),
        (framed(b"\xff\xfe"),),
        (framed("", first=0x83),),
        (framed("x" * 300, PING),),
        (framed(b"\x03\xe8", 8),),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
        (b"\x81\xff" + b"\x00" * 8,),
    ],
)
async def test_a_connection_that_breaks_off_or_off_the_rules_is_over(
    parts: tuple[bytes, ...],
) -> None:
    async with connected(saying(*parts, then_stay=False)) as (socket, _):
        async with asyncio.timeout(5):
            while await socket.receive() is not None:
                pass
            assert await socket.receive() is None


async def test_a_connection_that_is_reset_is_over_for_both_ways() -> None:
    async def behave(connection: Connection) -> None:
        await shake_hands(connection)
        await read_frame(connection)
        connection.reset()

    async with connected(behave) as (socket, _):
        assert await socket.receive() is None
        with pytest.raises(TransportError, match="the socket: "):
            await socket.send(HELLO)


@pytest.mark.parametrize(
    "giant",
    [
        framed("")[:1] + b"\x7f" + (1 << 40).to_bytes(8) + b"x" * 100_000,
        framed("x" * 9_000_000),
        framed("x" * 5_000_000, first=0x01) + framed("x" * 5_000_000, first=0x80),
    ],
    ids=["announced", "whole", "in parts"],
)
async def test_a_giant_message_is_not_taken(giant: bytes) -> None:
    # An older aiohttp counts once a message is whole: the ping between is what ends it then.
    with mock.patch.object(sockets, "_PING_SECONDS", 0.2):
        async with connected(saying(giant)) as (socket, _):
            assert await asyncio.wait_for(socket.receive(), 10) is None


async def test_a_message_of_some_size_is_taken() -> None:
    async with connected(saying(framed("x" * 4_000_000))) as (socket, _):
        assert await asyncio.wait_for(socket.receive(), 10) == "x" * 4_000_000


async def test_a_ping_is_answered_and_is_no_message() -> None:
    async def behave(connection: Connection) -> None:
        await shake_hands(connection)
        await read_frame(connection)
        await connection.write(framed(b"are you there", PING))
        assert await read_frame(connection) == (PONG, b"are you there")
        await connection.write(framed("yes"))

    async with connected(behave) as (socket, _):
        assert await socket.receive() == "yes"


async def test_a_peer_that_answers_no_ping_is_gone() -> None:
    with mock.patch.object(sockets, "_PING_SECONDS", 0.1):
        async with connected(saying()) as (socket, server):
            assert await asyncio.wait_for(socket.receive(), 5) is None
            assert server.connections[0].heard.count(b"\x89\x80") == 1, "it was asked"


async def flood(connection: Connection) -> None:
    await shake_hands(connection)
    while True:
        await connection.write(framed("x" * 1000) * 100)
        await asyncio.sleep(0)


async def never_say_goodbye(connection: Connection) -> None:
    await shake_hands(connection)
    await asyncio.Event().wait()


@pytest.mark.parametrize("behave", [flood, never_say_goodbye], ids=lambda f: f.__name__)
async def test_closing_waits_a_moment_at_most(behave: Behaviour) -> None:
    clock = asyncio.get_running_loop()
    async with connected(behave) as (socket, _):
        before = clock.time()
        await socket.close()
        assert clock.time() - before < 3
        assert await socket.receive() is None


async def test_closing_what_was_never_dialled() -> None:
    async with dialling("ws://127.0.0.1:1/v1") as made:
        await made.aclose()
