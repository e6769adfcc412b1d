"""What may come of a damage: a refusal that changes nothing, or exactly what was written."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from tests.batch.journal.stage import Held, read
from wiro_async.batch.journal.opening import open_store
from wiro_async.errors import JournalError

_WAYS_OUT = (
    *("is damaged: ", "Nothing was submitted", "results.jsonl", "put back a copy"),
    *("new output directory", "paid again"),
)
_WAYS_OUT_OF_ANOTHER_VERSION = ("another version", "go on with that version", "paid again")


@frozen
class Whole:
    """A journal as it was written: its bytes, and all that it tells."""

    content: bytes
    held: Held


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(path: Path) -> str | None:
    """What the opening says against a file; None if it opens."""
    before = files(path.parent)
    try:
        open_store(path).close()
    except JournalError as error:
        check_refusal(path, before, error)
        return error.message
    return None


def judge(path: Path, truth: Held) -> str:
    """``refused`` or ``the same``; anything else fails."""
    before = files(path.parent)
    try:
        held = read(path)
    except JournalError as error:
        check_refusal(path, before, error)
        return "refused"
    assert held == truth
    return "the same"


def check_refusal(path: Path, before: dict[str, bytes], error: JournalError) -> None:
    assert files(path.parent) == before
    is_other = "another version" in error.message
    for way in (str(path), *(_WAYS_OUT_OF_ANOTHER_VERSION if is_other else _WAYS_OUT)):
        assert way in error.message
