"""The service without its wires: one account, its balance, and the tasks it runs.

Nothing happens here by itself. The world stands still between calls; every call brings the
time `now` (service seconds since the world began, never less than before), and first
settles what has come to pass by then. No clock is read, no dice are rolled and nothing is
waited for, so hours pass in milliseconds and every run is the same run. The rules:

* A task counts as in flight from its creation until it is terminal.
* A Run over the concurrent limit or the balance makes no task.
* A task is billed when it succeeds, at that moment, once. Failed and cancelled tasks are not.
* Cancel works while the task is queued, Kill from `task_assign` on, neither in between.
* A task that has a picture ends no sooner than the picture is drawn.

Ends are kept in a heap: settling costs by what ended, never by what exists.
"""

import heapq
import math
from collections.abc import Iterator
from decimal import Decimal
from itertools import dropwhile, islice, takewhile
from typing import Any

import attrs

from wiro_async.emulator import chance, limits, refusals
from wiro_async.emulator.books import BookedFile, BookedTask, Books, Fate
from wiro_async.emulator.catalog import Model
from wiro_async.emulator.refusals import Refusal
from wiro_async.emulator.timeline import (
    ASSIGNED,
    CANCELLED,
    DONE,
    FATAL,
    QUEUED,
    begins_at,
    status_at,
)

FIRST_TASK_NUMBER = 2221  # the id in the model page's sample answer


@attrs.frozen(kw_only=True)
class Terms:
    """What is settled when a world begins."""

    seed: int = 0
    epoch: float = 0.0
    """The Unix time at which the world's clock stood at 0."""
    balance: Decimal = Decimal(1000)
    price: Decimal = Decimal("0.06")
    """Dollars for each task that succeeds."""
    median_seconds: float = 8.0
    """Half of all tasks take less than this, in service seconds."""
    sigma: float = 0.5
    """How widely durations spread around the median (lognormal); 0 makes all the same."""
    failure_rate: float = 0.0
    """The share of tasks that end with `pexit` "1"."""


@attrs.frozen(kw_only=True)
class Wish:
    """An admitted Run: what is to be made."""

    model: Model
    prompt: str
    parameters: dict[str, Any] = attrs.field(factory=dict)
    callback_url: str = ""
    project_id: str = ""
    fate: Fate | None = None
    """How it has to end; `None` leaves that to the failure rate."""


