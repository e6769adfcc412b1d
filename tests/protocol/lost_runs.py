"""Lost Runs and rows of Task/List for the tests of their matching, a noon apart from our time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from wiro_async.protocol.matching import LostRun, match_runs
from wiro_async.task import Task

NOON = 1_734_513_807.0


def lost_run(key: str = "a", sent: float = 0.0, **changes: Any) -> LostRun:  # noqa: ANN401
    """A Run sent so many seconds after noon."""
    whole = {"model": "o/m", "params": {"prompt": "a fox"}, **changes}
    return LostRun(key=key, sent_at=NOON + sent, **whole)


def row(task_id: str | None = "1", made: float | None = 1.0, **changes: Any) -> Task:  # noqa: ANN401
    """A row of Task/List, made so many seconds after noon."""
    whole = {
        "model_owner": "o",
        "model_project": "m",
        "parameters": {"prompt": "a fox"},
        "created_at": None if made is None else datetime.fromtimestamp(NOON + made, UTC),
        **changes,
    }
    return Task(id=task_id, **whole)


def is_nobodys(_: Task) -> bool:
    return False


def ids_of(
    lost: Sequence[LostRun],
    rows: Sequence[Task],
    is_known: Callable[[Task], bool] = is_nobodys,
) -> dict[str, str | None]:
    """Which row each Run got, by its id or else its token."""
    found = match_runs(lost, rows, is_known=is_known)
    return {key: one.id or one.token for key, one in found.items()}
