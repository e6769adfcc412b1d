"""From a request to a task that is watched: the slot, the Run, and whoever has to know of it.

Rules:

1. A slot is taken before the Run and belongs to the task from the moment there is one; it comes
   back when the task is terminal, whoever waits for it.
2. A rejected Run (code 96) made no task and waits for its next turn with its slot.
3. The keeper learns what comes of a Run before its caller does, and also where the caller has
   been cancelled. So a journal has the id of a task before anybody is given its handle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from attrs import define

from wiro_async.api import Api
from wiro_async.crashpoints import passing
from wiro_async.downloads import Downloader
from wiro_async.errors import ConcurrencyLimitReached, RunOutcomeUnknown, WiroError
from wiro_async.handle import TaskHandle
from wiro_async.protocol.responses import Started
from wiro_async.task import JsonObject, Task
from wiro_async.tracking.search import Search
from wiro_async.tracking.slots import Slots
from wiro_async.tracking.tracker import Tracker
from wiro_async.tracking.watch import Watch
from wiro_async.tracking.webhook import CallbackUrl

_LOGGER = logging.getLogger("wiro_async")


class TaskKeeper(Protocol):
    """Who keeps note of a task from before its Run; see `api.RunKeeper` for when it is told."""

    async def before_sending(self) -> None:
        """A Run is about to go out; if this raises, it does not."""
        ...

    def before_body(self) -> None:
        """Its body goes out next; if this raises, it does not."""
        ...

    async def on_handle(self, handle: TaskHandle) -> None:
        """It made a task, which is watched already."""
        ...

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        """It may have made a task."""
        ...

    async def on_no_task(self, error: WiroError) -> None:
        """It certainly made none; it may never have gone out."""
        ...


class LogKeeper:
    """For a caller that needs no other: what it may never hear of is logged."""

    def __init__(self) -> None:
        self.unknown: RunOutcomeUnknown | None = None

    async def before_sending(self) -> None:
        """Nothing is to be kept."""

    def before_body(self) -> None:
        """Nothing is to be kept."""

    async def on_handle(self, handle: TaskHandle) -> None:
        """The handle is the caller's, and its task is watched."""

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        """Keep it for `tell`."""
        self.unknown = error

    async def on_no_task(self, error: WiroError) -> None:
        """Nothing was made."""

    def tell(self) -> None:
        """The caller was cancelled and never sees what came: money may hang on it."""
        if self.unknown is not None:
            _LOGGER.warning("%s", self.unknown.message)


@define(eq=False)
class _Slot:
    """A place in flight, as `Slots` knows it; called with the watch whose end gives it back."""

    slots: Slots

    def __call__(self, watch: Watch) -> None:
        """Give it back."""
        self.slots.release(self, _charged(watch.task))


@define(eq=False)
class Starter:
    """Starts the tasks of a session."""

    api: Api
    slots: Slots
    tracker: Tracker
    search: Search
    downloader: Downloader
    task_timeout_seconds: float | None
    on_unknown: Callable[[RunOutcomeUnknown], None]

    async def start(self, model: str, params: JsonObject, keeper: TaskKeeper) -> TaskHandle:
        """Start a task, once there is a slot; slug and parameters are checked before.

        Raises:
            WiroError: if there is no task, or none is known; also what the keeper raised.
        """
        attempt = _Attempt(self, model, keeper, params.get("callbackUrl"), _Slot(self.slots))
        await self.slots.acquire(attempt.slot)
        try:
            while True:
                try:
                    with self.search.sending(model, params):
                        await self.api.run(model, params, attempt)
                except ConcurrencyLimitReached as error:
                    rejection = error
                else:
                    assert attempt.handle is not None  # noqa: S101 - it was told of the task
                    return attempt.handle
                attempt.owns_slot = False
                await self.slots.wait_again(attempt.slot, rejection)
                attempt.owns_slot = True
        finally:
            if attempt.owns_slot:
                self.slots.release(attempt.slot)

    async def adopt(self, model: str, task_id: str | None, token: str | None) -> TaskHandle:
        """Watch a task that exists, in a slot, as if it had been started here."""
        slot = _Slot(self.slots)
        await self.slots.acquire(slot)
        self.slots.on_accepted(slot)
        return self.watch(model, Started(task_id=task_id, token=token), slot, is_new=False)

    def watch(
        self,
        model: str | None,
        started: Started,
        slot: _Slot | None,
        *,
        is_new: bool,
        callback: object = None,
    ) -> TaskHandle:
        """Put a task under watch; its slot comes back when it is done."""
        self.search.remember(started.task_id, started.token)
        watch = self.tracker.watch(
            task_id=started.task_id,
            token=started.token,
            model=model,
            timeout_seconds=self.task_timeout_seconds,
            is_new=is_new,
            is_sure=slot is not None,
        )
        if slot is not None:
            watch.call_when_done(slot)
        if isinstance(callback, CallbackUrl):
            callback.follow(watch, self.tracker.look_now)
        return TaskHandle(
            model=model,
            api=self.api,
            tracker=self.tracker,
            downloader=self.downloader,
            watch=watch,
        )


@define(eq=False)
class _Attempt:
    """The `RunKeeper` of one start: watches the task, then tells the caller's keeper."""

    starter: Starter
    model: str
    keeper: TaskKeeper
    callback: object
    slot: _Slot
    owns_slot: bool = True
    handle: TaskHandle | None = None

    async def before_sending(self) -> None:
        await self.keeper.before_sending()
        passing("run.before_first_byte")

    def before_body(self) -> None:
        self.keeper.before_body()
        passing("run.before_body")

    async def on_started(self, started: Started) -> None:
        passing("run.answered")
        self.starter.slots.on_accepted(self.slot)
        self.owns_slot = False
        self.handle = self.starter.watch(
            self.model, started, self.slot, is_new=True, callback=self.callback
        )
        try:
            await self.keeper.on_handle(self.handle)
        except BaseException:
            # Its keeper has no note of it: whoever looks for it later must find it.
            self.starter.search.forget(started.task_id, started.token)
            raise

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        passing("run.unknown")
        self.starter.on_unknown(error)
        await self.keeper.on_unknown(error)

    async def on_no_task(self, error: WiroError) -> None:
        passing("run.no_task")
        await self.keeper.on_no_task(error)


def _charged(task: Task | None) -> Decimal | None:
    """What a task took off the balance: one that failed or was cancelled is not billed."""
    return task.total_cost if task is not None and task.succeeded else None
