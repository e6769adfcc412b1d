"""What a person with a database browser can do to a journal, in SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

# Item 6 of `make_mixed` is saved, and its last event has the number 130.
EDITS: dict[str, tuple[str, ...]] = {
    "the last event is gone": ("DELETE FROM events WHERE seq = 130",),
    "the last nine events are gone": ("DELETE FROM events WHERE seq > 121",),
    "an event in the middle is gone": ("DELETE FROM events WHERE seq = 50",),
    "the first event is gone": ("DELETE FROM events WHERE seq = 1",),
    "all events are gone": ("DELETE FROM events",),
    "all items are gone": ("DELETE FROM items",),
    "all is gone": ("DELETE FROM items", "DELETE FROM events"),
    "all is gone, head and all": (
        "DELETE FROM items",
        "DELETE FROM events",
        "DELETE FROM meta",
    ),
    "an item is gone": ("DELETE FROM items WHERE position = 6",),
    "an item is gone with its events": (
        "DELETE FROM events WHERE position = 6",
        "DELETE FROM items WHERE position = 6",
    ),
    "two events have changed places": (
        "UPDATE events SET seq = -1 WHERE seq = 20",
        "UPDATE events SET seq = 20 WHERE seq = 21",
        "UPDATE events SET seq = 21 WHERE seq = -1",
    ),
    "two items have changed names": (
        "UPDATE items SET custom_id = 'x' WHERE position = 3",
        "UPDATE items SET custom_id = '000002' WHERE position = 4",
        "UPDATE items SET custom_id = '000003' WHERE position = 3",
    ),
    "an item has another number": ("UPDATE items SET position = 1000 WHERE position = 5",),
    "a prompt is another": (
        "UPDATE items SET params = replace(params, 'fox', 'box') WHERE position = 9",
    ),
    "the model is another": ("UPDATE items SET model = 'other/model'",),
    "the metadata are gone": ("UPDATE items SET metadata = '{}'",),
    "a saved item is planned again": ("UPDATE items SET state = 'planned' WHERE position = 6",),
    "a saved item is planned again, in both tables": (
        "UPDATE events SET state = 'planned' WHERE position = 6 AND state = 'saved'",
        "UPDATE items SET state = 'planned' WHERE position = 6",
    ),
    "facts tell another task": (
        "UPDATE items SET facts = json_set(facts, '$.task_id', '7') WHERE position = 6",
    ),
    "facts tell another cost, in both tables": (
        "UPDATE events SET facts = replace(facts, '0.0035', '9.9900') WHERE position = 6",
        "UPDATE items SET facts = replace(facts, '0.0035', '9.9900') WHERE position = 6",
    ),
    "facts that are no JSON": ("UPDATE items SET facts = 'facts'",),
    "facts that are no text": ("UPDATE items SET facts = x'ff'",),
    "a text that is none": ("UPDATE items SET custom_id = CAST(x'ff' AS TEXT) WHERE position = 2",),
    "a state that is none": ("UPDATE items SET state = 'asleep'",),
    "another time": ("UPDATE events SET at = at + 1 WHERE seq = 60",),
    "other task ids": ("UPDATE events SET task_id = '7' WHERE task_id IS NOT NULL",),
    "the tokens are gone": ("UPDATE events SET token = NULL WHERE token IS NOT NULL",),
    "tokens that there were not": ("UPDATE events SET token = 't' WHERE token IS NULL",),
    "an event too many": (
        "INSERT INTO events SELECT 131, 1, state, facts, at, link, NULL, NULL FROM events LIMIT 1",
    ),
    "an item too many": (
        "CREATE TEMP TABLE one AS SELECT * FROM items WHERE position = 1",
        "UPDATE one SET position = 1000, custom_id = 'another'",
        "INSERT INTO items SELECT * FROM one",
    ),
    "another head": ("UPDATE meta SET value = zeroblob(16) WHERE name = 'head'",),
    "the head is gone": ("DELETE FROM meta WHERE name = 'head'",),
    "the runs are forgotten": ("UPDATE meta SET value = 0 WHERE name = 'run'",),
    "runs without a number": ("UPDATE meta SET value = 'x' WHERE name = 'run'",),
    "runs below nought": (
        "UPDATE meta SET value = -1 WHERE name = 'run'",
        "UPDATE items SET run = 0",
    ),
    "more runs than can be": ("UPDATE meta SET value = 9223372036854775807 WHERE name = 'run'",),
    "an item was met by the next run": ("UPDATE items SET run = 3 WHERE position = 1",),
    "an item was left over to the next run": ("UPDATE items SET run = -3 WHERE position = 1",),
    "an item was met in no run": ("UPDATE items SET run = 'x' WHERE position = 1",),
    "an index is gone": ("DROP INDEX events_by_task",),
    "a table too many": ("CREATE TABLE notes (a)",),
    "names that are read as numbers": (
        "UPDATE sqlite_master SET sql = replace(sql, 'custom_id TEXT', 'custom_id TEYT')",
    ),
}


def edit(path: Path, *statements: str) -> None:
    """Carry them out; each has to change something."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
