"""Bytes over the wire: the requests of the API, and how far each of them got.

It carries what it is given and says of every request how far it got:

* an `Answer`: a response was read from the wire to its end;
* `RequestNotSent`: it certainly never reached the wire, and may be sent again freely;
* `OutcomeUnknown`: it may have been processed.

The proof of "not sent" is, for a Run, aiohttp's own trace: the attempt was seen to start, and
``on_request_headers_sent`` never fired for it. For a read it is enough that its request never
came to a connection: it may be repeated whatever became of it. The type of an exception proves
nothing: a "connection error" can come before the connection or after the body. Where nothing was
seen at all there is no proof, so the outcome is unknown.

That same moment, after the connection and before its first byte, is offered to the caller
(`before_sending`), who can write down what is about to happen. aiohttp awaits the trace before
it writes anything: not a promise of its documentation, so the tests hold it there and look.

A half answer is not thrown away: an error of unknown outcome carries what came of the body,
since the names of a new task may be in it.

With `cdn` and `connections` the only client files that know aiohttp. Also here, because they are
properties of connections:

* Redirects of the API are not followed: a signature is made for one origin.
* Runs have connections of their own that are not kept idle for longer than a second: a
  connection that the server has closed meanwhile fails in the one way that cannot be told
  from a Run that was processed.
* A connection on which something came unasked is not used: aiohttp would take it for the
  answer to the next request.
* Outputs come over a third set of connections, which carries no credentials (`cdn`).
* An answer is read up to a bound, counted as it is unpacked.
* The number of connections is bounded here, before aiohttp, so that waiting for one neither
  counts against a request's timeout nor leaves a doubt about what was sent.
* What is raised carries no frame of aiohttp's, where the headers lie in plain sight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from contextvars import ContextVar
from io import BytesIO
from types import SimpleNamespace, TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from attrs import define, field

from wiro_async.cdn import Cdn, Stream
from wiro_async.connections import (
    WIRE_ERRORS,
    PlainRequest,
    describe_failure,
    make_pool,
)
from wiro_async.errors import OutcomeUnknown, RequestNotSent, TransportError
from wiro_async.protocol.inflation import ENCODINGS, Body
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer
from wiro_async.protocol.signing import Signature
from wiro_async.timeouts import Timeouts

__all__ = ["Stream", "Timeouts", "Transport"]

# The documentation gives no number: as many of either kind as tasks in flight, within what keeps
# a server calm, and a process within the 1,024 files that a system lets it have.
_FEWEST_CONNECTIONS = 64
_MOST_CONNECTIONS = 256
_RUN_IDLE_SECONDS = 1.0
_READ_IDLE_SECONDS = 15.0
# aiohttp warns of larger bytes: written at once, they would hold up the loop.
_LARGE_BYTES = 1024 * 1024
# No answer of the service comes near: a page of its list is some hundred kilobytes.
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
# Of a half answer: the names of a task stand at its beginning.
_MAX_PARTIAL_BYTES = 1024 * 1024

# Of the attempt that the running asyncio task makes: aiohttp's request class is handed nothing.
_EVIDENCE: ContextVar[_Evidence] = ContextVar("wiro_async evidence")


@define
class _Evidence:
    """What was seen of one attempt, and what came of its answer."""

    before_sending: Callable[[], Awaitable[None]] | None
    before_body: Callable[[], None] | None
    deadline: asyncio.Timeout | None = None
    is_started: bool = False
    is_sent: bool = False
    refusal: Exception | None = None
    refused_at: TracebackType | None = None
    is_over: bool = False
    received: list[bytes] = field(factory=list)

    async def reach_the_wire(self) -> None:
        """Let the caller speak at the last moment before the first byte; the clock waits."""
        if self.before_sending is not None and self.deadline is not None:
            clock = asyncio.get_running_loop()
            since = clock.time()
            due = self.deadline.when() or since
            self.deadline.reschedule(None)
            try:
                await self.before_sending()
            except Exception as error:
                self._refuse(error)  # aiohttp wraps an OSError; the caller gets its own back
                raise
            self.deadline.reschedule(due + clock.time() - since)
        self.is_sent = True

    def begin_body(self) -> bool:
        """Let the caller note that the body goes out next; whether it may."""
        if self.before_body is not None:
            try:
                self.before_body()
            except Exception as error:  # noqa: BLE001 - the caller gets its own back
                self._refuse(error)
        return self.refusal is None and not self.is_over

    def explain(self, error: BaseException, path: str) -> BaseException:
        """What is raised in place of an error that came up through aiohttp."""
        if self.refusal is not None and isinstance(error, Exception):
            return self.refusal.with_traceback(self.refused_at)
        # Once it is sent, no kind of error may hide that.
        if isinstance(error, WIRE_ERRORS) or (self.is_sent and isinstance(error, Exception)):
            return _failure(error, path, self)
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)

    def let_go(self) -> None:
        """Hold on to nothing of the attempt, which is over; nothing more of it goes out.

        A connection keeps the context that it was opened in, and so the evidence, for as long as
        it is open.
        """
        self.is_over = True
        self.before_sending = self.before_body = self.deadline = None
        self.refusal = self.refused_at = None
        self.received = []

    def _refuse(self, error: Exception) -> None:
        self.refusal, self.refused_at = error, error.__traceback__

    def __deepcopy__(self, _: object) -> _Evidence:
        return self  # aioresponses copies what it is handed; a loop and its timers bear no copy

    def describe(self) -> str:
        if not self.is_started:
            return "nothing was seen of the attempt"
        return "the headers went out" if self.is_sent else "nothing was written"


def _connections_for(in_flight: int) -> int:
    return min(_MOST_CONNECTIONS, max(_FEWEST_CONNECTIONS, in_flight))


@define
class Transport:
    """The connections of a session; opened by `open`, ended by `aclose`."""

    base_url: str
    timeouts: Timeouts
    trusts_environment: bool = False
    connections: int = field(default=_FEWEST_CONNECTIONS, converter=_connections_for)
    """As many for Runs, and as many for reads; given as the tasks in flight that need them."""
    _timeout: aiohttp.ClientTimeout = field(init=False, repr=False)
    _stack: AsyncExitStack = field(init=False, repr=False, factory=AsyncExitStack)
    _runs: aiohttp.ClientSession = field(init=False, repr=False)
    _reads: aiohttp.ClientSession = field(init=False, repr=False)
    _cdn: Cdn = field(init=False, repr=False)
    _run_places: asyncio.Semaphore = field(init=False, repr=False)
    _read_places: asyncio.Semaphore = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._run_places = asyncio.Semaphore(self.connections)
        self._read_places = asyncio.Semaphore(self.connections)

    async def open(self) -> None:
        """Make the connection pools; no connection is opened yet."""
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.timeouts.connect_seconds
        )
        self._runs = await self._make_pool(_RUN_IDLE_SECONDS, _RunRequest, _make_trace())
        self._reads = await self._make_pool(_READ_IDLE_SECONDS, _ReadRequest)
        self._cdn = Cdn(self.base_url, self.timeouts, self.trusts_environment)
        self._stack.push_async_callback(self._cdn.aclose)
        await self._cdn.open()

    async def aclose(self) -> None:
        """Close every connection; safe to call twice."""
        await self._stack.aclose()

    def make_room(self, in_flight: int) -> None:
        """Let there be as many connections as so many tasks in flight need, if there are fewer."""
        while self.connections < _connections_for(in_flight):
            self.connections += 1
            self._run_places.release()
            self._read_places.release()

    async def send(
        self,
        request: Request,
        signature: Signature,
        *,
        before_sending: Callable[[], Awaitable[None]] | None = None,
        before_body: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one attempt and read its answer to the end.

        Args:
            request: what to send.
            signature: what authenticates this attempt.
            before_sending: of a Run only; awaited once the connection is there, right before the
                first byte goes out, and not at all by an attempt that does not come so far. Its
                time does not count against the request's timeout. Whatever it raises keeps
                everything in and comes out as it is.
            before_body: called with nothing but the writing of the body after it. If it raises,
                the body stays in, and so the server cannot have a whole request.

        Raises:
            RequestNotSent: if it certainly never reached the wire.
            OutcomeUnknown: if it may have been processed; its `partial` is what came of the
                answer's body.
        """
        # Nobody keeps note of other requests, and they leave without the trace that it takes.
        assert before_sending is None or request.is_billable  # noqa: S101 - as said
        evidence = _Evidence(before_sending, before_body)
        _EVIDENCE.set(evidence)
        pool = self._runs if request.is_billable else self._reads
        async with self._run_places if request.is_billable else self._read_places:
            try:
                return await self._exchange(pool, request, signature, evidence)
            except BaseException as error:  # noqa: BLE001 - raised again, or what it means
                failure = evidence.explain(error, request.path)
            finally:
                evidence.let_go()
        # Raised out here, so that no exception that knows the headers hangs on it as context.
        raise failure

    def stream(self, url: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Stream]:
        """Read an output's url; see `Cdn.stream`."""
        return self._cdn.stream(url, headers)

    async def _exchange(
        self,
        pool: aiohttp.ClientSession,
        request: Request,
        signature: Signature,
        evidence: _Evidence,
    ) -> Answer:
        # Not aiohttp's own total: that one cannot be stopped while `before_sending` is awaited.
        async with asyncio.timeout(self.timeouts.request_seconds) as evidence.deadline:
            async with pool.post(
                f"{self.base_url}{request.path}",
                data=request.body if len(request.body) <= _LARGE_BYTES else BytesIO(request.body),
                # The only place where the key stands in a plain mapping, and it has no name.
                headers={
                    **request.headers,
                    "Accept-Encoding": ENCODINGS,
                    **signature.headers(),
                },
                allow_redirects=False,
                trace_request_ctx=evidence,
                timeout=self._timeout,
            ) as response:
                return Answer(
                    http_status=response.status,
                    body=await _read_body(response, evidence.received),
                    retry_after=response.headers.get("Retry-After"),
                    location=response.headers.get("Location"),
                )

    async def _make_pool(
        self,
        idle_seconds: float,
        request_class: type[aiohttp.ClientRequest],
        *traces: aiohttp.TraceConfig,
    ) -> aiohttp.ClientSession:
        pool = make_pool(
            self.timeouts,
            idle_seconds=idle_seconds,
            trusts_environment=self.trusts_environment,
            request_class=request_class,
            traces=traces,
        )
        return await self._stack.enter_async_context(pool)


