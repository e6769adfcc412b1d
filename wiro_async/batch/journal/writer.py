"""What was intended, sent, known and saved: durable, in order, and written by one thread.

The engine asks for changes on the event loop; one thread owns the file and writes them. It
takes all that wait at once into one transaction (a group commit), so two hundred tasks that
move together cost one flush of the disk, not two hundred. A change is answered when it is on
the disk, and only then: what the engine does next may cost money.

After the first failure (a full disk, a flush that the disk refused) the journal takes nothing
more: what stands in the file is what was last committed, and a batch that cannot write down
what it is about to do must not do it.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import anyio
from attrs import define, field

from wiro_async.batch.journal.entries import Entry, Totals
from wiro_async.batch.journal.lock import Lock, take_lock
from wiro_async.batch.journal.opening import open_store
from wiro_async.batch.journal.sentlog import SentLog, log_path, read_log, start_log
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.store import Store
from wiro_async.batch.requests import BatchRequest
from wiro_async.crashpoints import passing
from wiro_async.errors import JournalError, WiroError
from wiro_async.shield import finish
from wiro_async.task import JsonObject

T = TypeVar("T")

# More would let the first of a group wait too long for the last.
_LARGEST_GROUP = 1000


@define
class _Job:
    work: Callable[[Store], object]
    future: asyncio.Future[object]
    result: object = None
    error: Exception | None = None

    def settle(self) -> None:
        """On the event loop: hand the outcome to whoever still waits for it."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


