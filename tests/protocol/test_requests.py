"""What each endpoint is sent: path, body, price; one table, read in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.page import JSON
from wiro_async.protocol.requests import (
    Request,
    build_cancel,
    build_delete_files,
    build_detail,
    build_kill,
    build_list,
    build_run,
    build_tool_detail,
    wire_params,
)

FLUX = "black-forest-labs/flux-pro-1-1-ultra"
PAGE_PARAMS = {
    "prompt": "A quiet street",
    "promptUpsampling": "false",
    "safetyTolerance": "2",
    "aspectRatio": "16:9",
    "seed": "42",
    "outputFormat": "png",
    "callbackUrl": "https://example.org/done",
}
LIST = {"type": "model", "sort": "id", "order": "DESC", "start": "0", "limit": "20"}

TABLE: list[tuple[Request, str, dict[str, Any]]] = [
    (build_run(FLUX, PAGE_PARAMS), f"/Run/{FLUX}", PAGE_PARAMS),
    (
        build_run(FLUX, {"prompt": "x", "seed": 42, "promptUpsampling": False, "projectid": None}),
        f"/Run/{FLUX}",
        {"prompt": "x", "seed": "42", "promptUpsampling": "false"},
    ),
    (build_run("o/m", {}), "/Run/o/m", {}),
    (build_detail(task_id="2221"), "/Task/Detail", {"taskid": "2221"}),
    (build_detail(token="eDcC"), "/Task/Detail", {"tasktoken": "eDcC"}),
    (build_detail(task_id="2221", token="eDcC"), "/Task/Detail", {"taskid": "2221"}),
    (build_kill(task_id="534574"), "/Task/Kill", {"taskid": "534574"}),
    (build_kill(token="ZpYo"), "/Task/Kill", {"socketaccesstoken": "ZpYo"}),
    (build_kill(task_id="534574", token="ZpYo"), "/Task/Kill", {"socketaccesstoken": "ZpYo"}),
    (build_cancel(task_id="634574"), "/Task/Cancel", {"taskid": "634574"}),
    (build_list(), "/Task/List", LIST),
    (
        build_list(start=40, limit=5, model=FLUX),
        "/Task/List",
        {**LIST, "start": "40", "limit": "5", "modelName": FLUX},
    ),
    (build_delete_files(token="eDcC"), "/Task/InputOutputDelete", {"tasktoken": "eDcC"}),
    (
        build_tool_detail(FLUX),
        "/Tool/Detail",
        {"slugowner": "black-forest-labs", "slugproject": "flux-pro-1-1-ultra"},
    ),
]


@pytest.mark.parametrize(("request_", "path", "body"), TABLE)
def test_a_builder_writes_the_documented_body(
    request_: Request, path: str, body: dict[str, Any]
) -> None:
    assert request_.path == path
    assert json.loads(request_.body) == body
    assert request_.is_billable is path.startswith("/Run/")
    assert request_.endpoint == ("/Run" if request_.is_billable else path)
    assert request_.headers == {"Content-Type": "application/json", "Accept": "application/json"}


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("text", "text"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (-1, "-1"),
        (0, "0"),
        (0.5, "0.5"),
        (2**70, "1180591620717411303424"),
        (["a", 1, True, None, 0.5], ["a", 1, True, None, 0.5]),
        (("https://a", "https://b"), ["https://a", "https://b"]),
        ({"deep": [{"n": 1, "t": ("x", None)}]}, {"deep": [{"n": 1, "t": ["x", None]}]}),
        ([], []),
        ({}, {}),
    ],
)
def test_scalars_travel_as_text_and_the_rest_as_json(value: Any, wire: object) -> None:  # noqa: ANN401 (any value)
    travelled = wire_params({"p": value})
    assert travelled == {"p": wire}
    assert type(travelled["p"]) is type(wire)


def test_what_is_none_is_not_sent() -> None:
    assert wire_params({"a": None, "b": "x", "c": None}) == {"b": "x"}


@pytest.mark.parametrize(
    "prompt", ["\ud83d", "a\udc00b", "😀", "café", "line\nbreak", '"\\', "\x00"]
)
def test_every_prompt_arrives_as_it_was_written(prompt: str) -> None:
    body = build_run("o/m", {"prompt": prompt}).body
    assert body.isascii()
    assert json.loads(body) == {"prompt": prompt}


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_no_scalar_travels_as_anything_but_text(params: dict[str, Any]) -> None:
    travelled = wire_params(params)
    assert travelled.keys() == {name for name, value in params.items() if value is not None}
    for name, value in travelled.items():
        if isinstance(params[name], list | dict):
            assert repr(value) == repr(params[name])
        else:
            assert isinstance(value, str)


def test_a_number_that_json_cannot_write_is_never_sent() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        build_run("o/m", {"weights": [float("nan")]})
