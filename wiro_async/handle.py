"""A task of the service in one's hand: await it, follow it, stop it, fetch what it made.

A handle can always be had again from its id or token alone (`WiroSession.task`): waiting for
a task that this process started and for one that another did are the same path. The session's
tracker watches the task whether or not anybody waits here.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import aclosing, suppress
from pathlib import Path

from attrs import define, field

from wiro_async.api import Api
from wiro_async.downloads import Downloader, SavedFile
from wiro_async.errors import (
    NotFound,
    RequestRefused,
    TaskCancelled,
    TaskFailed,
    TaskTimeout,
    WiroError,
)
from wiro_async.protocol.requests import build_cancel, build_delete_files, build_detail, build_kill
from wiro_async.protocol.responses import Answer, decode_acknowledgement, decode_task
from wiro_async.protocol.wording import clean_words
from wiro_async.task import Outcome, Task, TaskEvent
from wiro_async.tracking.tracker import Tracker
from wiro_async.tracking.watch import Watch

# A stop has to work in every state, and between two states neither way may (wiro-api facts,
# "Endpoints"): it is tried again this soon at first, then with growing waits.
_STOP_FIRST_SECONDS = 0.5
_STOP_LONGEST_SECONDS = 5.0


@define(eq=False, repr=False)
class TaskHandle:
    """One task, known by its id, its token or both. Made by a session, not by hand."""

    model: str | None
    _api: Api = field(alias="api")
    _tracker: Tracker = field(alias="tracker")
    _downloader: Downloader = field(alias="downloader")
    _watch: Watch = field(alias="watch")

    def __repr__(self) -> str:
        status = self.status or "not looked at yet"
        return f"<TaskHandle id={self.task_id} model={self.model} {status}>"

    @property
    def task_id(self) -> str | None:
        """The service's id; None for a handle made from a token, until the first look."""
        return self._watch.task_id

    @property
    def token(self) -> str | None:
        """The task's socket access token, where it is known."""
        return self._watch.token

    @property
    def task(self) -> Task | None:
        """The last record that was read; None before the first look."""
        return self._watch.task

    @property
    def status(self) -> str | None:
        """The last status that was read; None before the first look."""
        return None if self._watch.task is None else self._watch.task.status

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be seen of the task."""
        return self._watch.is_done

    @property
    def looks(self) -> int:
        """How many times Task/Detail was asked about it."""
        return self._watch.looks

    def __await__(self) -> Generator[object, None, Task]:
        """The task, succeeded.

        Raises:
            TaskFailed: if it ended with an error.
            TaskCancelled: if it was cancelled or killed.
            TaskTimeout: if the session's task timeout is over.
            WiroError: if its state cannot be read.
        """
        return self._result().__await__()

    async def wait(self, *, timeout_seconds: float | None = None) -> Task:
        """The task once it is terminal, however it ended: look at its `outcome`.

        Args:
            timeout_seconds: this caller's patience; the task is watched on after it.

        Raises:
            TaskTimeout: if the caller's patience or the session's task timeout is over.
            WiroError: if its state cannot be read.
        """
        self._api.require_loop()
        if timeout_seconds is not None:
            await self._wait_for(timeout_seconds)
        elif not self._watch.is_done:
            await self._watch.wait_done()
        if self._watch.error is not None:
            # A copy: one instance raised to several waiters would collect their tracebacks.
            raise copy.copy(self._watch.error)
        task = self._watch.task
        assert task is not None  # noqa: S101 - done without an error is terminal
        return task

    async def stream(self) -> AsyncGenerator[TaskEvent, None]:
        """The changes of the task's status, the last known one first, until the terminal one.

        Where the service's socket speaks of the task there is news between them: progress, lines
        of the log, a language model's text so far; see `TaskEvent`. Any number of readers may
        follow one task, each at its own speed: a slow one gets every change of status, and of the
        rest the newest hundred.

        Raises:
            WiroError: if its state cannot be read any more.
        """
        self._api.require_loop()
        reader = self._watch.open_reader()
        try:
            while (event := await reader.get()) is not None:
                yield event
        finally:
            self._watch.close_reader(reader)
        if self._watch.error is not None:
            raise copy.copy(self._watch.error)

    async def cancel(self) -> None:
        """Take the task out of the queue; works only until a worker accepts it.

        Raises:
            NotFound: if it is not in the queue any more.
            WiroError: if the service refused or could not be reached.
        """
        if self.task_id is None:
            self._tracker.look_now(self._watch)
            async with aclosing(self.stream()) as events:
                await anext(events)  # the first record names the id
        await self._api.call(build_cancel(task_id=self.task_id or ""), decode_acknowledgement)
        self._tracker.look_now(self._watch)

    async def kill(self) -> None:
        """End the task on its worker; works only from when one has it.

        Raises:
            NotFound: if no worker has it, or not any more.
            WiroError: if the service refused or could not be reached.
        """
        request = build_kill(task_id=self.task_id, token=self.token)
        await self._api.call(request, decode_acknowledgement)
        self._tracker.look_now(self._watch)

    async def stop(self) -> Task:
        """Cancel or kill, whichever works now, until the task is terminal.

        The task that comes back can have succeeded all the same: it was faster.

        Raises:
            WiroError: if the service could not be reached or its state cannot be read.
        """
        wait_seconds = _STOP_FIRST_SECONDS
        while not self.is_done:
            for stop in (self.cancel, self.kill):
                try:
                    await stop()
                except (NotFound, RequestRefused):
                    continue  # not in the state for this one
                break
            self._tracker.look_now(self._watch)
            try:
                return await self.wait(timeout_seconds=wait_seconds)
            except TaskTimeout:
                wait_seconds = min(wait_seconds * 2, _STOP_LONGEST_SECONDS)
        return await self.wait()

    async def download(self, directory: str | Path) -> list[Path]:
        """Wait for the task and save its output files; their paths, named after the task's id.

        Raises:
            DownloadError: if an output could not be saved; the task is paid.
            WiroError: whatever awaiting the task raises.
        """
        return [saved.path for saved in await self.save_outputs(Path(directory))]

    async def save_outputs(
        self, directory: Path, *, stem: str | None = None
    ) -> tuple[SavedFile, ...]:
        """Like `download`, with sizes and hashes, and files named after `stem` if it is given.

        Raises:
            DownloadError: if an output could not be saved; its `saved` are the others.
            WiroError: whatever awaiting the task raises.
        """
        task = await self
        if not task.outputs:
            task = await self._with_outputs(task)
        name = stem or self.task_id or self.token or "task"
        return await self._downloader.save_all(task, directory, name, refresh=self._ask_again)

    async def delete_files(self) -> None:
        """Remove the task's inputs and outputs from the service. It has to be terminal.

        Raises:
            WiroError: if the service refused, for one because the task still runs.
        """
        if self.token is None:
            await self.wait()  # the record names the token
        await self._api.call(build_delete_files(token=self.token or ""), decode_acknowledgement)

    async def _with_outputs(self, task: Task) -> Task:
        """The record, asked for once more: one that was spoilt must not cost a paid picture.

        A success without outputs is possible, so what cannot be had now is not there.
        """
        with suppress(WiroError):
            fresh = await self._ask_again()
            if fresh.succeeded:
                return fresh
        return task

    async def _ask_again(self) -> Task:
        """The task's record as it is now: its urls expire, and then it has others."""
        task_id, token = self.task_id, self.token

        def decode(answer: Answer, endpoint: str) -> Task:
            return decode_task(answer, endpoint, task_id=task_id, token=token)

        return await self._api.call(build_detail(task_id=task_id, token=token), decode)

    async def _wait_for(self, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._watch.wait_done()
        except TimeoutError:
            if not self._watch.is_done:
                raise self._patience_over(timeout_seconds) from None

    async def _result(self) -> Task:
        task = await self.wait()
        if task.outcome is Outcome.SUCCEEDED:
            return task
        task_id, token = task.id or self.task_id, task.token or self.token
        names = clean_words(f"task {task_id} (token {token})")
        if task.outcome is Outcome.CANCELLED:
            raise TaskCancelled(
                f"{names} was cancelled; it is not billed",
                task_id=self.task_id,
                token=self.token,
                task=task,
            )
        said = clean_words(task.debug_error).rstrip(".") or "the service gives no reason"
        exit_code = f", exit code {task.exit_code}" if task.exit_code else ""
        raise TaskFailed(
            f"{names} failed in {clean_words(task.status)}{exit_code}: {said}. It is not billed",
            task_id=self.task_id,
            token=self.token,
            task=task,
        )

    def _patience_over(self, timeout_seconds: float) -> TaskTimeout:
        return TaskTimeout(
            f"{self._watch.describe()}: not finished after waiting {timeout_seconds} s; it is "
            "watched on, wait again",
            task_id=self.task_id,
            token=self.token,
            task=self.task,
        )


async def as_completed(handles: Iterable[TaskHandle]) -> AsyncGenerator[TaskHandle, None]:
    """Yield handles as their tasks end, however they end; awaiting one then does not wait."""
    waiting = list(handles)
    done: asyncio.Queue[TaskHandle] = asyncio.Queue()
    callbacks = []
    for handle in waiting:

        def put(_: Watch, handle: TaskHandle = handle) -> None:
            done.put_nowait(handle)

        handle._watch.call_when_done(put)  # noqa: SLF001 - the same module
        callbacks.append((handle, put))
    try:
        for _ in waiting:
            yield await done.get()
    finally:
        for handle, put in callbacks:
            handle._watch.forget_callback(put)  # noqa: SLF001 - the same module
