"""When a task is where: the one table of statuses, each with its share of the duration.

A task of the emulator does nothing but get older. Its status is read off its age with the
table below, so asking costs the same for the first task and the hundred thousandth, and two
who ask at the same instant hear the same. The order is the model page's; the shares are
invented, with a queue long enough to be cancelled in, and a gap between `task_accept` and
`task_assign` in which neither Cancel nor Kill works, as the documentation has it.

`task_postprocess_end` is not in the table: age alone does not end a task, `world.py` does,
because a picture that is not drawn yet holds its task in `task_postprocess_start`.
"""

from bisect import bisect_right

QUEUED = "task_queue"
ASSIGNED = "task_assign"
OUTPUT = "task_output"
DONE = "task_postprocess_end"
CANCELLED = "task_cancel"
FATAL = "task_error"

STAGES = (
    (QUEUED, 0.0),
    ("task_accept", 0.06),
    (ASSIGNED, 0.12),
    ("task_preprocess_start", 0.14),
    ("task_preprocess_end", 0.18),
    ("task_start", 0.20),
    (OUTPUT, 0.55),
    ("task_output_full", 0.88),
    ("task_end", 0.90),
    ("task_postprocess_start", 0.92),
)
"""(status, share of the duration at which it begins), in order."""

TERMINAL = frozenset({DONE, CANCELLED, FATAL})

_BEGINS = dict(STAGES)
_STATUSES = tuple(_BEGINS)
_SHARES = tuple(_BEGINS.values())


def status_at(share: float) -> str:
    """Give the status of a running task that has lived this share of its duration.

    A share above 1 is a task that is late: it stays in the last status of the table.
    """
    return _STATUSES[bisect_right(_SHARES, share) - 1]


def begins_at(status: str) -> float:
    """Give the share of the duration at which a status of the table begins."""
    return _BEGINS[status]
