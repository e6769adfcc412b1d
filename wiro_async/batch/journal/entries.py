"""An item as a journal knows it, and what a batch asks of a journal.

A batch without a journal has a `Memory` instead, which forgets. What a journal in a file is made
of stands in `writer`, `store` and their neighbours; nothing here needs a database, so whoever
runs a single task never loads one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Protocol

from attrs import field, frozen

from wiro_async.batch.journal.states import State
from wiro_async.batch.requests import BatchRequest
from wiro_async.errors import InvalidRequest
from wiro_async.protocol.requests import wire_params
from wiro_async.task import JsonObject, JsonValue

JOURNAL_NAME = "batch.sqlite"
_LONGEST_SHOWN = 60


@frozen(kw_only=True)
class Entry:
    """An item as the journal knows it.

    Attributes:
        position: its number in the journal.
        request: what was asked for.
        state: how far it is.
        facts: what is known: ``sent_at``, ``task_id``, ``token``, ``record``, ``files``, ...
    """

    position: int
    request: BatchRequest
    state: State = State.PLANNED
    facts: JsonObject = field(factory=dict)


@frozen(kw_only=True)
class Totals:
    """What a journal held when it was read.

    Attributes:
        counts: items by state.
        spent: what their tasks have cost, in US dollars.
        doubts: by model, Runs that may have made a task and that nobody looks for any more.
    """

    counts: Counter[State] = field(factory=Counter)
    spent: Decimal = Decimal(0)
    doubts: Counter[str] = field(factory=Counter)


class Journal(Protocol):
    """What the engine asks of a journal. All of it raises `JournalError` for the disk."""

    totals: Totals

    async def plan(self, request: BatchRequest) -> Entry | None:
        """Take a request in, or find it as it was left; None if `left_over` gave it already.

        Raises:
            InvalidRequest: if its id came before in this run, or stands for another request.
        """
        ...

    async def write(self, position: int, state: State, facts: JsonObject) -> None:
        """Note where an item stands; on the disk when this returns."""
        ...

    def note_sent(self, position: int, attempt: int) -> None:
        """Note, for the case that this process is killed, that a Run's body goes out next."""
        ...

    async def left_over(self) -> list[Entry]:
        """The items that an earlier run left unsettled; asked for once, before any plan."""
        ...

    async def replay(
        self, states: tuple[State, ...], take: Callable[[Iterator[Entry]], None]
    ) -> None:
        """Hand the items in some states to a function, which may run on another thread."""
        ...

    async def knows(self, names: frozenset[str]) -> frozenset[str]:
        """Which of these task ids and tokens an item has, or had before it was run again."""
        ...

    async def aclose(self) -> None:
        """Close it; safe to call twice."""
        ...


class Memory:
    """No journal: ids are told apart, everything else is forgotten with the process."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._seen: set[int] = set()

    async def plan(self, request: BatchRequest) -> Entry:
        """Take a request in."""
        key = hash(request.custom_id)
        if key in self._seen:
            raise used_before(request)
        self._seen.add(key)
        return Entry(position=len(self._seen), request=request)

    async def write(self, position: int, state: State, facts: JsonObject) -> None:
        """Note nothing."""

    def note_sent(self, position: int, attempt: int) -> None:
        """Note nothing."""

    async def left_over(self) -> list[Entry]:
        """Nothing is."""
        return []

    async def replay(
        self,
        states: tuple[State, ...],  # noqa: ARG002 - as declared
        take: Callable[[Iterator[Entry]], None],
    ) -> None:
        """Hand over that there is nothing."""
        take(iter(()))

    async def knows(self, names: frozenset[str]) -> frozenset[str]:  # noqa: ARG002 - as declared
        """None: the session itself knows the tasks that it started."""
        return frozenset()

    async def aclose(self) -> None:
        """Nothing is open."""


def cost_of(facts: JsonObject) -> Decimal:
    """What an item's tasks have cost, as far as their records tell."""
    record = facts.get("record")
    told = record.get("totalcost") if isinstance(record, dict) else None
    return Decimal(str(told or 0)) + Decimal(str(facts.get("spent_before") or 0))


def doubts_of(facts: JsonObject) -> int:
    """How many Runs of an item a person gave up that may have made a task."""
    told = facts.get("doubts")
    return told if isinstance(told, int) else 0


def used_before(request: BatchRequest) -> InvalidRequest:
    """Say that an id came twice in one input."""
    return InvalidRequest(
        f"the custom_id {request.custom_id!r} was used before in this batch; each request "
        "needs its own",
        field="custom_id",
    )


def check_same(model: str, params: JsonObject, request: BatchRequest) -> None:
    """Check that an id still stands for the request that it stood for.

    Raises:
        InvalidRequest: naming what differs. Numbers and their texts are the same: so they travel.
    """
    before = {"model": model, **wire_params(params)}
    now = {"model": request.model, **wire_params(request.params)}
    if before == now:
        return
    parts = [
        f"{name} was {_shown(before.get(name))} and is now {_shown(now.get(name))}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    raise InvalidRequest(
        f"the custom_id {request.custom_id!r} stands for another request in this batch's journal: "
        f"{'; '.join(parts)}. Give the changed request an id of its own, or another output "
        "directory",
        field="custom_id",
    )


def _shown(value: JsonValue) -> str:
    text = "not there" if value is None else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
