"""Answers that are wrong in shape: each has one right reading, or one error of the tree."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.protocol.page import DETAIL, answer
from wiro_async.errors import ApiError, NotFound, RateLimited, RequestRefused, ServerError
from wiro_async.protocol.converter import read_json
from wiro_async.protocol.responses import (
    Started,
    decode_acknowledgement,
    decode_run,
    decode_task,
    decode_tasks,
)
from wiro_async.task import Outcome

ROW: dict[str, Any] = DETAIL["tasklist"][0]
DEEP = json.loads("[" * 60 + "]" * 60)
JUNK: list[object] = [
    *(None, True, False, 0, -1, 7, 0.5, math.nan, math.inf, 10**400, "", " ", "junk", "\x1b[2J"),
    *("\ud800", "\x00", [], [[]], [None], {}, {"a": {}}, {"0": 1}, DEEP, "[]", "{}", "null"),
]
Decoder = Callable[..., object]
DECODERS: list[Decoder] = [decode_run, decode_task, decode_tasks, decode_acknowledgement]

# As if the exit code were absent: a picture that is there must not be left for it, and where
# there is none, that shows.
NO_CODES: list[object] = [None, [], {}, ["1"], True, False, math.nan]

# Bodies that hold nothing at all of what was asked for.
BODIES: list[bytes] = [
    *(b"", b" \r\n", b"null", b"[]", b'"text"', b"7", b"1e999", b"NaN", b"true", b"{", b"}"),
    *(b"<!DOCTYPE html><html>502 Bad Gateway</html>", b"OK", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"\x1f\x8b\x08\x00junk", b"[" * 100_000, b'{"data":' * 100_000, b"[[[[]]]]", b"\x00" * 4096),
]


def detail(tasklist: object) -> bytes:
    return json.dumps({"result": True, "errors": [], "tasklist": tasklist}).encode()


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("http_status", [200, 204, 500, 502, 503, 504])
def test_a_body_that_says_nothing_is_a_failure_of_the_service(
    decode: Decoder, body: bytes, http_status: int
) -> None:
    with pytest.raises(ServerError) as caught:
        decode(answer(body, http_status), "/Task/Detail")
    assert type(caught.value) is ServerError
    assert str(caught.value).isprintable()
    assert f"HTTP {http_status}" in str(caught.value)


@pytest.mark.parametrize(
    ("http_status", "kind"),
    [(301, ServerError), (307, ServerError), (404, NotFound), (403, RequestRefused)],
)
def test_a_page_of_something_before_the_service_is_told_by_its_status(
    http_status: int, kind: type[ApiError]
) -> None:
    with pytest.raises(kind) as caught:
        decode_task(answer(b"<html>", http_status), "/Task/Detail", task_id="2221")
    assert type(caught.value) is kind
    assert caught.value.reason == "", "these are not the service's words"


def test_a_bare_429_is_one() -> None:
    with pytest.raises(RateLimited):
        decode_task(answer(b"slow down", 429), "/Task/Detail", task_id="2221")


@pytest.mark.parametrize("name", ["result", "errors", "data", "total", "tasklist", "novel"])
@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
@pytest.mark.parametrize("http_status", [200, 500])
def test_junk_in_any_place_of_an_envelope_is_read_or_is_an_error_of_the_tree(
    name: str, junk: object, http_status: int
) -> None:
    body = answer({**DETAIL, name: junk}, http_status)
    for decode in DECODERS:
        with suppress(ApiError):
            decode(body, "/Task/Detail")
    if name in {"total", "novel"}:
        assert decode_task(body, "/Task/Detail", task_id="2221").id == "2221"


@pytest.mark.parametrize("name", sorted({*ROW} - {"id", "socketaccesstoken", "status", "pexit"}))
@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_in_a_field_costs_a_finished_task_no_other_field(name: str, junk: object) -> None:
    body = answer(detail([{**ROW, name: junk}]))
    task = decode_task(body, "/Task/Detail", task_id="2221")
    assert (task.id, task.outcome) == ("2221", Outcome.SUCCEEDED)
    if name != "outputs":
        assert task.outputs[0].url == ROW["outputs"][0]["url"]
    json.dumps(task.raw, ensure_ascii=False).encode()


class TestTaskLists:
    @pytest.mark.parametrize(
        "tasklist",
        [
            {"0": ROW},
            {"0": ROW, "1": {"id": "9", "status": "task_start"}},
            [None, 7, "x", [], ROW],
            json.dumps({"0": ROW}),
            [{"id": "9", "status": "task_start"}, ROW],
        ],
        ids=range(5),
    )
    def test_the_record_is_found_in(self, tasklist: object) -> None:
        task = decode_task(answer(detail(tasklist)), "/Task/Detail", task_id="2221")
        assert (task.id, task.outcome) == ("2221", Outcome.SUCCEEDED)

    @pytest.mark.parametrize(
        "tasklist",
        [
            *(None, True, 7, "junk", "{", [None], [7, "x", []], [[ROW]], {}, [{}], {"a": ROW}),
            [{**ROW, "id": "9", "socketaccesstoken": "t"}],
            [{**ROW, "id": ["2221"], "socketaccesstoken": "other", "status": None}],
        ],
        ids=range(13),
    )
    def test_what_holds_no_record_of_the_task_is_a_failure_of_the_service(
        self, tasklist: object
    ) -> None:
        with pytest.raises(ServerError) as caught:
            decode_task(answer(detail(tasklist)), "/Task/Detail", task_id="2221")
        assert type(caught.value) is ServerError
        assert str(caught.value).isprintable()


class TestStatus:
    @pytest.mark.parametrize(
        "status", [None, "", " ", "\n", [], ["task_start"], {}, True, math.nan]
    )
    def test_a_record_without_one_tells_nothing_of_the_task(self, status: object) -> None:
        with pytest.raises(ServerError, match="nothing that tells how it stands"):
            decode_task(answer(detail([{**ROW, "status": status}])), "/Task/Detail", task_id="2221")

    @pytest.mark.parametrize(
        ("status", "read"), [(7, "7"), ("task_new", "task_new"), ("end", "end"), ("NULL", "NULL")]
    )
    def test_one_that_nobody_knows_is_running(self, status: object, read: str) -> None:
        task = decode_task(answer(detail([{**ROW, "status": status}])), "/Task/Detail")
        assert (task.status, task.outcome) == (read, Outcome.RUNNING)

    @pytest.mark.parametrize(
        ("exit_code", "outcome"),
        [
            *((junk, Outcome.SUCCEEDED) for junk in NO_CODES),
            *((good, Outcome.SUCCEEDED) for good in (0, 0.0, -0.0, "0", " 0 ", "0.0", "", " ")),
            *(
                (bad, Outcome.FAILED)
                for bad in (1, -1, "1", "junk", "NaN", "sNaN", "\ud800", "0x0")
            ),
        ],
    )
    def test_the_exit_code_of_an_ended_task(self, exit_code: object, outcome: Outcome) -> None:
        row = {**ROW, "pexit": exit_code}
        assert decode_task(answer(detail([row])), "/Task/Detail").outcome is outcome


class TestRuns:
    @pytest.mark.parametrize(
        "body",
        [
            b'{"taskid":"2221","note":"\xff"}',
            b'{"taskid":"2221","note":"\\ud800"}',
            b'{"taskid":"2221","n":' + b"9" * 5000 + b"}",
            b'{"taskid":"1","taskid":"2221"}',
            b'\xef\xbb\xbf{"taskid":"2221"}',
            '{"taskid":"2221"}'.encode("utf-16"),
        ],
        ids=range(6),
    )
    def test_a_name_that_is_whole_is_a_task(self, body: bytes) -> None:
        assert decode_run(answer(body), "/Run/o/m") == Started(task_id="2221", token=None)

    @pytest.mark.parametrize("name", [b'"22\xff21"', b'"22\\ud800"', b"1e999", b"9" * 5000])
    def test_a_name_that_is_not_is_none(self, name: bytes) -> None:
        with pytest.raises(ServerError):
            decode_run(answer(b'{"result":true,"taskid":' + name + b"}"), "/Run/o/m")
        started = decode_run(
            answer(b'{"socketaccesstoken":"t","taskid":' + name + b"}"), "/Run/o/m"
        )
        assert started == Started(task_id=None, token="t")


def test_a_log_of_20_mb_is_kept() -> None:
    log = "step \u2713 " * 2_500_000
    task = decode_task(answer(detail([{**ROW, "debugoutput": log}])), "/Task/Detail")
    assert task.debug_output == log
    assert task.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":"x\xffy"}', {"a": "x\ufffdy"}),
        (b'{"a":"cut \xe2\x82"}', {"a": "cut \ufffd"}),
        (b'{"a":"x\\ud800y"}', {"a": "x\ufffd\ufffd\ufffdy"}),
        (b'{"a":"x\\uDFFFy"}', {"a": "x\ufffd\ufffd\ufffdy"}),
        (b'{"a":"\xed\xa0\x80"}', {"a": "\ufffd\ufffd\ufffd"}),
        (b'{"\\ud800":1}', {"\ufffd\ufffd\ufffd": 1}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a":"\ud800"}', {"a": "\ufffd\ufffd\ufffd"}),
        ('{"a": 1}'.encode("utf-16"), {"a": 1}),
        ('{"a": 1}'.encode("utf-16-be"), {"a": 1}),
        ('{"a": 1}'.encode("utf-32"), {"a": 1}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 1, "b": ' + b"9" * 99_999 + b"}", {"a": 1, "b": math.inf}),
        (b'{"a": -' + b"9" * 5_000 + b"}", {"a": -math.inf}),
        (b"9" * 999, int("9" * 999)),
    ],
    ids=range(15),
)
def test_what_cannot_be_read_costs_a_text_nothing_else(text: str | bytes, value: object) -> None:
    assert read_json(text) == value
    json.dumps(read_json(text), ensure_ascii=False).encode()


def test_what_nests_more_deeply_than_a_record_is_no_json() -> None:
    assert read_json(b"[" * 100 + b"]" * 100) is not None
    assert read_json(b"[" * 101 + b"]" * 101) is None
    assert read_json(b'{"a":' * 101 + b"1" + b"}" * 101) is None
    assert read_json(b"[" + b"[[]]," * 5_000 + b"[]]") is not None
