"""JSON Lines and plain prompts: one request a line, blank lines skipped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NoReturn

from wiro_async.batch.fields import request_from_object
from wiro_async.batch.lines import PlacedProblem
from wiro_async.batch.requests import (
    FORMAT_OPTION,
    BatchRequest,
    SourceOptions,
    cut_off,
    name_kind,
)
from wiro_async.errors import InvalidRequest
from wiro_async.task import JsonObject, JsonValue

_EXPECTED = (
    'each line is a JSON object such as {"prompt": "a cat"}, or a prompt as a JSON string; '
    f"plain prompts, one a line, are read as txt with {FORMAT_OPTION}"
)


def read_txt(
    lines: Iterable[str], options: SourceOptions
) -> Iterator[tuple[int, Callable[[], BatchRequest]]]:
    """Give each line of a file of prompts: its number, and what makes a request of it.

    Raises:
        PlacedProblem: for options that name columns, which such a file does not have.
    """
    if options.prompt_column or options.id_column or options.columns:
        raise PlacedProblem(
            "plain prompts have no columns, and one was named: leave that out, or save the file "
            "as CSV or JSON Lines"
        )
    for number, line in _filled(lines):
        yield number, partial(BatchRequest, params={"prompt": line.rstrip("\r\n")})


def read_jsonl(
    lines: Iterable[str], options: SourceOptions
) -> Iterator[tuple[int, Callable[[], BatchRequest]]]:
    """Give each line of a JSON Lines file: its number, and what makes a request of it."""
    for number, line in _filled(lines):
        yield number, partial(_request_from_line, line, options)


def _filled(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _request_from_line(line: str, options: SourceOptions) -> BatchRequest:
    value = _parse(line)
    if isinstance(value, str):
        return BatchRequest(params={"prompt": value})
    if isinstance(value, Mapping):
        return request_from_object(value, options)
    raise InvalidRequest(f"this line is {name_kind(value)}: {_EXPECTED}")


def _parse(line: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(
            line,
            object_pairs_hook=_object,
            parse_constant=_refuse_number,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise PlacedProblem(
            f"this is not JSON ({error.msg}): {_EXPECTED}",
            # Not `colno`, which counts from the line's own end where that is all that is left.
            column=min(error.pos, len(line.rstrip("\r\n"))) + 1,
        ) from None
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"this is no JSON that can be used: {error}") from None
    return value


def _object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    made: dict[str, JsonValue] = {}
    for key, value in pairs:
        if key in made:
            raise InvalidRequest(
                f"the key {cut_off(key)!r} stands twice in one object: keep one of the two",
                field=key,
            )
        made[key] = value
    return made


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    raise InvalidRequest(f"{cut_off(text)} is no number that JSON has: write a finite one, or null")
