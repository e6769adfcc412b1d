from __future__ import annotations

import asyncio
import re
import ssl
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NoReturn

import aiohttp
import pytest
from aioresponses import aioresponses

from tests import loopback
from tests.loopback import Connection, answering, serve
from wiro_async import transport as module
from wiro_async.errors import OutcomeUnknown, RequestNotSent, TransportError
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer
from wiro_async.transport import Timeouts, Transport

RUN = Request(path="/Run/o/m", body=b'{"prompt":"a lighthouse"}', is_billable=True)
DETAIL = Request(path="/Task/Detail", body=b'{"taskid":"1"}')
SIGNED = {"x-api-key": "hidden-key", "x-signature": "hidden-signature"}
FAST = Timeouts(request_seconds=0.15, silence_seconds=0.15, connect_seconds=0.1)


@asynccontextmanager
async def opened(base_url: str, timeouts: Timeouts | None = None) -> AsyncIterator[Transport]:
    transport = Transport(base_url=base_url, timeouts=timeouts or Timeouts())
    await transport.open()
    try:
        yield transport
    finally:
        await transport.aclose()


async def failure_of(base_url: str, request: Request = RUN) -> TransportError:
    async with opened(base_url, FAST) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(request, SIGNED)
    assert_clean(caught.value)
    assert caught.value.endpoint == request.path
    return caught.value


