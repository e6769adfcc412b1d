"""How a batch stands when nothing runs, and what has to hold then, whatever has happened."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, frozen

from tests.batch.world import World, WorldTask
from wiro_async.batch.journal.entries import JOURNAL_NAME
from wiro_async.batch.results import BatchItem, BatchSummary, ItemStatus
from wiro_async.errors import InsufficientBalance, InvalidRequest, RequestNotSent

# Of three ids two ask for the same picture.
PROMPTS = {f"id-{number:02}": f"picture {number * 2 // 3}" for number in range(32)}


# How an item that ended so stands in the journal.
_STATES: Mapping[ItemStatus, str] = {
    ItemStatus.SUCCEEDED: "saved",
    ItemStatus.FAILED: "failed",
    ItemStatus.CANCELLED: "failed",
    ItemStatus.REFUSED: "failed",
    ItemStatus.UNSAVED: "terminal",
    ItemStatus.UNKNOWN: "unknown",
    ItemStatus.SKIPPED: "skipped",
}


@define
class Row:
    """An item as it stands in the journal's file."""

    custom_id: str
    state: str
    facts: dict[str, Any]

    def holds(self, task: WorldTask) -> bool:
        names = {self.facts[name] for name in ("task_id", "token") if name in self.facts}
        return bool(names & {task.id, task.token})


@frozen
class Standing:
    """The journal's rows, the directory, and the service."""

    directory: Path
    world: World
    rows: tuple[Row, ...] = ()
    names: frozenset[str] = frozenset()
    """Of all tasks that an item ever had."""
    planned_again: frozenset[str] = frozenset()
    """Ids whose task was seen to fail, and that wait for another."""

    @property
    def states(self) -> dict[str, str]:
        return {row.custom_id: row.state for row in self.rows}

    def is_finished(self, ids: list[str], *, retry_failed: bool) -> bool:
        """Whether there is nothing to do for a batch of these ids."""
        settled = {"saved", "skipped", *([] if retry_failed else ["failed"])}
        left = {"intent", "unknown", "submitted", "terminal"}
        return (
            all(self.states.get(name) in settled for name in ids)
            and not left & set(self.states.values())
            and all(self.is_whole(row) for row in self.rows if row.state == "saved")
        )

    def is_whole(self, row: Row) -> bool:
        (file,) = row.facts["files"]
        path = self.directory / str(file["path"])
        return path.exists() and path.read_bytes() == PROMPTS[row.custom_id].encode()

    def check_journal(self) -> None:
        """No task is lost, none is given to two, and none to somebody who asked for another."""
        held = Counter[str]()
        for row in self.rows:
            mine = [task for task in self.world.tasks.values() if row.holds(task)]
            held.update(task.id for task in mine)
            assert all(task.prompt == PROMPTS[row.custom_id] for task in mine)
            if row.state in ("submitted", "terminal", "saved"):
                assert len(mine) == 1
            if row.state in ("terminal", "saved"):
                assert mine[0].is_good
            if row.state == "failed":
                assert not any(task.is_good for task in mine)
        assert set(held.values()) <= {1}
        for prompt in set(PROMPTS.values()):
            self.check_prompt(prompt)

    def check_prompt(self, prompt: str) -> None:
        """A task that nobody knows by its name has an item that is in doubt, or was given up."""
        rows = [row for row in self.rows if PROMPTS[row.custom_id] == prompt]
        skipped = sum(row.state == "skipped" for row in rows)
        resubmitted = sum(self.world.resubmitted[row.custom_id] for row in rows)
        # Chosen, and noted, but not sent yet.
        resubmitted += sum(
            row.state == "planned" and self.world.may_resubmit[row.custom_id] > 0 for row in rows
        )
        assert self.forgotten(prompt) <= skipped + resubmitted, self.world.tasks

    def forgotten(self, prompt: str) -> int:
        """Good tasks of a prompt that no item has, and that no item is still looked for."""
        rows = [row for row in self.rows if PROMPTS[row.custom_id] == prompt]
        tasks = [task for task in self.world.tasks.values() if task.prompt == prompt]
        nobodys = [
            task for task in tasks if task.is_good and not any(row.holds(task) for row in rows)
        ]
        in_doubt = sum(row.state in ("intent", "unknown") for row in rows)
        return max(0, len(nobodys) - in_doubt)

    def check_files(self, *, is_through: bool) -> None:
        """The two files of results tell the story of the journal, each item once."""
        saved = {row.custom_id for row in self.rows if row.state == "saved"}
        results = [line["custom_id"] for line in self.lines("results.jsonl")]
        errors = [
            line["custom_id"]
            for line in self.lines("errors.jsonl")
            if line["error"]["kind"] != "InvalidRequest"  # an id that came twice
        ]
        assert len(set(results)) == len(results)
        assert len(set(errors)) == len(errors)
        assert not set(errors) & set(results)
        if is_through:
            assert set(results) == saved
            assert not set(errors) & saved
        else:
            # One whose picture was gone may be on its way again.
            gone = {row.custom_id for row in self.rows if row.state == "terminal"}
            assert set(results) <= saved | gone

    def check_summary(self, summary: BatchSummary, items: list[BatchItem], ids: list[str]) -> None:
        """What the caller was given is what there is, and what is said to be spent was."""
        names = [item.custom_id for item in items if not isinstance(item.error, InvalidRequest)]
        assert len(set(names)) == len(names)
        assert summary.total == len(items)
        running = [row for row in self.rows if row.state == "submitted"]
        ended = [
            task
            for task in self.world.tasks.values()
            if {task.id, task.token} & self.names and not any(row.holds(task) for row in running)
        ]
        assert summary.cost == sum(task.cost for task in ended)
        for item in items:
            if not isinstance(item.error, InvalidRequest):
                state = _STATES[item.status]
                is_stopping = isinstance(item.error, InsufficientBalance | RequestNotSent)
                assert self.states[item.custom_id] == ("planned" if is_stopping else state)
        if not summary.is_stopped:
            assert not {"intent", "submitted"} & set(self.states.values())
            saved = [row for row in self.rows if row.state == "saved" and row.custom_id in ids]
            assert all(self.is_whole(row) for row in saved)

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.directory / name
        text = path.read_text() if path.exists() else ""  # it may not have come so far
        assert not text or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]


