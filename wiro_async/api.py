"""One call of the API: paced, signed, sent, decoded, and repeated where that is safe.

This is the conversation that every layer above has with the service. What may be repeated,
and when, and how fast requests may follow one another, is decided by `protocol.patience`. A
Run whose outcome is not known ends here as `RunOutcomeUnknown`, with everything that a person
needs to look for the task.

Longer than the other files because a Run's way out, and back, is told in one piece.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from attrs import define, evolve, field, frozen

from wiro_async.errors import (
    OutcomeUnknown,
    RateLimited,
    RunOutcomeUnknown,
    ServerError,
    SessionStateError,
    WiroError,
)
from wiro_async.protocol.patience import Patience
from wiro_async.protocol.requests import Request, build_run, wire_params
from wiro_async.protocol.responses import Answer, Started, decode_run, retry_after_seconds
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.protocol.salvage import salvage_run
from wiro_async.protocol.signing import Credentials, sign_attempt
from wiro_async.shield import finish
from wiro_async.task import JsonObject
from wiro_async.turns import Turns

if TYPE_CHECKING:  # it brings aiohttp, which is imported when a session opens
    from wiro_async.transport import Transport

T = TypeVar("T")

# Every attempt of every session of this process takes its own number; starting at the time in
# microseconds keeps it apart from the numbers of earlier processes too.
_NONCES = itertools.count(time.time_ns() // 1_000)


@frozen(kw_only=True)
class Statistics:
    """What a session has done so far.

    Attributes:
        requests: attempts that were sent, by endpoint (``/Run`` for all models).
        repeats: requests and downloads that had to be sent again.
        rejections: Runs that had to wait because the account was full (code 96).
        in_flight: slots that are taken now.
        most_in_flight: the most slots that were taken at once.
        unanswered_seconds: for how long the service has answered nobody, once that is taken for
            an outage (`RetryPolicy.max_outage_seconds`); nought while it answers.
    """

    requests: Mapping[str, int]
    repeats: int
    rejections: int
    in_flight: int
    most_in_flight: int
    unanswered_seconds: float = 0.0


class RunKeeper(Protocol):
    """Who keeps note of a Run, so that what came of it is known whatever happens to its caller.

    `before_sending` is awaited for each attempt at the last moment before its first byte, and
    `before_body` called with nothing but the writing of the body after it: if one raises, the
    rest stays in, and what it raised comes out. Then exactly one of the other three is awaited
    for that attempt, before anybody else learns of its outcome, and also where the caller has
    been cancelled meanwhile.
    """

    async def before_sending(self) -> None:
        """A Run is about to go out."""
        ...

    def before_body(self) -> None:
        """Its body goes out next."""
        ...

    async def on_started(self, started: Started) -> None:
        """It made a task."""
        ...

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        """It may have made a task."""
        ...

    async def on_no_task(self, error: WiroError) -> None:
        """It certainly made none; it may never have gone out."""
        ...


@define
class Api:
    """The service, as the rest of the client sees it."""

    transport: Transport
    credentials: Credentials
    policy: RetryPolicy
    dice: Callable[[], float] = random.random
    requests: Counter[str] = field(factory=Counter)
    repeats: int = 0
    patience: Patience = field(init=False)
    turns: Turns = field(init=False)
    on_recovered: Callable[[], None] = field(init=False, default=lambda: None)
    """Called when an outage ends."""
    _on_wire: set[asyncio.Task[object]] = field(init=False, factory=set)
    _loop: asyncio.AbstractEventLoop = field(init=False, factory=asyncio.get_running_loop)
    _is_closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.patience = Patience(self.policy)
        self.turns = Turns(self.patience.pace)

    @property
    def unanswered_seconds(self) -> float:
        """For how long the service has answered nobody; nought while it does."""
        return self.patience.outage.seconds_so_far(self._loop.time())

    def require_loop(self) -> None:
        """Raise a `SessionStateError` anywhere but on the session's own event loop."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:  # none runs at all
            running = None
        if running is not self._loop:
            raise SessionStateError(
                "this session belongs to another event loop than the running one: open a "
                "session on each loop, for one inside the coroutine given to asyncio.run()"
            )

    def require_open(self, path: str) -> None:
        """Raise a `SessionStateError` where nothing more may go out."""
        if self._is_closed:
            raise SessionStateError(f"{path}: not sent, the session was closed before")

    async def attempt(self, request: Request, decode: Callable[[Answer, str], T]) -> T:
        """Send one attempt, once the pace allows it, and decode its answer.

        Raises:
            WiroError: whatever the attempt ended with.
        """
        await self._take_turn(request)
        return await self._exchange(request, decode)

    async def call(self, request: Request, decode: Callable[[Answer, str], T]) -> T:
        """Like `attempt`, repeated as long as that is safe and worth it.

        Raises:
            WiroError: whatever the last attempt ended with.
        """
        return await self._repeat(lambda: self.attempt(request, decode), is_billable=False)

    async def run(self, model: str, params: JsonObject, keeper: RunKeeper) -> None:
        """Start a task: exactly one Run that could have made one.

        A Run that is on the wire when the caller is cancelled is finished, and its keeper told,
        before the cancellation goes through.

        Args:
            model: the slug, checked before.
            params: the parameters, checked before.
            keeper: takes note of what goes out and of what comes of it.

        Raises:
            RunOutcomeUnknown: if a task may have been made.
            WiroError: if certainly none was; also what the keeper raised.
        """
        request = build_run(model, params)

        async def submit(departure: _Departure) -> None:
            sent_at = time.time()
            try:
                started = await self._send_run(request, departure)
            except (OutcomeUnknown, ServerError) as error:
                unknown = _unknown_run(error, model, params, sent_at)
            except WiroError as error:
                await keeper.on_no_task(error)
                raise
            else:
                await keeper.on_started(started)
                return
            await keeper.on_unknown(unknown)
            raise unknown

        async def attempt() -> None:
            await self._take_turn(request)
            departure = _Departure(self, request.path, keeper)
            await finish(self._known_on_wire(submit(departure)), departure.begun)

        await self._repeat(attempt, is_billable=True)

    async def aclose(self) -> None:
        """Let nothing more out, and wait for the Runs that are on the wire.

        Each of them is bounded by the request timeout.
        """
        self._is_closed = True
        if self._on_wire:
            await asyncio.wait(self._on_wire)

    async def _take_turn(self, request: Request) -> None:
        """Wait until the pace lets the next request out."""
        self.require_loop()
        await self.turns.wait(is_run=request.is_billable)
        self.require_open(request.path)

    async def _repeat(self, attempt: Callable[[], Awaitable[T]], *, is_billable: bool) -> T:
        failures = 0
        while True:
            try:
                return await attempt()
            except WiroError as error:
                failures += 1
                wait = self.patience.repeat_after(
                    error, failures, self._loop.time(), self.dice(), is_billable=is_billable
                )
                if wait is None:
                    raise
            self.repeats += 1
            await asyncio.sleep(wait)

    async def _exchange(
        self,
        request: Request,
        decode: Callable[[Answer, str], T],
        departure: _Departure | None = None,
    ) -> T:
        self.requests[request.endpoint] += 1
        try:
            answer = await self.transport.send(
                request,
                sign_attempt(self.credentials, next(_NONCES)),
                before_sending=None if departure is None else departure.before_sending,
                before_body=None if departure is None else departure.keeper.before_body,
            )
            # Before anybody reads it: its words come to messages, files and logs.
            answer = _blotted(answer, self.credentials)
            value = self._read(answer, request.path, decode)
        except WiroError as error:
            if self.patience.on_error(error, self._loop.time(), self.dice()):
                self.on_recovered()
            raise
        if self.patience.on_success():
            self.on_recovered()
        return value

    def _read(self, answer: Answer, path: str, decode: Callable[[Answer, str], T]) -> T:
        """Decode an answer; an error says for how long the service asked to wait."""
        try:
            return decode(answer, path)
        except (RateLimited, ServerError) as error:
            asked = retry_after_seconds(answer.retry_after, datetime.now(UTC))
            error.retry_after_seconds = asked
            if asked is not None:
                cap = self.policy.max_pause_seconds
                beyond = f", RetryPolicy.max_pause_seconds is {cap:g} s" if asked > cap else ""
                error.args = (
                    f"{error.message}; the service asks for a wait of {asked:.0f} s{beyond}",
                )
            raise

    async def _send_run(self, request: Request, departure: _Departure) -> Started:
        try:
            return await self._exchange(request, _decode_run, departure)
        except OutcomeUnknown as error:
            # Half an answer that names the task is followed: not a retry, the task exists.
            started = salvage_run(error.partial)
            if started is None:
                raise
        return started

    async def _known_on_wire(self, submit: Coroutine[object, object, T]) -> T:
        """Be known to `aclose` while a Run is on the wire."""
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - `finish` gave it a task of its own
        self._on_wire.add(me)
        try:
            return await submit
        finally:
            self._on_wire.discard(me)


