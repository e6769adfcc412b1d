"""From the wire's loose shapes to values: the only place that knows both.

Every field of a record is optional, most numbers are strings, some strings are numbers, a
list can be printed as a string, and a time of ``"0"`` or ``""`` means "not yet" (wiro-api
facts, "A task"). So each reader below takes whatever comes and gives its value or None: a
field that cannot be read must not cost a person the picture that the rest of the record
leads to. The record itself stays at hand as ``raw``.

One table per class says which wire name goes where through which reader; cattrs does the rest.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, TypeAlias

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from wiro_async.protocol.status import outcome_of
from wiro_async.task import JsonObject, Output, Task

Reader: TypeAlias = Callable[[object, object], object]

# No count, size or price needs more digits; a wire that sends 1e999999999 gets None, and
# nobody's memory is spent on writing that number out.
_MAX_DIGITS = 40
_NOT_YET = (None, "", "0")
_LONGEST_SHARED = 40
# A record nests four deep, a language model's content not much more.
_MOST_DEPTH = 100
# Python refuses to read 4300 digits, and with them would refuse the whole record.
_LONG_NUMBER = 1000
_UNREAD = re.compile("[\ufffd\ud800-\udfff]")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def read_text(value: object, _: object = None) -> str | None:
    """A text, or a number as its text; blank and anything else is None."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, float) and not math.isfinite(value):
        return None  # what 1e999 is read as names no task
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def read_name(value: object, _: object = None) -> str | None:
    """What a task is called by, as far as it was read whole.

    One with a U+FFFD in it, where something could not be read, is another task's name or nobody's.
    """
    text = read_text(value)
    return None if _UNREAD.search(text or "") else text


def read_required_text(value: object, _: object = None) -> str:
    """Like `read_text`, but with the empty text for None."""
    return read_text(value) or ""


def read_status(value: object, _: object = None) -> str:
    """A status without stray blanks."""
    return read_required_text(value).strip()


