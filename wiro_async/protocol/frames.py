"""The websocket's frames: what is sent for a task, and what is understood of what comes.

One connection carries frames about many tasks, each with the token of its own (wiro-api facts,
"Websocket"). Nothing in them decides anything: a frame is a hint, and so whatever is odd is no
frame at all, never an error.

Rules:

1. A frame about a task has a type that begins with ``task_`` and a token. ``task_info`` is our own
   registration, sent back by a service that acknowledges it: it does not tell that the service
   will speak of the task, no more than a frame does whose `result` is false.
2. `task_postprocess_end` and `task_cancel` say that the task is over. `task_error` is a line of
   its log, which may be its last: it is no end, but worth a look.
3. A message of `task_output` is a model's progress, a language model's state so far, or else a
   line of output; it can be a text that holds one of the former. The service's numbers are texts.
4. The frames of the whole output (`task_output_full`, `task_error_full`) repeat what was told
   line by line; their messages are left out.
"""

from __future__ import annotations

import json

from attrs import frozen

from wiro_async.protocol.converter import (
    read_decimal,
    read_integer,
    read_json,
    read_name,
    read_object,
    read_seconds,
    read_text,
    read_texts,
)
from wiro_async.task import JsonObject, JsonValue, Progress, TaskStatus

_TASK = "task_"
_REGISTRATION = "task_info"
_ENDS = frozenset({TaskStatus.POSTPROCESS_END.value, TaskStatus.CANCEL.value})
_FALSE = (False, 0, "false", "False", "0")


@frozen(kw_only=True)
class Frame:
    """What a socket says of a task.

    Attributes:
        kind: its type, which is a status of the service's open vocabulary; of `task_error` not.
        token: of the task.
        message: as it came; `decode_news` makes something of it, where somebody wants to know.
    """

    kind: str
    token: str
    message: JsonValue = None

    @property
    def is_end(self) -> bool:
        """Whether it says that the task is over."""
        return self.kind in _ENDS

    @property
    def is_error(self) -> bool:
        """Whether it is a line of the task's errors, or its fatal one."""
        return self.kind == TaskStatus.ERROR

    @property
    def is_status(self) -> bool:
        """Whether its kind is the status of a task that runs."""
        return not self.is_end and not self.is_error


@frozen(kw_only=True)
class News:
    """What a frame's message tells.

    Attributes:
        progress: how far the model is.
        log: a line of output or of the errors.
        text: all that a language model has answered so far.
        thinking: all that it has thought so far.
    """

    progress: Progress | None = None
    log: str | None = None
    text: str | None = None
    thinking: str | None = None


NO_NEWS = News()


def build_registration(token: str) -> str:
    """What is sent to hear of a task."""
    return json.dumps({"type": _REGISTRATION, "tasktoken": token})


def decode_frame(data: str | bytes) -> Frame | None:
    """A frame about a task; None for whatever is none."""
    said = read_json(data)
    if not isinstance(said, dict) or said.get("result") in _FALSE:
        return None
    kind, token = said.get("type"), read_name(said.get("tasktoken"))
    if not isinstance(kind, str) or not kind.startswith(_TASK) or kind == _REGISTRATION:
        return None
    return None if token is None else Frame(kind=kind, token=token, message=said.get("message"))


def decode_news(frame: Frame) -> News:
    """What a frame tells more than its kind; `NO_NEWS` if nothing."""
    if frame.is_error:
        return News(log=read_line(frame.message))
    if frame.kind != TaskStatus.OUTPUT:
        return NO_NEWS
    told = read_object(frame.message) or {}
    news = News(
        progress=read_progress(told),
        text=_read_said(told, "answer", "raw"),
        thinking=_read_said(told, "thinking"),
    )
    # A line may look like an object and be none of these: then it is a line.
    return news if news != NO_NEWS else News(log=read_line(frame.message))


def read_line(message: object) -> str | None:
    """A line of a log, without the end of the line; None for a blank one or anything else."""
    line = read_text(message)
    return line.rstrip("\r\n") or None if line and line.strip() else None


def read_progress(told: JsonObject) -> Progress | None:
    """A progress object; None for an object that tells none of its numbers."""
    speed = read_decimal(told.get("speed"))
    progress = Progress(
        percentage=read_seconds(told.get("percentage")),
        step=read_integer(told.get("stepCurrent")),
        steps=read_integer(told.get("stepTotal")),
        speed=None if speed is None else float(speed),
        speed_type=read_text(told.get("speedType")),
        elapsed_seconds=read_seconds(told.get("elapsedTime")),
        remaining_seconds=read_seconds(told.get("remainingTime")),
    )
    return None if progress == Progress(speed_type=progress.speed_type) else progress


def _read_said(told: JsonObject, *names: str) -> str | None:
    """The first of these that a language model's state has: a list of parts, or one text."""
    for name in names:
        value = told.get(name)
        said = "".join(read_texts(value)) if isinstance(value, list) else read_text(value)
        if said:
            return said
    return None