@define(eq=False)
class _Departure:
    """One attempt of a Run on its way to the wire; until it has begun, it can be called back."""

    api: Api
    path: str
    keeper: RunKeeper
    begun: asyncio.Future[None] = field(
        init=False, factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def before_sending(self) -> None:
        self.api.require_open(self.path)  # it can have been closed while this connected
        self.begun.set_result(None)
        await self.keeper.before_sending()


def _blotted(answer: Answer, credentials: Credentials) -> Answer:
    """The answer without the key and the secret, should it repeat them."""
    body = credentials.blot(answer.body)
    location = answer.location
    if location is None and body == answer.body:
        return answer
    location = credentials.blot((location or "").encode(errors="replace")).decode()
    return evolve(answer, body=body, location=location)


def _decode_run(answer: Answer, endpoint: str) -> Started:
    try:
        return decode_run(answer, endpoint)
    except ServerError:
        started = salvage_run(answer.body)
        if started is None:
            raise
    return started


def _unknown_run(
    error: OutcomeUnknown | ServerError, model: str, params: JsonObject, sent_at: float
) -> RunOutcomeUnknown:
    return RunOutcomeUnknown(
        f"{error.message}. A task may have been made, and may be billed: it was not sent "
        f"again. Look for a task of {model} with these parameters: find() does so in the list of "
        "tasks, a person in the dashboard",
        endpoint=error.endpoint,
        evidence=getattr(error, "evidence", error.message),
        model=model,
        params=dict(wire_params(params)),
        sent_at=sent_at,
    )