def assert_clean(error: BaseException) -> None:
    """Nothing secret in an error, nor in anything that hangs on it."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = f"{error!r} {error} {vars(error)} {''.join(traceback.format_exception(error))}"
    assert "hidden" not in shown


@pytest.mark.parametrize("request_", [RUN, DETAIL], ids=["run", "read"])
async def test_an_answer_is_read_to_its_end(request_: Request) -> None:
    answer = (
        b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
    )
    async with serve(answering(answer)) as server, opened(server.base_url) as transport:
        said = await transport.send(request_, SIGNED)
    assert said == Answer(http_status=429, body=b'{"a":1}', retry_after="7")
    (sent,) = server.requests
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1" + request_.path.encode() + b" HTTP/1.1\r\n")
    assert body == request_.body
    assert b"x-api-key: hidden-key" in head.lower()
    assert b"content-type: application/json" in head.lower()


async def test_a_refused_connection_is_not_sent() -> None:
    error = await failure_of(f"http://127.0.0.1:{loopback.free_port()}/v1")
    assert type(error) is RequestNotSent
    assert "nothing was written" in error.evidence
    assert "could not be reached" in error.message


async def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    assert type(await failure_of("http://no-such-host.invalid/v1")) is RequestNotSent


async def test_a_failed_handshake_is_not_sent() -> None:
    """The server does not speak TLS: it sees the greeting, and no byte of the request."""
    seen: list[bytes] = []

    async def behave(connection: Connection) -> None:
        seen.append(await connection.reader.read(4096))
        await connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve(behave) as server:
        error = await failure_of(f"https://127.0.0.1:{server.port}/v1")
    assert type(error) is RequestNotSent
    assert seen
    assert b"lighthouse" not in b"".join(seen)


async def test_a_handshake_that_takes_too_long_is_not_sent() -> None:
    async def behave(connection: Connection) -> None:
        await connection.reader.read(4096)
        await asyncio.Event().wait()

    async with serve(behave) as server:
        error = await failure_of(f"https://127.0.0.1:{server.port}/v1")
    assert type(error) is RequestNotSent
    assert "timeout" in error.evidence


async def cut_in_the_middle(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"result":')


async def stall_in_the_middle(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"result":')
    await asyncio.Event().wait()


AFTER_SENDING = {
    "reset at once": loopback.reset_at_once,
    "reset after reading": loopback.reset_after_reading,
    "closed without an answer": answering(b""),
    "no HTTP": answering(b"hello, is this the printer?\r\n\r\n"),
    "half a head": answering(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "a header without end": answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"),
    "a length that is no number": answering(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}"),
    "cut in the middle of the body": cut_in_the_middle,
    "cut in the middle of a chunk": answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"
    ),
    "a chunk that is none": answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"
    ),
    "gzip that is none": answering(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n123456789"
    ),
    "deflate that is none": answering(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 9\r\n\r\n\xff23456789"
    ),
    "an encoding of which nobody knows": answering(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\n123"
    ),
    "silence": loopback.stay_silent,
    "stalled in the middle of the body": stall_in_the_middle,
}


@pytest.mark.parametrize("behave", AFTER_SENDING.values(), ids=AFTER_SENDING)
@pytest.mark.parametrize("request_", [RUN, DETAIL], ids=["run", "read"])
async def test_what_may_have_been_read_is_unknown(
    behave: loopback.Behaviour, request_: Request
) -> None:
    async with serve(behave) as server:
        error = await failure_of(server.base_url, request_)
    assert type(error) is OutcomeUnknown
    assert len(server.connections) == 1, "aiohttp has sent it again by itself"
    assert "the headers went out" in error.evidence
    assert "may have been processed" in error.message


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with serve(answering(loopback.JSON_ANSWER)) as other:
        moved = (
            f"HTTP/1.1 307 Moved\r\nLocation: {other.base_url}/x\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        async with serve(answering(moved)) as server, opened(server.base_url) as transport:
            assert (await transport.send(RUN, SIGNED)).http_status == 307
    assert other.connections == []


async def test_runs_that_follow_at_once_share_a_connection() -> None:
    behave = answering(loopback.JSON_ANSWER, loopback.JSON_ANSWER)
    async with serve(behave) as server, opened(server.base_url) as transport:
        await transport.send(RUN, SIGNED)
        await transport.send(RUN, SIGNED)
    assert len(server.connections) == 1


async def test_a_connection_that_was_idle_is_not_used_for_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert module._RUN_IDLE_SECONDS <= 1.0
    monkeypatch.setattr(module, "_RUN_IDLE_SECONDS", 0.03)
    closed = asyncio.Event()

    async def close_when_idle(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(loopback.JSON_ANSWER)
        await asyncio.sleep(0.05)
        closed.set()

    async with serve(close_when_idle) as server, opened(server.base_url) as transport:
        await transport.send(RUN, SIGNED)
        await asyncio.sleep(0.05)  # real time: the age of a connection is aiohttp's own count
        assert (await transport.send(RUN, SIGNED)).http_status == 200
        assert len(server.connections) == 2
        await closed.wait()


async def test_a_run_does_not_take_the_connection_of_a_read() -> None:
    behave = answering(loopback.JSON_ANSWER, loopback.JSON_ANSWER)
    async with serve(behave) as server, opened(server.base_url) as transport:
        await transport.send(DETAIL, SIGNED)
        await transport.send(RUN, SIGNED)
    assert [request.split(b" ")[1] for request in server.requests] == [
        b"/v1/Task/Detail",
        b"/v1/Run/o/m",
    ]
    assert len(server.connections) == 2


async def test_waiting_for_a_connection_does_not_count_against_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_READ_CONNECTIONS", 1)

    async def behave(connection: Connection) -> None:
        while await connection.read_request():
            await asyncio.sleep(0.06)
            await connection.write(loopback.JSON_ANSWER)

    async with serve(behave) as server, opened(server.base_url, FAST) as transport:
        answers = await asyncio.gather(*[transport.send(DETAIL, SIGNED) for _ in range(5)])
    assert [answer.http_status for answer in answers] == [200] * 5
    assert len(server.connections) == 1


async def test_no_cookie_comes_back() -> None:
    cookie = loopback.JSON_ANSWER.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n\r\n")
    async with (
        serve(answering(cookie, cookie)) as server,
        opened(server.base_url.replace("127.0.0.1", "localhost")) as transport,
    ):
        await transport.send(DETAIL, SIGNED)
        await transport.send(DETAIL, SIGNED)
    assert len(server.requests) == 2
    assert not any(b"cookie" in request.lower() for request in server.requests)


async def test_proxies_of_the_environment_are_not_used_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        serve(answering(loopback.JSON_ANSWER)) as proxy,
        serve(answering(loopback.JSON_ANSWER)) as server,
    ):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with opened(server.base_url) as transport:
            await transport.send(RUN, SIGNED)
        assert (len(server.requests), len(proxy.requests)) == (1, 0)
        trusting = Transport(
            base_url=server.base_url, timeouts=Timeouts(), trusts_environment=True
        )
        await trusting.open()
        await trusting.send(RUN, SIGNED)
        await trusting.aclose()
        assert (len(server.requests), len(proxy.requests)) == (1, 1)


async def test_a_url_that_cannot_be_sent_to_is_a_transport_error() -> None:
    error = await failure_of("http://127.0.0.1:99999999/v1", DETAIL)
    assert isinstance(error, RequestNotSent | OutcomeUnknown)


async def test_it_is_closed_twice_without_harm() -> None:
    transport = Transport(base_url="http://127.0.0.1:1/v1", timeouts=Timeouts())
    await transport.open()
    await transport.aclose()
    await transport.aclose()


class AnswerOfAnyVersion(aiohttp.ClientResponse):
    """aiohttp 3.14 wants a `stream_writer` that aioresponses does not give yet."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - handed on
        try:
            super().__init__(*args, **options)
        except TypeError:
            super().__init__(*args, stream_writer=SimpleNamespace(output_size=0), **options)


