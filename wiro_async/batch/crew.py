"""The items of a batch that are under way: each an asyncio task, and none is left behind.

What a task group does, for thousands at once. One of anyio's keeps a cancel scope, an event and a
state for each of its tasks, three kilobytes in all, and takes seven times as long to start one; one
of asyncio's that is cancelled by a scope of anyio's keeps the loop busy until its last task has
ended. Rules:

1. Whoever leaves the ``async with`` has waited for every task. Leaving it by an exception, a
   cancellation among them, cancels them first.
2. The first task that fails, which an item does not do unless this library is wrong, cancels the
   others; what it failed with comes out of the ``async with``.
3. A cancelled crew starts nothing more.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self

from attrs import define, field

from wiro_async.shield import finish


@define(eq=False)
class Crew:
    """The tasks of one batch; made on its event loop.

    Attributes:
        on_failure: called when a task has failed.
        is_cancelled: whether its tasks were told to end.
    """

    on_failure: Callable[[], object]
    is_cancelled: bool = field(init=False, default=False)
    _tasks: set[asyncio.Task[None]] = field(init=False, factory=set)
    _failure: BaseException | None = field(init=False, default=None)
    _over: asyncio.Future[None] | None = field(init=False, default=None)
    # One for all: what each task has of its own the garbage collector looks at again and again.
    _on_done: Callable[[asyncio.Task[None]], None] = field(init=False)
    _context: contextvars.Context = field(init=False, factory=contextvars.copy_context)

    def __attrs_post_init__(self) -> None:
        self._on_done = self._retire

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.cancel()
        while self._tasks:
            self._over = asyncio.get_running_loop().create_future()
            try:
                await self._over
            except asyncio.CancelledError:
                self.cancel()
                await finish(self._wait())
                raise
        if self._failure is not None:
            raise self._failure

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Begin with something."""
        if self.is_cancelled:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done, context=self._context)

    def cancel(self) -> None:
        """Have every task end; once, since a second time would disturb who tidies up."""
        if self.is_cancelled:
            return
        self.is_cancelled = True
        for task in self._tasks:
            task.cancel()

    async def _wait(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _retire(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = self._failure or failure
            self.cancel()
            self.on_failure()
        if not self._tasks and self._over is not None and not self._over.done():
            self._over.set_result(None)
