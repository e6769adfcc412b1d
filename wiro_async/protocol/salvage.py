"""What half an answer already says: the names of a task, where they came through whole.

A Run's answer that breaks off leaves a task that is paid for. If one of its two names was read
to its end before, the task can be followed by it (rule 4 of `protocol.responses`), and the Run
is not of unknown outcome after all.

Rules:

1. A name counts once it cannot go on: a text with its closing quote, a number with what comes
   after it. A shortened id would be the id of a stranger's task.
2. It counts where the whole answer's names are looked for: at the top level, and in a ``data``
   there. What stands in another object, or inside a text (a prompt is echoed), is none.
3. So half an answer is read as what it is, a JSON object that stops; no pattern is searched for.
"""

from __future__ import annotations

import json
import re

from wiro_async.errors import ApiError
from wiro_async.protocol.responses import Answer, Started, decode_run

_WRAPPER = "data"
_WANTED = ("taskid", "socketaccesstoken", _WRAPPER)
# RFC 8259, section 2.
_SPACES = frozenset(" \t\n\r")
# RFC 8259, sections 4 and 6: what may follow a number within an object.
_AFTER_NUMBER = re.compile(r"[ \t\n\r,}]")

_DECODER = json.JSONDecoder()
_BROKEN = object()


def salvage_run(partial: bytes) -> Started | None:
    """The task that the beginning of a Run's answer names; None where no name is whole.

    It never raises: what is no JSON object, or none that can be read, names no task. A whole
    answer is read as `protocol.responses.decode_run` reads it.

    Args:
        partial: what came of the answer's body, from its first byte on.
    """
    members = _whole_members(_read_text(partial))
    named = {name: members[name] for name in _WANTED if name in members}
    try:
        return decode_run(Answer(http_status=200, body=json.dumps(named).encode()), "/Run")
    except ApiError:
        return None


def _read_text(partial: bytes) -> str:
    """The text up to the first byte that is none: a character that was cut through, mostly."""
    try:
        return partial.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.object[: error.start].decode()


def _whole_members(text: str, at: int = 0, *, wrapper: str | None = _WRAPPER) -> dict[str, object]:
    """The members of the object that opens at `at`, as far as each of them is whole."""
    members: dict[str, object] = {}
    at = _skip_space(text, at)
    mark = "{"
    while text.startswith(mark, at):
        mark = ","
        name, at = _read_value(text, _skip_space(text, at + 1))
        at = _skip_space(text, at)
        if not isinstance(name, str) or not text.startswith(":", at):
            break
        at = _skip_space(text, at + 1)
        value, end = _read_value(text, at)
        if value is _BROKEN:
            if name == wrapper:
                members[name] = _whole_members(text, at, wrapper=None)
            break
        members[name] = value
        at = _skip_space(text, end)
    return members


def _read_value(text: str, at: int) -> tuple[object, int]:
    """The JSON value at `at` and where it ends; `_BROKEN` where it is not certainly whole."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return _BROKEN, at
    if isinstance(value, int | float) and not _AFTER_NUMBER.match(text, end):
        return _BROKEN, at
    return value, end


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in _SPACES:
        at += 1
    return at