@define(eq=False)
class FileJournal:
    """The journal in a file. Made by `open_journal`, on the event loop that it is used on."""

    path: Path
    totals: Totals = field(init=False, factory=Totals)
    _loop: asyncio.AbstractEventLoop = field(init=False, factory=asyncio.get_running_loop)
    _jobs: queue.SimpleQueue[_Job | None] = field(init=False, factory=queue.SimpleQueue)
    _thread: threading.Thread | None = field(init=False, default=None)
    _ended: asyncio.Event = field(init=False, factory=asyncio.Event)
    _broken: JournalError | None = field(init=False, default=None)
    _sent: SentLog | None = field(init=False, default=None)

    async def open(self) -> None:
        """Take the lock, open the file and verify it, on the thread.

        Raises:
            JournalError: if it is in use, damaged, or of another kind.
        """
        self._thread = threading.Thread(target=self._serve, name="wiro_async journal", daemon=True)
        opened = self._ask(lambda store: store.totals)
        self._thread.start()
        self.totals = await opened

    async def plan(self, request: BatchRequest) -> Entry | None:
        """Take a request in, or find it as it was left."""
        return await self._ask(lambda store: store.plan(request))

    async def write(self, position: int, state: State, facts: JsonObject) -> None:
        """Note where an item stands; on the disk when this returns."""
        passing("journal.asked")
        await self._ask(lambda store: store.change(position, state, facts))
        passing("journal.wrote")

    def note_sent(self, position: int, attempt: int) -> None:
        """Note, for the case that this process is killed, that a Run's body goes out next.

        Raises:
            JournalError: if the system does not take it.
        """
        assert self._sent is not None  # noqa: S101 - made before anything is left over
        try:
            self._sent.add(position, attempt)
        except OSError as error:
            raise JournalError(f"{log_path(self.path)}: {error}") from None

    async def left_over(self) -> list[Entry]:
        """The items that an earlier run left unsettled; asked for once, before any plan."""
        sent = read_log(log_path(self.path))
        left = await self._ask(lambda store: store.left_over(sent))

        def begin_log(_: Store) -> None:  # kept by the thread, which closes it: we may be gone
            self._sent = start_log(log_path(self.path))

        # Only now: what the log before says is in the journal.
        await self._ask(begin_log)
        return left

    async def replay(
        self, states: tuple[State, ...], take: Callable[[Iterator[Entry]], None]
    ) -> None:
        """Hand the items in some states to a function, on the journal's thread."""

        def hand_over(store: Store) -> None:
            with closing(store.entries(*states)) as entries:
                take(entries)

        await self._ask(hand_over)

    async def knows(self, names: frozenset[str]) -> frozenset[str]:
        """Which of these task ids and tokens an item has, or had before it was run again."""
        return await self._ask(lambda store: store.knows(names))

    async def use(self, work: Callable[[Store], T]) -> T:
        """Do something with the file, on its thread and within a transaction."""
        return await self._ask(work)

    async def aclose(self) -> None:
        """Close the file and give the lock back; what was asked for before is written.

        Who is cancelled meanwhile has it closed all the same, before the cancellation goes on.
        """
        thread = self._thread
        if thread is not None:
            self._jobs.put(None)
            try:
                await finish(self._ended.wait())
            finally:
                thread.join()
                self._thread = None

    def _ask(self, work: Callable[[Store], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        if self._broken is not None:
            future.set_exception(JournalError(self._broken.message))
        else:
            self._jobs.put(_Job(work, future))  # type: ignore[arg-type] # of the work's own type
        return future

    def _serve(self) -> None:
        """Be the thread: from opening to closing, whatever comes between."""
        try:
            lock, store = self._open()
        except WiroError as error:
            self._end(error.message)
            return
        except Exception as error:  # noqa: BLE001 - whoever waits has to hear of it
            self._end(
                f"the journal {self.path} cannot be opened or written ({error}). Nothing was "
                "submitted: see to it that the file and its directory can be written, and start "
                "the same batch again"
            )
            return
        try:
            self._work(store)
            with suppress(OSError, sqlite3.Error):
                if self._broken is None and not any(store.entries(State.INTENT)):
                    log_path(self.path).unlink(missing_ok=True)  # it has no doubt to settle
        finally:
            with suppress(OSError, sqlite3.Error):
                store.close()
            with suppress(OSError):
                if self._sent is not None:
                    self._sent.close()
            passing("journal.closed")
            with suppress(OSError):
                lock.release()
            self._end(f"the journal {self.path} is closed")

    def _open(self) -> tuple[Lock, Store]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = take_lock(self.path)
        passing("journal.locked")
        try:
            store = open_store(self.path)
        except BaseException:
            with suppress(OSError):
                lock.release()
            raise
        passing("journal.opened")
        return lock, store

    def _work(self, store: Store) -> None:
        while (group := self._next_group()) is not None:
            if self._broken is not None:
                for job in group:
                    job.error = JournalError(self._broken.message)
            else:
                self._write(store, group)
            try:
                self._loop.call_soon_threadsafe(_settle, group)
            except RuntimeError:  # the loop is closed: nobody will ask for more
                self._jobs.put(None)

    def _next_group(self) -> list[_Job] | None:
        first = self._jobs.get()
        if first is None:
            return None
        group = [first]
        while len(group) < _LARGEST_GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)  # closing comes after this group
                break
            group.append(job)
        return group

    def _write(self, store: Store, group: list[_Job]) -> None:
        try:
            store.begin()
            for job in group:
                try:
                    job.result = job.work(store)
                except WiroError as error:  # the asker's own: nothing was changed
                    job.error = error
            store.commit()
        except Exception as error:  # noqa: BLE001 - whoever waits has to hear of it
            self._broken = JournalError(
                f"the journal {self.path} cannot be written ({error}): make room on the disk, or "
                "mend it, and start the same batch again; it goes on where it was"
            )
            for job in group:
                job.error = JournalError(self._broken.message)

    def _end(self, reason: str) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._refuse, reason)

    def _refuse(self, reason: str) -> None:
        """On the event loop, when the thread is over: refuse what waits and what will be asked."""
        self._broken = self._broken or JournalError(reason)
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.error = JournalError(reason)
                    job.settle()
        self._ended.set()


def _settle(group: list[_Job]) -> None:
    for job in group:
        job.settle()


async def open_journal(path: Path) -> FileJournal:
    """Open a batch's journal; made, with its directory, if there is none.

    Raises:
        JournalError: if it is in use, damaged, or of another kind; nothing was changed.
    """
    journal = FileJournal(path)
    try:
        await journal.open()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await journal.aclose()
        raise
    return journal
