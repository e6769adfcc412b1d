"""Requests from Python: what an item may be, the numbers they get, and no reading ahead."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from decimal import Decimal
from typing import cast

import pytest

from tests.batch.source_cases import FLUX, UNKNOWN
from wiro_async.batch.iterables import as_requests
from wiro_async.batch.requests import BatchRequest
from wiro_async.errors import ConfigurationError, InvalidRequest
from wiro_async.task import JsonObject


async def collect(
    requests: object, *, model: str | None = FLUX, params: JsonObject | None = None
) -> list[BatchRequest]:
    items = cast("Iterable[str]", requests)
    found = [one async for one in as_requests(items, model=model, params=params)]
    assert [error for _, error in found if error is not None] == []
    return [request for request, _ in found]


async def test_prompts_mappings_and_requests_get_numbers_and_defaults() -> None:
    found = await collect(
        [
            "a cat",
            {"prompt": "a dog", "seed": 1, "id": 7, "artist": "Ann"},
            {"custom_id": "x", "body": {"prompt": "a cow"}},
            BatchRequest(
                model=UNKNOWN,
                params={"prompt": "a fox", "seed": None},
                metadata={"n": 1},
                origin="elsewhere",
            ),
        ],
        params={"seed": 9},
    )
    assert found == [
        BatchRequest(custom_id="000001", model=FLUX, params={"prompt": "a cat", "seed": 9}),
        BatchRequest(
            custom_id="7",
            model=FLUX,
            params={"prompt": "a dog", "seed": 1},
            metadata={"artist": "Ann"},
        ),
        BatchRequest(custom_id="x", model=FLUX, params={"prompt": "a cow", "seed": 9}),
        BatchRequest(
            custom_id="000004",
            model=UNKNOWN,
            params={"prompt": "a fox", "seed": 9},
            metadata={"n": 1},
        ),
    ]
    assert found[3].origin == "elsewhere"


async def test_what_the_model_refuses_is_left_to_the_submit() -> None:
    [request] = await collect([{"prompt": " ", "params": {"seed": Decimal(1)}}])
    assert request.params == {"prompt": " ", "seed": Decimal(1)}


async def test_nothing_is_read_ahead_of_demand() -> None:
    given: list[str] = []

    def prompts() -> Iterator[str]:
        for word in ("a", "b", "c"):
            given.append(word)
            yield word

    async def later() -> AsyncIterator[str]:
        for word in prompts():
            yield word

    for source in (prompts(), later()):
        given.clear()
        requests = as_requests(source, model=FLUX)
        assert given == []
        assert (await anext(requests))[0].params == {"prompt": "a"}
        assert given == ["a"]
        assert [one.custom_id async for one, _ in requests] == ["000002", "000003"]
        assert given == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        ("a cat", "requests is one str, not a collection of requests: for a single request"),
        ({"prompt": "a cat"}, "requests is one dict, not a collection"),
        (b"a cat", "requests is one bytes"),
        (BatchRequest(), "requests is one BatchRequest.*write \\[request\\].*read_requests\\(path"),
        (7, "requests is a int, which cannot be gone through: give a list"),
    ],
)
def test_what_is_no_collection_of_requests_is_refused_at_once(requests: object, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        as_requests(cast("Iterable[str]", requests))


ENDLESS: dict[str, object] = {"prompt": "a"}
ENDLESS["loop"] = ENDLESS


@pytest.mark.parametrize(
    ("item", "field", "text"),
    [
        (7, None, "a int is no request: give a prompt as a text"),
        ({1: "a"}, None, "1 is no name of a parameter"),
        ({"prompt": "a", "custom_id": 1.5}, "custom_id", "custom_id is a number"),
        ({"prompt": "a", "metadata": {"x": {1}}}, "metadata", "metadata cannot be written"),
        ({"prompt": "a", "x": float("nan")}, "metadata", "metadata cannot be written"),
        ({"prompt": "a", "params": {"x": ENDLESS}}, "params", "params cannot be written"),
        ({"prompt": "a", "model": {1}}, "model", "model is a set"),
        (BatchRequest(model=5), "model", "model is a number"),  # type: ignore[arg-type]
        (BatchRequest(params=["a"]), "params", "'params' is a list"),  # type: ignore[arg-type]
        (BatchRequest(metadata="a"), "metadata", "'metadata' is a text"),  # type: ignore[arg-type]
        ("\ud800", "params", "params holds half of a character"),
    ],
)
async def test_an_item_that_is_no_request_is_named(
    item: object, field: str | None, text: str
) -> None:
    given = cast("Iterable[str]", ["a cat", item, "a dog"])
    (_, none), (request, error), (last, _) = [one async for one in as_requests(given, model=FLUX)]
    assert none is None
    assert request == BatchRequest(custom_id="000002")
    assert isinstance(error, InvalidRequest)
    assert error.message.startswith(f"request 2 (index 1): {text}")
    assert error.field == field
    assert last.custom_id == "000003"  # what follows is read all the same


async def test_a_request_needs_a_model() -> None:
    _, error = await anext(as_requests(["a cat"]))
    assert error is not None
    assert re.match(r"request 1 .*no model is named.*model= in Python", error.message)
