"""Bytes over the wire: the one client file that knows aiohttp's client.

It carries what it is given and says of every request how far it got:

* an `Answer`: a response was read from the wire to its end;
* `RequestNotSent`: it certainly never reached the wire, and may be sent again freely;
* `OutcomeUnknown`: it may have been processed.

The proof of "not sent" is aiohttp's own trace: the attempt was seen to start, and
``on_request_headers_sent`` never fired for it. The type of an exception proves nothing: a
"connection error" can come before the connection or after the body. Where the trace was not
seen at all there is no proof, so the outcome is unknown.

That same moment, after the connection and before its first byte, is offered to the caller
(`before_sending`), who can write down what is about to happen. aiohttp awaits the trace before
it writes anything: not a promise of its documentation, so the tests hold it there and look.

A half answer is not thrown away: an error of unknown outcome carries what came of the body,
since the names of a new task may be in it.

Also here, because they are properties of connections:

* Redirects of the API are not followed: a signature is made for one origin.
* Runs have connections of their own that are not kept idle for longer than a second: a
  connection that the server has closed meanwhile fails in the one way that cannot be told
  from a Run that was processed.
* A connection on which something came unasked is not used: aiohttp would take it for the
  answer to the next request.
* Outputs come over a third set of connections, which carries no credentials.
* No cookies, and no proxy settings of the environment unless asked for.
* The number of connections is bounded here, before aiohttp, so that waiting for one neither
  counts against a request's timeout nor leaves a doubt about what was sent.

Longer than the other files because all that knows aiohttp's client stands here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from io import BytesIO
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from attrs import define, field, frozen

from wiro_async.errors import OutcomeUnknown, RequestNotSent, TransportError
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer

# The documentation gives no number; these keep 200 tasks in flight busy and a server calm.
_RUN_CONNECTIONS = 64
_READ_CONNECTIONS = 64
_RUN_IDLE_SECONDS = 1.0
_READ_IDLE_SECONDS = 15.0
_MAX_REDIRECTS = 5
_CHUNK_BYTES = 256 * 1024
# aiohttp warns of larger bytes: written at once, they would hold up the loop.
_LARGE_BYTES = 1024 * 1024

# Of the attempt that the running asyncio task makes: aiohttp's request class is handed nothing.
_EVIDENCE: ContextVar[_Evidence] = ContextVar("wiro_async evidence")

# ValueError: aiohttp raises it for urls and headers that it cannot send.
_WIRE_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


@frozen(kw_only=True)
class Timeouts:
    """How long to wait for what, in seconds.

    Attributes:
        request_seconds: for one attempt of an API request, from connecting to the last byte,
            but for the time that `before_sending` takes.
        silence_seconds: without a single byte while an output is downloaded.
        connect_seconds: for a connection, its TLS handshake included.
    """

    request_seconds: float = 60.0
    silence_seconds: float = 30.0
    connect_seconds: float = 15.0


@define
class _Evidence:
    """What the trace saw of one attempt, and what came of its answer."""

    before_sending: Callable[[], Awaitable[None]] | None
    before_body: Callable[[], None] | None
    deadline: asyncio.Timeout = field(init=False)
    is_started: bool = False
    is_sent: bool = False
    refusal: Exception | None = None
    received: list[bytes] = field(factory=list)

    async def reach_the_wire(self) -> None:
        """Let the caller speak at the last moment before the first byte; the clock waits."""
        if self.before_sending is not None:
            clock = asyncio.get_running_loop()
            since = clock.time()
            due = self.deadline.when() or since
            self.deadline.reschedule(None)
            try:
                await self.before_sending()
            except Exception as error:
                self.refusal = error  # aiohttp wraps an OSError; the caller gets its own back
                raise
            self.deadline.reschedule(due + clock.time() - since)
        self.is_sent = True

    def begin_body(self) -> bool:
        """Let the caller note that the body goes out next; whether it may."""
        if self.before_body is not None:
            try:
                self.before_body()
            except Exception as error:  # noqa: BLE001 - the caller gets its own back
                self.refusal = error
        return self.refusal is None

    def __deepcopy__(self, _: object) -> _Evidence:
        return self  # aioresponses copies what it is handed; a loop and its timers bear no copy

    def describe(self) -> str:
        if not self.is_started:
            return "nothing was seen of the attempt"
        return "the headers went out" if self.is_sent else "nothing was written"


@frozen(kw_only=True)
class Stream:
    """An output that is being read: its status, headers and bytes."""

    http_status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


@define
class Transport:
    """The connections of a session; opened by `open`, ended by `aclose`."""

    base_url: str
    timeouts: Timeouts
    trusts_environment: bool = False
    _stack: AsyncExitStack = field(init=False, factory=AsyncExitStack)
    _runs: aiohttp.ClientSession = field(init=False)
    _reads: aiohttp.ClientSession = field(init=False)
    _outputs: aiohttp.ClientSession = field(init=False)
    _run_places: asyncio.Semaphore = field(init=False)
    _read_places: asyncio.Semaphore = field(init=False)

    async def open(self) -> None:
        """Make the connection pools; no connection is opened yet."""
        self._run_places = asyncio.Semaphore(_RUN_CONNECTIONS)
        self._read_places = asyncio.Semaphore(_READ_CONNECTIONS)
        self._runs = await self._make_pool(_RUN_IDLE_SECONDS, trace=True)
        self._reads = await self._make_pool(_READ_IDLE_SECONDS, trace=True)
        self._outputs = await self._make_pool(_READ_IDLE_SECONDS, trace=False)

    async def aclose(self) -> None:
        """Close every connection; safe to call twice."""
        await self._stack.aclose()

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        before_sending: Callable[[], Awaitable[None]] | None = None,
        before_body: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one attempt and read its answer to the end.

        Args:
            request: what to send.
            headers: the signature of this attempt.
            before_sending: awaited once the connection is there, right before the first byte
                goes out, and not at all by an attempt that does not come so far. Its time does
                not count against the request's timeout. Whatever it raises keeps everything in
                and comes out as it is.
            before_body: called with nothing but the writing of the body after it. If it raises,
                the body stays in, and so the server cannot have a whole request.

        Raises:
            RequestNotSent: if it certainly never reached the wire.
            OutcomeUnknown: if it may have been processed; its `partial` is what came of the
                answer's body.
        """
        evidence = _Evidence(before_sending, before_body)
        _EVIDENCE.set(evidence)
        pool = self._runs if request.is_billable else self._reads
        async with self._run_places if request.is_billable else self._read_places:
            try:
                return await self._exchange(pool, request, headers, evidence)
            except Exception as error:
                # Once it is sent, no kind of error may hide that.
                if not (evidence.is_sent or isinstance(error, _WIRE_ERRORS)):
                    raise
                failure = evidence.refusal or _failure(error, request.path, evidence)
        # Raised out here, so that no exception that knows the headers hangs on it as context.
        raise failure

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        """Read an output's url; the body comes in chunks while the context is open.

        Raises:
            TransportError: if the connection failed, or was silent for too long; also from
                within the iteration of the chunks. What the body of the context raises passes.
        """
        response = await self._open_output(url, headers)
        try:
            yield Stream(
                http_status=response.status,
                headers=response.headers,
                chunks=_read_chunks(response, url),
            )
        finally:
            response.close()

    async def _open_output(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            return await self._outputs.get(url, headers=headers, max_redirects=_MAX_REDIRECTS)
        except _WIRE_ERRORS as error:
            failure = TransportError(f"{url}: {_describe(error)}", endpoint=url)
        raise failure

    async def _exchange(
        self,
        pool: aiohttp.ClientSession,
        request: Request,
        headers: Mapping[str, str],
        evidence: _Evidence,
    ) -> Answer:
        # Not aiohttp's own total: that one cannot be stopped while `before_sending` is awaited.
        async with asyncio.timeout(self.timeouts.request_seconds) as evidence.deadline:
            async with pool.post(
                f"{self.base_url}{request.path}",
                data=request.body if len(request.body) <= _LARGE_BYTES else BytesIO(request.body),
                headers={**request.headers, **headers},
                allow_redirects=False,
                trace_request_ctx=evidence,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.timeouts.connect_seconds
                ),
            ) as response:
                return Answer(
                    http_status=response.status,
                    body=await _read_body(response, evidence.received),
                    retry_after=response.headers.get("Retry-After"),
                )

    async def _make_pool(self, idle_seconds: float, *, trace: bool) -> aiohttp.ClientSession:
        pool = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_seconds),
            request_class=_CarefulRequest if trace else aiohttp.ClientRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self.trusts_environment,
            trace_configs=[_make_trace()] if trace else [],
            auto_decompress=trace,  # an output is saved as it is named in the record
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self.timeouts.connect_seconds,
                sock_read=self.timeouts.silence_seconds,
            ),
        )
        return await self._stack.enter_async_context(pool)


