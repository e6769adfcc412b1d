"""What is asked for: one request of a batch, how a source of them is read, and its finishing.

A request is finished when it has an id, a model and its parameters with the batch's defaults
under them. Nothing here knows of files: errors are `InvalidRequest`, and whoever reads adds the
place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import field, frozen

from wiro_async.errors import InvalidRequest
from wiro_async.task import JsonObject, JsonValue

Format: TypeAlias = Literal["csv", "tsv", "txt", "jsonl"]

# Each name as a person types it and as a programmer writes it: an error names both.
PROMPT_OPTION = "--prompt-column (prompt_column= in Python)"
ID_OPTION = "--id-column (id_column= in Python)"
COLUMN_OPTION = "--column (columns= in Python)"
MODEL_OPTION = "--model (model= in Python)"
FORMAT_OPTION = "--format (format= in Python)"

# Enough to know it again; a message is read by a person, whatever is in the file.
_LONGEST_SHOWN = 200

_STRICT = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
# What is no plain JSON among the params is left to the catalog, which says it better.
_LENIENT = json.JSONEncoder(ensure_ascii=False, default=str)


@frozen(kw_only=True)
class BatchRequest:
    """One generation of a batch.

    Attributes:
        custom_id: the caller's name for it; None: its position in the batch, ``000001``.
        model: ``owner/model``; None: the batch's default.
        params: the model's parameters, as they are sent.
        metadata: handed through to the result line, never sent.
        origin: where it was read, such as ``prompts.csv, line 12``.
    """

    custom_id: str | None = None
    model: str | None = None
    params: JsonObject = field(factory=dict)
    metadata: JsonObject = field(factory=dict)
    origin: str | None = field(default=None, repr=False, eq=False)


@frozen(kw_only=True)
class SourceOptions:
    """How a file of requests is to be read.

    Attributes:
        format: None: by the file's ending.
        prompt_column: the column or key with the prompt; None: ``prompt``.
        id_column: the column or key with the custom id; None: ``custom_id``, or else ``id``.
        columns: parameter -> the column or key that holds it.
        model: for rows that name none.
        params: for every row; a row's own value wins.
    """

    format: Format | None = None
    prompt_column: str | None = None
    id_column: str | None = None
    columns: Mapping[str, str] = field(factory=dict)
    model: str | None = None
    params: JsonObject = field(factory=dict)


def finish_request(
    request: BatchRequest,
    position: int,
    *,
    model: str | None,
    params: JsonObject,
    origin: str | None = None,
) -> BatchRequest:
    """Give a request its number and the batch's defaults; its own values win.

    Raises:
        InvalidRequest: where there is no model, or a value cannot be written as JSON.
    """
    model = read_model(request.model) or model
    if model is None:
        raise InvalidRequest(
            f"no model is named: name one for the whole batch with {MODEL_OPTION}, "
            "or one for each request as 'model'",
            field="model",
        )
    given = read_object("params", request.params)
    own = {name: value for name, value in given.items() if value is not None}
    # Not evolve, which takes as long as all the rest, for every row of a file.
    finished = BatchRequest(
        custom_id=read_custom_id(request.custom_id) or numbered_id(position),
        model=model,
        params={**params, **own},
        metadata=read_object("metadata", request.metadata),
        origin=origin or request.origin,
    )
    _check_json("custom_id", finished.custom_id)
    _check_json("params", finished.params)
    _check_json("metadata", finished.metadata)
    return finished


def numbered_id(position: int) -> str:
    """Name a request that has no custom id, by its place in the batch, counted from 1."""
    return f"{position:06d}"


def read_custom_id(value: JsonValue) -> str | None:
    """Read a custom id: a text, or a whole number as its text; None where there is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRequest(
            f"custom_id is {name_kind(value)}: it has to be a text or a whole number",
            field="custom_id",
        )
    try:
        text = str(value)
    except ValueError as error:  # more digits than Python writes out
        raise InvalidRequest(
            f"custom_id is a number that cannot be written out ({error}): give it as a text",
            field="custom_id",
        ) from None
    if not text.strip():
        raise InvalidRequest(
            "custom_id is empty: write one, or leave it out to have the request numbered",
            field="custom_id",
        )
    return text


def read_model(value: JsonValue) -> str | None:
    """Read a model's name; None where there is none."""
    if value is None or isinstance(value, str):
        return value
    raise InvalidRequest(
        f"model is {name_kind(value)}: it has to be a text, owner/model", field="model"
    )


def read_object(name: str, value: JsonValue) -> JsonObject:
    """Read the value of a key that has to hold an object; what is left out is empty."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise InvalidRequest(
        f"{name!r} is {name_kind(value)}: it has to be an object, {{...}}", field=name
    )


def name_kind(value: object) -> str:
    """Say what a JSON value is, in the words of its reader."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        (str, "a text"),
        ((int, float), "a number"),
        (Mapping, "an object"),
        ((list, tuple), "a list"),
    )
    named = (name for kind, name in kinds if isinstance(value, kind))
    return next(named, f"a {type(value).__name__}")


def cut_off(text: str) -> str:
    """A text as an error shows it: no longer than anybody would read."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _check_json(name: str, value: object) -> None:
    encoder = _LENIENT if name == "params" else _STRICT
    try:
        encoder.encode(value).encode()
    except UnicodeEncodeError:
        raise InvalidRequest(
            f"{name} holds half of a character (a lone surrogate), which is no text: "
            "write the whole character",
            field=name,
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"{name} cannot be written as JSON ({error}): keep to texts, numbers, true, false, "
            "lists and objects",
            field=name,
        ) from None
