"""What is known of an item that is under way: it keeps the journal, and says how it ended.

An item is the keeper of its own Run (`runs.TaskKeeper`): the intent is on the disk before the
first byte goes out, and the task's id before anybody is given the handle.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import define, field

from wiro_async.batch.journal.entries import Entry, Journal
from wiro_async.batch.journal.states import State
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import BatchItem, status_of
from wiro_async.crashpoints import passing
from wiro_async.downloads import SavedFile
from wiro_async.errors import DownloadError, RunOutcomeUnknown, TaskError, WiroError
from wiro_async.handle import TaskHandle
from wiro_async.protocol.matching import LostRun
from wiro_async.protocol.wording import clean_words
from wiro_async.task import JsonObject, JsonValue


@define(eq=False)
class Progress:
    """An item that is under way."""

    request: BatchRequest
    started_at: float
    journal: Journal
    problem: WiroError | None = None
    entry: Entry | None = None
    handle: TaskHandle | None = None
    unknown: RunOutcomeUnknown | None = None
    files: tuple[SavedFile, ...] = ()
    check: Callable[[], None] | None = None
    """What a Run has to pass at the last moment; raises where it may not go out."""
    lost_row: int | None = None
    """In which row of lost Runs (`batch.streak`) its own is; None if it is in none."""
    tries: int = field(init=False, default=0)
    is_resubmitted: bool = field(init=False, default=False)

    @property
    def position(self) -> int:
        """Its number in the journal."""
        return self.planned.position

    @property
    def state(self) -> State:
        """How far it is."""
        return self.planned.state

    @property
    def facts(self) -> JsonObject:
        """What the journal has of it."""
        return self.planned.facts

    @property
    def planned(self) -> Entry:
        """What the journal knows of it, once it is planned."""
        assert self.entry is not None  # noqa: S101 - the first thing that is done to an item
        return self.entry

    @property
    def lost_run(self) -> LostRun:
        """Its Run, as what is to be looked for."""
        sent_at = self.facts.get("sent_at")
        return LostRun(
            key="",
            model=self.request.model or "",
            params=self.request.params,
            sent_at=sent_at if isinstance(sent_at, float) else time.time(),
        )

    async def move(self, state: State, **facts: JsonValue) -> None:
        """Come to a state, and know this from now on; on the disk when this returns."""
        known = self.planned
        kept = {
            name: value for name, value in {**known.facts, **facts}.items() if value is not None
        }
        await self.journal.write(known.position, state, kept)
        self.entry = Entry(position=known.position, request=known.request, state=state, facts=kept)

    async def before_sending(self) -> None:
        """Note that the Run goes out; if that fails it does not."""
        if self.check is not None:
            self.check()
        passing("item.before_intent")
        self.tries += 1
        await self.move(State.INTENT, sent_at=time.time(), attempt=self.tries)
        passing("item.after_intent")

    def before_body(self) -> None:
        """Note that it is certain no more that it was not sent."""
        self.journal.note_sent(self.position, self.tries)

    async def on_handle(self, handle: TaskHandle) -> None:
        """A task was made."""
        self.handle = handle
        self.unknown = None
        passing("item.before_submitted")
        await self.move(State.SUBMITTED, task_id=handle.task_id, token=handle.token, attempt=None)
        passing("item.after_submitted")

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        """A task may have been made."""
        self.unknown = error
        await self.move(State.UNKNOWN, evidence=error.evidence, attempt=None)
        passing("item.after_unknown")

    async def on_no_task(self, error: WiroError) -> None:  # noqa: ARG002 - as declared
        """No task was made."""
        if self.state is State.INTENT:
            passing("item.before_cleared")
            await self.move(State.PLANNED, sent_at=None, attempt=None)
            passing("item.after_cleared")

    def end(self, error: WiroError | None, now: float) -> BatchItem:
        """The item, ended with this error or with none."""
        handle = self.handle
        return BatchItem(
            request=self.request,
            status=status_of(error, is_task_made=handle is not None),
            files=self.files,
            task_id=_name(self, "task_id") if handle is None else handle.task_id,
            token=_name(self, "token") if handle is None else handle.token,
            task=None if handle is None else handle.task,
            error=error,
            elapsed_seconds=now - self.started_at,
        )


def _name(progress: Progress, name: str) -> str | None:
    known = None if progress.entry is None else progress.entry.facts.get(name)
    return known if isinstance(known, str) else None


def interrupted(handle: TaskHandle) -> WiroError:
    """What an item is told that the batch left behind with its task made."""
    names = f"task {clean_words(handle.task_id)} (token {clean_words(handle.token)})"
    if handle.task is not None and handle.task.succeeded:
        return DownloadError(
            f"the batch was interrupted while the files of {names} were downloaded; it is paid, "
            "and they lie at the service for a limited time",
            task_id=handle.task_id,
            token=handle.token,
        )
    return TaskError(
        f"the batch was interrupted while {names} ran; it goes on at the service and can be billed",
        task_id=handle.task_id,
        token=handle.token,
        task=handle.task,
    )
