"""What a journal knows of an item: the states, and how one follows another.

Rules:

1. ``planned``: it was read, and nothing of it is on the wire. Also after a Run that certainly
   made no task.
2. ``intent``: its Run is about to go out. This is on the disk before the first byte leaves, and
   is written at the last moment before, so a process that dies while it connects leaves nothing
   in doubt. A journal that is opened and still says ``intent`` tells of a process that died
   there: it becomes ``planned`` if the Run had certainly not begun to go out (`sentlog`), else
   ``unknown``.
3. ``unknown``: the Run went out and no answer was read. Never sent again by itself.
4. ``submitted``: there is a task, and its id, its token or both are on the disk before anybody
   is given the handle.
5. ``terminal``: the task has succeeded; its record (status, exit code, cost, outputs) is kept.
6. ``saved``: its files are on the disk, with size and hash.
7. ``failed``: it ended without a result and without anything to fetch: the task failed or was
   cancelled, or the service refused the request. Only a person has it run again.
8. ``skipped``: a person gave up looking for what an unknown Run may have made.

What is not settled when a batch starts again goes on where it was; what is settled is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """How far an item is."""

    PLANNED = "planned"
    INTENT = "intent"
    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    TERMINAL = "terminal"
    SAVED = "saved"
    FAILED = "failed"
    SKIPPED = "skipped"


FOLLOWERS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        # Without a trace of the wire (a test's stand-in for it) there is no intent in between.
        State.PLANNED: frozenset(
            {State.INTENT, State.UNKNOWN, State.SUBMITTED, State.FAILED, State.PLANNED}
        ),
        State.INTENT: frozenset(
            {State.INTENT, State.PLANNED, State.UNKNOWN, State.SUBMITTED, State.FAILED}
        ),
        State.UNKNOWN: frozenset({State.UNKNOWN, State.SUBMITTED, State.PLANNED, State.SKIPPED}),
        State.SUBMITTED: frozenset({State.TERMINAL, State.FAILED, State.PLANNED}),
        State.TERMINAL: frozenset({State.TERMINAL, State.SAVED, State.FAILED, State.PLANNED}),
        State.SAVED: frozenset({State.TERMINAL}),
        State.FAILED: frozenset({State.PLANNED}),
        State.SKIPPED: frozenset(),
    }
)

# A task exists, or may exist, whose end this journal does not hold.
UNSETTLED = (State.INTENT, State.UNKNOWN, State.SUBMITTED, State.TERMINAL)
# A task may be made or billed that no record tells the cost of.
UNPAID = frozenset({State.INTENT, State.UNKNOWN, State.SUBMITTED})