class TestWithoutTrace:
    """With aioresponses aiohttp's trace never fires: there is no proof, so there is no claim."""

    async def test_an_answer_is_an_answer(self) -> None:
        async with opened("https://api.test/v1") as transport:
            with aioresponses() as mocked:
                mocked.post(
                    "https://api.test/v1/Run/o/m",
                    payload={"taskid": "1"},
                    headers={"Retry-After": "3"},
                    response_class=AnswerOfAnyVersion,
                )
                answer = await transport.send(RUN, SIGNED)
        assert (answer.http_status, answer.retry_after) == (200, "3")
        assert answer.body == b'{"taskid": "1"}'

    @pytest.mark.parametrize(
        "error",
        [aiohttp.ClientConnectionError("no"), ConnectionRefusedError("no"), TimeoutError()],
        ids=lambda error: type(error).__name__,
    )
    async def test_a_failure_is_unknown(self, error: Exception) -> None:
        async with opened("https://api.test/v1") as transport:
            with aioresponses() as mocked:
                mocked.post("https://api.test/v1/Run/o/m", exception=error)
                with pytest.raises(OutcomeUnknown) as caught:
                    await transport.send(RUN, SIGNED)
        assert "nothing was seen of the attempt" in caught.value.evidence
        assert_clean(caught.value)


def exceptions_below(kind: type[BaseException]) -> set[type[BaseException]]:
    below = {inner for sub in kind.__subclasses__() for inner in exceptions_below(sub)}
    return {kind} | below


OF_AIOHTTP = {
    kind
    for kind in exceptions_below(aiohttp.ClientError)
    if kind.__module__.startswith("aiohttp.")
}
OF_THE_SYSTEM = {
    OSError,
    ConnectionError,
    ConnectionResetError,
    BrokenPipeError,
    ssl.SSLError,
    ssl.SSLCertVerificationError,
    TimeoutError,
    ValueError,
    UnicodeDecodeError,
}


def bare(kind: type[BaseException]) -> BaseException:
    """An instance that knows the request's headers, as aiohttp's own do, and has no text."""

    class Bare(kind):  # type: ignore[misc, valid-type] # made to try every class alike
        headers: Mapping[str, str] = SIGNED

        def __init__(self) -> None:
            return

        def __str__(self) -> str:
            return ""

    Bare.__name__ = kind.__name__
    return Bare()


class FailingPool:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def post(self, *_: object, **__: object) -> NoReturn:
        raise self.error

    async def get(self, *_: object, **__: object) -> NoReturn:
        raise self.error


@pytest.mark.parametrize(
    "kind", sorted(OF_AIOHTTP | OF_THE_SYSTEM, key=str), ids=lambda kind: kind.__name__
)
async def test_no_exception_of_the_library_gets_through(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened("https://api.test/v1") as transport:
        for pool in ("_runs", "_reads", "_outputs"):
            monkeypatch.setattr(transport, pool, FailingPool(bare(kind)))
        for request in (RUN, DETAIL):
            with pytest.raises(OutcomeUnknown) as caught:
                await transport.send(request, SIGNED)
            assert_clean(caught.value)
        with pytest.raises(TransportError) as failed:
            async with transport.stream("https://cdn.test/0.png", {}):
                pass
        assert_clean(failed.value)
        monkeypatch.undo()


class TestStream:
    async def test_it_gives_status_headers_and_the_bytes_as_they_came(self) -> None:
        answer = (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8babc"
        )
        async with serve(answering(answer)) as server, opened(server.base_url) as transport:
            async with transport.stream(f"{server.base_url}/0.png", {"X-Own": "1"}) as stream:
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
            with pytest.raises(TransportError, match="TooManyRedirects"):
                async with transport.stream(f"{server.base_url}/50", {}):
                    pass

    @pytest.mark.parametrize("behave", [cut_in_the_middle, stall_in_the_middle])
    async def test_a_body_that_breaks_off_is_a_transport_error(
        self, behave: loopback.Behaviour
    ) -> None:
        async with serve(behave) as server, opened(server.base_url, FAST) as transport:
            got = b""
            with pytest.raises(TransportError) as caught:
                async with transport.stream(f"{server.base_url}/0.png", {}) as stream:
                    async for chunk in stream.chunks:
                        got += chunk
        assert got == b'{"result":'
        assert caught.value.endpoint == f"{server.base_url}/0.png"
        assert caught.value.__cause__ is None

    async def test_what_the_reader_raises_passes_and_the_connection_is_closed(self) -> None:
        gone = asyncio.Event()

        async def behave(connection: Connection) -> None:
            await stall_a_while(connection)
            await connection.reader.read()
            gone.set()

        async def stall_a_while(connection: Connection) -> None:
            await connection.read_request()
            await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n12")

        async with serve(behave) as server, opened(server.base_url) as transport:
            with pytest.raises(ConnectionResetError, match="the reader's own"):
                async with transport.stream(f"{server.base_url}/0.png", {}):
                    raise ConnectionResetError("the reader's own")
            async with asyncio.timeout(5):
                await gone.wait()
