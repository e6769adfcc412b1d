"""The chain over a journal's events, and the reading of a whole journal against it.

Each event's link is a hash over the event, over the request that it is about and over the link
before it. So one number, the last link, vouches for all that was ever written, in its order.
It finds what went wrong, not who did it: whoever can write the file can also make a new chain.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from contextlib import closing
from decimal import Decimal

from wiro_async.batch.journal.entries import Totals, cost_of, doubts_of
from wiro_async.batch.journal.states import State
from wiro_async.task import JsonObject, JsonValue

LINK_BYTES = 16
ORIGIN = bytes(LINK_BYTES)
_MOST_RUNS = 2**31

# The links of all events, beside the digests of the requests that they are about.
_EVENTS = (
    "SELECT seq, position, events.state, events.facts, at, link, digest, task_id, token "
    "FROM events LEFT JOIN items USING (position) ORDER BY seq"
)
# Every item beside the last event about it, if that event says the same state.
_ITEMS = (
    "SELECT custom_id, model, params, metadata, digest, items.state, items.facts, events.facts "
    "FROM items "
    "LEFT JOIN (SELECT position, max(seq) AS seq FROM events GROUP BY position) AS last "
    "ON last.position = items.position "
    "LEFT JOIN events ON events.seq = last.seq AND events.state = items.state"
)


def next_link(link: bytes, event: tuple[int, int, str, str, float, bytes]) -> bytes:
    """The link of an event: its number, position, state, facts, time and request's digest."""
    seq, position, state, facts, at, digest = event
    hashed = hashlib.blake2b(link, digest_size=LINK_BYTES)
    hashed.update(digest)
    hashed.update(f"{seq} {position} {at!r} {state} {facts}".encode())
    return hashed.digest()


def request_digest(custom_id: str, model: str, params: str, metadata: str) -> bytes:
    """The digest of a request, from its columns."""
    hashed = hashlib.blake2b(digest_size=LINK_BYTES)
    for text in (custom_id, model, params, metadata):
        hashed.update(f"{len(text)}:{text}".encode())
    return hashed.digest()


def verify_events(connection: sqlite3.Connection, head: bytes | None) -> tuple[int, bytes]:
    """Go along the chain; the number and the link of its last event.

    Raises:
        ValueError: where it is broken, or does not end with `head`.
    """
    seq, link = 0, ORIGIN
    for number, position, state, facts, at, stored, digest, *names in connection.execute(_EVENTS):
        require(number == seq + 1, f"event {seq + 1} is missing")
        seq = number
        require(digest is not None, f"the request of event {seq} is missing")
        link = next_link(link, (seq, position, state, facts, at, digest))
        require(stored == link, f"event {seq} is not what was written")
        told = task_names(state, json.loads(facts) if state == State.SUBMITTED else {})
        require((*names,) == told, f"the task of event {seq} is not what was written")
    require(head == link, f"the events do not end as they did (the last one is {seq})")
    return seq, link


def verify_items(connection: sqlite3.Connection) -> Totals:
    """Hold every item against its request's digest and its last event; count them.

    Raises:
        ValueError: at the first that does not fit.
    """
    counts: Counter[State] = Counter()
    spent = Decimal(0)
    doubts: Counter[str] = Counter()
    for *request, digest, state, facts, last in connection.execute(_ITEMS):
        name = request[0]
        require(request_digest(*request) == digest, f"the request {name!r} is not what was written")
        require(facts == last, f"where {name!r} stands is not what was written")
        counts[State(state)] += 1
        known = json.loads(facts)
        spent += cost_of(known)
        doubts[request[1]] += doubts_of(known) + (state == State.SKIPPED)
    return Totals(counts=counts, spent=spent, doubts=+doubts)


def verify_runs(connection: sqlite3.Connection) -> None:
    """See that no item was met in a run that has not been: the next would take it for its own.

    Raises:
        ValueError: if one was.
    """
    row = connection.execute("SELECT value FROM meta WHERE name = 'run'").fetchone()
    last = row[0] if row else 0
    require(isinstance(last, int) and 0 <= last <= _MOST_RUNS, "the last run's number is none")
    for (run,) in connection.execute("SELECT DISTINCT run FROM items"):
        is_one = isinstance(run, int) and abs(run) <= last
        require(is_one, f"an item was met in run {run}, and the last one was {last}")


def verify_tables(connection: sqlite3.Connection, schema: str) -> None:
    """See that the tables are those that a schema makes: a type is part of what a name means.

    Raises:
        ValueError: if they are not.
    """
    tables = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(schema)
        made = fresh.execute(tables).fetchall()
    require(connection.execute(tables).fetchall() == made, "its tables are not those of a journal")


def task_names(state: str, facts: JsonObject) -> tuple[JsonValue, JsonValue]:
    """The id and the token that an event gives to a task; each None where it gives none."""
    if state != State.SUBMITTED:
        return None, None
    return facts.get("task_id"), facts.get("token")


def require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise a `ValueError` that says what does not hold."""
    if not holds:
        raise ValueError(what)
