"""Answers to values: which answers are a task, and which task is the one that was asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.page import CANCEL, DETAIL, JSON, KILL, RUN, answer
from wiro_async.errors import ApiError, NotFound, ServerError, WiroError
from wiro_async.protocol.responses import (
    Answer,
    Started,
    decode_acknowledgement,
    decode_run,
    decode_task,
    decode_tasks,
    retry_after_seconds,
)
from wiro_async.task import Outcome

TOKEN = "eDcCm5yyUfIvMFspTwww49OUfgXkQt"
DETAIL_ROW: dict[str, Any] = DETAIL["tasklist"][0]


@pytest.mark.parametrize(
    ("body", "task_id", "token"),
    [
        (RUN, "2221", TOKEN),
        ({**RUN, "taskid": 2221}, "2221", TOKEN),
        ({"taskid": "2221"}, "2221", None),
        ({"socketaccesstoken": TOKEN}, None, TOKEN),
        ({**RUN, "taskid": None}, None, TOKEN),
        ({**RUN, "taskid": "0"}, None, TOKEN),
        ({**RUN, "socketaccesstoken": ""}, "2221", None),
        ({**RUN, "taskid": " 2221\n"}, "2221", TOKEN),
        ({"data": RUN}, "2221", TOKEN),
        ({"data": RUN, "result": True, "errors": []}, "2221", TOKEN),
        ({**RUN, "data": None}, "2221", TOKEN),
        ({**RUN, "result": False}, "2221", TOKEN),
        ({**RUN, "errors": [{"code": 0, "message": "late"}]}, "2221", TOKEN),
    ],
)
@pytest.mark.parametrize("http_status", [200, 201, 429, 500, 502])
def test_a_run_with_one_identifier_is_a_task(
    body: object, task_id: str | None, token: str | None, http_status: int
) -> None:
    started = decode_run(answer(body, http_status), "/Run/o/m")
    assert started == Started(task_id=task_id, token=token)


@pytest.mark.parametrize("name", [None, "", " ", "0", 0, True, False, [], {}, ["2221"]])
def test_what_names_no_task_is_not_a_task(name: object) -> None:
    body = {"taskid": name, "socketaccesstoken": name, "result": True, "errors": []}
    with pytest.raises(ServerError):
        decode_run(answer(body), "/Run/o/m")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999999999", b"9" * 5000])
def test_a_number_that_is_none_names_no_task(number: bytes) -> None:
    with pytest.raises(ServerError):
        decode_run(answer(b'{"result":true,"taskid":' + number + b"}"), "/Run/o/m")


@pytest.mark.parametrize("total", ["1", 1, None, "junk", "0"])
@pytest.mark.parametrize(
    "shape",
    [
        DETAIL,
        {"data": DETAIL},
        {"data": DETAIL, "result": True},
        {**DETAIL, "tasklist": DETAIL_ROW},
        {**DETAIL, "tasklist": json.dumps(DETAIL["tasklist"])},
        {**DETAIL, "result": "true"},
        {**DETAIL, "result": 1},
        {"tasklist": [DETAIL_ROW]},
    ],
)
def test_a_detail_is_read_in_every_shape(shape: dict[str, Any], total: object) -> None:
    task = decode_task(answer({**shape, "total": total}), "/Task/Detail", task_id="2221")
    assert (task.id, task.token, task.outcome) == ("2221", TOKEN, Outcome.SUCCEEDED)
    assert task.raw == DETAIL_ROW


@pytest.mark.parametrize("sample", [KILL, CANCEL])
def test_a_stop_is_acknowledged_with_or_without_a_task_list(sample: dict[str, Any]) -> None:
    for body in (sample, {"result": True, "errors": []}, {"result": "true"}, {"data": sample}):
        decode_acknowledgement(answer(body), "/Task/Kill")
    (task,) = decode_tasks(answer(sample), "/Task/Kill")
    assert (task.id, task.outcome) == (sample["tasklist"][0]["id"], Outcome.CANCELLED)


ASKED_FOR: list[tuple[list[dict[str, Any]], dict[str, str], int]] = [
    ([{"id": "1"}, {"id": "2"}], {"task_id": "2"}, 1),
    ([{"id": 1}, {"id": 2}], {"task_id": "2"}, 1),
    ([{"socketaccesstoken": "s"}, {"socketaccesstoken": "t"}], {"token": "t"}, 1),
    ([{"id": "1"}, {"id": "2", "socketaccesstoken": "t"}], {"token": "t"}, 1),
    ([{"id": "2"}, {"id": "1", "socketaccesstoken": "t"}], {"token": "t", "task_id": "1"}, 1),
    ([{"status": "task_start"}], {"task_id": "2"}, 0),
    ([{"id": "7"}], {"token": "t"}, 0),
    ([{"socketaccesstoken": "t"}], {"task_id": "2"}, 0),
]


@pytest.mark.parametrize(("rows", "asked", "index"), ASKED_FOR)
def test_the_row_that_was_asked_for(
    rows: list[dict[str, Any]], asked: dict[str, str], index: int
) -> None:
    rows = [{"status": "task_start", **row} for row in rows]
    body = answer({"result": True, "tasklist": rows})
    assert decode_task(body, "/Task/Detail", **asked).raw == rows[index]


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"id": "1"}, {"task_id": "2"}),
        ({"id": "1", "socketaccesstoken": "s"}, {"token": "t"}),
        ({"socketaccesstoken": "s"}, {"token": "t", "task_id": "2"}),
        ({"id": "\x1b[2J\n1"}, {"task_id": "2"}),
    ],
)
def test_the_row_of_another_task_is_refused(row: dict[str, Any], asked: dict[str, str]) -> None:
    row = {"status": "task_start", **row}
    with pytest.raises(ServerError, match="when it was asked about") as caught:
        decode_task(answer({"result": True, "tasklist": [row]}), "/Task/Detail", **asked)
    assert str(caught.value).isprintable()
    assert caught.value.endpoint == "/Task/Detail"


@pytest.mark.parametrize("tasklist", [[], "[]", "", " "])
def test_an_empty_list_is_not_found(tasklist: object) -> None:
    body = answer({"result": True, "errors": [], "total": "0", "tasklist": tasklist})
    with pytest.raises(NotFound) as caught:
        decode_task(body, "/Task/Detail", task_id="2221")
    assert (caught.value.http_status, caught.value.reason) == (200, "empty task list")
    assert decode_tasks(body, "/Task/List") == ()


@pytest.mark.parametrize("body", [{"result": True}, {"result": True, "tasklist": None}, {}])
def test_a_detail_without_a_task_list_is_unreadable(body: object) -> None:
    with pytest.raises(ServerError):
        decode_task(answer(body), "/Task/Detail", task_id="2221")


@pytest.mark.parametrize("sample", [RUN, DETAIL, KILL, {"data": RUN}], ids=str)
def test_an_answer_cut_off_anywhere_has_no_value(sample: dict[str, Any]) -> None:
    whole = json.dumps(sample).encode()
    for end in range(len(whole)):
        cut = answer(whole[:end])
        for decode in (decode_run, decode_task, decode_acknowledgement):
            with pytest.raises(ServerError) as caught:
                decode(cut, "/Run/o/m")
            assert type(caught.value) is ServerError


def test_an_answer_cut_off_behind_its_end_is_whole() -> None:
    whole = json.dumps(RUN).encode() + b"\r\n  "
    assert decode_run(answer(whole[:-3]), "/Run/o/m") == decode_run(answer(RUN), "/Run/o/m")


def errors_of(given_answer: Answer) -> list[WiroError]:
    """What the decoders raise on an answer; anything outside the tree goes through."""
    errors = []
    for decode in (decode_run, decode_task, decode_tasks, decode_acknowledgement):
        try:
            decode(given_answer, "/Run/o/m")
        except WiroError as error:
            errors.append(error)
    return errors


def is_readable(error: WiroError) -> bool:
    return isinstance(error, ApiError) and str(error).isprintable() and len(str(error)) < 1000


ENVELOPES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("result", "errors", "data", "taskid", "socketaccesstoken", "tasklist", "total"), JSON
    ),
)
PROBLEMS = st.lists(st.fixed_dictionaries({}, optional={"code": JSON, "message": JSON}), max_size=3)


@given(st.binary() | JSON | ENVELOPES, st.integers(min_value=100, max_value=599))
def test_any_answer_is_a_value_or_an_error_of_the_tree(body: object, http_status: int) -> None:
    assert all(is_readable(error) for error in errors_of(answer(body, http_status)))


@given(PROBLEMS, st.integers(min_value=100, max_value=599))
def test_any_refusal_is_an_error_of_the_tree(problems: object, http_status: int) -> None:
    refused = answer({"result": False, "errors": problems}, http_status)
    errors = errors_of(refused)
    assert len(errors) == 4
    assert all(is_readable(error) for error in errors)


def test_deep_nesting_is_an_error_of_the_tree() -> None:
    for deep in (b"[" * 100_000, b'{"data":' * 100_000, b'{"errors":' + b"[" * 100_000):
        with pytest.raises(ServerError):
            decode_run(answer(deep), "/Run/o/m")


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("\t30\t", 30.0),
        ("99999999999", 99999999999.0),
        ("999999999999999.5", 999999999999999.5),
        ("5, 10", 10.0),
        ("120,60", 120.0),
        ("Sun, 01 Mar 2026 12:01:30 GMT, Sun, 01 Mar 2026 12:05:00 GMT", 90.0),
        ("Sun, 01 Mar 2026 12:01:30 GMT, 7", 90.0),
        ("Sun, 01 Mar 1970 12:01:30 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251629934399.0),
        ("5,", None),
        (",", None),
        ("5, soon", None),
        ("+5", None),
        ("1e2", None),
        ("0x10", None),
        ("1_000", None),
        ("\uff11\uff12", None),
        ("5\u00a0", None),
        ("\udcff\udcfe", None),
        ("9" * 16, None),
        ("9" * 10_000, None),
        ("   ", None),
        (" " * 10_000 + "5", None),
        ("Infinity", None),
        ("2026-03-01T12:01:30Z", None),
        ("Sun, 01 Mar 99999 12:01:30 GMT", None),
        ("Sun, 01 Mar 2026 25:61:61 GMT", None),
        (" 30 ", 30.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sunday, 01-Mar-26 12:01:30 GMT", 90.0),
        ("Sun Mar  1 12:01:30 2026", 90.0),
        ("Sun, 01 Mar 2026 12:01:30", 90.0),
        ("Sun, 01 Mar 2026 14:01:30 +0200", 90.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("1e999999999", None),
        ("Sun, 99 Mar 2026 12:01:30 GMT", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@given(st.text())
def test_any_retry_after_is_a_wait_or_none(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or seconds >= 0
