"""Records to values: the model page's own, and every loose shape a field may come in."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.protocol.page import CANCEL, DETAIL, INPUT_URL, KILL, URL, UUID
from wiro_async.protocol.converter import make_converter, read_json
from wiro_async.task import Outcome, Output, Task

CONVERTER = make_converter()


def at(second: int) -> datetime:
    """A moment of the page's task: 2024-12-18 09:23 and this many seconds, UTC."""
    return datetime(2024, 12, 18, 9, 23, second, tzinfo=UTC)


def task_of(**fields: object) -> Task:
    return CONVERTER.structure(fields, Task)


def output_of(**fields: object) -> Output:
    return CONVERTER.structure(fields, Output)


PAGE_OUTPUT = Output(
    id="6bc392c93856dfce3a7d1b4261e15af3",
    name="0.png",
    content_type="image/png",
    size_bytes=202472,
    url=URL,
    access_key="dFKlMApaSgMeHKsJyaDeKrefcHahUK",
    added_at=at(32),
    modified_at=at(32),
)
PAGE_TIMES: dict[str, Any] = {
    "elapsed_seconds": 6.0,
    "created_at": at(27),
    "accepted_at": at(27),
    "assigned_at": at(27),
    "preprocess_started_at": at(27),
    "preprocess_ended_at": at(27),
    "started_at": at(29),
    "ended_at": at(33),
    "postprocess_started_at": at(33),
    "postprocess_ended_at": at(34),
    "cancelled_at": None,
}


def test_the_detail_of_the_page() -> None:
    row: dict[str, Any] = DETAIL["tasklist"][0]
    task = CONVERTER.structure(row, Task)
    assert task == Task(
        id="2221",
        token="eDcCm5yyUfIvMFspTwww49OUfgXkQt",
        uuid=UUID,
        status="task_postprocess_end",
        outcome=Outcome.SUCCEEDED,
        outputs=(PAGE_OUTPUT,),
        size_bytes=202472,
        **PAGE_TIMES,
    )
    assert task.parameters == {}
    assert task.raw == row
    output_row: object = row["outputs"][0]
    assert task.outputs[0].raw is output_row


@pytest.mark.parametrize(("sample", "task_id"), [(KILL, "534574"), (CANCEL, "634574")])
def test_the_stopped_tasks_of_the_page(sample: dict[str, Any], task_id: str) -> None:
    task = CONVERTER.structure(sample["tasklist"][0], Task)
    assert task == Task(
        id=task_id,
        token="ZpYote30on42O4jjHXNiKmrWAZqbRE",
        uuid=UUID,
        status="task_cancel",
        outcome=Outcome.CANCELLED,
        exit_code="0",
        outputs=(PAGE_OUTPUT,),
        cost_per_second=Decimal("0.000585000000"),
        total_cost=Decimal("0.003510000000"),
        size_bytes=202472,
        categories=("tool", "image-to-image", "quick-showcase", "compare-landscape"),
        model_id="598",
        project_id="699",
        **PAGE_TIMES,
    )
    assert str(task.total_cost) == "0.003510000000"
    assert task.parameters == {"inputImage": INPUT_URL}


def test_an_empty_record_is_a_running_task_of_which_nothing_is_known() -> None:
    assert task_of() == Task()
    assert task_of().outcome is Outcome.RUNNING
    assert output_of() == Output()


def test_fields_that_nobody_knows_yet_stay_in_raw() -> None:
    assert task_of(id="1", novel={"x": 1}) == Task(id="1")
    assert task_of(id="1", novel={"x": 1}).raw == {"id": "1", "novel": {"x": 1}}


def test_a_field_that_is_null_is_as_one_that_is_missing() -> None:
    row = dict.fromkeys(KILL["tasklist"][0])
    assert CONVERTER.structure(row, Task) == Task()
    assert CONVERTER.structure(dict.fromkeys(KILL["tasklist"][0]["outputs"][0]), Output) == Output()


def test_the_slug_that_the_documentation_adds() -> None:
    task = task_of(modelslugowner="black-forest-labs", modelslugproject="flux-pro-1-1-ultra")
    assert (task.model_owner, task.model_project) == ("black-forest-labs", "flux-pro-1-1-ultra")


TEXTS = [
    ("2221", "2221"),
    (2221, "2221"),
    (2221.0, "2221"),
    (0.5, "0.5"),
    (0, "0"),
    ("", None),
    (None, None),
    (True, None),
    ([], None),
    ({}, None),
    (math.inf, None),
    (math.nan, None),
]


@pytest.mark.parametrize(("wire", "value"), TEXTS)
def test_a_text_may_come_as_a_number(wire: object, value: str | None) -> None:
    assert task_of(id=wire).id == value
    assert task_of(pexit=wire).exit_code == value
    assert task_of(debugerror=wire).debug_error == (value or "")
    assert output_of(url=wire).url == value


@pytest.mark.parametrize(
    ("wire", "status"),
    [("task_start", "task_start"), (" task_cancel\n", "task_cancel"), (None, ""), ([], "")],
)
def test_a_status_has_no_stray_blanks(wire: object, status: str) -> None:
    assert task_of(status=wire).status == status


