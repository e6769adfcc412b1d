"""Cells of the classifier up to the answer: connecting, the handshake, and the request's way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from tests import certificates
from tests.classifier_server import (
    ANSWER,
    BODY,
    ENDINGS,
    HALF,
    HEAD,
    cut,
    forever,
    full_house,
    greeting,
    half_hello,
    head,
    middle,
    nobody,
    reset,
    saying,
    stall,
    then,
    unread,
    whole,
)
from tests.classifier_stage import PATIENT, Cell, Deed, Hears, Refusal, Verdict
from tests.loopback import Behaviour, Connection, Loopback
from tests.virtual_time import settle
from tests.wire import FAST, RUN
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer
from wiro_async.transport import Timeouts

HTTPS = "https://127.0.0.1:{port}/v1"
SLOW_TO_CONNECT = Timeouts(request_seconds=0.2, connect_seconds=20.0)
# More than the system's buffers of both ends take in.
BIG = Request(path="/Run/o/m", body=b'{"prompt":"%b"}' % (b"x" * 8_000_000), is_billable=True)
PROXY = {"HTTP_PROXY": "http://127.0.0.1:{port}", "HTTPS_PROXY": "http://127.0.0.1:{port}"}
GOOD_ANSWER = Answer(http_status=200, body=BODY)


def not_sent(phase: str, behaviour: str, behave: Behaviour, **more: Any) -> Cell:  # noqa: ANN401
    return Cell(
        phase=phase,
        behaviour=behaviour,
        expected=Verdict.NOT_SENT,
        hears=Hears.NOTHING,
        behave=behave,
        **more,
    )


def unknown(phase: str, behaviour: str, behave: Behaviour, **more: Any) -> Cell:  # noqa: ANN401
    made = {"expected": Verdict.UNKNOWN, "hears": Hears.ALL, "behave": behave, **more}
    return Cell(phase=phase, behaviour=behaviour, **made)


def answered(phase: str, behaviour: str, behave: Behaviour, **more: Any) -> Cell:  # noqa: ANN401
    made = {"expected": Verdict.ANSWERED, "hears": Hears.ALL, "answer": GOOD_ANSWER, **more}
    return Cell(phase=phase, behaviour=behaviour, behave=behave, **made)


def cancelled(cell: Cell, calls: int) -> Cell:
    """The same stall, but it is the caller whose patience ends."""
    return evolve(
        cell,
        behaviour="cancelled",
        expected=Verdict.CANCELLED,
        calls_of_cancelled=calls,
        timeouts=PATIENT,
        partial=b"",
    )


def over_tls(cell: Cell) -> Cell:
    return evolve(cell, phase=f"{cell.phase}, tls", certificate=certificates.GOOD, url=HTTPS)


def on_the_first(deed: Behaviour, *, is_noticed: bool) -> Deed:
    """Something happens to the first connection, and the client hears of it or not yet."""

    async def happen(server: Loopback) -> None:
        doing = asyncio.ensure_future(deed(server.connections[0]))
        await asyncio.sleep(0)
        if is_noticed:
            await settle()
        doing.cancel()

    return happen


async def idle(_: Connection) -> None:
    await forever()


def connecting() -> Iterator[Cell]:
    lost = not_sent("connecting", "no answer", idle, place=full_house, timeouts=FAST)
    yield not_sent("connecting", "refused", idle, place=nobody)
    yield not_sent("connecting", "no such name", idle, url="http://no-such-host.invalid/v1")
    yield lost
    yield evolve(lost, behaviour="no answer, request timeout", timeouts=SLOW_TO_CONNECT)
    yield cancelled(lost, 0)


def handshakes() -> Iterator[Cell]:
    for far, reach in {"greeting": greeting, "half hello": half_hello}.items():
        for name, end in ENDINGS.items():
            timeouts = FAST if name == "stall" else PATIENT
            yield not_sent(
                f"handshake, {far}", name, then(reach, end), url=HTTPS, timeouts=timeouts
            )
        yield cancelled(not_sent(f"handshake, {far}", "", then(reach, stall), url=HTTPS), 0)
    yield not_sent("handshake", "cut at once", cut, url=HTTPS)
    yield not_sent("handshake", "reset at once", reset, url=HTTPS)
    nonsense = {
        "garbage": b"\x00\x01" * 50,
        "speaks HTTP": ANSWER,
        "alert": b"\x15\x03\x03\x00\x02\x02\x28",
    }
    for name, said in nonsense.items():
        yield not_sent("handshake", name, then(saying(said, greeting), idle), url=HTTPS)
    for kind in (
        certificates.STRANGER,
        certificates.ELSEWHERE,
        certificates.EXPIRED,
        certificates.BOTH_WAYS,
    ):
        yield not_sent("certificate", kind, saying(ANSWER), url=HTTPS, certificate=kind)


def proxies() -> Iterator[Cell]:
    """The CONNECT to a proxy goes out without being the request."""
    agreed = saying(b"HTTP/1.1 200 OK\r\n\r\n")
    tunnel: dict[str, tuple[Behaviour, Timeouts]] = {
        "CONNECT refused": (saying(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"), FAST),
        "CONNECT cut": (then(whole, cut), PATIENT),
        "CONNECT reset": (then(whole, reset), PATIENT),
        "CONNECT stall": (then(whole, stall), FAST),
        "CONNECT garbage": (then(saying(b"hello?\r\n\r\n"), idle), PATIENT),
        "handshake cut": (then(agreed, greeting, cut), PATIENT),
        "handshake reset": (then(agreed, greeting, reset), PATIENT),
        "handshake stall": (then(agreed, greeting, stall), FAST),
    }
    for name, (behave, timeouts) in tunnel.items():
        yield not_sent(
            "proxy", name, behave, environment=PROXY, url="https://wiro.test/v1", timeouts=timeouts
        )
    plain = {"environment": PROXY, "url": "http://wiro.test/v1"}
    yield unknown("proxy", "cut after the request", then(whole, cut), **plain)
    yield answered("proxy", "answer", saying(ANSWER), **plain)


def before_sending() -> Iterator[Cell]:
    """What happens while the caller has the word."""
    for name, end in {"cut": cut, "reset": reset}.items():
        yield unknown(
            "before sending",
            name,
            saying(ANSWER),
            hears=Hears.NOTHING,
            before=on_the_first(end, is_noticed=True),
        )

    async def dawdle(_: Loopback) -> None:
        await asyncio.sleep(2 * FAST.request_seconds)  # real time: the timeout is in real time

    async def refuse(_: Loopback) -> None:
        raise Refusal(5, "the disk is full")

    async def wait(server: Loopback) -> None:
        server.reached.set()
        await forever()

    yield answered("before sending", "slow", saying(ANSWER), before=dawdle, timeouts=FAST)
    late = then(whole, stall)
    yield unknown("before sending", "slow, then no answer", late, before=dawdle, timeouts=FAST)
    refused = unknown(
        "before sending", "raises", saying(ANSWER), before=refuse, hears=Hears.NOTHING
    )
    yield evolve(refused, expected=Verdict.REFUSED)
    yield evolve(cancelled(refused, 1), before=wait)


def far_and_endings() -> Iterator[Cell]:
    """The request is on its way: how far it came, and how it ended there."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY)
    stages: dict[str, tuple[Behaviour, Hears, Request, bytes]] = {
        "unread": (unread, Hears.NOTHING, RUN, b""),
        "head": (head, Hears.PART, BIG, b""),
        "mid-request": (middle, Hears.PART, BIG, b""),
        "whole": (whole, Hears.ALL, RUN, b""),
    }
    prefixes = {
        "status line": (b"HTTP/1.1 20", b""),
        "answer's head": (HEAD + b"Content-Le", b""),
        "answer's body": (ANSWER[: -len(BODY)] + HALF, HALF),
        "answer's chunk": (chunked + HALF, HALF),
        "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n", b""),
    }
    for name, (said, partial) in prefixes.items():
        stages[name] = (saying(said), Hears.ALL, RUN, partial)
    for phase, (reach, hears, request, partial) in stages.items():
        waiting = unknown(
            phase,
            "stall",
            then(reach, stall),
            hears=hears,
            request=request,
            partial=partial,
            timeouts=FAST,
        )
        for cell in (
            waiting,
            # Not patient: with a full buffer aiohttp does not hear of a FIN.
            evolve(waiting, behaviour="cut", behave=then(reach, cut)),
            evolve(waiting, behaviour="reset", behave=then(reach, reset), timeouts=PATIENT),
            cancelled(waiting, 1),
        ):
            yield from (cell, over_tls(cell))