def look(directory: Path, world: World, copy: Path) -> Standing:
    """Read a journal, and from a copy: reading would change one left in a transaction."""
    if not (directory / JOURNAL_NAME).exists():
        return Standing(directory, world)
    for path in copy.iterdir():
        path.unlink()
    for path in directory.glob(f"{JOURNAL_NAME}*"):
        shutil.copy(path, copy)
    connection = sqlite3.connect(copy / JOURNAL_NAME)
    try:
        names, again = _check_events(connection)
        items = connection.execute("SELECT custom_id, state, facts, position FROM items").fetchall()
    finally:
        connection.close()
    rows = [Row(name, state, json.loads(facts)) for name, state, facts, _ in items]
    planned_again = frozenset(name for name, _, _, position in items if position in again)
    return Standing(directory, world, tuple(rows), names, planned_again)


def _check_events(connection: sqlite3.Connection) -> tuple[frozenset[str], frozenset[int]]:
    """What has a task never goes back to where it had none.

    The names of all tasks, and the positions that went from a failure back to the beginning.
    """
    last: dict[int, str] = {}
    names: set[str] = set()
    again: set[int] = set()
    for position, state, *named in connection.execute(
        "SELECT position, state, task_id, token FROM events ORDER BY seq"
    ):
        went = (last.get(position), state)
        assert went not in {("submitted", "planned"), ("terminal", "planned")}, went
        last[position] = state
        names.update(name for name in named if name)
        again.discard(position)
        if went == ("failed", "planned"):
            again.add(position)
    return frozenset(names), frozenset(again)
