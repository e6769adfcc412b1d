from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from tests import loopback
from tests.loopback import Connection, answering, cut_in_the_middle, serve, stall_in_the_middle
from tests.wire import FAST, opened
from wiro_async.cdn import _read_chunks
from wiro_async.errors import TransportError


class TestStream:
    async def test_it_gives_status_headers_and_the_bytes_as_they_came(self) -> None:
        answer = (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8babc"
        )
        async with (
            serve(answering(answer)) as server,
            opened(server.base_url) as transport,
            transport.stream(f"{server.base_url}/0.png", {"X-Own": "1"}) as stream,
        ):
            content = b"".join([chunk async for chunk in stream.chunks])
        assert (stream.http_status, stream.headers["content-length"]) == (200, "5")
        assert content == b"\x1f\x8babc"
        assert b"x-own: 1" in server.requests[0].lower()
        assert b"x-api-key" not in server.requests[0].lower()

    async def test_redirects_are_followed_but_not_for_ever(self) -> None:
        async def turn(connection: Connection) -> None:
            while request := await connection.read_request():
                found = re.match(rb"GET /v1/(\d+) ", request)
                assert found is not None
                at = int(found[1])
                head = b"HTTP/1.1 302 F\r\nLocation: /v1/%d\r\n" % (at - 1) if at else b""
                answer = head or b"HTTP/1.1 200 OK\r\n"
                await connection.write(answer + b"Content-Length: 0\r\n\r\n")

        async with serve(turn) as server, opened(server.base_url) as transport:
            async with transport.stream(f"{server.base_url}/3", {}) as stream:
                assert stream.http_status == 200
            with pytest.raises(TransportError, match="more than 5 redirects"):
                async with transport.stream(f"{server.base_url}/50", {}):
                    pass

    @pytest.mark.parametrize("behave", [cut_in_the_middle, stall_in_the_middle])
    async def test_a_body_that_breaks_off_is_a_transport_error(
        self, behave: loopback.Behaviour
    ) -> None:
        async with (
            serve(behave) as server,
            opened(server.base_url, FAST) as transport,
            transport.stream(f"{server.base_url}/0.png", {}) as stream,
        ):
            assert await anext(stream.chunks) == b'{"result":'
            with pytest.raises(TransportError) as caught:
                await anext(stream.chunks)
        assert caught.value.endpoint == f"{server.base_url}/0.png"
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize("more", [b"", b"as far as it came"])
    async def test_what_came_in_one_breath_with_the_break_is_given_first(self, more: bytes) -> None:
        """The body as aiohttp has it where nobody read while it came and broke off."""
        loop = asyncio.get_running_loop()
        content = aiohttp.StreamReader(BaseProtocol(loop), 65536, loop=loop)
        content.feed_data(more)
        content.set_exception(aiohttp.ClientPayloadError("broken"))
        answer = cast("aiohttp.ClientResponse", SimpleNamespace(content=content))
        pieces: list[bytes] = []

        async def take() -> None:
            async for chunk in _read_chunks(answer, "https://cdn.test/0.png"):
                pieces.append(chunk)  # noqa: PERF401 - it ends by an error

        with pytest.raises(TransportError, match="broken") as caught:
            await take()
        assert b"".join(pieces) == more
        assert caught.value.__context__ is None

    async def test_what_the_reader_raises_passes_and_the_connection_is_closed(self) -> None:
        gone = asyncio.Event()

        async def behave(connection: Connection) -> None:
            await connection.read_request()
            await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n12")
            await connection.reader.read()
            gone.set()

        async with serve(behave) as server, opened(server.base_url) as transport:
            with pytest.raises(ConnectionResetError, match="the reader's own"):
                async with transport.stream(f"{server.base_url}/0.png", {}):
                    raise ConnectionResetError("the reader's own")
            async with asyncio.timeout(5):
                await gone.wait()
