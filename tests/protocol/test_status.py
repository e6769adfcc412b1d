"""The status table, row by row, and the exit codes that decide where it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.status import STATUS_TABLE, outcome_of
from wiro_async.task import Outcome, TaskStatus

RUNNING = [
    *("task_queue", "task_accept", "task_assign", "task_preprocess_start"),
    *("task_preprocess_end", "task_start", "task_output"),
    *("task_output_full", "task_error_full", "task_end", "task_postprocess_start"),
    *("task_stream_ready", "task_stream_end", "task_cost"),
]
EXIT_CODES = ["0", "", None, " 0 ", "1", "137", "-1", "junk", "nan", "sNaN"]
UNKNOWN = ["", "end", "error", "cancel", "TASK_CANCEL", "task_postprocess_end_2", "task_novel"]


@pytest.mark.parametrize("exit_code", EXIT_CODES)
@pytest.mark.parametrize("status", [*RUNNING, *UNKNOWN])
def test_these_run_whatever_the_exit_code(status: str, exit_code: str | None) -> None:
    assert outcome_of(status, exit_code) is Outcome.RUNNING


@pytest.mark.parametrize("exit_code", EXIT_CODES)
def test_cancelled_and_error_win_over_the_exit_code(exit_code: str | None) -> None:
    assert outcome_of("task_cancel", exit_code) is Outcome.CANCELLED
    assert outcome_of("task_error", exit_code) is Outcome.FAILED


@pytest.mark.parametrize("exit_code", ["0", "", None, " 0 ", "\n", "0.0", "00", "-0"])
def test_the_end_with_exit_code_nought_or_none_is_success(exit_code: str | None) -> None:
    assert outcome_of("task_postprocess_end", exit_code) is Outcome.SUCCEEDED


@pytest.mark.parametrize("exit_code", ["1", "137", "-1", "junk", "nan", "sNaN", "0x0", "0 0"])
def test_the_end_with_another_exit_code_is_failure(exit_code: str) -> None:
    assert outcome_of("task_postprocess_end", exit_code) is Outcome.FAILED


def test_the_table_has_every_documented_status_and_no_other() -> None:
    documented = {*RUNNING, "task_postprocess_end", "task_cancel", "task_error"}
    assert set(STATUS_TABLE) == documented == set(TaskStatus)


@given(st.lists(st.tuples(st.sampled_from(list(TaskStatus)) | st.text(), st.none() | st.text())))
def test_no_sequence_of_statuses_crashes(records: list[tuple[str, str | None]]) -> None:
    terminal = {"task_postprocess_end", "task_cancel", "task_error"}
    for status, exit_code in records:
        ended = outcome_of(status, exit_code) is not Outcome.RUNNING
        assert ended is (status in terminal)