class _CarefulRequest(aiohttp.ClientRequest):
    """A request that is looked at once more at both moments after which there is no way back.

    It does not go out on a connection where something came unasked, and its body only when that
    was noted.
    """

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, *more: int | None
    ) -> None:
        if _EVIDENCE.get().begin_body():
            await super().write_bytes(writer, conn, *more)
        else:
            conn.close()

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if conn.protocol is None or conn.protocol.should_close:
            raise aiohttp.ClientConnectionResetError("something came before it was asked for")
        return await super().send(conn)


async def _read_body(response: aiohttp.ClientResponse, received: list[bytes]) -> bytes:
    """The whole body; on any failure `received` holds what came of it."""
    try:
        while piece := await response.content.readany():
            received.append(piece)
    except BaseException:
        # What came right before an error lies behind it, and aiohttp has no public way to it:
        # should this one go, a little less is known of a half answer.
        received.append(getattr(response.content, "_read_nowait", lambda _: b"")(-1))
        response.close()
        raise
    return b"".join(received)


async def _read_chunks(response: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            yield chunk
    except _WIRE_ERRORS as error:
        failure = TransportError(f"{url}: {_describe(error)}", endpoint=url)
    else:
        return
    raise failure


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
    seen = f"{_describe(error)}; {evidence.describe()}"
    if evidence.is_started and not evidence.is_sent:
        return RequestNotSent(
            f"{path}: the service could not be reached ({seen})", endpoint=path, evidence=seen
        )
    unknown = OutcomeUnknown(
        f"{path}: no answer was read ({seen}); the request may have been processed",
        endpoint=path,
        evidence=seen,
    )
    unknown.partial = b"".join(evidence.received)
    return unknown


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"timeout: {error}" if str(error) else "timeout"
    # aiohttp wraps the system's own words in its view of TLS; these say it plainly.
    words = getattr(error, "os_error", None) or error
    return f"{type(error).__name__}: {words}" if str(words) else type(error).__name__
