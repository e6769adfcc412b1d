"""The journal's file: SQLite, one connection, and a chain over all that ever happened.

Two tables tell the same story twice. ``events`` holds every change in order, each with a
checksum over itself, over the request it is about and over the checksum before it; ``items``
holds where every item stands now. Both are written in one transaction, and opening reads all of
both: a bit that flipped, a row that is gone, a change that is in one and not in the other is
found, and the file is refused with the ways out. It is never begun afresh without being told.

Durability (SQLite's documentation, "PRAGMA synchronous"): a rollback journal with
``synchronous=EXTRA``, so that what is committed survives a loss of power. Not the write-ahead
log: a damaged frame there ends the recovery, and the committed ones behind it are lost without
a word. The file is made under another name and renamed when its tables are in it, so an empty
file is damage and never a beginning. It is readable to its owner alone, and holds no key.

All of this is called on one thread, the journal's own.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from attrs import define, field

from wiro_async.batch.journal.chain import (
    ORIGIN,
    next_link,
    request_digest,
    require,
    task_names,
    verify_events,
    verify_items,
    verify_runs,
)
from wiro_async.batch.journal.entries import Entry, Totals, check_same, used_before
from wiro_async.batch.journal.states import FOLLOWERS, UNSETTLED, State
from wiro_async.batch.requests import BatchRequest
from wiro_async.crashpoints import passing
from wiro_async.errors import InvalidRequest, JournalError
from wiro_async.task import JsonObject, JsonValue

_SELECT = "SELECT position, custom_id, model, params, metadata, state, facts FROM items"


@define
class Store:
    """The file, open. Made by `open_store`."""

    path: Path
    _connection: sqlite3.Connection
    totals: Totals = field(init=False, factory=Totals)
    _seq: int = field(init=False, default=0)
    _link: bytes = field(init=False, default=ORIGIN)
    _run: int = field(init=False, default=0)

    def begin(self) -> None:
        """Open the transaction that the next changes belong to."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make them durable."""
        self._set("head", self._link)
        passing("store.before_commit")
        self._connection.execute("COMMIT")
        passing("store.after_commit")

    def close(self) -> None:
        """Close the file; what is not committed is not in it."""
        self._connection.close()

    def plan(self, request: BatchRequest) -> Entry | None:
        """Take a request in, or find it as it was left; None if `left_over` gave it already.

        Raises:
            InvalidRequest: if its id came before in this run, or stands for another request.
        """
        model, params, metadata = _columns(request)
        row = self._one(
            "SELECT position, model, params, metadata, state, facts, run FROM items "
            "WHERE custom_id = ?",
            request.custom_id,
        )
        if row is None:
            return self._insert(request, (model, params, metadata))
        position, *there, state, facts, run = row
        if run == self._run:
            raise used_before(request)
        check_same(str(there[0]), json.loads(there[1]), request)
        self._connection.execute(
            "UPDATE items SET run = ? WHERE position = ?", (self._run, position)
        )
        if run == -self._run:
            return None
        return Entry(
            position=position, request=request, state=State(state), facts=json.loads(facts)
        )

    def change(self, position: int, state: State, facts: JsonObject) -> None:
        """Note that an item has come to a state, and what is known of it now."""
        row = self._one("SELECT state, digest FROM items WHERE position = ?", position)
        if row is None or state not in FOLLOWERS[State(row[0])]:
            raise JournalError(
                f"{self.path}: an item cannot go from {row and row[0]} to {state}; please report it"
            )
        text = _encode(facts)
        self._connection.execute(
            "UPDATE items SET state = ?, facts = ? WHERE position = ?", (state, text, position)
        )
        self._append((position, state, text), row[1], task_names(state, facts))

    def left_over(self, sent: frozenset[tuple[int, int]] | None) -> list[Entry]:
        """The items that an earlier run left unsettled, to be seen to before anything is begun.

        Args:
            sent: the positions and attempts whose Runs went out in that run; None if nobody can
                tell. An intent that is not among them is planned again: nothing was sent.
        """
        for entry in list(self.entries(State.INTENT)):
            facts = dict(entry.facts)
            attempt = (entry.position, facts.pop("attempt", None))
            if sent is not None and attempt not in sent:
                facts.pop("sent_at", None)
                self.change(entry.position, State.PLANNED, facts)
                passing("store.unsent")
            else:  # noted, since the log that tells of it is about to be replaced
                self.change(entry.position, State.UNKNOWN, facts)
        left = list(self.entries(*UNSETTLED))
        # Below nought: seen to in this run, and not named by its input yet.
        self._connection.executemany(
            "UPDATE items SET run = ? WHERE position = ?",
            [(-self._run, entry.position) for entry in left],
        )
        return left

    def entries(self, *states: State) -> Generator[Entry, None, None]:
        """All items in some states, in the order in which they were planned."""
        marks = ", ".join("?" for _ in states)
        rows = self._connection.execute(
            f"{_SELECT} WHERE state IN ({marks}) ORDER BY position",
            states,
        )
        try:
            yield from map(_entry, rows)
        finally:
            rows.close()  # what is left of a reading would keep the file locked

    def peek(self, custom_id: str) -> tuple[str, JsonObject] | None:
        """The model and parameters that an id stands for; None for a new one."""
        row = self._one("SELECT model, params FROM items WHERE custom_id = ?", custom_id)
        return None if row is None else (row[0], json.loads(row[1]))

    def knows(self, names: frozenset[str]) -> frozenset[str]:
        """Which of these task ids and tokens an item has, or had before it was run again."""
        return frozenset(
            name
            for name in names
            if self._one(
                "SELECT 1 FROM events WHERE task_id = ?1 "
                "UNION ALL SELECT 1 FROM events WHERE token = ?1",
                name,
            )
        )

    def get(self, name: str) -> str | None:
        """A text of the journal's own, such as the service that it is about."""
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else str(row[0])

    def put(self, name: str, value: str) -> None:
        """Keep a text of the journal's own."""
        self._set(name, value)

    def start_run(self) -> None:
        """Number this run, so that an id can be told that comes twice in one input."""
        self._run = int(self.get("run") or 0) + 1
        self._set("run", self._run)

    def verify(self) -> None:
        """Read all of it and compare; count what is there.

        Raises:
            sqlite3.Error: if SQLite cannot read it.
            ValueError: at the first thing that does not fit.
        """
        for (said,) in self._connection.execute("PRAGMA integrity_check(1)"):
            require(said == "ok", f"SQLite says: {said}")
        head = self._one("SELECT value FROM meta WHERE name = 'head'")
        self._seq, self._link = verify_events(self._connection, head[0] if head else None)
        self.totals = verify_items(self._connection)
        verify_runs(self._connection)

    def _insert(self, request: BatchRequest, columns: tuple[str, str, str]) -> Entry:
        digest = request_digest(request.custom_id or "", *columns)
        cursor = self._connection.execute(
            "INSERT INTO items (custom_id, model, params, metadata, digest, state, facts, run) "
            "VALUES (?, ?, ?, ?, ?, ?, '{}', ?)",
            (request.custom_id, *columns, digest, State.PLANNED, self._run),
        )
        position = cursor.lastrowid or 0
        self._append((position, State.PLANNED, "{}"), digest, (None, None))
        return Entry(position=position, request=request)

    def _append(
        self,
        event: tuple[int, State, str],
        digest: bytes,
        names: tuple[JsonValue, JsonValue],
    ) -> None:
        self._seq += 1
        at = time.time()
        self._link = next_link(self._link, (self._seq, *event, at, digest))
        self._connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self._seq, *event, at, self._link, *names),
        )

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        return found

    def _set(self, name: str, value: object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _columns(request: BatchRequest) -> tuple[str, str, str]:
    model = request.model or ""
    try:
        for text in (request.custom_id or "", model):
            text.encode()
        return model, _encode(request.params), _encode(request.metadata)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            f"the request {request.custom_id!r} cannot be written down ({error}): keep to whole "
            "characters, and to texts as the names of what is in an object"
        ) from None


def _encode(value: object) -> str:
    # ASCII: what the service says can hold half a character, which SQLite does not take.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _entry(row: tuple[Any, ...]) -> Entry:
    position, custom_id, model, params, metadata, state, facts = row
    return Entry(
        position=position,
        request=BatchRequest(
            custom_id=custom_id,
            model=model,
            params=json.loads(params),
            metadata=json.loads(metadata),
        ),
        state=State(state),
        facts=json.loads(facts),
    )