class World:
    """The state of one emulated account. All times are service seconds."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.books = Books(balance=terms.balance)
        self._ids_by_token: dict[str, str] = {}
        self._running: dict[str, BookedTask] = {}
        self._ends: list[tuple[float, str]] = []

    def run(self, wish: Wish, now: float) -> BookedTask | Refusal:
        """Make a task, or say why not: no balance (97), too many in flight (96)."""
        self.settle(now)
        if self.books.balance < self.terms.price:
            return refusals.NO_BALANCE
        limit = limits.concurrent_limit(self.books.balance)
        if limit is not None and self.books.in_flight >= limit:
            return refusals.limit_reached(self.books.balance, limit)
        task = self._make(wish, now)
        self._enter(task)
        return task

    def settle(self, now: float) -> None:
        """End every task whose time has come by now, in the order of their ends."""
        while self._ends and self._ends[0][0] <= now:
            due, task_id = heapq.heappop(self._ends)
            task = self.books.tasks[task_id]
            if not task.terminal and self._has_all(task):
                self._end(task, due)

    def look(self, now: float) -> Books:
        """Give the books with every status as of now."""
        self.settle(now)
        for task in self._running.values():
            self.refresh(task, now)
        return self.books

    def refresh(self, task: BookedTask, now: float) -> None:
        """Bring the status of one task up to date; a terminal one never changes again."""
        if not task.terminal:
            task.status = status_at((now - task.created) / task.duration)

    def as_it_was(self, task: BookedTask, then: float) -> BookedTask:
        """Give the task as it stood at an earlier time, when it was made already."""
        if task.ended is not None and task.ended <= then:
            return task
        status = status_at((then - task.created) / task.duration)
        return attrs.evolve(task, status=status, ended=None, cost=Decimal(0), outputs=())

    def find(self, now: float, *, task_id: str = "", token: str = "") -> BookedTask | None:
        """Give the task of that id, or else of that token, up to date; `None` if none is."""
        self.settle(now)
        task = self.books.tasks.get(task_id or self._ids_by_token.get(token, ""))
        if task is not None:
            self.refresh(task, now)
        return task

    def cancel(self, task: BookedTask, now: float) -> Refusal | None:
        """Take a queued task out of the queue; `None` when that worked."""
        return self._stop(task, now, allowed=task.status == QUEUED)

    def kill(self, task: BookedTask, now: float) -> Refusal | None:
        """Stop a task that has been assigned; `None` when that worked."""
        share = (now - task.created) / task.duration
        return self._stop(task, now, allowed=share >= begins_at(ASSIGNED))

    def picture_drawn(self, task_id: str, picture: BookedFile, now: float) -> None:
        """Note a task's picture; a task that was only waiting for it ends now."""
        # Settled before the picture is noted: a task that waited for it ends now, not back
        # when its time was up.
        self.settle(now)
        task = self.books.tasks[task_id]
        task.drawn = picture
        if not task.terminal and task.due <= now:
            self._end(task, now)

    def newest(
        self, *, start: int, limit: int, model: str = "", until: float = math.inf
    ) -> list[BookedTask]:
        """Give up to `limit` tasks after the first `start`, newest first, of one model or all.

        Tasks made after `until`, in service seconds, are left out.
        """
        return list(islice(self._of_model(model, until), start, start + limit))

    def count(self, model: str = "", until: float = math.inf) -> int:
        """Give the number of tasks made until then, of one model or all."""
        if model:
            return sum(1 for _ in self._of_model(model, until))
        tasks = self.books.tasks
        late = takewhile(lambda task: task.created > until, reversed(tasks.values()))
        return len(tasks) - sum(1 for _ in late)

    def _of_model(self, model: str, until: float) -> Iterator[BookedTask]:
        wanted = model.casefold()
        newest_first = reversed(self.books.tasks.values())
        made = dropwhile(lambda task: task.created > until, newest_first)
        return (task for task in made if wanted in task.model.casefold())

    def _make(self, wish: Wish, now: float) -> BookedTask:
        terms = self.terms
        task_id = str(FIRST_TASK_NUMBER + len(self.books.tasks))
        kind = (terms.seed, wish.model.slug, wish.prompt, wish.model.value("seed", wish.parameters))
        # The same prompt run again meets another fate: otherwise a retry could never help.
        attempt = len(self.books.tasks_by_prompt.get(wish.prompt, ()))
        unlucky = chance.share("fate", attempt, *kind) < terms.failure_rate
        return BookedTask(
            id=task_id,
            token=chance.token(30, "token", terms.seed, task_id),
            model=wish.model.slug,
            prompt=wish.prompt,
            parameters=wish.parameters,
            callback_url=wish.callback_url,
            project_id=wish.project_id,
            fate=wish.fate or (Fate.FAIL if unlucky else Fate.SUCCEED),
            created=now,
            duration=chance.lognormal(terms.median_seconds, terms.sigma, "duration", *kind),
            answer=None if wish.model.draws else f"You said: {wish.prompt}",
        )

    def _enter(self, task: BookedTask) -> None:
        books = self.books
        books.tasks[task.id] = task
        books.tasks_by_prompt.setdefault(task.prompt, []).append(task.id)
        self._ids_by_token[task.token] = task.id
        heapq.heappush(self._ends, (task.due, task.id))
        self._running[task.id] = task
        books.in_flight = len(self._running)
        books.most_in_flight = max(books.most_in_flight, books.in_flight)

    def _has_all(self, task: BookedTask) -> bool:
        return task.fate is not Fate.SUCCEED or task.answer is not None or task.drawn is not None

    def _stop(self, task: BookedTask, now: float, *, allowed: bool) -> Refusal | None:
        if task.terminal or not allowed:
            return refusals.NOT_CANCELLABLE
        self._leave(task, CANCELLED, now)
        return None

    def _end(self, task: BookedTask, at: float) -> None:
        self._leave(task, FATAL if task.fate is Fate.ERROR else DONE, at)
        if task.fate is Fate.SUCCEED:
            task.cost = self.terms.price
            task.outputs = () if task.drawn is None else (task.drawn,)
            self.books.balance -= task.cost
            self.books.spent += task.cost

    def _leave(self, task: BookedTask, status: str, at: float) -> None:
        task.status = status
        task.ended = at
        del self._running[task.id]
        self.books.in_flight = len(self._running)
