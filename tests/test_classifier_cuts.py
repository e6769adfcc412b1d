"""An answer that breaks off, at every byte: unknown, and what came of it is kept."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import cast

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from tests.classifier_server import BODY, HEAD, close, cut, saying, then
from tests.loopback import Behaviour, serve
from tests.wire import RUN, SIGNED, assert_clean, opened
from wiro_async.errors import OutcomeUnknown
from wiro_async.protocol.responses import Started
from wiro_async.protocol.salvage import salvage_run
from wiro_async.transport import _read_body

PIECES = (BODY[:9], BODY[9:10], BODY[10:30], BODY[30:])
IN_CHUNKS = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in PIECES) + b"0\r\n\r\n"
PACKED = gzip.compress(BODY)
GZIP = b"Content-Encoding: gzip\r\n"

ANSWERS = {
    "with a length": (HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY), BODY),
    "in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", IN_CHUNKS),
    "packed": (HEAD + GZIP + b"Content-Length: %d\r\n\r\n" % len(PACKED), PACKED),
}


def unchunked(content: bytes) -> bytes:
    body = b""
    while b"\r\n" in content:
        size, _, rest = content.partition(b"\r\n")
        body += rest[: int(size, 16)]
        content = rest[int(size, 16) + 2 :]
    return body


def unpacked(content: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(content)


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "with a length": bytes,
    "in chunks": unchunked,
    "packed": unpacked,
}


@pytest.mark.parametrize("end", [cut, close], ids=["cut", "closed"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_what_came_of_an_answer_is_known_wherever_it_breaks_off(
    name: str, end: Behaviour
) -> None:
    head, body = ANSWERS[name]
    whole = head + body
    for length in range(len(whole)):
        behave = then(saying(whole[:length]), end)
        async with serve(behave) as server, opened(server.base_url) as transport:
            with pytest.raises(OutcomeUnknown) as caught:
                await transport.send(RUN, SIGNED)
        came = DECODERS[name](whole[len(head) : length])
        assert caught.value.partial == came, length
        assert len(server.requests) == 1
        assert_clean(caught.value)
        expected = came.find(b'"2221"') >= 0
        found = salvage_run(caught.value.partial)
        assert (found is not None) is expected, length
    async with serve(saying(whole)) as server, opened(server.base_url) as transport:
        answer = await transport.send(RUN, SIGNED)
    assert answer.body == BODY
    assert salvage_run(answer.body) == Started(task_id="2221", token="tok")


class BrokenAnswer:
    """The body that aiohttp has where the end comes in one breath with the break."""

    def __init__(self, *pieces: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.headers: dict[str, str] = {}
        self.content = aiohttp.StreamReader(BaseProtocol(loop), 65536, loop=loop)
        for piece in pieces:
            self.content.feed_data(piece)
        self.content.set_exception(aiohttp.ClientPayloadError("broken"))
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


async def test_what_came_in_one_breath_with_the_break_is_known_too() -> None:
    answer, received = BrokenAnswer(BODY[:9], BODY[9:20]), [b"before, "]
    with pytest.raises(aiohttp.ClientPayloadError):
        await _read_body(cast("aiohttp.ClientResponse", answer), received)
    assert b"".join(received) == b"before, " + BODY[:20]
    assert answer.is_closed


async def test_what_came_of_an_answer_is_never_shown() -> None:
    head, body = ANSWERS["with a length"]
    async with serve(saying(head + body[:-1])) as server, opened(server.base_url) as transport:
        with pytest.raises(OutcomeUnknown) as caught:
            await transport.send(RUN, SIGNED)
    assert caught.value.partial == BODY[:-1]
    assert "2221" not in f"{caught.value} {caught.value!r} {caught.value.args}"
    assert OutcomeUnknown("without").partial == b""
