"""WiroSession: owns the lifetime of everything, and wires it together.

A session may be opened in one asyncio task and closed in another, as web frameworks and test
fixtures do, so what it keeps running are plain asyncio tasks that `aclose` ends. It belongs to
the event loop that it was opened on, and says so when it is used on another one.

Longer than the other files because every setting and verb of the public class is told here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from wiro_async.api import Api, Statistics
from wiro_async.batch.engine import Batch
from wiro_async.batch.requests import BatchRequest
from wiro_async.catalog import check_request
from wiro_async.downloads import Downloader
from wiro_async.errors import (
    ConcurrencyLimitReached,
    ConfigurationError,
    RunOutcomeUnknown,
    SessionStateError,
)
from wiro_async.handle import TaskHandle
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.requests import build_list
from wiro_async.protocol.responses import Started, decode_tasks
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.settings import (
    DEFAULT_BASE_URL,
    check_base_url,
    check_positive,
    find_credentials,
)
from wiro_async.task import JsonObject, Task
from wiro_async.tracking.slots import Slots
from wiro_async.tracking.tracker import Tracker
from wiro_async.tracking.watch import Watch
from wiro_async.transport import Timeouts, Transport

_LOGGER = logging.getLogger("wiro_async")


class WiroSession:
    """A signed conversation with the service, and everything that one shares in it.

    Args:
        api_key: the project's key; without it `WIRO_API_KEY` and `WIRO_API_SECRET` are read.
        api_secret: the project's secret; None for a project that has none.
        base_url: where the service is; without it `WIRO_BASE_URL`, else the official address.
            Plain http only for this machine.
        max_in_flight: tasks that may run at once; fewer where the account allows fewer.
        max_downloads: outputs that are downloaded at once.
        max_looks_per_second: status requests per second, for all tasks together.
        poll_schedule: when a task is looked at.
        retry_policy: what is tried again, and how patiently.
        request_timeout_seconds: for one attempt of an API request, from connecting on.
        silence_timeout_seconds: without a byte while an output is downloaded.
        task_timeout_seconds: for a whole task, from Run to terminal; None waits for ever.
        trust_env: take proxy settings from the environment.

    Raises:
        CredentialsError: if there is no key, or a secret without a key.
        ConfigurationError: if another argument cannot work.
    """

    def __init__(  # noqa: PLR0913 - every setting has a name of its own and a right default
        self,
        api_key: str | None = None,
        api_secret: str | None = None,
        *,
        base_url: str | None = None,
        max_in_flight: int = 100,
        max_downloads: int = 16,
        max_looks_per_second: float = 100.0,
        poll_schedule: PollSchedule | None = None,
        retry_policy: RetryPolicy | None = None,
        request_timeout_seconds: float = 60.0,
        silence_timeout_seconds: float = 30.0,
        task_timeout_seconds: float | None = 6 * 3600.0,
        trust_env: bool = False,
    ) -> None:
        check_positive("max_in_flight", max_in_flight)
        check_positive("max_downloads", max_downloads)
        check_positive("max_looks_per_second", max_looks_per_second)
        check_positive("request_timeout_seconds", request_timeout_seconds)
        check_positive("silence_timeout_seconds", silence_timeout_seconds)
        if task_timeout_seconds is not None:
            check_positive("task_timeout_seconds", task_timeout_seconds)
        self._credentials = find_credentials(api_key, api_secret, os.environ)
        self._base_url = check_base_url(
            base_url or os.environ.get("WIRO_BASE_URL") or DEFAULT_BASE_URL
        )
        self._max_in_flight = max_in_flight
        self._max_downloads = max_downloads
        self._max_looks_per_second = max_looks_per_second
        self._schedule = poll_schedule or PollSchedule()
        self._policy = retry_policy or RetryPolicy()
        self._timeouts = Timeouts(
            request_seconds=request_timeout_seconds, silence_seconds=silence_timeout_seconds
        )
        self._task_timeout_seconds = task_timeout_seconds
        self._trusts_environment = trust_env
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open" if self._loop else "not opened"
        return f"<WiroSession {self._base_url} {state}>"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Open the session on the running event loop; ``async with`` does it for you.

        Raises:
            SessionStateError: if it was opened before.
        """
        if self._loop is not None:
            raise SessionStateError("this session was opened before; make a new WiroSession()")
        self._loop = asyncio.get_running_loop()
        self._transport = Transport(
            base_url=self._base_url,
            timeouts=self._timeouts,
            trusts_environment=self._trusts_environment,
        )
        await self._transport.open()
        dice = random.random
        self._api = Api(
            transport=self._transport, credentials=self._credentials, policy=self._policy, dice=dice
        )
        self._tracker = Tracker(
            api=self._api,
            schedule=self._schedule,
            max_looks_per_second=self._max_looks_per_second,
        )
        self._downloader = Downloader(
            transport=self._transport,
            policy=self._policy,
            max_downloads=self._max_downloads,
            dice=dice,
        )
        self._slots = Slots(ceiling=self._max_in_flight, dice=dice)

    async def aclose(self) -> None:
        """Close the session; safe to call twice.

        A Run that is on the wire is finished first. Tasks that still run go on at the service;
        whoever awaits one here gets a `SessionStateError` that names it.
        """
        if self._loop is None or self._is_closed:
            self._is_closed = True
            return
        self._api.require_loop()
        self._is_closed = True
        # Shielded, since in a cancelled scope of anyio's every await of the closing would fail;
        # stacked, so that a cancelled waiting for Runs does not leave the rest open.
        with anyio.CancelScope(shield=True):
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._transport.aclose)
                stack.push_async_callback(self._tracker.aclose)
                await self._api.aclose()

    async def run(
        self, model: str, params: JsonObject | None = None, *, callback_url: str | None = None
    ) -> TaskHandle:
        """Start a task, once a slot is free, and give its handle when the service has answered.

        Exactly one Run that could have made a task is sent. If the caller is cancelled while it
        is on the wire, it is finished and the task is watched before the cancellation goes
        through.

        Args:
            model: the slug, ``owner/model``.
            params: the model's parameters; None as a value leaves one out.
            callback_url: where the service is to post the result.

        Raises:
            InvalidRequest: if the slug or a parameter is wrong; nothing was sent.
            RunOutcomeUnknown: if a task may have been made, but its id was not read.
            ApiError: if the service refused; no task was made.
            RequestNotSent: if the service could not be reached.
        """
        sent = dict(params or {})
        if callback_url is not None:
            sent["callbackUrl"] = callback_url
        unknown: list[RunOutcomeUnknown] = []
        try:
            return await self.start(
                model, sent, on_handle=lambda _: None, on_unknown=unknown.append
            )
        except asyncio.CancelledError:
            for error in unknown:  # this caller never sees it, and money may hang on it
                _LOGGER.warning("%s", error.message)
            raise

    async def start(
        self,
        model: str,
        params: JsonObject,
        *,
        on_handle: Callable[[TaskHandle], None],
        on_unknown: Callable[[RunOutcomeUnknown], None] = lambda _: None,
    ) -> TaskHandle:
        """Like `run`, for a caller that has to know of every task that is made.

        One of the two is called as soon as a task was made, or may have been: also where the
        caller is cancelled while the Run is on the wire. They must not raise.
        """
        self._require_open()
        check_request(model, params)
        slot = object()
        await self._slots.acquire(slot)
        owns_slot = True

        def take(started: Started) -> TaskHandle:
            nonlocal owns_slot
            owns_slot = False
            handle = self._start_watch(model, started, slot)
            on_handle(handle)
            return handle

        try:
            while True:
                try:
                    return await self._api.run(
                        model, params, on_started=take, on_unknown=on_unknown
                    )
                except ConcurrencyLimitReached as error:
                    rejection = error
                owns_slot = False
                await self._slots.wait_again(slot, rejection)
                owns_slot = True
        finally:
            if owns_slot:
                self._slots.release(slot)

    def task(self, *, task_id: str | None = None, token: str | None = None) -> TaskHandle:
        """A handle of a task that exists, whoever started it; it is looked at at once.

        Raises:
            ConfigurationError: if neither of the names is given.
        """
        self._require_open()
        if not task_id and not token:
            raise ConfigurationError("a task is named by task_id= or token=; give one of them")
        watch = self._tracker.watch(
            task_id=task_id or None,
            token=token or None,
            timeout_seconds=self._task_timeout_seconds,
            is_new=False,
        )
        return self._handle(None, watch)

    async def list_tasks(
        self, *, start: int = 0, limit: int = 20, model: str | None = None
    ) -> tuple[Task, ...]:
        """A page of the project's tasks, newest first.

        Raises:
            WiroError: if the service refused or could not be reached.
        """
        self._require_open()
        return await self._api.call(build_list(start=start, limit=limit, model=model), decode_tasks)

    def batch(
        self,
        requests: Iterable[BatchRequest | str | JsonObject]
        | AsyncIterable[BatchRequest | str | JsonObject],
        *,
        output_dir: str | Path,
        model: str | None = None,
        params: JsonObject | None = None,
        max_in_flight: int | None = None,
    ) -> Batch:
        """Run many requests, their results to disk as they come.

        Args:
            requests: `BatchRequest`s, prompts or mappings; read lazily, no faster than needed.
            output_dir: where files, ``results.jsonl`` and ``errors.jsonl`` go.
            model: the slug for requests that name none.
            params: parameters for every request; a request's own win.
            max_in_flight: tasks of this batch that may run at once; the session's limit if None.

        Raises:
            ConfigurationError: if an argument cannot work.
        """
        self._require_open()
        if max_in_flight is not None:
            check_positive("max_in_flight", max_in_flight)
            self._slots.raise_ceiling(max_in_flight)
        return Batch(
            self,
            requests,
            output_dir=Path(output_dir),
            model=model,
            params=params if params is not None else {},
            max_in_flight=max_in_flight or self._max_in_flight,
        )

    @property
    def statistics(self) -> Statistics:
        """What the session has done so far.

        Raises:
            SessionStateError: if it is not open.
        """
        self._require_open()
        return Statistics(
            requests=dict(self._api.requests),
            repeats=self._api.repeats + self._downloader.repeats,
            rejections=self._slots.rejections,
            in_flight=self._slots.in_flight,
            most_in_flight=self._slots.most_in_flight,
        )

    def _start_watch(self, model: str, started: Started, slot: object) -> TaskHandle:
        self._slots.on_accepted()
        watch = self._tracker.watch(
            task_id=started.task_id,
            token=started.token,
            timeout_seconds=self._task_timeout_seconds,
        )
        watch.call_when_done(lambda: self._slots.release(slot))
        return self._handle(model, watch)

    def _handle(self, model: str | None, watch: Watch) -> TaskHandle:
        return TaskHandle(
            model=model,
            api=self._api,
            tracker=self._tracker,
            downloader=self._downloader,
            watch=watch,
        )

    def _require_open(self) -> None:
        if self._is_closed:
            raise SessionStateError("this session is closed; open a new one")
        if self._loop is None:
            raise SessionStateError(
                "this session is not open: use it inside `async with WiroSession() as wiro:`, "
                "or await its open()"
            )
        self._api.require_loop()
