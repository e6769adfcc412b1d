"""Whatever the service says, an error of the library is one line of printable characters."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.errors import ApiError
from wiro_async.protocol.responses import (
    Answer,
    decode_acknowledgement,
    decode_run,
    decode_task,
    decode_tasks,
)

EVIL = {
    "colours": "\x1b[31mred\x1b[0m",
    "cleared screen": "\x1b[2J\x1b[Hwiro: all is well",
    "8 bits": "\x9b2J\x9d0;mine\x9c",
    "link": "\x1b]8;;https://evil.test/\x1b\\click\x1b]8;;\x1b\\",
    "title": "\x1b]0;mine\x07",
    "unending": "\x1b]0;mine",
    "another line": "no\nwiro: all is well\r\nreally\u2028yes\x85so",
    "overwritten": "failed\rsucceeded",
    "turned round": "\u202egnp.exe\u2069",
    "unseen": "pay\u200b\u2060\ufeff\u00adpal",
    "half a character": "\ud83d",
    "nought": "\0",
    "blank": " \t\u00a0\u3000",
    "long": "x" * 1_000_000,
    "markup": "[red]x[/red] :fox: {0} %s",
}
DECODERS: list[Callable[[Answer, str], object]] = [
    decode_run,
    decode_tasks,
    decode_acknowledgement,
    decode_task,
    lambda answer, endpoint: decode_task(answer, endpoint, task_id="7\x1b[2J", token="t\n"),
]
# How the words can come, and with which HTTP status.
WAYS: dict[str, Callable[[str], object]] = {
    "message": lambda evil: {"result": False, "errors": [{"code": 0, "message": evil}]},
    "code": lambda evil: {"result": False, "errors": [{"code": evil, "message": evil}]},
    "text": lambda evil: {"result": "false", "errors": [evil, evil]},
    "errors": lambda evil: {"result": 0, "errors": evil},
    "limit": lambda evil: {"result": False, "errors": [{"code": 96, "message": f"up to 5 {evil}"}]},
    "wrapped": lambda evil: {"data": {"result": False, "errors": [{"message": evil}]}},
    "no list": lambda evil: {"result": False, "errors": [], "tasklist": 7, evil: evil},
    "another task": lambda evil: {
        "result": True,
        "errors": [],
        "tasklist": [{"id": f"8{evil}", "socketaccesstoken": f"u{evil}", "status": evil}],
    },
}


def assert_one_line(error: ApiError) -> None:
    for text in (str(error), error.message, error.reason, error.code or "", *map(str, error.args)):
        assert text.isprintable()
        assert len(text) < 1000
    assert "[31m" not in str(error)
    assert "evil.test" not in str(error)


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("http_status", [200, 401, 429, 500])
def test_hostile_words_make_one_line(
    evil: str, way: Callable[[str], object], http_status: int
) -> None:
    answer = Answer(http_status=http_status, body=json.dumps(way(evil)).encode())
    errors = 0
    for decode in DECODERS:
        try:
            decode(answer, "/Run/o/m")
        except ApiError as error:
            errors += 1
            assert_one_line(error)
    assert errors > 0


@given(st.text(), st.sampled_from([*WAYS.values()]))
def test_no_words_whatever_leave_their_line(words: str, way: Callable[[str], object]) -> None:
    body = json.dumps(way(words)).encode()
    for decode in DECODERS:
        try:
            decode(Answer(http_status=200, body=body), "/Run/o/m")
        except ApiError as error:
            for text in (str(error), error.reason, error.code or ""):
                assert text.isprintable()


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_an_answer_that_is_no_json_is_not_repeated(evil: str) -> None:
    body = f"<html>{evil}</html>".encode(errors="surrogatepass")
    for decode in DECODERS:
        with pytest.raises(ApiError) as caught:
            decode(Answer(http_status=502, body=body), "/Run/o/m")
        assert_one_line(caught.value)
        assert "<html>" not in str(caught.value)