def read_decimal(value: object, _: object = None) -> Decimal | None:
    """Money or any exact number: ``"0.003510000000"`` keeps its digits."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    return _known_decimal(text) if len(text) <= _MAX_DIGITS else _decimal_of(text)


def _decimal_of(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() and abs(number.adjusted()) < _MAX_DIGITS else None


# A record's times, prices and noughts are those of the record before, mostly.
_known_decimal = lru_cache(maxsize=128)(_decimal_of)


def read_integer(value: object, _: object = None) -> int | None:
    """A whole number of at least nought, such as a size in bytes."""
    number = read_decimal(value)
    return None if number is None or number < 0 else int(number)


def read_seconds(value: object, _: object = None) -> float | None:
    """A duration in seconds: ``"6.0000"``."""
    number = read_decimal(value)
    return None if number is None or number < 0 else float(number)


def read_time(value: object, _: object = None) -> datetime | None:
    """Unix seconds as an aware datetime; ``"0"`` and ``""`` are "not yet"."""
    # Mostly the text of the field before, or of the record before.
    is_short = isinstance(value, str) and len(value) <= _MAX_DIGITS
    return _known_time(value) if is_short else _time_of(value)


def _time_of(value: object) -> datetime | None:
    seconds = None if value in _NOT_YET else read_seconds(value)
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None


_known_time = lru_cache(maxsize=256)(_time_of)


def read_object(value: object, _: object = None) -> JsonObject | None:
    """An object, or a text that holds one; None for anything else."""
    value = _unprinted(value)
    return value if isinstance(value, dict) else None


def read_required_object(value: object, _: object = None) -> JsonObject:
    """Like `read_object`, but with the empty object for None."""
    return read_object(value) or {}


def read_texts(value: object, _: object = None) -> tuple[str, ...]:
    """A list of texts, or a text that holds one."""
    value = _unprinted(value)
    rows = value if isinstance(value, list) else []
    return tuple(text for row in rows if (text := read_text(row)) is not None)


def read_rows(value: object) -> list[JsonObject]:
    """The objects of a list, of a text that holds one, or the one object that stands for it.

    A list that was printed as an object, by its indexes, is a list too.
    """
    value = _unprinted(value)
    if isinstance(value, dict) and value and all(name.isdecimal() for name in value):
        value = [*value.values()]
    rows = value if isinstance(value, list) else [value]
    return [row for row in rows if isinstance(row, dict)]


def is_empty_list(value: object) -> bool:
    """Whether this is a list, or a text that holds one or nothing, without anything in it."""
    return _unprinted(value) == [] or (isinstance(value, str) and not value.strip())


def read_json(text: str | bytes) -> object:
    """What a JSON text holds; None if it is not one, or nested more deeply than any record.

    Bytes that are no text, and lone surrogates, are read as U+FFFD, and a number of a thousand
    digits as what a float makes of it, mostly infinity: what else stands in a paid task's
    record must not be lost with them, nor may they come to a file or a terminal that cannot write
    them.
    """
    try:
        if isinstance(text, bytes):
            # What `json.loads` asks itself, but for the bytes that are no text.
            text = text.decode(json.detect_encoding(text), "replace")
        value = _DECODER.decode(text)
        if not (text.isascii() and "\\u" not in text) and _HALF_CHARACTER.search(text):
            whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
            value = _DECODER.decode(whole.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if _is_shallow(text, value) else None


def _read_integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONG_NUMBER else float(digits)


_DECODER = json.JSONDecoder(parse_int=_read_integer)


def _is_shallow(text: str, value: object) -> bool:
    """Whether whoever writes this again, further down the stack, can do so too."""
    if text.count("[") + text.count("{") <= _MOST_DEPTH:
        return True
    level = [value]
    for _ in range(_MOST_DEPTH):
        level = [part for whole in level for part in _parts(whole)]
    return not level


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unprinted(value: object) -> object:
    return read_json(value) if isinstance(value, str) and value.strip() else value


_OUTPUT_FIELDS: dict[str, tuple[str, Reader]] = {
    "id": ("id", read_text),
    "name": ("name", read_text),
    "content_type": ("contenttype", read_text),
    "size_bytes": ("size", read_integer),
    "url": ("url", read_text),
    "access_key": ("accesskey", read_text),
    "added_at": ("addedtime", read_time),
    "modified_at": ("modifiedtime", read_time),
    "expires_at": ("expiretime", read_time),
    "content": ("content", read_object),
}

_TASK_FIELDS: dict[str, tuple[str, Reader]] = {
    "id": ("id", read_name),
    "token": ("socketaccesstoken", read_name),
    "uuid": ("uuid", read_text),
    "status": ("status", read_status),
    "exit_code": ("pexit", read_text),
    "parameters": ("parameters", read_required_object),
    "debug_output": ("debugoutput", read_required_text),
    "debug_error": ("debugerror", read_required_text),
    "elapsed_seconds": ("elapsedseconds", read_seconds),
    "cost_per_second": ("cps", read_decimal),
    "total_cost": ("totalcost", read_decimal),
    "size_bytes": ("size", read_integer),
    "categories": ("categories", read_texts),
    "model_id": ("modelid", read_text),
    "model_owner": ("modelslugowner", read_text),
    "model_project": ("modelslugproject", read_text),
    "project_id": ("projectid", read_text),
    "created_at": ("createtime", read_time),
    "accepted_at": ("accepttime", read_time),
    "assigned_at": ("assigntime", read_time),
    "preprocess_started_at": ("preprocessstarttime", read_time),
    "preprocess_ended_at": ("preprocessendtime", read_time),
    "started_at": ("starttime", read_time),
    "ended_at": ("endtime", read_time),
    "postprocess_started_at": ("postprocessstarttime", read_time),
    "postprocess_ended_at": ("postprocessendtime", read_time),
    "cancelled_at": ("canceltime", read_time),
}


def make_converter() -> Converter:
    """The one converter: structures `Task` and `Output` from the service's records."""
    converter = Converter(detailed_validation=False)

    def read_outputs(value: object, _: object = None) -> tuple[Output, ...]:
        return tuple(converter.structure(row, Output) for row in read_rows(value))

    structure_output = make_dict_structure_fn(
        Output, converter, raw=override(struct_hook=_as_it_is), **_overrides(_OUTPUT_FIELDS)
    )
    structure_task = make_dict_structure_fn(
        Task,
        converter,
        outputs=override(struct_hook=read_outputs),
        outcome=override(struct_hook=_as_it_is),
        raw=override(struct_hook=_as_it_is),
        **_overrides(_TASK_FIELDS),
    )

    def read_output(row: JsonObject, kind: type[Output]) -> Output:
        return structure_output({**row, "raw": row}, kind)

    def read_task(row: JsonObject, kind: type[Task]) -> Task:
        row = {
            _shared(name): _shared(value) if isinstance(value, str) else value
            for name, value in row.items()
        }
        outcome = outcome_of(read_status(row.get("status")), read_text(row.get("pexit")))
        return structure_task({**row, "outcome": outcome, "raw": row}, kind)

    converter.register_structure_hook(Output, read_output)
    converter.register_structure_hook(Task, read_task)
    return converter


@lru_cache(maxsize=512)
def _known_text(text: str) -> str:
    return text


def _shared(text: str) -> str:
    """A short text, one for all records: a decoder makes each anew, half of their memory."""
    return _known_text(text) if len(text) <= _LONGEST_SHARED else text


def _as_it_is(value: Any, _: object) -> Any:  # noqa: ANN401 - what was put there a moment ago
    return value


# Any: cattrs takes the fields' names and its own options through one set of keywords.
def _overrides(fields: Mapping[str, tuple[str, Reader]]) -> dict[str, Any]:
    return {
        name: override(rename=wire, struct_hook=reader) for name, (wire, reader) in fields.items()
    }
