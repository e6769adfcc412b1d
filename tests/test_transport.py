from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from tests import loopback
from tests.loopback import Connection, answering, cut_in_the_middle, serve, stall_in_the_middle
from tests.wire import DETAIL, FAST, RUN, SIGNED, assert_clean, opened
from wiro_async import transport as module
from wiro_async.errors import OutcomeUnknown, RequestNotSent, TransportError
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer
from wiro_async.transport import Timeouts, Transport


async def failure_of(base_url: str, request: Request = RUN) -> TransportError:
    async with opened(base_url, FAST) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(request, SIGNED)
    assert_clean(caught.value)
    assert caught.value.endpoint == request.path
    return caught.value


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


@pytest.mark.parametrize("request_", [RUN, DETAIL], ids=["run", "read"])
async def test_a_refused_connection_is_not_sent(request_: Request) -> None:
    error = await failure_of(f"http://127.0.0.1:{loopback.free_port()}/v1", request_)
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
    monkeypatch.setattr(module, "_MOST_CONNECTIONS", 1)

    async def behave(connection: Connection) -> None:
        while await connection.read_request():
            await asyncio.sleep(0.06)
            await connection.write(loopback.JSON_ANSWER)

    async with serve(behave) as server, opened(server.base_url, FAST) as transport:
        answers = await asyncio.gather(*[transport.send(DETAIL, SIGNED) for _ in range(5)])
    assert [answer.http_status for answer in answers] == [200] * 5
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("in_flight", "connections"), [(1, 64), (100, 100), (10_000, 256)], ids=str
)
@pytest.mark.parametrize("is_later", [False, True], ids=["at once", "later"])
async def test_there_are_as_many_connections_as_tasks_in_flight_within_bounds(
    in_flight: int, connections: int, *, is_later: bool
) -> None:
    wanted, most = 300, 0
    all_wait, go_on = asyncio.Event(), asyncio.Event()

    async def behave(connection: Connection) -> None:
        nonlocal most
        await connection.read_request()
        most += 1
        if most == connections:
            all_wait.set()
        await go_on.wait()
        await connection.write(loopback.JSON_ANSWER)

    async with serve(behave) as server:
        transport = Transport(
            base_url=server.base_url, timeouts=Timeouts(), connections=1 if is_later else in_flight
        )
        if is_later:
            transport.make_room(in_flight)
        await transport.open()
        try:
            sending = [asyncio.create_task(transport.send(DETAIL, SIGNED)) for _ in range(wanted)]
            await all_wait.wait()
            await asyncio.sleep(0.05)
            assert most == connections
        finally:
            for task in sending:
                task.cancel()
            go_on.set()
            await asyncio.gather(*sending, return_exceptions=True)
            await transport.aclose()


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
        trusting = Transport(base_url=server.base_url, timeouts=Timeouts(), trusts_environment=True)
        await trusting.open()
        await trusting.send(RUN, SIGNED)
        await trusting.aclose()
        assert (len(server.requests), len(proxy.requests)) == (1, 1)


async def test_a_url_that_cannot_be_sent_to_is_a_transport_error() -> None:
    error = await failure_of("http://127.0.0.1:1/v1", Request(path="/Task/\ud800", body=b"{}"))
    assert isinstance(error, RequestNotSent | OutcomeUnknown)


async def test_it_is_closed_twice_without_harm() -> None:
    transport = Transport(base_url="http://127.0.0.1:1/v1", timeouts=Timeouts())
    await transport.open()
    await transport.aclose()
    await transport.aclose()
    assert all(pool.closed for pool in (transport._runs, transport._reads, transport._cdn._pool))


async def test_a_connection_holds_on_to_nothing_of_the_attempt_that_opened_it() -> None:
    class Caller:
        async def before_sending(self) -> None:
            return

        def before_body(self) -> None:
            return

    caller = Caller()
    behave = answering(loopback.JSON_ANSWER, b"")
    async with serve(behave) as server, opened(server.base_url) as transport:
        await asyncio.create_task(
            transport.send(
                RUN,
                SIGNED,
                before_sending=caller.before_sending,
                before_body=caller.before_body,
            )
        )
        gone = weakref.ref(caller)
        del caller
        gc.collect()
        assert gone() is None
        assert not server.connections[0].reader.at_eof()


async def test_an_attempt_that_is_over_lets_no_body_out() -> None:
    evidence = module._Evidence(None, None)
    assert evidence.begin_body()
    evidence.let_go()
    assert not evidence.begin_body()
