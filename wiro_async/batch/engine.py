"""The pipeline: read -> submit -> watch -> download -> record.

Rules:

1. The input is read when there is room for one more request, not before: at no time are more
   than the window's requests in memory (`max_in_flight` running, and as many again as wait to
   be downloaded, recorded or taken by the caller).
2. One item's failure is that item's result. What would fail every item (no balance, refused
   credentials, a service that cannot be reached, a full disk) stops the batch: nothing more is
   submitted, what is in flight is finished and recorded.
3. An item is recorded on disk before the caller sees it. A journal has its place here: what
   `_carry_out` is about to do, and what it has learnt, passes through in this order.
4. The stages of different items never wait for each other: each item has a place in flight
   until its task is terminal, and no longer.
5. Leaving the ``async with`` early stops the batch as in rule 2. Leaving it by an exception
   leaves the tasks running at the service, and records each under its id as unfinished (as
   unsaved where it had succeeded).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import anyio
from anyio.abc import TaskGroup
from attrs import evolve

from wiro_async.api import Statistics
from wiro_async.batch.iterables import as_requests
from wiro_async.batch.progress import Progress, interrupted
from wiro_async.batch.record import ResultFiles
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import BatchItem, BatchSummary, ItemStatus
from wiro_async.errors import (
    AuthenticationFailed,
    InsufficientBalance,
    InvalidRequest,
    OutputDirectoryError,
    RequestNotSent,
    RunOutcomeUnknown,
    SessionStateError,
    WiroError,
)
from wiro_async.handle import TaskHandle
from wiro_async.task import JsonObject

# Errors that the next item would meet as well.
_STOPPING = (AuthenticationFailed, InsufficientBalance, OutputDirectoryError, RequestNotSent)


class Runner(Protocol):
    """What a batch needs of a session."""

    async def start(
        self,
        model: str,
        params: JsonObject,
        *,
        on_handle: Callable[[TaskHandle], None],
        on_unknown: Callable[[RunOutcomeUnknown], None],
    ) -> TaskHandle:
        """Start a task; one of the two is told of it even if the caller is cancelled meanwhile."""
        ...

    @property
    def statistics(self) -> Statistics:
        """What the session has done so far."""
        ...


class Batch:
    """Many requests on their way; made by `WiroSession.batch`, used in ``async with``.

    Iterating gives a `BatchItem` for each request, in the order in which they end; it never
    raises for an item. `wait` goes through all of them at once. What ended a batch early stands
    in `summary.stopped_by`; what the input itself raised is raised after the last item.
    """

    def __init__(
        self,
        runner: Runner,
        requests: Iterable[BatchRequest | str | JsonObject]
        | AsyncIterable[BatchRequest | str | JsonObject],
        *,
        output_dir: Path,
        model: str | None,
        params: JsonObject,
        max_in_flight: int,
    ) -> None:
        self.output_dir = output_dir
        self._runner = runner
        self._requests = as_requests(requests, model=model, params=params)
        self._max_in_flight = max_in_flight
        self._summary = BatchSummary()
        self._files = ResultFiles(output_dir)
        self._seen: set[int] = set()
        self._group: TaskGroup | None = None
        self._reading = anyio.CancelScope()
        self._starts: set[anyio.CancelScope] = set()
        self._source_error: Exception | None = None
        self._is_over = False

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise SessionStateError("this batch was started before; make a new one")
        self._before = self._runner.statistics
        self._files.open()
        self._started_at = _now()
        self._in_flight = asyncio.Semaphore(self._max_in_flight)
        self._window = asyncio.Semaphore(2 * self._max_in_flight)
        # Without a buffer: an item that waits for the caller still counts in the window.
        self._send, self._receive = anyio.create_memory_object_stream[BatchItem]()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._group is not None  # noqa: S101 - entered before
        is_drained = False
        try:
            if error is None:
                self.stop()
                async for _ in self._receive:
                    pass  # nobody asked for it, but it is paid: let it end and be recorded
                is_drained = True
        finally:
            if not is_drained:  # also where the draining is cancelled: nobody takes items now
                self._group.cancel_scope.cancel()
            try:
                # Not handed the body's exception: it would come out wrapped in a group.
                await self._group.__aexit__(None, None, None)
            finally:
                self._receive.close()
                self._files.close()
                self._refresh()
                self._is_over = True

    def __aiter__(self) -> AsyncIterator[BatchItem]:
        return self

    async def __anext__(self) -> BatchItem:
        if self._group is None or self._is_over:
            raise SessionStateError("a batch runs inside `async with session.batch(...) as batch:`")
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            pass
        error, self._source_error = self._source_error, None
        if error is not None:
            raise error
        raise StopAsyncIteration

    @property
    def summary(self) -> BatchSummary:
        """Counts, cost and time, so far while the batch runs, and in the end."""
        self._refresh()
        return self._summary

    @property
    def in_flight(self) -> int:
        """Tasks of the session that run now."""
        return 0 if self._is_over else self._runner.statistics.in_flight

    async def wait(self) -> BatchSummary:
        """Let everything end, and give the summary.

        Raises:
            Exception: what the input raised, after all that it gave has ended.
        """
        async for _ in self:
            pass
        return self.summary

    def stop(self, reason: WiroError | None = None) -> None:
        """Submit nothing more; what is in flight is finished, recorded and given out."""
        if self._summary.stopped_by is None:
            self._summary.stopped_by = reason
        self._reading.cancel()
        for start in self._starts:
            start.cancel()

    async def _run(self) -> None:
        async with self._send, anyio.create_task_group() as items:
            with self._reading:
                await self._read_into(items)
            self._summary.is_stopped = self._reading.cancelled_caught or bool(self._source_error)

    async def _read_into(self, items: TaskGroup) -> None:
        async with aclosing(self._requests) as requests:
            while True:
                await self._window.acquire()
                try:
                    request, problem = await anext(requests)
                except StopAsyncIteration:
                    return
                except Exception as error:  # noqa: BLE001 - the caller's own code; raised at the end
                    self._source_error = error
                    return
                items.start_soon(self._process, Progress(request, _now(), problem))

    async def _process(self, progress: Progress) -> None:
        try:
            item = await self._carry_out(progress)
        except asyncio.CancelledError:
            left = interrupted(progress.handle) if progress.handle else progress.unknown
            if left is not None:
                self._record(progress.end(left, _now()))
            raise
        if item is not None:
            await self._send.send(self._record(item))
        self._window.release()

    async def _carry_out(self, progress: Progress) -> BatchItem | None:
        """Run, watch and download one request; None if it was not begun."""
        request, error = progress.request, progress.problem
        if error is not None:
            return progress.end(error, _now())
        try:
            self._check_unique(request)
            async with self._in_flight:
                if not self._reading.cancel_called:
                    await self._start(progress)
                handle = progress.handle
                if handle is None:
                    return None
                await handle.wait()
            progress.files = await handle.save_outputs(self.output_dir, stem=request.custom_id)
        except WiroError as failure:
            error = failure
            if isinstance(failure, _STOPPING):
                self.stop(failure)
        return progress.end(error, _now())

    async def _start(self, progress: Progress) -> None:
        """Start the task, unless the batch is stopped while this waits for its turn.

        A scope cancels the wait for a slot, and leaves a Run that is on the wire to its end.
        """
        request = progress.request
        with anyio.CancelScope() as scope:
            self._starts.add(scope)
            try:
                await self._runner.start(
                    request.model or "",
                    request.params,
                    on_handle=progress.take,
                    on_unknown=progress.lose,
                )
            finally:
                self._starts.discard(scope)
        if progress.unknown is not None:
            raise progress.unknown

    def _record(self, item: BatchItem) -> BatchItem:
        try:
            self._files.write(item)
        except OutputDirectoryError as error:
            item = evolve(item, status=ItemStatus.UNSAVED, error=error)
            self.stop(error)
        self._summary.add(item)
        return item

    def _check_unique(self, request: BatchRequest) -> None:
        key = hash(request.custom_id)
        if key in self._seen:
            raise InvalidRequest(
                f"the custom_id {request.custom_id!r} was used before in this batch; each request "
                "needs its own",
                field="custom_id",
            )
        self._seen.add(key)

    def _refresh(self) -> None:
        if self._group is None or self._is_over:
            return
        now = self._runner.statistics
        self._summary.elapsed_seconds = _now() - self._started_at
        self._summary.repeats = now.repeats - self._before.repeats
        self._summary.rejections = now.rejections - self._before.rejections
        self._summary.most_in_flight = now.most_in_flight


def _now() -> float:
    return asyncio.get_running_loop().time()
