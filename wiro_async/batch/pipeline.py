"""The way of one item, from wherever the journal says it is to its end.

    planned ---> (slot, cost) Run ---> submitted ---> terminal ---> files ---> saved
    intent, unknown ---> looked for in Task/List ---> submitted, or left to the person's choice

Every step is in the journal (`journal.states`) before the next one begins. A stop lets nothing
out that is not on the wire yet; it does not touch what is. A full disk (`gate`) holds items before
their money is set aside, before their Run, and before their files.

Longer than the other files because one item's way is told in one piece.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from attrs import define, evolve, field

from wiro_async.batch.gate import Gate, Paused
from wiro_async.batch.journal.entries import Journal, cost_of, doubts_of
from wiro_async.batch.journal.states import State
from wiro_async.batch.progress import Progress
from wiro_async.batch.purse import Purse
from wiro_async.batch.record import earlier_item, error_facts, file_facts, is_whole
from wiro_async.batch.results import BatchItem, ItemStatus, status_of
from wiro_async.batch.runner import STOPPING, Choices, Runner
from wiro_async.batch.streak import Streak
from wiro_async.catalog import scalar_text
from wiro_async.crashpoints import passing
from wiro_async.errors import (
    CostLimitReached,
    DownloadError,
    InvalidRequest,
    NotFound,
    OutputDirectoryError,
    RequestRefused,
    RunOutcomeUnknown,
    TaskCancelled,
    TaskError,
    TaskFailed,
    TaskUnreachable,
    WiroError,
)
from wiro_async.handle import TaskHandle
from wiro_async.protocol.records import keep_record
from wiro_async.protocol.wording import clean_words
from wiro_async.task import JsonObject, Task

# Whether the files of the batch are where they were: a Run takes longer than that, and of those
# that are on the wire just then as much is lost.
_CHECK_SECONDS = 0.02
# Of the request itself: it would be refused another time as well.
_REFUSALS = (InvalidRequest, NotFound, RequestRefused)


@define(eq=False)
class Pipeline:
    """What the items of a batch share on their way."""

    runner: Runner
    journal: Journal
    directory: Path
    choices: Choices
    purse: Purse
    gate: Gate
    streak: Streak
    in_flight: asyncio.Semaphore
    check_in_place: Callable[[], None]
    stop: Callable[[WiroError], None]
    now: Callable[[], float]
    is_stopped: bool = False
    is_cancelling: bool = False
    has_left_some: bool = False
    """Whether an item was read and not begun."""
    gone: set[str] = field(init=False, factory=set)
    """The ids of items that were saved, and whose files are not there any more."""
    failures: set[int] = field(init=False, factory=set)
    """The positions of items that failed in this run, or before it and are run again."""
    _waiting: set[asyncio.Timeout] = field(init=False, factory=set)
    _checked_at: float = field(init=False, default=-math.inf)

    def submit_nothing_more(self) -> None:
        """Let out nothing that is not on the wire."""
        self.is_stopped = True
        self.gate.release()
        while self._waiting:
            self._waiting.pop().reschedule(self.now())

    async def carry_out(self, progress: Progress) -> BatchItem | None:
        """Take an item to its end; None if it was not begun."""
        if progress.problem is not None:
            return progress.end(progress.problem, self.now())
        try:
            if not await self._is_planned(progress):
                return None
            return await self._settled(progress) or await self._go_on(progress)
        except CostLimitReached as error:
            self.stop(error)
            self.has_left_some = True
            return None
        except WiroError as error:
            return self._ended_by(progress, error)
        finally:
            if progress.entry is not None:
                if progress.state is State.FAILED:
                    self.failures.add(progress.position)
                self.purse.hold(progress.position)

    def _ended_by(self, progress: Progress, error: WiroError) -> BatchItem:
        if isinstance(error, NotFound) and progress.handle is not None:
            error = _unknown_here(progress, progress.handle, error)
        if isinstance(error, DownloadError):
            progress.files = error.saved
        if isinstance(error, STOPPING) or (isinstance(error, DownloadError) and error.is_disk):
            self.stop(error)
        return progress.end(error, self.now())

    async def _is_planned(self, progress: Progress) -> bool:
        """Plan an item; not one that an earlier run has left, which is under way already."""
        if progress.entry is None:
            progress.entry = await self.journal.plan(progress.request)
        if progress.entry is None:
            return False
        passing("item.planned")
        return True

    async def _settled(self, progress: Progress) -> BatchItem | None:
        """The item as an earlier run has ended it, if there is nothing more to do."""
        match progress.state:
            case State.SAVED:
                item = earlier_item(progress.planned, self.directory)
                if await is_whole(item.files):
                    return item
                passing("item.files_are_gone")
                self.gone.add(item.custom_id)
                await progress.move(State.TERMINAL, files=None)
            case State.SKIPPED:
                return earlier_item(progress.planned, self.directory)
            case State.FAILED if not self.choices.retry_failed:
                return earlier_item(progress.planned, self.directory)
            case State.FAILED:
                self.failures.add(progress.position)
                await self._plan_again(progress)
            case _:
                pass
        return None

    async def _go_on(self, progress: Progress) -> BatchItem | None:
        while True:
            if progress.state is State.UNKNOWN:
                item = await self._look_for(progress)
                if item is not None:
                    return item
            try:
                return await self._run(progress)
            except RunOutcomeUnknown:
                if self.is_stopped:
                    raise
            except Paused:  # nothing was sent: it waits again, without its money and its place
                if self.is_stopped:
                    self.has_left_some = True
                    return None

    async def _run(self, progress: Progress) -> BatchItem | None:
        # Before a place in flight is taken: who waits for money must not hold up those who have a
        # task already, and whose end may leave some.
        await self._reserve(progress)
        async with self.in_flight:
            if progress.state is State.PLANNED:
                handle = await self._start(progress)
            else:
                handle = await self._adopt(progress)
            if handle is None:
                self.has_left_some = True
                return None
            task = await (handle.stop() if self.is_cancelling else handle.wait())
        passing("item.terminal")
        try:
            await self._accept(progress, handle, task)
        except (TaskFailed, TaskCancelled) as error:
            await self._fail(progress, error, task)
            return progress.end(error, self.now())
        # No lambda: for as long as the task runs each name that it took would be an object more.
        progress.files = await self.gate.save(
            partial(handle.save_outputs, self.directory, stem=progress.request.custom_id)
        )
        passing("item.before_saved")
        await progress.move(
            State.SAVED,
            files=file_facts(progress.files, self.directory),
            elapsed_seconds=round(self.now() - progress.started_at, 3),
        )
        passing("item.after_saved")
        return progress.end(None, self.now())

    async def _accept(self, progress: Progress, handle: TaskHandle, task: Task) -> None:
        """Note a task that has succeeded, and what it cost."""
        model = progress.request.model or ""
        _check_same_task(progress, task)
        if "record" not in progress.facts:  # or it was counted when the journal was opened
            self.purse.spend(progress.position, model, task.total_cost, is_billed=task.succeeded)
        await handle  # raises for one that has not succeeded
        passing("item.before_terminal")
        names = {"task_id": handle.task_id, "token": handle.token}
        await progress.move(State.TERMINAL, record=keep_record(task), **names)
        passing("item.after_terminal")

    async def _fail(self, progress: Progress, error: WiroError, task: Task) -> None:
        """Note a task that has failed; one that this very batch cancelled is run another time."""
        if self.is_cancelling and isinstance(error, TaskCancelled):
            await progress.move(State.FAILED, record=keep_record(task))
            await self._plan_again(progress)
            return
        await progress.move(
            State.FAILED,
            record=keep_record(task),
            task_id=task.id or progress.facts.get("task_id"),
            token=task.token or progress.facts.get("token"),
            status=status_of(error, is_task_made=True),
            error=error_facts(error),
            elapsed_seconds=round(self.now() - progress.started_at, 3),
        )
        passing("item.after_failed")

    async def _plan_again(self, progress: Progress) -> None:
        kept: JsonObject = {
            "spent_before": f"{cost_of(progress.facts):f}",
            "doubts": progress.facts.get("doubts"),
        }
        await progress.move(State.PLANNED, **{**dict.fromkeys(progress.facts), **kept})
        passing("item.planned_again")

    async def _reserve(self, progress: Progress) -> None:
        if progress.state is State.PLANNED:
            request = progress.request
            async with self._stoppable():
                await self.gate.wait_open()
                await self.streak.wait_over()
                await self.purse.reserve(progress.position, request.model or "", request.params)

    async def _start(self, progress: Progress) -> TaskHandle | None:
        """Start the task, unless the batch is stopped while this waits for its turn.

        A stop ends the wait for a slot, and leaves a Run that is on the wire to its end.
        """
        if not self.is_stopped:
            async with self._stoppable():
                try:
                    request = progress.request
                    progress.check = self._check_run
                    await self.runner.start(request.model or "", request.params, progress)
                except WiroError as error:
                    await self._not_started(progress, error)
                    raise
        if progress.unknown is not None:
            raise progress.unknown
        if progress.handle is None:
            self.purse.release(progress.position)
        else:
            self.streak.note_known()
        return progress.handle

    @asynccontextmanager
    async def _stoppable(self) -> AsyncIterator[None]:
        """What stands in it is given up when the batch is stopped."""
        # Of asyncio's own: for each item a scope of anyio's keeps a state of its task.
        wait = asyncio.timeout(0 if self.is_stopped else None)
        try:
            async with wait:
                self._waiting.add(wait)
                try:
                    yield
                finally:
                    self._waiting.discard(wait)
        except TimeoutError:
            if not wait.expired():
                raise

    async def _not_started(self, progress: Progress, error: WiroError) -> None:
        """Note a refusal that will be the same another time; what only came now stays planned."""
        if isinstance(error, RunOutcomeUnknown):
            progress.lost_row = self.streak.note_unknown()
            return
        if progress.handle is not None:
            return
        self.purse.release(progress.position)
        if progress.state is State.PLANNED and isinstance(error, _REFUSALS):
            await progress.move(State.FAILED, status=ItemStatus.REFUSED, error=error_facts(error))

    def _check_run(self) -> None:
        """See that a Run may go out now.

        Raises:
            Paused: if not; its item goes back to where nothing is set aside for it.
        """
        self.gate.check()
        if self.streak.is_long:
            raise Paused("the answers of too many Runs in a row were lost")
        now = self.now()
        if now - self._checked_at < _CHECK_SECONDS:
            return
        try:
            self.check_in_place()
            self._checked_at = now
        except OutputDirectoryError as error:
            self.stop(error)
            raise Paused(error.message) from None

    async def _adopt(self, progress: Progress) -> TaskHandle:
        facts = progress.facts
        task_id, token = facts.get("task_id"), facts.get("token")
        progress.handle = await self.runner.adopt(
            progress.request.model or "",
            task_id=task_id if isinstance(task_id, str) else None,
            token=token if isinstance(token, str) else None,
        )
        passing("item.adopted")
        return progress.handle

    async def _find(self, progress: Progress, error: RunOutcomeUnknown) -> Task | None:
        try:
            return await self.runner.find(progress.lost_run, self.journal.knows)
        except WiroError as failure:
            # Not its own outcome: whether there is a task is as unknown as before.
            error.args = (f"{error.message}. It could not be looked for: {failure.message}",)
            if isinstance(failure, STOPPING):
                self.stop(failure)
        return None

    async def _look_for(self, progress: Progress) -> BatchItem | None:
        """Look for what an unknown Run may have made; the item, if that is its end."""
        error = progress.unknown or _from_journal(progress)
        passing("item.before_search")
        task = await self._find(progress, error)
        if task is not None:
            self.streak.note_known()
            progress.unknown = None
            await progress.move(State.SUBMITTED, task_id=task.id, token=task.token)
            passing("item.found")
            return None
        self.streak.note_in_vain(progress.lost_row, error)
        match self.choices.on_unknown:
            case "resubmit" if not (progress.is_resubmitted or self.is_stopped):
                progress.unknown = None
                progress.is_resubmitted = True
                self.purse.hold(progress.position)  # what may have been made may be billed
                doubts = doubts_of(progress.facts) + 1
                await progress.move(State.PLANNED, sent_at=None, evidence=None, doubts=doubts)
                passing("item.resubmitted")
                return None
            case "skip" if not self.is_stopped:
                facts = error_facts(error)
                await progress.move(State.SKIPPED, status=ItemStatus.SKIPPED, error=facts)
                return evolve(progress.end(error, self.now()), status=ItemStatus.SKIPPED)
            case _:
                return progress.end(error, self.now())


def _check_same_task(progress: Progress, task: Task) -> None:
    """See that a task that was known by its id alone is the one that was meant.

    By its prompt: a service may list more parameters than were sent, or write them otherwise, and
    a picture that is paid must not be left for that.
    """
    asked, listed = progress.request.params.get("prompt"), task.parameters.get("prompt")
    if asked is None or listed is None or progress.tries:
        return
    if scalar_text(asked).strip() != scalar_text(listed).strip():
        raise TaskError(
            f"task {clean_words(task.id)} has other parameters at this service than "
            f"{progress.request.custom_id!r} asked for: is this the service that the batch was "
            "begun at?",
            task_id=task.id,
            token=task.token,
            task=task,
        )


def _unknown_here(progress: Progress, handle: TaskHandle, error: NotFound) -> TaskUnreachable:
    return TaskUnreachable(
        f"{error.message}: the journal has task {clean_words(handle.task_id)} (token "
        f"{clean_words(handle.token)}) for {progress.request.custom_id!r}, and this service does "
        "not know it, or not any more. Is it the service that the batch was begun at? The next "
        "run asks again",
        task_id=handle.task_id,
        token=handle.token,
    )


def _from_journal(progress: Progress) -> RunOutcomeUnknown:
    lost = progress.lost_run
    evidence = str(progress.facts.get("evidence") or "the process ended before the answer came")
    return RunOutcomeUnknown(
        f"an earlier run of this batch sent a Run of {lost.model} and learned nothing of it "
        f"({evidence}). A task may have been made, and may be billed: it was not sent again",
        endpoint=f"/Run/{lost.model}",
        evidence=evidence,
        model=lost.model,
        params=dict(lost.params),
        sent_at=lost.sent_at,
    )
