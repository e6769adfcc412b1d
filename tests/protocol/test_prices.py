"""What a Run will cost, from the model's record: the entry that is for it, or the dearest."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.page import JSON, answer
from wiro_async.emulator.answers import listed_model
from wiro_async.emulator.catalog import FLUX
from wiro_async.errors import ApiError, AuthenticationFailed, NotFound, ServerError
from wiro_async.protocol.prices import decode_tool, estimate_cost
from wiro_async.task import JsonObject

ENDPOINT = "/Tool/Detail"


def entry(price: object, inputs: object = None, method: object = "cpr") -> dict[str, Any]:
    return {"inputs": {} if inputs is None else inputs, "price": price, "priceMethod": method}


def tool(*entries: object, **fields: object) -> dict[str, Any]:
    """A record with prices as the service prints them, and two parameters."""
    items = [
        {"id": "quality", "default": "low", "options": []},
        {"id": "size", "default": 1},
        {"id": "style", "default": None},
    ]
    parameters = [{"title": "Input", "items": items[:1]}, {"title": "More", "items": items[1:]}]
    return {"dynamicprice": json.dumps(entries), "parameters": parameters, **fields}


BY_QUALITY = tool(
    entry(0.05, {"quality": "low"}),
    entry(0.2, {"quality": "high"}),
    entry(0.3, {"quality": "high", "size": 2}),
    entry(0.4, {"quality": ["best", "finest"]}),
    approximatelycost="9",
)


@pytest.mark.parametrize(
    ("params", "price"),
    [
        ({}, "0.05"),
        ({"quality": None}, "0.05"),
        ({"quality": ""}, "0.05"),
        ({"quality": "low", "size": 2}, "0.05"),
        ({"quality": "high"}, "0.2"),
        ({"quality": "high", "size": 1}, "0.2"),
        ({"quality": "high", "size": "2"}, "0.3"),
        ({"quality": "high", "size": 2}, "0.3"),
        ({"quality": "best"}, "0.4"),
        ({"quality": "finest", "prompt": "a fox"}, "0.4"),
        ({"quality": "unheard of"}, "0.4"),
        ({"quality": ["low"]}, "0.4"),
        ({"quality": 10**5000}, "0.4"),
    ],
)
def test_the_entry_that_is_for_the_run_tells_its_price(params: dict[str, Any], price: str) -> None:
    assert estimate_cost(BY_QUALITY, params) == Decimal(price)


@pytest.mark.parametrize(
    ("entries", "price"),
    [
        ([entry(0.05), entry(0.2, {"quality": "low"})], "0.2"),
        ([entry(0.2), entry(0.05, {"quality": "low"})], "0.2"),
        ([entry(0.05, {"quality": "high"}), entry(0.04, {"quality": "best"})], "0.05"),
        ([entry(0.05), entry(0.4, {"quality": "high"})], "0.05"),
        ([entry(0.05), entry(7, method="cps")], "0.05"),
        ([entry(7, method="cps"), entry(0.05)], "0.05"),
        ([entry(0.05, {"quality": "high"}), entry(7, {"quality": "best"}, "cps")], "0.05"),
        ([entry(0.05, []), entry(0.06, {"quality": "high"})], "0.05"),
        ([{"price": 0.05, "priceMethod": "cpr"}, entry(0.06, {"quality": "high"})], "0.05"),
        ([entry(0.05, '{"quality": "low"}'), entry(0.06, '{"quality": "high"}')], "0.05"),
        ([entry(0.05), entry(9, ["quality"]), entry(9, "quality"), entry(9, 1)], "0.05"),
        ([entry(0.05, {"style": ""}), entry(0.06, {"style": "x"})], "0.05"),
        ([entry(0.05, {"unheard of": None}), entry(0.06, {"unheard of": "x"})], "0.05"),
        ([entry(0.05, {"size": 1.0}), entry(0.06, {"size": "1"})], "0.06"),
        ([entry(0.05, method=" CPR ")], "0.05"),
        ([entry(0.05), "junk", None, 7, [], entry("junk"), entry(-1), entry(None)], "0.05"),
        ([entry(0)], "0"),
    ],
)
def test_of_several_entries_the_dearest_that_is_for_the_run(
    entries: list[object], price: str
) -> None:
    assert estimate_cost(tool(*entries, approximatelycost="9"), {}) == Decimal(price)


@pytest.mark.parametrize("inputs", [{"a": 1}, [["low"]], [{}]])
def test_a_list_or_an_object_is_no_value_of_an_input(inputs: object) -> None:
    record = tool(entry(0.05, {"quality": inputs}), entry(0.2, {"quality": "low"}))
    assert estimate_cost(record, {"quality": ["low"]}) == Decimal("0.2")


METHODS = (
    *("cps", "cpo", "cpt", "cp-pixel", "cp-promptlength", "cp-audiosecondslength"),
    *("cp-outputVideoLength", "cp-realtimeturn", "cp-readoutput", "", None, 7, "unheard of"),
)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_known_before_the_run_is_the_service_s_estimate(method: object) -> None:
    without_price = {"inputs": {"quality": "low"}, "priceMethod": method}
    per_run = entry(0.2, {"quality": "high"})
    assert estimate_cost(tool(without_price, per_run), {}) is None
    entries = [entry(0.05, method=method), per_run]
    assert estimate_cost(tool(*entries, approximatelycost="0.070"), {}) == Decimal("0.070")
    assert estimate_cost(tool(*entries, approximatelycost=0.07), {}) == Decimal("0.07")
    assert estimate_cost(tool(*entries), {}) is None
    # A Run that an entry with a price of its own is for, has that one.
    assert estimate_cost(tool(*entries), {"quality": "high"}) == Decimal("0.2")


@pytest.mark.parametrize(
    "listed",
    [
        *(None, "", " ", "[", "null", "[]", "{}", 7, True, [], {}, [[]], "[" * 100_000, "1" * 5000),
        *('[{"price": NaN, "priceMethod": "cpr"}]', '[{"price": 1e999, "priceMethod": "cpr"}]'),
    ],
)
def test_without_a_readable_list_the_estimate_stands(listed: Any) -> None:  # noqa: ANN401 (any value)
    record = {"dynamicprice": listed, "approximatelycost": "0.07"}
    assert estimate_cost(record, {"prompt": "a fox"}) == Decimal("0.07")
    assert estimate_cost({"dynamicprice": listed}, {}) is None


@pytest.mark.parametrize("estimate", [None, "", "junk", "-0.01", "NaN", "inf", True, [], {}, 1e300])
def test_an_estimate_that_cannot_be_read_is_none(estimate: Any) -> None:  # noqa: ANN401 (any value)
    assert estimate_cost({"approximatelycost": estimate}, {}) is None


@pytest.mark.parametrize(
    "written", ["0.13", "0.130", "13e-2", "1", "0.1", "0.30000000000000004", "0.0035100000000001"]
)
def test_a_price_is_exact_to_the_digit_that_was_written(written: str) -> None:
    for printed in (written, json.dumps(written)):
        record = {"dynamicprice": f'[{{"inputs":{{}},"price":{printed},"priceMethod":"cpr"}}]'}
        assert str(estimate_cost(record, {})) == str(Decimal(written))
    read = {"dynamicprice": [entry(float(written))]}
    assert estimate_cost(read, {}) == Decimal(written)


def test_the_emulator_s_record_gives_the_emulator_s_price() -> None:
    record = listed_model(FLUX, Decimal("0.06"), whole=True)
    given: JsonObject = {"prompt": "a fox", "seed": 7}
    assert estimate_cost(record, given) == Decimal("0.06")
    assert estimate_cost({**record, "dynamicprice": None}, given) == Decimal("0.06")
    assert estimate_cost({**record, "parameters": None}, given) == Decimal("0.06")


PRINTED = JSON | JSON.map(json.dumps)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "inputs": PRINTED | st.dictionaries(st.sampled_from(["a", "b"]), PRINTED),
        "price": PRINTED | st.decimals().map(str),
        "priceMethod": st.sampled_from(["cpr", "cps"]) | JSON,
    },
)
PARAMETERS = st.fixed_dictionaries({"id": st.sampled_from(["a", "b"]), "default": PRINTED})
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "dynamicprice": PRINTED | st.lists(ENTRIES) | st.lists(ENTRIES).map(json.dumps),
        "approximatelycost": PRINTED | st.decimals().map(str),
        "parameters": PRINTED | st.lists(st.fixed_dictionaries({"items": st.lists(PARAMETERS)})),
    },
)


@given(RECORDS, st.dictionaries(st.sampled_from(["a", "b"]) | st.text(), JSON, max_size=4))
def test_no_record_raises_and_no_price_is_less_than_nothing(
    record: dict[str, Any], params: dict[str, Any]
) -> None:
    cost = estimate_cost(record, params)
    assert cost is None or (cost.is_finite() and cost >= 0)


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [], "tool": [{"id": "1"}, {"id": "2"}], "result": True},
        {"tool": {"id": "1"}},
        {"tool": '[{"id": "1"}]', "total": "1"},
        {"data": {"tool": [{"id": "1"}], "result": True}},
        {"tool": [None, {"id": "1"}], "data": []},
    ],
)
def test_the_first_record_is_the_model_s(body: object) -> None:
    assert decode_tool(answer(body), ENDPOINT) == {"id": "1"}


@pytest.mark.parametrize("body", [{"tool": []}, {"tool": [None]}, {"data": {"tool": []}}])
def test_an_empty_list_knows_no_such_model(body: object) -> None:
    with pytest.raises(NotFound, match="no such model") as caught:
        decode_tool(answer(body), ENDPOINT)
    assert (caught.value.endpoint, caught.value.http_status) == (ENDPOINT, 200)


@pytest.mark.parametrize(
    ("body", "http_status", "kind"),
    [
        ({"errors": [{"code": 1, "message": "tool-not-accessible"}]}, 200, NotFound),
        ({"errors": [{"code": 98, "message": "Sign in."}]}, 200, AuthenticationFailed),
        ({"errors": [], "result": False, "tool": [{"id": "1"}]}, 200, ServerError),
        (b"<html>", 200, ServerError),
        (b"", 502, ServerError),
        ({"tool": None}, 200, ServerError),
        ({"tool": "x"}, 200, ServerError),
        ({"result": True}, 200, ServerError),
    ],
)
def test_a_refusal_is_told_as_what_it_is(
    body: object, http_status: int, kind: type[ApiError]
) -> None:
    with pytest.raises(kind) as caught:
        decode_tool(answer(body, http_status), ENDPOINT)
    assert (caught.value.endpoint, caught.value.http_status) == (ENDPOINT, http_status)
