"""The socket's frames: what is made of each, and that nothing odd ever raises."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.frames import (
    NO_NEWS,
    Frame,
    News,
    build_registration,
    decode_frame,
    decode_news,
)
from wiro_async.task import Progress, TaskStatus

TOKEN = "eDcCm5yyUfIvMFspTwww49OUfgXkQt"
# As in the documentation's list of what a progress object holds.
PROGRESS = {
    "type": "progressGenerate",
    "percentage": "60",
    "stepCurrent": "6",
    "stepTotal": "10",
    "speed": "3.25",
    "speedType": "it/s",
    "elapsedTime": "1.8",
    "remainingTime": "1.2",
}
READ = Progress(
    percentage=60.0,
    step=6,
    steps=10,
    speed=3.25,
    speed_type="it/s",
    elapsed_seconds=1.8,
    remaining_seconds=1.2,
)


def sent(kind: object = "task_output", message: object = None, **more: object) -> str:
    frame = {"type": kind, "id": "1", "tasktoken": TOKEN, "message": message, "result": True}
    return json.dumps({**frame, **more})


def frame(kind: str = "task_output") -> Frame:
    return Frame(kind=kind, token=TOKEN)


def test_a_registration_names_the_task() -> None:
    assert json.loads(build_registration(TOKEN)) == {"type": "task_info", "tasktoken": TOKEN}


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (sent("task_start"), "task_start"),
        (sent("task_start").encode(), "task_start"),
        (sent("task_of_next_year"), "task_of_next_year"),
        (sent("task_start", result=None), "task_start"),
        (sent("task_start", result="true", more={"a": [1]}), "task_start"),
    ],
)
def test_what_is_made_of_a_frame(data: str | bytes, kind: str) -> None:
    assert decode_frame(data) == frame(kind)


def test_a_token_may_be_a_number() -> None:
    assert decode_frame(sent("task_end", tasktoken=12)) == Frame(kind="task_end", token="12")


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("task_start", "what a start says is not known", NO_NEWS),
        ("task_start", None, NO_NEWS),
        ("task_postprocess_end", [{"url": "https://cdn1.wiro.ai/x/0.png"}], NO_NEWS),
        ("task_error", "CUDA is out of memory\n", News(log="CUDA is out of memory")),
        ("task_error", {"a": 1}, NO_NEWS),
        ("task_error_full", "all\nof\nit", NO_NEWS),
        ("task_output_full", "all\nof\nit", NO_NEWS),
        ("task_output", "  Loading weights  \r\n", News(log="  Loading weights  ")),
        ("task_output", " \n", NO_NEWS),
        ("task_output", None, NO_NEWS),
        ("task_output", 7, News(log="7")),
        ("task_output", PROGRESS, News(progress=READ)),
        ("task_output", json.dumps(PROGRESS), News(progress=READ)),
        (
            "task_output",
            {"percentage": 12.5, "stepCurrent": None, "speed": "fast"},
            News(progress=Progress(percentage=12.5)),
        ),
        ("task_output", {"percentage": "-1", "remainingTime": "NaN"}, NO_NEWS),
        ("task_output", {"speedType": "it/s"}, NO_NEWS),
        ("task_output", '{"loss": 0.5}', News(log='{"loss": 0.5}')),
        (
            "task_output",
            {"thinking": ["Hm. ", "So."], "answer": ["A light", "house"], "raw": "x"},
            News(text="A lighthouse", thinking="Hm. So."),
        ),
        (
            "task_output",
            {"thinking": [], "answer": [], "raw": "A light", "isThinking": True},
            News(text="A light"),
        ),
        ("task_output", {"answer": "A light"}, News(text="A light")),
        ("task_output", {"thinking": ["Hm."], "answer": []}, News(thinking="Hm.")),
    ],
)
def test_what_is_made_of_a_message(kind: str, message: object, expected: News) -> None:
    told = decode_frame(sent(kind, message))
    assert told is not None
    assert decode_news(told) == expected


@pytest.mark.parametrize(
    "data",
    [
        "",
        "null",
        "[]",
        '"task_start"',
        "{}",
        "{",
        '{"type": "connected", "version": "1.0"}',
        b"\xff\xfe\x00",
        f"{TOKEN}|".encode() + bytes(range(256)),
        "[" * 100_000,
        sent("task_info"),
        sent("connected"),
        sent(7),
        sent(["task_start"]),
        sent("task_start", result=False),
        sent("task_start", result="false"),
        sent("task_start", result=0),
        sent("task_start", tasktoken=None),
        sent("task_start", tasktoken=""),
        sent("task_start", tasktoken=["a"]),
        sent("task_start", tasktoken="half\ufffd"),
    ],
)
def test_what_is_no_frame_of_a_task_is_none(data: str | bytes) -> None:
    assert decode_frame(data) is None


@pytest.mark.parametrize(
    ("kind", "is_end", "is_error", "is_status"),
    [
        ("task_postprocess_end", True, False, False),
        ("task_cancel", True, False, False),
        ("task_error", False, True, False),
        ("task_error_full", False, False, True),
        ("task_end", False, False, True),
        ("task_of_next_year", False, False, True),
    ],
)
def test_what_a_kind_means(kind: str, is_end: bool, is_error: bool, is_status: bool) -> None:  # noqa: FBT001 - a row of the table
    told = frame(kind)
    assert (told.is_end, told.is_error, told.is_status) == (is_end, is_error, is_status)


def test_every_status_but_the_three_runs_on() -> None:
    running = {status for status in TaskStatus if frame(status.value).is_status}
    assert {*TaskStatus} - running == {
        TaskStatus.POSTPROCESS_END,
        TaskStatus.CANCEL,
        TaskStatus.ERROR,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([*PROGRESS, "thinking", "answer", "raw", "isThinking"])
MESSAGES = JSON | st.dictionaries(NAMES, JSON, max_size=6)
KINDS = st.sampled_from([*(status.value for status in TaskStatus), "task_info"]) | JSON


@given(KINDS, MESSAGES, JSON | st.just(TOKEN), JSON)
def test_whatever_json_comes_is_a_frame_or_none(
    kind: object, message: object, token: object, result: object
) -> None:
    said = {"type": kind, "tasktoken": token, "message": message, "result": result}
    told = decode_frame(json.dumps(said))
    assert told == decode_frame(json.dumps(said).encode())
    if told is not None:
        assert told.kind == kind
        assert str(token).startswith(told.token) or isinstance(token, float)
        news = decode_news(told)
        printed = evolve(told, message=json.dumps(message))
        if isinstance(message, dict) and news != NO_NEWS:
            assert decode_news(printed) == news, "an object may come as the text of one"


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_whatever_bytes_come_raise_nothing(data: str | bytes) -> None:
    decode_frame(data)


@pytest.mark.parametrize("data", [sent(message=PROGRESS), sent("task_cancel")])
def test_a_frame_that_is_cut_off_is_none(data: str) -> None:
    for end in range(len(data)):
        assert decode_frame(data[:end]) is None
        assert decode_frame(data[:end].encode()) is None
