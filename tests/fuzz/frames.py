"""Targets: the websocket's frames, as they come and with junk in their fields."""

from __future__ import annotations

import json
import math

from attrs import evolve

from tests.fuzz.draws import TEXTS, Draw
from tests.fuzz.laws import Target, is_text, require
from tests.protocol.test_frames import PROGRESS, TOKEN, sent
from wiro_async.protocol.frames import (
    NO_NEWS,
    Frame,
    News,
    build_registration,
    decode_frame,
    decode_news,
)
from wiro_async.task import Progress, TaskStatus

_ENDS = ("task_postprocess_end", "task_cancel")
# One number of five characters, 1e308, is a text of 309.
_MOST_TIMES_LONGER = 80
_SAID: dict[str, object] = {"answer": ["A light", "house"], "thinking": ["Hm."], "raw": "x"}
_MESSAGES = (PROGRESS, _SAID, {"a": 1}, '{"loss": 0.5}', "Loading\r\n", " \r\n")
_FRAME: dict[str, object] = json.loads(sent())
_RESULTS = (True, None, "true", False, 0, "false", "0")
_KINDS = (*(status.value for status in TaskStatus), *("task_next_year", "task_info"))


def check_frame(data: bytes) -> None:
    """Any bytes, and any text, from a socket: a frame of a task, or none."""
    whole = decode_frame(data)
    _check_frame(whole, len(data))
    for text in (data.decode("latin-1"), data.decode(errors="surrogateescape")):
        _check_frame(decode_frame(text), len(text.encode(errors="surrogatepass")))
    if data.isascii():
        require(whole == decode_frame(data.decode()), "as bytes it is another than as a text")


def check_frame_record(data: bytes) -> None:
    """A good frame with junk in its fields, and every beginning of it that may have come."""
    draw = Draw(data)
    kind = "task_output" if draw.flag() else draw.pick(_KINDS)
    message = draw.pick(_MESSAGES)
    if isinstance(message, dict) and draw.flag():
        message = draw.mutated(message, (*PROGRESS, *_SAID))
    frame = {**_FRAME, "type": kind, "message": message if draw.byte() % 4 else draw.value()}
    frame = {
        **draw.mutated(frame, ("result",)),
        "result": draw.pick(_RESULTS) if draw.flag() else True,
    }
    is_ascii, cut = draw.flag(), draw.below(2**16)
    text = json.dumps(frame, ensure_ascii=is_ascii)
    told = decode_frame(text)
    _check_frame(told, len(text))
    is_denied = frame["result"] not in (True, None, "true")
    is_known = frame.get("type") in _KINDS[:-1] and frame.get("tasktoken") == TOKEN
    require(told is not None or is_denied or not is_known, "a task's frame is none")
    if told is not None:
        require(not is_denied, "what the service denies is told")
        require(is_text(f"{frame['type']}") is (told.kind == frame["type"]), "of another kind")
    end = cut % len(text)
    require(decode_frame(text[:end]) is None, "half a frame is one")
    require(decode_frame(text[:end].encode(errors="surrogatepass")) is None, "half a frame is one")


def _check_frame(frame: Frame | None, size: int) -> None:
    if frame is None:
        return
    require(frame.kind.startswith("task_"), f"{frame.kind!r} is of no task")
    require(frame.kind != "task_info", "our own registration is news")
    require(is_text(frame.kind) and is_text(frame.token), "a name that cannot be written down")
    require(bool(frame.token) and "\ufffd" not in frame.token, "a name that was not read whole")
    require(frame.is_end == (frame.kind in _ENDS), f"{frame.kind!r} is an end: {frame.is_end}")
    meanings = (frame.is_end, frame.is_error, frame.is_status)
    require(meanings.count(True) == 1, f"{frame.kind!r} means {meanings}")
    sent_back = build_registration(frame.token)
    require(sent_back.isascii() and decode_frame(sent_back) is None, "what we send is news")
    require(json.loads(sent_back)["tasktoken"] == frame.token, "another task is asked for")
    _check_news(frame, decode_news(frame), size)


def _check_news(frame: Frame, news: News, size: int) -> None:
    told = (news.log, news.text, news.thinking)
    for said in told:
        require(said is None or bool(said), "news that says nothing")
        require(is_text(said), "news that cannot be written down")
        require(len(said or "") <= _MOST_TIMES_LONGER * size, "news of more than was said")
    rest = evolve(news, log=None)
    require(news.log is None or rest == NO_NEWS, "a line is something else too")
    if news.log is not None:
        require(bool(news.log.strip()) and news.log[-1] not in "\r\n", f"a line {news.log!r}")
    if frame.kind != "task_output":
        require(rest == NO_NEWS, f"{frame.kind!r} tells of a model's work")
        require(news.log is None or frame.kind == "task_error", f"{frame.kind!r} has a line")
    if news.progress is not None:
        _check_progress(news.progress)
    if isinstance(frame.message, dict) and news != NO_NEWS:
        printed = evolve(frame, message=json.dumps(frame.message))
        require(decode_news(printed) == news, "as the text of an object it is other news")


def _check_progress(progress: Progress) -> None:
    numbers = (
        *(progress.percentage, progress.step, progress.steps),
        *(progress.elapsed_seconds, progress.remaining_seconds),
    )
    for number in numbers:
        require(number is None or 0 <= number < math.inf, f"a progress of {number}")
    speed = progress.speed
    require(speed is None or math.isfinite(speed), f"a speed of {speed}")
    require({*numbers, speed} != {None}, "a progress that tells no number")
    require(is_text(progress.speed_type), "a unit that cannot be written down")


def _frame_seeds() -> list[bytes]:
    good = (
        *(sent(message=PROGRESS), sent(message=json.dumps(PROGRESS)), sent(message=_SAID)),
        *(sent("task_error", "CUDA is out of memory\n"), sent("task_cancel"), sent("task_info")),
        *(
            sent(message=[1e308] * 9),
            sent(message="\ud800\r\n"),
            sent("task_start", tasktoken=1e16),
        ),
        *(sent(message={"answer": [1e308] * 40}), sent("task_\ud800"), sent(tasktoken="\udfff")),
    )
    others = ("[]", "7", "null", '"task_start"', '{"type": "connected", "version": "1.0"}')
    made = [text.encode() for text in (*good, *others)]
    return [*made, *(sent(message=text).encode() for text in TEXTS), sent().encode("utf-16")]


def _record_seeds() -> list[bytes]:
    output = [
        bytes((1, message, changed, 1, 0, denied, result, 1, 0, 90))
        for message in range(len(_MESSAGES))
        for changed in range(2)
        for denied in range(2)
        for result in range(len(_RESULTS))
    ]
    others = [bytes((0, kind, 0, 0, 1, 0, 0, 1, 0, 30)) for kind in range(len(_KINDS))]
    return [*output, *others]


FRAMES = (
    Target(name="frame", check=check_frame, seeds=_frame_seeds),
    Target(name="frame-record", check=check_frame_record, seeds=_record_seeds),
)
