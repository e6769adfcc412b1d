"""What is known of one task, and who wants to know more.

A watch takes in what the tracker sees and hands it on: to whoever waits for the end, and to
any number of readers, each with a queue of its own, so that none holds up another.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from attrs import define, evolve, field

from wiro_async.errors import WiroError
from wiro_async.protocol.frames import NO_NEWS, Frame, decode_news
from wiro_async.protocol.wording import clean_words
from wiro_async.task import Outcome, Task, TaskEvent
from wiro_async.tracking.readers import EventQueue


@define(eq=False)
class Watch:
    """What is known of one task, and who wants to know more.

    Attributes:
        started_at: when it began to be watched, by the event loop's clock; with `is_new` that is
            when it was made.
        model: the slug that it was made with, where that is known.
        deadline: when it is given up.
        missing_until: up to when "not found" says nothing.
        task: its last record.
        digest: of the answer that it was read from.
        looks: how many looks were begun.
        failures: how many of the last ones failed.
        due_ticket: which entry of the agenda is its own.
        wanted: how many looks a second it would like.
        stretch: by which factor its wait is longer than it would like.
        vouched_until: up to when somebody else has vouched for it.
        seen_running_at: when it was last known to run.
        wants_look: whether it is to be looked at whatever else is said.
    """

    started_at: float
    task_id: str | None = None
    token: str | None = None
    model: str | None = None
    is_new: bool = True
    deadline: float | None = None
    missing_until: float = 0.0
    task: Task | None = None
    digest: int = 0
    error: WiroError | None = None
    looks: int = 0
    failures: int = 0
    due_ticket: int | None = None
    wanted: float = 0.0
    stretch: float = 1.0
    vouched_until: float = -math.inf
    seen_running_at: float | None = None
    is_looking: bool = False
    wants_look: bool = False
    # Most have none or one, and a set takes as much memory as all the rest.
    _readers: tuple[EventQueue, ...] = ()
    _waiters: tuple[asyncio.Future[None], ...] = ()
    _callbacks: list[Callable[[Watch], None]] = field(factory=list)
    last_event: TaskEvent | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be seen: the task is terminal, or was given up."""
        return self.error is not None or (self.task is not None and self.task.is_terminal)

    def age_seen(self) -> float:
        """The age at which it was last known to run, in seconds; nought if it never was."""
        return 0.0 if self.seen_running_at is None else self.seen_running_at - self.started_at

    def call_when_done(self, callback: Callable[[Watch], None]) -> None:
        """Call once with this watch when done; at once if it is."""
        if self.is_done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def forget_callback(self, callback: Callable[[Watch], None]) -> None:
        """Take a callback back that has not been called."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    async def wait_done(self) -> None:
        """Return when done."""
        if self.is_done:
            return
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters = (*self._waiters, over)
        try:
            await over
        finally:
            self._waiters = tuple(other for other in self._waiters if other is not over)

    def open_reader(self) -> EventQueue:
        """A queue of events from now on, the last known one first; None ends it."""
        reader = EventQueue()
        if self.last_event is not None:
            reader.put_nowait(self.last_event)
        if self.is_done:
            reader.put_nowait(None)
        self._readers = (*self._readers, reader)
        return reader

    def close_reader(self, reader: EventQueue) -> None:
        """Stop feeding a queue."""
        self._readers = tuple(other for other in self._readers if other is not reader)

    def see(self, task: Task, now: float) -> None:
        """Take in a record from Task/Detail; nothing any more once it is done."""
        if self.is_done:
            return
        self.task_id = self.task_id or task.id
        self.token = self.token or task.token
        self.task = task
        last = self.last_event
        if last is None or (last.status, last.outcome) != (task.status, task.outcome):
            self.last_event = TaskEvent(
                status=task.status,
                outcome=task.outcome,
                task=task,
                elapsed_seconds=now - self.started_at,
            )
            for reader in self._readers:
                reader.put_nowait(self.last_event)
        if task.is_terminal:
            self._finish()

    def hear(self, frame: Frame, now: float) -> None:
        """Hand on what a socket says, to whoever reads; it decides nothing.

        Whoever knows the task by its token alone reads its record first: that names it.
        """
        if not self._readers or self.is_done or self.task_id is None or frame.is_end:
            return
        last = self.last_event
        status = frame.kind if frame.is_status else last.status if last else ""
        is_change = frame.is_status and (last is None or last.status != status)
        record, news = self.task or Task(id=self.task_id, token=self.token), decode_news(frame)
        event = TaskEvent(
            status=status,
            outcome=Outcome.RUNNING,
            task=evolve(record, status=status, outcome=Outcome.RUNNING),
            elapsed_seconds=now - self.started_at,
            progress=news.progress,
            log=news.log,
            text=news.text,
            thinking=news.thinking,
        )
        if is_change:
            self.last_event = event
        if is_change or news != NO_NEWS:
            for reader in self._readers:
                reader.put_nowait(event) if is_change else reader.put_news(event)

    def give_up(self, error: WiroError) -> None:
        """End the watch without a terminal record."""
        if not self.is_done:
            self.error = error
            self._finish()

    def describe(self) -> str:
        """The task's names and its last known status, for messages."""
        names = [f"task {clean_words(self.task_id)}"] if self.task_id else ["a task"]
        names += [f"token {clean_words(self.token)}"] if self.token else []
        names += [f"last seen in {clean_words(self.task.status)}"] if self.task else ["never seen"]
        return ", ".join(names)

    def _finish(self) -> None:
        for reader in self._readers:
            reader.put_nowait(None)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)
