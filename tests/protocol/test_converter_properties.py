"""No record, whatever stands in its fields, costs a person the rest of it."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.page import CANCEL, JSON
from wiro_async.protocol.converter import make_converter
from wiro_async.task import Outcome, Output, Task

CONVERTER = make_converter()
TASK_FIELDS = sorted({*CANCEL["tasklist"][0], "modelslugowner", "modelslugproject"})
OUTPUT_FIELDS = sorted({*CANCEL["tasklist"][0]["outputs"][0], "content"})

# Values of the kinds that the wire has, and those that nobody expects.
NUMERIC = st.one_of(
    st.integers(), st.floats(), st.integers().map(str), st.floats().map(str), st.decimals().map(str)
)
VALUES = JSON | NUMERIC | JSON.map(json.dumps)
RECORDS = st.fixed_dictionaries({}, optional=dict.fromkeys(TASK_FIELDS, VALUES))
OUTPUT_RECORDS = st.fixed_dictionaries({}, optional=dict.fromkeys(OUTPUT_FIELDS, VALUES))


@given(RECORDS)
def test_every_task_record_is_a_task(row: dict[str, Any]) -> None:
    task = CONVERTER.structure(row, Task)
    assert task.raw == row
    assert isinstance(task.outcome, Outcome)
    assert isinstance(task.status, str)
    assert task.size_bytes is None or task.size_bytes >= 0
    assert task.elapsed_seconds is None or task.elapsed_seconds >= 0
    assert task.total_cost is None or isinstance(task.total_cost, Decimal)
    assert task.created_at is None or isinstance(task.created_at, datetime)
    assert all(isinstance(category, str) for category in task.categories)
    assert all(isinstance(output, Output) for output in task.outputs)
    assert hash(task) == hash(CONVERTER.structure(row, Task))


@given(OUTPUT_RECORDS)
def test_every_output_record_is_an_output(row: dict[str, Any]) -> None:
    output = CONVERTER.structure(row, Output)
    assert output.raw is row
    assert output.size_bytes is None or output.size_bytes >= 0
    assert output.text is None or isinstance(output.text, str)
    assert output.id != ""


@given(st.sampled_from(TASK_FIELDS), VALUES)
def test_one_bad_field_spoils_no_other(name: str, value: object) -> None:
    row = CANCEL["tasklist"][0]
    whole = CONVERTER.structure(row, Task)
    spoilt = CONVERTER.structure({**row, name: value}, Task)
    if name != "id":
        assert spoilt.id == whole.id
    if name != "outputs":
        assert spoilt.outputs == whole.outputs
    if name != "totalcost":
        assert spoilt.total_cost == whole.total_cost
    if name != "status":
        assert spoilt.outcome is Outcome.CANCELLED


@given(st.integers(min_value=0, max_value=10**30))
def test_a_size_survives_as_text_and_as_number(size: int) -> None:
    as_text = CONVERTER.structure({"size": str(size)}, Output)
    as_number = CONVERTER.structure({"size": size}, Output)
    assert as_text.size_bytes == as_number.size_bytes == size


@given(st.decimals(min_value=0, max_value=10**6, places=12))
def test_money_keeps_every_digit(price: Decimal) -> None:
    assert str(CONVERTER.structure({"totalcost": str(price)}, Task).total_cost) == str(price)


# On the page many times are the same second: here each has one of its own.
TIMES = {
    "createtime": "created_at",
    "accepttime": "accepted_at",
    "assigntime": "assigned_at",
    "preprocessstarttime": "preprocess_started_at",
    "preprocessendtime": "preprocess_ended_at",
    "starttime": "started_at",
    "endtime": "ended_at",
    "postprocessstarttime": "postprocess_started_at",
    "postprocessendtime": "postprocess_ended_at",
    "canceltime": "cancelled_at",
}
OUTPUT_TIMES = {
    "addedtime": "added_at",
    "modifiedtime": "modified_at",
    "expiretime": "expires_at",
}


def test_each_time_has_a_place_of_its_own() -> None:
    row = {wire: str(1734513807 + index) for index, wire in enumerate(TIMES)}
    output_row = {wire: 1734513807 + index for index, wire in enumerate(OUTPUT_TIMES)}
    task = CONVERTER.structure({**row, "outputs": [output_row]}, Task)
    for wire, name in TIMES.items():
        assert getattr(task, name).timestamp() == int(row[wire])
    for wire, name in OUTPUT_TIMES.items():
        assert getattr(task.outputs[0], name).timestamp() == output_row[wire]
