"""What will a Run cost? What a model's record tells before any money is spent.

Tool/Detail answers with the record. Its prices (wiro-api facts, "Models and prices") are a
list of entries, each with the inputs it is for, a price and a method. The rules:

1. Only the method ``cpr``, a price for each Run, is known before the Run. What a second, an
   output or a token costs says nothing yet: then the service's own estimate stands,
   ``approximatelycost``.
2. An entry is for a Run if each of its inputs is what the Run gives, compared as texts; a
   parameter that is left out has the default that the record lists. A list of values means
   any of them, no inputs at all mean any Run.
3. Of several entries that are for a Run the dearest counts. The most specific one may be
   meant, but this is a person's money: an estimate too high asks once too often, one too low
   spends what nobody agreed to. For the same reason the dearest of all counts where no entry
   is for the Run.
4. Prices are `Decimal`, to the last digit that was written. One that is negative, infinite
   or no number is none, and nothing that a record can hold raises.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal

from attrs import frozen

from wiro_async.catalog import scalar_text
from wiro_async.errors import NotFound, ServerError
from wiro_async.protocol.converter import (
    read_decimal,
    read_json,
    read_object,
    read_required_object,
    read_required_text,
    read_rows,
)
from wiro_async.protocol.responses import Answer, decode_acknowledgement
from wiro_async.task import JsonObject

_PER_RUN = "cpr"


@frozen(kw_only=True)
class _Entry:
    inputs: object
    method: str
    price: Decimal | None

    @property
    def is_per_run(self) -> bool:
        return self.method == _PER_RUN

    def is_for(self, values: Mapping[str, object]) -> bool:
        wanted = read_object(self.inputs)
        if wanted is None:
            return not self.inputs  # an empty list is how some print an empty object
        return all(_is_one_of(values.get(name), allowed) for name, allowed in wanted.items())


def decode_tool(answer: Answer, endpoint: str) -> JsonObject:
    """The record of the model that Tool/Detail was asked for.

    Raises:
        NotFound: where the answer lists no model.
        ApiError: what the service refused, or `ServerError` for what cannot be read.
    """
    decode_acknowledgement(answer, endpoint)
    body = read_required_object(read_json(answer.body))
    listed = {**body, **read_required_object(body.get("data"))}.get("tool")
    tools = read_rows(listed)
    if tools:
        return tools[0]
    status = answer.http_status
    if isinstance(listed, list):
        raise NotFound(
            f"{endpoint}: the service has no such model",
            endpoint=endpoint,
            http_status=status,
            reason="empty list of models",
        )
    raise ServerError(
        f"{endpoint}: HTTP {status} with an answer that lists no models",
        endpoint=endpoint,
        http_status=status,
    )


def estimate_cost(tool: JsonObject, params: JsonObject) -> Decimal | None:
    """What one Run will cost at most, in US dollars, as far as the model's record tells.

    None where it does not tell. A Run that fails or is cancelled costs nothing.

    Args:
        tool: the model's record, as `decode_tool` gives it.
        params: the Run's parameters; what is None or empty is left out.
    """
    entries = _read_entries(tool.get("dynamicprice"))
    given = {name: value for name, value in params.items() if value is not None and value != ""}
    values = {**_read_defaults(tool.get("parameters")), **given}
    meant = [entry for entry in entries if entry.is_for(values)] or entries
    prices = [entry.price for entry in meant if entry.is_per_run and entry.price is not None]
    return max(prices) if prices else _read_price(tool.get("approximatelycost"))


def _read_entries(listed: object) -> list[_Entry]:
    entries = [
        _Entry(
            inputs=row.get("inputs"),
            method=read_required_text(row.get("priceMethod")).strip().lower(),
            price=_read_price(row.get("price")),
        )
        for row in read_rows(_read_exactly(listed) if isinstance(listed, str) else listed)
    ]
    return [entry for entry in entries if entry.price is not None or not entry.is_per_run]


def _read_exactly(text: str) -> object:
    """A JSON text with its fractions as they are written."""
    try:
        return json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _read_price(value: object) -> Decimal | None:
    price = read_decimal(value)
    return None if price is None or price < 0 else price


def _read_defaults(groups: object) -> dict[str, object]:
    return {
        read_required_text(item.get("id")): item.get("default")
        for group in read_rows(groups)
        for item in read_rows(group.get("items"))
    }


def _is_one_of(value: object, allowed: object) -> bool:
    text = _text(value)
    if isinstance(allowed, Sequence) and not isinstance(allowed, str):
        return text is not None and text in map(_text, allowed)
    return text is not None and text == _text(allowed)


def _text(value: object) -> str | None:
    """A scalar as a form has it, with nothing as the empty text; None for a list or an object."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        return None
    try:
        return scalar_text(value)
    except ValueError:  # a whole number with more digits than Python writes out
        return None
