"""One cell of the classifier's table: how a server treats an attempt, and what is said of it.

The server is the witness: it keeps every byte that came in, so what a request's error claims is
compared with what was really read at the other end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum

import pytest
from attrs import define, field, frozen

from tests.certificates import server_tls
from tests.loopback import Behaviour, Loopback, serve
from tests.virtual_time import settle
from tests.wire import RUN, SIGNED, assert_clean, opened
from wiro_async.errors import OutcomeUnknown, RequestNotSent
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer
from wiro_async.transport import Timeouts, Transport

PATIENT = Timeouts(request_seconds=20.0, connect_seconds=20.0)
BEFORE = Request(path="/Run/o/before", body=b"{}", is_billable=True)
PLACES = 64


class Verdict(StrEnum):
    """What came of an attempt."""

    NOT_SENT = "not sent"
    UNKNOWN = "unknown"
    ANSWERED = "answered"
    CANCELLED = "cancelled"
    REFUSED = "refused by the caller"  # before_sending raised


class Hears(StrEnum):
    """How much of the request the server read."""

    NOTHING = "nothing"
    PART = "a part"
    ALL = "all"


Deed = Callable[[Loopback], Awaitable[None]]
Place = Callable[["Cell"], AbstractAsyncContextManager[Loopback]]


async def nothing(_: Loopback) -> None:
    return


def served(cell: Cell) -> AbstractAsyncContextManager[Loopback]:
    return serve(cell.behave, server_tls(cell.certificate) if cell.certificate else None)


@frozen(kw_only=True, repr=False)
class Cell:
    """A phase, what happens in it, and what has to come of it.

    Attributes:
        behave: how the server treats a connection.
        certificate: what the server shows; None where it speaks no TLS.
        url: where the attempt goes to; `{port}` is the server's.
        before: what happens within `before_sending`.
        meanwhile: what happens between the rehearsals and the attempt.
        rehearsals: Runs that are answered on the same transport before.
        crowd: Runs that are on the wire, and stay there, when the attempt begins.
        calls_of_cancelled: how often `before_sending` is awaited before the cancellation; else it
            is once by an attempt that sends, and never by one that does not.
        answer: what comes out where it is an answer.
        partial: what an unknown outcome knows of the answer.
    """

    phase: str
    behaviour: str
    expected: Verdict
    hears: Hears
    behave: Behaviour
    place: Place = served
    certificate: str | None = None
    url: str = "http://127.0.0.1:{port}/v1"
    environment: Mapping[str, str] = field(factory=dict)
    request: Request = RUN
    timeouts: Timeouts = PATIENT
    before: Deed = nothing
    meanwhile: Deed = nothing
    rehearsals: int = 0
    crowd: int = 0
    calls_of_cancelled: int = 1
    answer: Answer | None = None
    partial: bytes = b""

    @property
    def name(self) -> str:
        return f"{self.phase} / {self.behaviour}"


@define(repr=False)
class Play:
    """What happened: on the caller's side, and as the server saw it.

    Attributes:
        calls: how often `before_sending` was awaited.
        notes: how often `before_body` was called.
        carried: the bytes that the server read of the attempt, by connection.
    """

    cell: Cell
    outcome: Answer | BaseException | None = None
    calls: int = 0
    notes: int = 0
    carried: list[bytes] = field(factory=list)

    @property
    def verdict(self) -> Verdict | None:
        if isinstance(self.outcome, Answer):
            return Verdict.ANSWERED
        if isinstance(self.outcome, asyncio.CancelledError):
            return Verdict.CANCELLED
        if isinstance(self.outcome, Refusal):
            return Verdict.REFUSED
        kinds: Mapping[type, Verdict] = {
            RequestNotSent: Verdict.NOT_SENT,
            OutcomeUnknown: Verdict.UNKNOWN,
        }
        return kinds.get(type(self.outcome))

    @property
    def hears(self) -> Hears:
        if not self.carried:
            return Hears.NOTHING
        return Hears.ALL if any(map(is_whole, self.carried)) else Hears.PART


class Refusal(OSError):
    """What a `before_sending` raises; an OSError, since aiohttp has plans of its own for those."""


async def play(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Put the attempt on the stage, and see it through to the end of every connection."""
    performed, before_all = Play(cell), asyncio.all_tasks()
    async with asyncio.timeout(15), cell.place(cell) as server:
        for name, value in cell.environment.items():
            monkeypatch.setenv(name, value.format(port=server.port))
        url = cell.url.format(port=server.port)
        trusts = bool(cell.environment)
        async with opened(url, cell.timeouts, trusts_environment=trusts) as transport:
            for _ in range(cell.rehearsals):
                assert (await transport.send(BEFORE, SIGNED)).http_status == 200
            crowd = [asyncio.create_task(transport.send(BEFORE, SIGNED)) for _ in range(cell.crowd)]
            if crowd:
                await server.reached.wait()
            await cell.meanwhile(server)
            marks = {one.number: len(one.heard) for one in server.connections}
            await attempt(transport, server, performed, marks)
            server.released.set()
            await asyncio.gather(*crowd)
        await settle()
        performed.carried = carried(server, marks)
    # aiohttp 3.11 puts the file of a large request away in a thread, and nobody waits for it.
    if others := asyncio.all_tasks() - before_all:
        await asyncio.wait(others, timeout=5)
    return performed


