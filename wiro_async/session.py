"""WiroSession: owns the lifetime of everything, and wires it together.

A session may be opened in one asyncio task and closed in another, as web frameworks and test
fixtures do, so what it keeps running are plain asyncio tasks that `aclose` ends. It belongs to
the event loop that it was opened on, and says so when it is used on another one.

Longer than the other files because every setting and verb of the public class is told here.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, get_args

import anyio

from wiro_async.api import Api, Statistics
from wiro_async.batch.callbacks import CallingRunner
from wiro_async.batch.engine import Batch
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.runner import Choices, OnUnknown
from wiro_async.catalog import check_request
from wiro_async.downloads import Downloader
from wiro_async.errors import ConfigurationError, RunOutcomeUnknown, SessionStateError
from wiro_async.handle import TaskHandle
from wiro_async.protocol.learning import Learned, Told, Waits
from wiro_async.protocol.matching import LostRun
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.prices import decode_tool, estimate_cost
from wiro_async.protocol.requests import build_list, build_tool_detail
from wiro_async.protocol.responses import Started, decode_tasks
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.runs import LogKeeper, Starter, TaskKeeper
from wiro_async.settings import (
    DEFAULT_LOOKS_PER_SECOND,
    Tracking,
    check_choice,
    check_positive,
    find_service,
    find_socket_url,
)
from wiro_async.task import JsonObject, Task
from wiro_async.timeouts import Timeouts
from wiro_async.tracking.search import Knower, Search
from wiro_async.tracking.slots import Slots
from wiro_async.tracking.sweeps import Sweeps
from wiro_async.tracking.tracker import Tracker
from wiro_async.tracking.webhook import CallbackUrl
from wiro_async.tracking.websocket import SocketHub


class WiroSession:
    """A signed conversation with the service, and everything that one shares in it.

    Args:
        api_key: the project's key; without it `WIRO_API_KEY` and `WIRO_API_SECRET` are read.
        api_secret: the project's secret; None for a project that has none.
        base_url: where the service is; without it `WIRO_BASE_URL`, else the official address.
            Plain http only for this machine, but for `allow_http`.
        max_in_flight: tasks that may run at once; fewer where the account allows fewer.
        max_downloads: outputs that are downloaded at once.
        max_looks_per_second: status requests per second, for all tasks together, pages of the
            list among them.
        poll_schedule: when a task is looked at; without it, as is best for the model by what
            the session has seen of its tasks.
        retry_policy: what is tried again, and how patiently.
        request_timeout_seconds: for one attempt of an API request, from connecting on.
        silence_timeout_seconds: without a byte while an output is downloaded.
        task_timeout_seconds: for a whole task, from Run to terminal; None waits for ever.
        settle_seconds: how long a Run whose answer was lost is given to show in the list of
            tasks, before it is looked for there.
        trust_env: take proxy settings from the environment. Through a proxy, names are looked
            up by the proxy: that an output lies at a public address cannot be seen here then.
        allow_http: let the base url be plain http to another machine too, where everybody on
            the way sees the key: for an emulator in a container of its own.
        max_output_bytes: the largest output that is downloaded.
        tracking: who tells that a task may have ended; Task/Detail decides whatever it is. With
            ``poll`` nobody does, each task is looked at; with ``sweep`` the list of tasks does
            too, where many are in flight, and with ``socket`` the service's socket. ``auto``
            is for all of them, each as far as it proves itself.
        socket_url: where the service's socket is; without it `WIRO_SOCKET_URL`, else that of
            the official service where that is the one in use.

    Raises:
        CredentialsError: if there is no key, or a secret without a key.
        ConfigurationError: if another argument cannot work.
    """

    # Here as well, since a repr has to work while `__init__` raises: reporters of errors call it.
    _base_url = ""
    _loop: asyncio.AbstractEventLoop | None = None
    _is_closed = False

    def __init__(  # noqa: PLR0913 - every setting has a name of its own and a right default
        self,
        api_key: str | None = None,
        api_secret: str | None = None,
        *,
        base_url: str | None = None,
        max_in_flight: int = 100,
        max_downloads: int = 64,
        max_looks_per_second: float = DEFAULT_LOOKS_PER_SECOND,
        poll_schedule: PollSchedule | None = None,
        retry_policy: RetryPolicy | None = None,
        request_timeout_seconds: float = 60.0,
        silence_timeout_seconds: float = 30.0,
        task_timeout_seconds: float | None = 6 * 3600.0,
        settle_seconds: float = 10.0,
        trust_env: bool = False,
        allow_http: bool = False,
        max_output_bytes: int = 1 << 30,
        tracking: Tracking = "auto",
        socket_url: str | None = None,
    ) -> None:
        service = find_service(api_key, api_secret, base_url, os.environ, allow_http=allow_http)
        # Whoever reports an error with the variables of its frames must not find them here.
        del api_key, api_secret, base_url
        if isinstance(service, ConfigurationError):
            raise service
        check_positive("max_in_flight", max_in_flight)
        check_positive("max_downloads", max_downloads)
        check_positive("max_looks_per_second", max_looks_per_second)
        check_positive("request_timeout_seconds", request_timeout_seconds)
        check_positive("silence_timeout_seconds", silence_timeout_seconds)
        if task_timeout_seconds is not None:
            check_positive("task_timeout_seconds", task_timeout_seconds)
        check_positive("settle_seconds", settle_seconds)
        check_positive("max_output_bytes", max_output_bytes)
        self._credentials = service.credentials
        self._base_url = service.base_url
        self._max_in_flight = max_in_flight
        self._max_downloads = max_downloads
        self._max_looks_per_second = max_looks_per_second
        self._waits: Waits = Learned() if poll_schedule is None else Told(poll_schedule)
        self._policy = retry_policy or RetryPolicy()
        self._timeouts = Timeouts(
            request_seconds=request_timeout_seconds, silence_seconds=silence_timeout_seconds
        )
        self._task_timeout_seconds = task_timeout_seconds
        self._settle_seconds = settle_seconds
        self._tools: dict[str, JsonObject] = {}
        self._trusts_environment = trust_env
        self._max_output_bytes = max_output_bytes
        self._tracking = check_choice("tracking", tracking, get_args(Tracking))
        self._socket_url = find_socket_url(
            socket_url, self._base_url, os.environ, allow_http=allow_http
        )
        if tracking == "socket" and self._socket_url is None:
            raise ConfigurationError(
                "tracking is 'socket', and where the socket of this service is, nobody knows: pass "
                "socket_url= or set WIRO_SOCKET_URL"
            )

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open" if self._loop else "not opened"
        return f"<WiroSession {self._base_url} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a session is not pickled or copied: it holds connections and credentials; make one "
            "where it is needed"
        )

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

        The first one of a process takes about 0.1 s longer, since it imports aiohttp; a program
        that cannot spare them then has imported aiohttp before.

        Raises:
            SessionStateError: if it was opened before.
        """
        if self._loop is not None:
            raise SessionStateError("this session was opened before; make a new WiroSession()")
        # Not at the head of the file: they bring aiohttp, which takes longer to import than all
        # else together, and many a program that imports the package opens no session.
        from wiro_async.sockets import Sockets  # noqa: PLC0415
        from wiro_async.transport import Transport  # noqa: PLC0415

        self._loop = asyncio.get_running_loop()
        self._transport = Transport(
            base_url=self._base_url,
            timeouts=self._timeouts,
            trusts_environment=self._trusts_environment,
            connections=self._max_in_flight,
        )
        await self._transport.open()
        dice = random.random
        self._api = Api(
            transport=self._transport, credentials=self._credentials, policy=self._policy, dice=dice
        )
        self._tracker = Tracker(
            api=self._api,
            waits=self._waits,
            max_looks_per_second=self._max_looks_per_second,
        )
        self._sockets: Sockets | None = None
        self._hub: SocketHub | None = None
        if self._socket_url is not None and self._tracking in {"auto", "socket"}:
            self._sockets = Sockets(
                url=self._socket_url,
                timeouts=self._timeouts,
                trusts_environment=self._trusts_environment,
            )
            self._hub = SocketHub(tracker=self._tracker, dial=self._sockets.dial, dice=dice)
            self._tracker.on_watch.append(self._hub.follow)
            self._tracker.on_look.append(self._hub.on_look)
        self._sweeps: Sweeps | None = None
        if self._tracking in {"auto", "sweep"}:
            self._sweeps = Sweeps(api=self._api, tracker=self._tracker)
        self._downloader = Downloader(
            transport=self._transport,
            policy=self._policy,
            max_downloads=self._max_downloads,
            max_bytes=self._max_output_bytes,
            dice=dice,
        )
        self._slots = Slots(ceiling=self._max_in_flight, dice=dice)
        self._search = Search(api=self._api, settle_seconds=self._settle_seconds)
        self._starter = Starter(
            api=self._api,
            slots=self._slots,
            tracker=self._tracker,
            search=self._search,
            downloader=self._downloader,
            task_timeout_seconds=self._task_timeout_seconds,
            on_unknown=self._let_find,
        )

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
                if self._hub is not None and self._sockets is not None:
                    stack.push_async_callback(self._sockets.aclose)
                    stack.push_async_callback(self._hub.aclose)
                if self._sweeps is not None:
                    stack.push_async_callback(self._sweeps.aclose)
                stack.push_async_callback(self._search.aclose)
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
            callback_url: where the service is to post the result: one of a
                `WebhookReceiver`'s, which has the task looked at then, or any other.

        Raises:
            InvalidRequest: if the slug or a parameter is wrong; nothing was sent.
            RunOutcomeUnknown: if a task may have been made, but its id was not read.
            ApiError: if the service refused; no task was made.
            RequestNotSent: if the service could not be reached.
        """
        sent = dict(params or {})
        if callback_url is not None:
            sent["callbackUrl"] = callback_url
        keeper = LogKeeper()
        try:
            return await self.start(model, sent, keeper)
        except asyncio.CancelledError:
            keeper.tell()
            raise

    async def start(self, model: str, params: JsonObject, keeper: TaskKeeper) -> TaskHandle:
        """Like `run`, for a caller that has to know of every task that is, or may be, made.

        The keeper is told before the caller, and also where the caller is cancelled while the
        Run is on the wire.

        Raises:
            WiroError: as `run`, and what the keeper raised.
        """
        self._require_open()
        check_request(model, params)
        url = params.get("callbackUrl")
        if not isinstance(url, CallbackUrl):
            return await self._starter.start(model, params, keeper)
        with url.claimed():
            return await self._starter.start(model, params, keeper)

    async def adopt(
        self, model: str, *, task_id: str | None = None, token: str | None = None
    ) -> TaskHandle:
        """A handle of a task that exists and takes a slot, as if it had been started here."""
        self._require_open()
        return await self._starter.adopt(model, task_id, token)

    async def find(self, lost: LostRun, knower: Knower | None = None) -> Task | None:
        """Look for the task of a Run whose answer was not read, as `RunOutcomeUnknown.find`.

        Args:
            lost: the Run.
            knower: tells of names in the list which belong to a task that is known; the
                session itself knows the tasks that it started.

        Raises:
            WiroError: if the list of tasks could not be read.
        """
        self._require_open()
        return await self._search.find(lost, knower)

    async def price(self, model: str, params: JsonObject) -> Decimal | None:
        """What one Run may cost at most, in US dollars; None if the model's record does not tell.

        Raises:
            WiroError: if the record could not be read.
        """
        self._require_open()
        tool = self._tools.get(model)
        if tool is None:
            tool = await self._api.call(build_tool_detail(model), decode_tool)
            self._tools[model] = tool
        return estimate_cost(tool, params)

    def task(self, *, task_id: str | None = None, token: str | None = None) -> TaskHandle:
        """A handle of a task that exists, whoever started it; it is looked at at once.

        Raises:
            ConfigurationError: if neither of the names is given.
        """
        self._require_open()
        if not task_id and not token:
            raise ConfigurationError("a task is named by task_id= or token=; give one of them")
        named = Started(task_id=task_id or None, token=token or None)
        return self._starter.watch(None, named, None, is_new=False)

    async def list_tasks(
        self, *, start: int = 0, limit: int = 20, model: str | None = None
    ) -> tuple[Task, ...]:
        """A page of the project's tasks, newest first.

        Raises:
            WiroError: if the service refused or could not be reached.
        """
        self._require_open()
        return await self._api.call(build_list(start=start, limit=limit, model=model), decode_tasks)

    def batch(  # noqa: PLR0913 - as of the class
        self,
        requests: Iterable[BatchRequest | str | JsonObject]
        | AsyncIterable[BatchRequest | str | JsonObject],
        *,
        output_dir: str | Path,
        model: str | None = None,
        params: JsonObject | None = None,
        max_in_flight: int | None = None,
        journal: str | Path | None = None,
        on_unknown: OnUnknown = "hold",
        retry_failed: bool = False,
        max_cost: Decimal | None = None,
        disk_patience_seconds: float = 600.0,
        callback_url: Callable[[], str] | None = None,
    ) -> Batch:
        """Run many requests, their results to disk as they come.

        With a journal every step is written down before the next one, and the same batch
        started again, after whatever death, goes on where it was: the same `custom_id`s with
        the same parameters, and new ones. Without one it works in memory; `Batch` says what
        that means.

        Args:
            requests: `BatchRequest`s, prompts or mappings; read lazily, no faster than needed.
            output_dir: where files, ``results.jsonl`` and ``errors.jsonl`` go.
            model: the slug for requests that name none.
            params: parameters for every request; a request's own win.
            max_in_flight: tasks of this batch that may run at once; the session's limit if None.
            journal: the file of the journal, best in the output directory.
            on_unknown: what becomes of a Run of which nobody knows whether it made a task, once
                it was looked for in the list of tasks and not found. ``hold``: its item ends as
                unknown, and the next run of the batch looks again. ``skip``: it is left at that.
                ``resubmit``: it is sent again, which can pay twice.
            retry_failed: whether to run again what failed in an earlier run.
            max_cost: submit nothing more when what is spent and what is in flight would pass
                this, in US dollars.
            disk_patience_seconds: how long the batch waits for room on a disk that is full,
                submitting nothing, before it stops; see `Batch.paused_by`.
            callback_url: gives each Run a url for the service to post its result to: the
                ``url_for`` of a `WebhookReceiver`, without brackets.

        Raises:
            ConfigurationError: if an argument cannot work.
        """
        self._require_open()
        check_positive("disk_patience_seconds", disk_patience_seconds)
        if max_in_flight is not None:
            check_positive("max_in_flight", max_in_flight)
            self._slots.raise_ceiling(max_in_flight)
            self._transport.make_room(max_in_flight)
        if max_cost is not None:
            check_positive("max_cost", max_cost)
        if callback_url is not None and not callable(callback_url):
            raise ConfigurationError(
                "callback_url of a batch is what gives each of its tasks a url: pass the "
                "receiver's url_for itself, without calling it"
            )
        return Batch(
            self if callback_url is None else CallingRunner(self, callback_url),
            requests,
            output_dir=Path(output_dir),
            defaults=(model, params if params is not None else {}),
            max_in_flight=max_in_flight or self._max_in_flight,
            choices=Choices(
                journal=None if journal is None else Path(journal),
                on_unknown=check_choice("on_unknown", on_unknown, get_args(OnUnknown)),
                retry_failed=retry_failed,
                # By way of text: a float's 0.1 is meant as 0.1.
                max_cost=None if max_cost is None else Decimal(str(max_cost)),
                disk_patience_seconds=disk_patience_seconds,
            ),
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
            unanswered_seconds=self._api.unanswered_seconds,
        )

    def _let_find(self, error: RunOutcomeUnknown) -> None:
        """Give an error its `find`."""
        lost = LostRun(
            key="", model=error.model, params=error.params, sent_at=error.sent_at or time.time()
        )

        found: Task | None = None

        async def find() -> TaskHandle | None:
            nonlocal found
            self._require_open()
            # Kept: once found it is known, and would not be looked for as a stranger again.
            found = found or await self.find(lost)
            if found is None:
                return None
            named = Started(task_id=found.id, token=found.token)
            return self._starter.watch(error.model, named, None, is_new=False)

        error._finder = find  # noqa: SLF001 - who raises it knows where to look

    def _require_open(self) -> None:
        if self._is_closed:
            raise SessionStateError("this session is closed; open a new one")
        if self._loop is None:
            raise SessionStateError(
                "this session is not open: use it inside `async with WiroSession() as wiro:`, "
                "or await its open()"
            )
        self._api.require_loop()
