"""The pipeline: read -> submit -> watch -> download -> record.

Rules:

1. The input is read when there is room for one more request, not before: at no time are more
   than the window's requests in memory (`max_in_flight` running, and as many again, a thousand
   at most, as wait to be submitted, downloaded, recorded or taken by the caller).
2. One item's failure is that item's result. What would fail every item (no balance, refused
   credentials, a service that cannot be reached, a disk that fails) stops the batch: nothing more
   is submitted, what is in flight is finished and recorded. A full disk only pauses it
   (`batch.gate`).
3. An item is recorded on disk before the caller sees it, and every step of it is in the journal
   before the next one begins (`batch.pipeline`).
4. The stages of different items never wait for each other: each item has a place in flight
   until its task is terminal, and no longer.
5. A batch that is started again sees first to what an earlier run left unsettled: those tasks
   run already and hold their places at the service. Then it goes through its input as before.
6. Leaving the ``async with`` early stops the batch as in rule 2. Leaving it by an exception, or
   stopping it without draining, leaves the tasks running at the service: a Run that is on the
   wire is finished and noted, and nothing else is waited for.

Longer than the other files because a batch's whole life is told in one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import anyio
from anyio.abc import TaskGroup
from attrs import evolve

from wiro_async.batch.budget import Budget
from wiro_async.batch.crew import Crew
from wiro_async.batch.gate import Gate
from wiro_async.batch.iterables import as_requests
from wiro_async.batch.journal.entries import Entry
from wiro_async.batch.journal.states import UNPAID, State
from wiro_async.batch.papers import open_papers
from wiro_async.batch.pipeline import Pipeline
from wiro_async.batch.progress import Progress, interrupted
from wiro_async.batch.purse import Purse
from wiro_async.batch.record import earlier_item
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import BatchItem, BatchSummary, ItemStatus
from wiro_async.batch.runner import Choices, Runner
from wiro_async.batch.streak import Streak
from wiro_async.errors import OutputDirectoryError, SessionStateError, WiroError
from wiro_async.task import JsonObject

# More would wait for nothing but their turn, and take several kilobytes each.
_MOST_WAITING = 1_000

# An item for the caller, and whether it still counts in the window.
_Ended: TypeAlias = tuple[BatchItem, bool]


class Batch:
    """Many requests on their way; made by `WiroSession.batch`, used in ``async with``.

    Iterating gives a `BatchItem` for each request, in the order in which they end; it never
    raises for an item. `wait` goes through all of them at once. What ended a batch early stands
    in `summary.stopped_by`; what the input itself raised is raised after the last item.

    Without a journal the batch works in memory: if the process dies, what was recorded is in
    the two files of results, and nobody knows of what was in flight or had been paid and not
    recorded. With one, the same batch started again goes on where it was.
    """

    def __init__(
        self,
        runner: Runner,
        requests: Iterable[BatchRequest | str | JsonObject]
        | AsyncIterable[BatchRequest | str | JsonObject],
        *,
        output_dir: Path,
        defaults: tuple[str | None, JsonObject],
        max_in_flight: int,
        choices: Choices | None = None,
    ) -> None:
        model, params = defaults
        self.output_dir = output_dir
        self._runner = runner
        self._requests = as_requests(requests, model=model, params=params)
        self._max_in_flight = max_in_flight
        self._choices = choices or Choices()
        self._summary = BatchSummary()
        self._group: TaskGroup | None = None
        self._reading = anyio.CancelScope()
        self._items = Crew(on_failure=self._reading.cancel)
        self._under_way: set[Progress] = set()
        self._source_error: Exception | None = None
        self._is_over = False

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise SessionStateError("this batch was started before; make a new one")
        self._before = self._runner.statistics
        async with AsyncExitStack() as stack:
            await self._prepare(stack)
            self._stack = stack.pop_all()
        if self._reading.cancel_called:  # stopped before it was begun
            self._pipeline.submit_nothing_more()
        self._started_at = _now()
        self._window = asyncio.Semaphore(window_size(self._max_in_flight))
        self._ended: asyncio.Queue[_Ended | None] = asyncio.Queue()
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
                while await self._next_ended() is not None:
                    pass  # nobody asked for it, but it is paid: let it end and be recorded
                is_drained = True
        finally:
            if not is_drained:  # also where the draining is cancelled: nobody takes items now
                self._group.cancel_scope.cancel()
            try:
                # Not handed the body's exception: it would come out wrapped in a group.
                await self._group.__aexit__(None, None, None)
            finally:
                if self._pipeline.gone:
                    self._see_to_files(lambda: self._papers.files.drop_stale(self._pipeline.gone))
                with suppress(SessionStateError):  # closed under the batch: as it was told last
                    self._refresh()
                self._is_over = True
                with anyio.CancelScope(shield=True):
                    try:
                        await self._keep_failures()
                    finally:
                        await self._stack.aclose()

    def __aiter__(self) -> AsyncIterator[BatchItem]:
        return self

    async def __anext__(self) -> BatchItem:
        if self._group is None or self._is_over:
            raise SessionStateError("a batch runs inside `async with session.batch(...) as batch:`")
        item = await self._next_ended()
        if item is not None:
            return item
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

    @property
    def paused_by(self) -> WiroError | None:
        """Why nothing is submitted just now, and no picture saved; None while the batch goes on.

        It is the disk of the output directory, which is full; the message names the directory. The
        batch goes on by itself when there is room, and stops when its patience is over.
        """
        return None if self._group is None or self._is_over else self._pipeline.gate.paused_by

    @property
    def unanswered_seconds(self) -> float:
        """For how long the service has answered nobody, seconds; nought while it does.

        The batch goes on by itself when it answers again. Tasks that run are given up, for the
        next run of the batch, after `RetryPolicy.max_outage_seconds`.
        """
        return 0.0 if self._is_over else self._runner.statistics.unanswered_seconds

    async def wait(self) -> BatchSummary:
        """Let everything end, and give the summary.

        Raises:
            Exception: what the input raised, after all that it gave has ended.
        """
        async for _ in self:
            pass
        return self.summary

    def stop(self, reason: WiroError | None = None, *, drain: bool = True) -> None:
        """Submit nothing more.

        Args:
            reason: what `summary.stopped_by` is to say.
            drain: whether what is in flight is finished, recorded and given out. If not, its
                tasks are left running at the service, for the same batch started again.
        """
        if self._summary.stopped_by is None:
            self._summary.stopped_by = reason
        self._reading.cancel()
        if self._group is not None:
            self._pipeline.submit_nothing_more()
        if not drain:
            self._items.cancel()

    async def cancel(self) -> None:
        """Submit nothing more, and cancel or kill every task of this batch that still runs.

        Their items end as cancelled, and are run by the same batch started again.
        """
        self.stop()
        if self._group is None:  # nothing was begun
            return
        self._pipeline.is_cancelling = True
        handles = [one.handle for one in self._under_way if one.handle is not None]
        await asyncio.gather(*(handle.stop() for handle in handles), return_exceptions=True)

    async def _prepare(self, stack: AsyncExitStack) -> None:
        """Open what is written to, and set aside what an earlier run may still cost."""
        papers = self._papers = await open_papers(self.output_dir, self._choices, stack)
        totals = papers.journal.totals
        self._budget = Budget(limit=self._choices.max_cost, spent=totals.spent)
        purse = Purse(self._budget, self._runner)
        for entry in papers.left_over:
            if entry.state in UNPAID:
                request = entry.request
                await purse.expect(entry.position, request.model or "", request.params)
        for model, number in totals.doubts.items():
            await purse.doubt(model, number)
        self._pipeline = Pipeline(
            runner=self._runner,
            journal=papers.journal,
            directory=self.output_dir,
            choices=self._choices,
            purse=purse,
            gate=Gate(
                directory=self.output_dir,
                patience_seconds=self._choices.disk_patience_seconds,
                measure=self._choices.measure_room,
                stop=self.stop,
                now=_now,
            ),
            streak=Streak(self.stop),
            in_flight=asyncio.Semaphore(self._max_in_flight),
            check_in_place=papers.check_in_place,
            stop=self.stop,
            now=_now,
        )

    async def _next_ended(self) -> BatchItem | None:
        """The next item that has ended; None when there is none any more."""
        ended = await self._ended.get()
        if ended is None:
            self._ended.put_nowait(None)  # for whoever else asks
            return None
        item, is_in_window = ended
        if is_in_window:  # until it is taken, and no longer
            self._window.release()
        return item

    async def _run(self) -> None:
        try:
            await self._run_items()
        finally:
            self._ended.put_nowait(None)

    async def _run_items(self) -> None:
        async with anyio.create_task_group() as tending:
            tending.start_soon(self._pipeline.gate.tend)
            async with self._items:
                with self._reading:
                    await self._read_into_crew()
            tending.cancel_scope.cancel()
            self._see_to_files(self._papers.check_in_place)
            self._summary.is_stopped = (
                self._reading.cancelled_caught
                or self._items.is_cancelled
                or self._pipeline.has_left_some
                or self._source_error is not None
                or self._summary.is_stopped
            )

    async def _read_into_crew(self) -> None:
        journal = self._papers.journal
        for entry in self._papers.left_over:
            # Without a place in the window: they are in memory already, and those that wait for
            # money wait for all of them.
            progress = Progress(entry.request, _now(), journal, entry=entry)
            self._items.start(self._process(progress))
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
                progress = Progress(request, _now(), journal, problem)
                self._items.start(self._process(progress, is_in_window=True))

    async def _process(self, progress: Progress, *, is_in_window: bool = False) -> None:
        self._under_way.add(progress)
        try:
            item = await self._pipeline.carry_out(progress)
        except asyncio.CancelledError:
            left = interrupted(progress.handle) if progress.handle else progress.unknown
            if left is not None:
                self._record(progress.end(left, _now()))
            raise
        finally:
            self._under_way.discard(progress)
        if item is not None:
            self._ended.put_nowait((self._record(item), is_in_window))
        elif is_in_window:
            self._window.release()

    def _record(self, item: BatchItem) -> BatchItem:
        if not item.is_earlier:  # or it stands there already
            try:
                self._papers.files.write(item)
            except OutputDirectoryError as error:
                item = evolve(item, status=ItemStatus.UNSAVED, error=error)
                self.stop(error)
        self._summary.add(item)
        return item

    async def _keep_failures(self) -> None:
        """Give the failures their line that were to be run again, and were not met in the input."""
        if not self._choices.retry_failed:
            return  # they have it from the beginning

        def write(entries: Iterator[Entry]) -> None:
            for entry in entries:
                if entry.position not in self._pipeline.failures:
                    self._papers.files.write(earlier_item(entry, self.output_dir))

        try:
            await self._papers.journal.replay((State.FAILED,), write)
        except OutputDirectoryError as error:
            self.stop(error)
            self._summary.is_stopped = True

    def _see_to_files(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OutputDirectoryError as error:
            self.stop(error)
            self._summary.is_stopped = True

    def _refresh(self) -> None:
        if self._group is None or self._is_over:
            return
        now = self._runner.statistics
        self._summary.elapsed_seconds = _now() - self._started_at
        self._summary.repeats = now.repeats - self._before.repeats
        self._summary.rejections = now.rejections - self._before.rejections
        self._summary.most_in_flight = now.most_in_flight
        self._summary.cost = self._budget.spent
        self._summary.reserved = self._budget.reserved
        self._summary.reserved_tasks = self._budget.reserved_tasks


def window_size(max_in_flight: int) -> int:
    """How many requests of a batch are in memory at once: those that run, and some that wait."""
    return max_in_flight + min(max_in_flight, _MOST_WAITING)


def _now() -> float:
    return asyncio.get_running_loop().time()