async def attempt(
    transport: Transport, server: Loopback, performed: Play, marks: Mapping[int, int]
) -> None:
    cell = performed.cell
    after: list[asyncio.Task[None]] = []

    async def before_sending() -> None:
        performed.calls += 1
        await settle()
        assert not carried(server, marks), "bytes went out before they were allowed to"
        await cell.before(server)
        after.append(asyncio.create_task(release(server)))

    def before_body() -> None:
        performed.notes += 1

    sending = asyncio.create_task(
        transport.send(cell.request, SIGNED, before_sending=before_sending, before_body=before_body)
    )
    if cell.crowd:
        await settle()
        assert not performed.calls, "waiting for a place is not sending"
    if cell.expected is Verdict.CANCELLED:
        if cell.place is served:
            await server.reached.wait()
        await settle()
        sending.cancel()
    elif cell.crowd:
        server.released.set()
    (performed.outcome,) = await asyncio.gather(sending, return_exceptions=True)
    await asyncio.gather(*after)


async def release(server: Loopback) -> None:
    """Some turns of the loop after the last word: the request is on its way by then."""
    await settle()
    server.released.set()


def carried(server: Loopback, marks: Mapping[int, int]) -> list[bytes]:
    """What of requests came in on each connection since the marks were set."""
    since = (spoken(one.heard[marks.get(one.number, 0) :]) for one in server.connections)
    return [content for content in since if content]


def spoken(heard: bytes) -> bytes:
    """The HTTP in it: not a greeting of TLS to one who does not speak it, nor a CONNECT."""
    if heard.startswith(b"CONNECT "):
        heard = heard.partition(b"\r\n\r\n")[2]
    return b"" if heard.startswith(b"\x16\x03") else heard


def is_whole(content: bytes) -> bool:
    head, blank, body = content.partition(b"\r\n\r\n")
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"]
    return bool(blank) and len(lengths) == 1 and len(body) >= int(lengths[0])


def assert_lawful(performed: Play) -> None:
    """What has to hold of every attempt, whatever was expected of it."""
    verdict, cell = performed.verdict, performed.cell
    assert verdict is not None, f"this came out: {performed.outcome!r}"
    if performed.hears is Hears.ALL:
        assert verdict is not Verdict.NOT_SENT, "the server has the whole request"
    if verdict in {Verdict.NOT_SENT, Verdict.REFUSED}:
        assert performed.carried == [], "something was sent"
    requests = sum(content.count(b"POST /") for content in performed.carried)
    assert len(performed.carried) <= 1, "it went out on two connections"
    assert requests <= 1, "it went out twice"
    told = {Verdict.NOT_SENT: 0, Verdict.CANCELLED: cell.calls_of_cancelled}.get(verdict, 1)
    assert performed.calls == told
    assert performed.calls or not performed.carried, "the caller was not told"
    bodies = [content for content in performed.carried if content.partition(b"\r\n\r\n")[2]]
    assert len(bodies) <= performed.notes <= performed.calls, "the caller was not told of the body"
    if verdict is Verdict.ANSWERED:
        assert performed.outcome == cell.answer, "this is not what the server said"
    if isinstance(performed.outcome, RequestNotSent | OutcomeUnknown):
        assert_clean(performed.outcome)
        said = "nothing was written" if verdict is Verdict.NOT_SENT else "the headers went out"
        assert said in performed.outcome.evidence


def assert_expected(performed: Play) -> None:
    """What this cell claims, too, so that saying "unknown" of everything is no way out."""
    cell = performed.cell
    assert performed.verdict is cell.expected, performed.outcome
    assert performed.hears is cell.hears
    partial = getattr(performed.outcome, "partial", b"")
    assert partial == cell.partial
