"""What is kept of a record is enough to know how a task ended and to fetch its files."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.page import CANCEL, DETAIL, UUID
from tests.protocol.test_converter_properties import OUTPUT_RECORDS, VALUES
from wiro_async.protocol.converter import make_converter
from wiro_async.protocol.records import keep_record, read_record
from wiro_async.task import Outcome, Task

CONVERTER = make_converter()
KEPT = (
    *("id", "socketaccesstoken", "status", "pexit", "totalcost", "elapsedseconds"),
    *("debugoutput", "debugerror"),
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([*KEPT, "uuid", "parameters", "projectid"], VALUES),
        "outputs": st.lists(OUTPUT_RECORDS, max_size=3) | VALUES,
    },
)


def read(row: dict[str, Any]) -> Task:
    return CONVERTER.structure(row, Task)


def through_a_file(task: Task) -> Task:
    """The task as a journal gives it back."""
    return read_record(json.loads(json.dumps(keep_record(task))))


def essence(task: Task) -> tuple[object, ...]:
    outputs = [
        (one.name, one.content_type, one.size_bytes, one.url, one.text) for one in task.outputs
    ]
    ended = (task.id, task.token, task.status, task.outcome, task.exit_code)
    said = (task.debug_output, task.debug_error, task.elapsed_seconds, task.total_cost, task.text)
    return ended, said, outputs


@given(ROWS)
def test_what_matters_of_any_record_comes_back(row: dict[str, Any]) -> None:
    task = read(row)
    assert essence(through_a_file(task)) == essence(task)


@given(ROWS)
def test_what_was_kept_is_kept_as_it_is(row: dict[str, Any]) -> None:
    once = through_a_file(read(row))
    assert json.dumps(keep_record(once)) == json.dumps(keep_record(through_a_file(once)))


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        (DETAIL["tasklist"][0], Outcome.SUCCEEDED),
        (CANCEL["tasklist"][0], Outcome.CANCELLED),
        ({"status": "task_postprocess_end", "pexit": "1"}, Outcome.FAILED),
        ({"status": "task_error", "debugerror": "no worker"}, Outcome.FAILED),
        ({"status": "task_start"}, Outcome.RUNNING),
    ],
)
def test_an_end_is_known_again(row: dict[str, Any], outcome: Outcome) -> None:
    again = through_a_file(read(row))
    assert again.outcome is outcome
    assert essence(again) == essence(read(row))


def test_a_text_is_known_again() -> None:
    content = {"prompt": "why?", "raw": "...", "thinking": [], "answer": ["be", "cause"]}
    row = {
        "status": "task_postprocess_end",
        "outputs": [{"contenttype": "raw", "content": content}],
    }
    assert through_a_file(read(row)).text == "because"


def test_neither_the_keys_of_files_nor_what_was_asked_is_kept() -> None:
    row = {**CANCEL["tasklist"][0], "parameters": {"prompt": "a secret wish"}}
    kept = keep_record(read(row))
    assert sorted(kept) == sorted([*KEPT, "outputs"])
    text = json.dumps(kept)
    for part in (row["outputs"][0]["accesskey"], "a secret wish", UUID):
        assert part not in text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("0.003510000000", "0.003510000000"),
        (0.06, "0.06"),
        ("1e-7", "0.0000001"),
        ("-0.5", "-0.5"),
        ("0", "0"),
        (0, "0"),
        ("", None),
        ("free", None),
        (None, None),
        ("1e999999999", None),
        ("NaN", None),
    ],
)
def test_a_cost_is_kept_as_it_was_read(said: object, kept: str | None) -> None:
    record = keep_record(read({"totalcost": said}))
    assert record["totalcost"] == kept
    assert read_record(record).total_cost == (None if kept is None else Decimal(kept))


def test_a_cost_that_was_not_told_is_none() -> None:
    assert read_record(keep_record(read({}))).total_cost is None
