"""A journal with items in every state, and the whole of what one can be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from attrs import frozen

from tests.batch.source_cases import FLUX
from wiro_async.batch.journal.entries import Entry
from wiro_async.batch.journal.opening import open_store
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.store import Store
from wiro_async.batch.requests import BatchRequest
from wiro_async.task import JsonObject

NAME = "batch.sqlite"
MIXED_ITEMS = 40

# A way to each state; an item goes it step by step.
WAYS: dict[State, tuple[State, ...]] = {
    State.PLANNED: (),
    State.INTENT: (State.INTENT,),
    State.UNKNOWN: (State.INTENT, State.UNKNOWN),
    State.SUBMITTED: (State.INTENT, State.SUBMITTED),
    State.TERMINAL: (State.INTENT, State.SUBMITTED, State.TERMINAL),
    State.SAVED: (State.INTENT, State.SUBMITTED, State.TERMINAL, State.SAVED),
    State.FAILED: (State.INTENT, State.SUBMITTED, State.FAILED),
    State.SKIPPED: (State.INTENT, State.UNKNOWN, State.SKIPPED),
}


def request(number: int, **params: object) -> BatchRequest:
    return BatchRequest(
        custom_id=f"{number:06d}",
        model=FLUX,
        params={"prompt": f"fox number {number}", **params},  # type: ignore[dict-item] # any value
        metadata={"shelf": number},
    )


def facts_at(state: State, number: int) -> JsonObject:
    """What is known of an item that has come to a state."""
    sent: JsonObject = {"sent_at": 1_700_000_000.25 + number}
    named: JsonObject = {**sent, "task_id": f"{2000 + number}", "token": f"token-of-{number}"}
    record: JsonObject = {"id": f"{2000 + number}", "totalcost": "0.0035", "outputs": []}
    ended: JsonObject = {**named, "record": record}
    match state:
        case State.PLANNED:
            return {}
        case State.INTENT:
            return sent
        case State.UNKNOWN | State.SKIPPED:
            return {**sent, "evidence": "the connection broke"}
        case State.SUBMITTED:
            return named
        case State.TERMINAL | State.FAILED:
            return ended
        case State.SAVED:
            return {**ended, "files": [{"path": f"{number:06d}.png", "size_bytes": 68}]}


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    store = open_store(path)
    try:
        yield store
    finally:
        store.close()


def bring_to(store: Store, number: int, state: State) -> Entry:
    """Plan an item and take it to a state; within a transaction."""
    entry = store.plan(request(number))
    assert entry is not None
    for step in WAYS[state]:
        store.change(entry.position, step, facts_at(step, number))
    return entry


def state_of(number: int) -> State:
    return list(State)[number % len(State)]


def make_mixed(path: Path) -> None:
    """A journal of two runs, with a fifth of its items in each state."""
    for half in (range(MIXED_ITEMS // 2), range(MIXED_ITEMS // 2, MIXED_ITEMS)):
        with opened(path) as store:
            for number in half:
                store.begin()
                bring_to(store, number, state_of(number))
                store.commit()


@frozen
class Held:
    """Everything that a journal tells."""

    entries: tuple[Entry, ...]
    counts: dict[State, int]
    spent: Decimal
    known: frozenset[str]
    peeked: tuple[object, ...]
    left_over: tuple[Entry, ...]
    planned: tuple[Entry | None, ...]
    end_of_chain: tuple[int, bytes]


def read(path: Path) -> Held:
    """Open it as a batch does, and ask for everything; nothing of it is committed."""
    names = [facts_at(State.SUBMITTED, number) for number in range(MIXED_ITEMS)]
    asked = frozenset(str(name[key]) for name in names for key in ("task_id", "token"))
    with opened(path) as store:
        store.begin()
        end = (store._seq, store._link)
        return Held(
            entries=tuple(store.entries(*State)),
            counts=dict(store.totals.counts),
            spent=store.totals.spent,
            known=store.knows(asked | {"a stranger's"}),
            peeked=tuple(store.peek(f"{number:06d}") for number in range(MIXED_ITEMS)),
            left_over=tuple(store.left_over(None)),
            planned=tuple(store.plan(request(number)) for number in range(MIXED_ITEMS)),
            end_of_chain=end,
        )