HUGE = "9" * 100_000
# The wire's number, and what it is as an exact number.
NUMBERS: list[tuple[object, Decimal | None]] = [
    ("202472", Decimal(202472)),
    (202472, Decimal(202472)),
    (202472.0, Decimal(202472)),
    (" 7 ", Decimal(7)),
    ("0.003510000000", Decimal("0.003510000000")),
    ("1e3", Decimal(1000)),
    ("0", Decimal(0)),
    (0, Decimal(0)),
    ("9" * 40, Decimal("9" * 40)),
    ("", None),
    ("junk", None),
    ("1e999999999", None),
    ("1e-999999999", None),
    ("1e99999999999999999999999", None),
    (HUGE, None),
    (f"0.{'0' * 50}1", None),
    ("NaN", None),
    ("sNaN", None),
    ("-Infinity", None),
    (math.inf, None),
    (math.nan, None),
    (True, None),
    (None, None),
    ([1], None),
    ({"n": 1}, None),
]


@pytest.mark.parametrize(("wire", "number"), NUMBERS)
def test_a_number_may_come_as_a_text(wire: object, number: Decimal | None) -> None:
    task = task_of(totalcost=wire, cps=wire, size=wire, elapsedseconds=wire)
    assert task.total_cost == task.cost_per_second == number
    assert task.size_bytes == (None if number is None else int(number))
    assert task.elapsed_seconds == (None if number is None else float(number))
    assert output_of(size=wire).size_bytes == task.size_bytes


@pytest.mark.parametrize("wire", ["-1", -1, -0.5, "-1e30"])
def test_a_negative_size_or_duration_is_not_known(wire: object) -> None:
    task = task_of(size=wire, elapsedseconds=wire, totalcost=wire, createtime=wire)
    assert (task.size_bytes, task.elapsed_seconds, task.created_at) == (None, None, None)
    assert task.total_cost == Decimal(str(wire)), "a credit is money too"


NOT_YET: list[object] = [
    *("0", "", 0, None, "0.0", False, "soon", [], "-5"),
    *("99999999999999", "1e30", "1e999999999", HUGE, math.nan),
]


@pytest.mark.parametrize(
    ("wire", "moment"),
    [
        ("1734513807", at(27)),
        (1734513807, at(27)),
        ("1734513807.5", at(27).replace(microsecond=500_000)),
        *[(nothing, None) for nothing in NOT_YET],
    ],
)
def test_a_time_of_nought_means_not_yet(wire: object, moment: datetime | None) -> None:
    assert task_of(canceltime=wire).cancelled_at == moment
    assert output_of(expiretime=wire).expires_at == moment


OBJECT = {"prompt": "x", "n": 1}
NO_OBJECT: list[object] = [
    *("", " ", "{", "[]", "null", '"x"', "7", None, [], 7, "[" * 99_999),
]


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (OBJECT, OBJECT),
        ('{"prompt": "x", "n": 1}', OBJECT),
        (' {"prompt":"x","n":1}\n', OBJECT),
        *[(junk, {}) for junk in NO_OBJECT],
    ],
)
def test_parameters_may_come_printed(wire: object, value: object) -> None:
    assert task_of(parameters=wire).parameters == value
    assert output_of(content=wire).content == (value or None)


NO_LIST: list[object] = ["", "tool", "[", '["tool",', None, 7, {}, '{"a":1}']


@pytest.mark.parametrize(
    ("wire", "categories"),
    [
        (["tool", "bfl"], ("tool", "bfl")),
        ('["tool","bfl"]', ("tool", "bfl")),
        (["tool", None, 7, "", {}], ("tool", "7")),
        *[(junk, ()) for junk in NO_LIST],
    ],
)
def test_categories_may_come_printed(wire: object, categories: tuple[str, ...]) -> None:
    assert task_of(categories=wire).categories == categories


ROW = {"id": "a", "size": 3}
ONE = Output(id="a", size_bytes=3)


@pytest.mark.parametrize(
    ("wire", "outputs"),
    [
        ([ROW, ROW], (ONE, ONE)),
        ([], ()),
        (ROW, (ONE,)),
        ('[{"id":"a","size":3}]', (ONE,)),
        ([None, ROW, "junk", 7, []], (ONE,)),
        *[(junk, ()) for junk in (None, "", "junk", 7, True)],
    ],
)
def test_outputs_may_be_a_list_or_one_or_printed(wire: object, outputs: tuple[Output, ...]) -> None:
    assert task_of(outputs=wire).outputs == outputs


def test_a_language_models_output_has_its_content() -> None:
    content = {"prompt": "hi", "raw": "<b>yes</b>", "thinking": ["hm"], "answer": ["y", "es"]}
    task = task_of(outputs=[{"contenttype": "raw", "content": content}], debugoutput="yes")
    assert task.outputs[0].content_type == "raw"
    assert task.outputs[0].content == content
    assert (task.outputs[0].text, task.text, task.debug_output) == ("yes", "yes", "yes")
    assert task.outputs[0].url is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1]}', {"a": [1]}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        *[(junk, None) for junk in ("", "{", b"\xff\xfe\xfa", b"<html>", "[" * 99_999)],
    ],
)
def test_what_is_no_json_is_none(text: str | bytes, value: object) -> None:
    assert read_json(text) == value
