"""The status table.

Rules (wiro-api facts, "Status"):

1. Task/Detail alone decides. A websocket's ``task_error`` is a line of the log; as the status
   in Task/Detail it is the end.
2. Three statuses are terminal. ``task_cancel`` means cancelled or killed, whatever outputs or
   exit code stand beside it: the record of a killed task can list both. ``task_error`` is a
   failure before the model ran. ``task_postprocess_end`` leaves the word to the exit code:
   ``"0"``, blank or absent is success, as in the model page's own sample; else failure.
3. Everything else is running: the order differs between the sources, any status may be skipped
   or repeated, and one that nobody has heard of yet is no reason to give up a paid task.

The samples of the documentation wait for ``end``, ``error`` and ``cancel``. Those do not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType

from wiro_async.task import Outcome, TaskStatus

# None: the exit code decides.
STATUS_TABLE: Mapping[str, Outcome | None] = MappingProxyType(
    {
        TaskStatus.QUEUE: Outcome.RUNNING,
        TaskStatus.ACCEPT: Outcome.RUNNING,
        TaskStatus.ASSIGN: Outcome.RUNNING,
        TaskStatus.PREPROCESS_START: Outcome.RUNNING,
        TaskStatus.PREPROCESS_END: Outcome.RUNNING,
        TaskStatus.START: Outcome.RUNNING,
        TaskStatus.OUTPUT: Outcome.RUNNING,
        TaskStatus.OUTPUT_FULL: Outcome.RUNNING,
        TaskStatus.ERROR_FULL: Outcome.RUNNING,
        TaskStatus.END: Outcome.RUNNING,
        TaskStatus.POSTPROCESS_START: Outcome.RUNNING,
        TaskStatus.STREAM_READY: Outcome.RUNNING,
        TaskStatus.STREAM_END: Outcome.RUNNING,
        TaskStatus.COST: Outcome.RUNNING,
        TaskStatus.POSTPROCESS_END: None,
        TaskStatus.CANCEL: Outcome.CANCELLED,
        TaskStatus.ERROR: Outcome.FAILED,
    }
)


def outcome_of(status: str, exit_code: str | None) -> Outcome:
    """What a record with this status and this ``pexit`` means."""
    outcome = STATUS_TABLE.get(status, Outcome.RUNNING)
    if outcome is not None:
        return outcome
    return Outcome.SUCCEEDED if _is_zero(exit_code) else Outcome.FAILED


def _is_zero(exit_code: str | None) -> bool:
    if exit_code is None or not exit_code.strip():
        return True
    try:
        return Decimal(exit_code.strip()) == 0
    except InvalidOperation:
        return False
