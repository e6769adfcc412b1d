"""A process that dies within a transaction, when SQLite has written half of it to the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.batch.journal.stage import NAME

# A tiny cache: what does not fit goes to the file before the commit, as it would in a large one.
PROGRAM = """
import os, sys
from pathlib import Path
from tests.batch.journal.stage import MIXED_ITEMS, facts_at, opened, request
from wiro_async import crashpoints
from wiro_async.batch.journal.states import State

def die(label):
    if label == sys.argv[2]:
        os._exit(9)

with opened(Path(sys.argv[1])) as store:
    store._connection.execute("PRAGMA cache_size = 3")
    store.begin()
    for entry in store.entries(State.PLANNED, State.INTENT):
        number = int(entry.request.custom_id)
        store.change(entry.position, State.SUBMITTED, facts_at(State.SUBMITTED, number))
    for number in range(MIXED_ITEMS, 2 * MIXED_ITEMS):
        store.plan(request(number))
    crashpoints.hook = die
    store.commit()
"""


def die_while_writing(path: Path, label: str) -> dict[str, bytes]:
    """Let a process die at an instant of a large transaction; the files that it leaves."""
    ran = subprocess.run(  # noqa: S603 - a program of our own
        [sys.executable, "-c", PROGRAM, str(path), label],
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert ran.returncode == 9
    return {name: path.with_name(name).read_bytes() for name in (NAME, f"{NAME}-journal")}