class _CarefulRequest(PlainRequest):
    """A request that does not go out on a connection where something came unasked."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if conn.protocol is None or conn.protocol.should_close:
            raise aiohttp.ClientConnectionResetError("something came before it was asked for")
        self.depart()
        return await super().send(conn)

    def depart(self) -> None:
        """Be told that the next step is the wire."""


class _ReadRequest(_CarefulRequest):
    """A read, which itself sees how far it gets: a trace costs a tenth of the whole request."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(*args, **options)
        _EVIDENCE.get().is_started = True

    def depart(self) -> None:
        _EVIDENCE.get().is_sent = True


class _RunRequest(_CarefulRequest):
    """A Run, whose body goes out only when that was noted."""

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, *more: int | None
    ) -> None:
        if _EVIDENCE.get().begin_body():
            await super().write_bytes(writer, conn, *more)
        else:
            conn.close()


async def _read_body(response: aiohttp.ClientResponse, received: list[bytes]) -> bytes:
    """The whole body, unpacked; on any failure `received` holds what came of it."""
    try:
        body = Body(response.headers.get("Content-Encoding"), _MAX_ANSWER_BYTES, received)
        try:
            while packed := await response.content.readany():
                body.take(packed)
        except BaseException:
            # What came right before an error lies behind it, and aiohttp has no public way to
            # it: should this one go, a little less is known of a half answer.
            with suppress(ValueError):
                body.take(getattr(response.content, "_read_nowait", lambda _: b"")(-1))
            raise
        return body.end()
    except BaseException:
        response.close()
        raise


def _make_trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def on_start(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.is_started = True

    async def on_sent(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        await context.trace_request_ctx.reach_the_wire()

    trace.on_request_start.append(on_start)
    trace.on_request_headers_sent.append(on_sent)
    return trace


def _failure(error: Exception, path: str, evidence: _Evidence) -> TransportError:
    seen = f"{describe_failure(error)}; {evidence.describe()}"
    if evidence.is_started and not evidence.is_sent:
        return RequestNotSent(
            f"{path}: the service could not be reached ({seen})", endpoint=path, evidence=seen
        )
    unknown = OutcomeUnknown(
        f"{path}: no answer was read ({seen}); the request may have been processed",
        endpoint=path,
        evidence=seen,
    )
    unknown.partial = b"".join(evidence.received)[:_MAX_PARTIAL_BYTES]
    return unknown
