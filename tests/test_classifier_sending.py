"""The last moment before the first byte belongs to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.certificates import GOOD, server_tls, trust_the_tests
from tests.classifier_cells import BIG
from tests.classifier_server import ANSWER, saying
from tests.classifier_stage import BEFORE, PATIENT
from tests.loopback import Connection, answering, serve
from tests.virtual_time import settle
from tests.wire import RUN, SIGNED, assert_clean, opened
from wiro_async import transport as module
from wiro_async.errors import OutcomeUnknown, OutputDirectoryError, RequestNotSent, WiroError
from wiro_async.protocol.requests import Request


async def answer_all(connection: Connection) -> None:
    while await connection.read_request():
        await connection.write(ANSWER)


@pytest.mark.parametrize("rehearsals", [0, 1], ids=["fresh", "kept alive"])
@pytest.mark.parametrize("certificate", [None, GOOD], ids=["plain", "tls"])
async def test_nothing_goes_out_as_long_as_the_caller_holds_it(
    certificate: str | None, rehearsals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_the_tests(monkeypatch)
    held, let_go = asyncio.Event(), asyncio.Event()
    calls = 0

    async def hold() -> None:
        nonlocal calls
        calls += 1
        held.set()
        await let_go.wait()

    tls = server_tls(certificate) if certificate else None
    async with serve(answer_all, tls) as server, opened(server.base_url, PATIENT) as transport:
        for _ in range(rehearsals):
            await transport.send(RUN, SIGNED)
        already = [one.heard for one in server.connections]
        sending = asyncio.create_task(transport.send(RUN, SIGNED, before_sending=hold))
        await held.wait()
        for _ in range(10):
            await settle()
        (connection,) = server.connections
        assert connection.heard == b"".join(already)
        assert not sending.done()
        let_go.set()
        assert (await sending).http_status == 200
        assert len(connection.requests) == rehearsals + 1
        assert connection.requests[-1].endswith(RUN.body)
    assert calls == 1


REFUSALS: list[Exception] = [
    OSError(28, "no space left"),
    TimeoutError("the disk is slow"),
    ConnectionResetError("the journal's own"),
    ValueError("a bad value"),
    OutputDirectoryError("the journal cannot be written"),
    OutcomeUnknown("of another request"),
    KeyError("a mistake"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
async def test_what_it_raises_comes_out_as_it_is_and_keeps_everything_in(
    refusal: Exception,
) -> None:
    async def refuse() -> None:
        raise refusal

    async with serve(answer_all) as server, opened(server.base_url, PATIENT) as transport:
        await transport.send(BEFORE, SIGNED)
        with pytest.raises(type(refusal)) as caught:
            await transport.send(RUN, SIGNED, before_sending=refuse)
        assert caught.value is refusal
        assert_clean(refusal)
        await transport.send(RUN, SIGNED)
    refused, fresh = server.connections
    assert [b"/Run/o/before" in request for request in refused.requests] == [True]
    assert refused.heard == refused.requests[0], "bytes of the refused request went out"
    assert [b"/Run/o/m" in request for request in fresh.requests] == [True]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
@pytest.mark.parametrize("request_", [RUN, BIG], ids=["small", "large"])
@pytest.mark.parametrize("certificate", [None, GOOD], ids=["plain", "tls"])
async def test_what_comes_before_the_body_keeps_it_in(
    certificate: str | None,
    request_: Request,
    refusal: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trust_the_tests(monkeypatch)
    order: list[str] = []

    async def agree() -> None:
        order.append("before sending")

    def refuse() -> None:
        order.append("before the body")
        raise refusal

    tls = server_tls(certificate) if certificate else None
    async with serve(answer_all, tls) as server, opened(server.base_url, PATIENT) as transport:
        with pytest.raises(type(refusal)) as caught:
            await transport.send(request_, SIGNED, before_sending=agree, before_body=refuse)
        await settle()
        assert caught.value is refusal
        assert_clean(refusal)
        await transport.send(RUN, SIGNED)
    refused, fresh = server.connections
    assert order == ["before sending", "before the body"]
    assert refused.heard.partition(b"\r\n\r\n")[2] == b"", "the body went out"
    assert [b"/Run/o/m" in request for request in fresh.requests] == [True]


async def test_who_refuses_first_is_not_asked_about_the_body() -> None:
    def note() -> None:
        pytest.fail("nothing of the body is about to go out")

    async def refuse() -> None:
        raise WiroError("no")

    async with serve(answer_all) as server, opened(server.base_url) as transport:
        with pytest.raises(WiroError, match="no"):
            await transport.send(RUN, SIGNED, before_sending=refuse, before_body=note)


async def test_what_it_raises_keeps_its_own_cause() -> None:
    cause = OSError(28, "no space left")

    async def refuse() -> None:
        raise WiroError("the journal cannot be written") from cause

    async with serve(answer_all) as server, opened(server.base_url) as transport:
        with pytest.raises(WiroError) as caught:
            await transport.send(RUN, SIGNED, before_sending=refuse)
    assert caught.value.__cause__ is cause


async def test_each_attempt_asks_anew() -> None:
    asked: list[int] = []

    def asking(number: int) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            asked.append(number)

        return ask

    async with serve(answer_all) as server, opened(server.base_url) as transport:
        await asyncio.gather(
            *[transport.send(RUN, SIGNED, before_sending=asking(number)) for number in range(9)]
        )
        await transport.send(RUN, SIGNED)
    assert sorted(asked) == list(range(9))
    assert len(server.requests) == 10


async def test_an_authority_that_the_system_does_not_know_is_not_trusted() -> None:
    """Without what the other tests arrange, the same certificate is refused."""
    async with serve(saying(ANSWER), server_tls(GOOD)) as server, opened(server.base_url) as client:
        with pytest.raises(RequestNotSent, match="CERTIFICATE_VERIFY_FAILED"):
            await client.send(RUN, SIGNED)
    assert server.connections == []


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError, ResourceWarning])
async def test_once_it_is_sent_no_kind_of_error_hides_that(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> bytes:
        raise kind("nobody expects it")

    monkeypatch.setattr(module, "_read_body", fail)
    async with serve(answering(ANSWER)) as server, opened(server.base_url) as transport:
        with pytest.raises(OutcomeUnknown, match="nobody expects it") as caught:
            await transport.send(RUN, SIGNED)
    assert_clean(caught.value)
    assert len(server.requests) == 1


async def test_before_it_is_sent_a_mistake_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened("http://127.0.0.1:1/v1") as transport:

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("a mistake of this side")

        with monkeypatch.context() as patched:
            patched.setattr(transport._runs, "post", fail)
            with pytest.raises(RuntimeError, match="a mistake of this side"):
                await transport.send(RUN, SIGNED)
