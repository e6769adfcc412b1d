"""Which rows are lost Runs' tasks: what is equal, what is named, what is too old."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.lost_runs import NOON, ids_of, is_nobodys, lost_run, row
from tests.protocol.page import DETAIL, JSON, answer
from wiro_async.catalog import ModelSchema, Parameter
from wiro_async.emulator.desk import Call, Desk
from wiro_async.emulator.world import Terms, World
from wiro_async.protocol import matching
from wiro_async.protocol.matching import (
    SKEW_SECONDS,
    LostRun,
    canonical_params,
    match_runs,
    oldest_of_interest,
)
from wiro_async.protocol.requests import wire_params
from wiro_async.protocol.responses import decode_tasks
from wiro_async.task import JsonObject, Outcome, Task

FLUX = "black-forest-labs/flux-pro-1-1-ultra"
FLUX_DEFAULTS = {
    "promptUpsampling": "false",
    "safetyTolerance": "2",
    "aspectRatio": "16:9",
    "seed": "42",
    "outputFormat": "png",
}


# Requests of an unknown model, two by two: the request, and another way to tell of it.
EQUAL: list[tuple[JsonObject, JsonObject]] = [
    ({"seed": 42}, {"seed": "42"}),
    ({"on": True, "off": False}, {"off": "false", "on": "true"}),
    ({"scale": 0.5}, {"scale": "0.5"}),
    ({"p": "x", "gone": None, "empty": ""}, {"p": "x"}),
    ({"p": "x", "callbackUrl": "https://e.test/done"}, {"p": "x", "projectid": "7"}),
    ({"list": ["a", "b"]}, {"list": '["a", "b"]'}),
    ({"list": ("a", "b")}, {"list": ' ["a","b"]\n'}),
    ({"list": [1, True, 0.5, None]}, {"list": ["1", "true", "0.5", None]}),
    ({"list": [1, [2, {"deep": 3}]]}, {"list": '["1",[2,{"deep":"3"}]]'}),
    ({"object": {"a": 1, "b": [True]}}, {"object": '{"b": ["true"], "a": "1"}'}),
    ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}),
    ({"prompt": "\ud83d\ude00"}, {"prompt": "😀"}),  # the same bytes on the wire
    ({}, {"prompt": "", "callbackUrl": "https://e.test/done"}),
]
DIFFERENT: list[tuple[JsonObject, JsonObject]] = [
    ({"prompt": "a fox"}, {"prompt": "a fox "}),
    ({"prompt": "a fox"}, {"prompt": "A fox"}),
    ({"prompt": "caf\u00e9"}, {"prompt": "cafe\u0301"}),
    ({"prompt": "\ud83d"}, {"prompt": "\ude00"}),
    ({"prompt": '["a", "b"]'}, {"prompt": '["a","b"]'}),
    ({"prompt": '["a"]'}, {"prompt": ["a"]}),
    ({"seed": 42}, {"seed": "42.0"}),
    ({"seed": 42}, {"Seed": 42}),
    ({"seed": 42}, {}),
    ({"seed": 0}, {}),
    ({"off": False}, {}),
    ({"list": ["a", "b"]}, {"list": ["b", "a"]}),
    ({"list": [None]}, {"list": [""]}),
    ({"list": [None]}, {"list": ["None"]}),
    ({"list": ["a"]}, {"list": "a"}),
    ({"list": []}, {}),
    ({"text": '["a"'}, {"text": ["a"]}),
    ({"object": {"callbackUrl": "x"}}, {"object": {}}),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_the_same_request_has_one_form(one: JsonObject, other: JsonObject) -> None:
    assert canonical_params("o/m", one) == canonical_params("o/m", other)
    assert canonical_params("o/m", one).isascii()
    assert ids_of([lost_run(params=one)], [row(parameters=other)]) == {"a": "1"}
    assert ids_of([lost_run(params=other)], [row(parameters=one)]) == {"a": "1"}


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_request_has_another_form(one: JsonObject, other: JsonObject) -> None:
    assert canonical_params("o/m", one) != canonical_params("o/m", other)
    assert ids_of([lost_run(params=one)], [row(parameters=other)]) == {}


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_record_of_what_was_sent_has_the_request_s_form(params: dict[str, Any]) -> None:
    sent = wire_params(params)
    assert canonical_params("o/m", sent) == canonical_params("o/m", params)
    backwards = dict(reversed(params.items()))
    assert canonical_params("o/m", backwards) == canonical_params("o/m", params)


@pytest.mark.parametrize("model", [FLUX, FLUX.upper()])
def test_the_defaults_of_a_known_model_need_not_be_given(model: str) -> None:
    short = canonical_params(model, {"prompt": "a fox"})
    assert short == canonical_params(model, {**FLUX_DEFAULTS, "prompt": "a fox"})
    assert short == canonical_params(model, {"prompt": "a fox", "seed": 42, "aspectRatio": None})
    assert short != canonical_params(model, {"prompt": "a fox", "seed": "43"})
    assert json.loads(short) == {**FLUX_DEFAULTS, "prompt": "a fox"}
    assert json.loads(canonical_params("o/m", {"prompt": "a fox"})) == {"prompt": "a fox"}


def test_the_page_s_sample_without_parameters_is_nobody_s_who_gave_some() -> None:
    (sample,) = decode_tasks(answer(DETAIL), "/Task/List")
    assert sample.parameters == {}
    asked = lost_run(model=FLUX, params={"prompt": "a fox"})
    nothing = lost_run(model=FLUX, params={"callbackUrl": "https://e.test/done"})
    assert ids_of([asked], [sample]) == {}
    assert ids_of([nothing], [sample]) == {"a": "2221"}
    assert canonical_params(FLUX, {}) == "{}"
    assert canonical_params(FLUX, FLUX_DEFAULTS) != "{}"


def test_the_sample_prompt_of_a_page_is_no_default() -> None:
    parameters = tuple(Parameter(id=name, type="text", default="x") for name in ("prompt", "seed"))
    schema = ModelSchema(slug="o/m", parameters=parameters)
    assert matching._defaults_of(schema) == {"seed": "x"}


def test_what_the_emulator_lists_is_found_again() -> None:
    world = World(Terms(epoch=NOON))
    desk = Desk(world, "https://cdn.test")
    asked: list[JsonObject] = [
        {"prompt": "a fox", "seed": 7, "callbackUrl": "https://e.test/done"},
        {"prompt": "a fox"},
        {"prompt": "a fox", "promptUpsampling": False, "seed": "42"},
        {"prompt": "a hen"},
    ]
    for params in asked[:3]:
        desk.answer(Call(endpoint="Run", now=1.0, model=FLUX, fields=wire_params(params)))
    page = desk.answer(Call(endpoint="Task/List", now=9.0))
    rows = decode_tasks(answer(page), "/Task/List")
    lost = [lost_run(str(number), model=FLUX, params=one) for number, one in enumerate(asked)]
    assert ids_of(lost, rows) == {"0": "2221", "1": "2222", "2": "2223"}


@pytest.mark.parametrize(
    ("owner", "project", "fits"),
    [
        ("o", "m", True),
        ("O", " M ", True),
        ("o", "other", False),
        ("other", "m", False),
        ("m", "o", False),
        ("o", None, True),
        ("", "m", True),
        ("other", None, False),
        (None, "other", False),
        (None, None, True),
    ],
)
def test_the_names_of_a_row_s_model_are_the_run_s(
    owner: str | None, project: str | None, *, fits: bool
) -> None:
    found = ids_of([lost_run()], [row(model_owner=owner, model_project=project)])
    assert found == ({"a": "1"} if fits else {})


@pytest.mark.parametrize(
    ("other", "owner", "project", "found"),
    [
        (lost_run("b", model="o/n"), None, None, {}),
        (lost_run("b", model="o/n"), "o", None, {}),
        (lost_run("b", model="o/n"), None, "m", {"a": "1"}),
        (lost_run("b", model="x/m"), "o", None, {"a": "1"}),
        (lost_run("b", model="O/M", sent=9), None, None, {"a": "1"}),
        (lost_run("b", model="o/n", params={"prompt": "a hen"}), None, None, {"a": "1"}),
    ],
)
def test_a_row_that_two_models_could_have_made_is_given_to_nobody(
    other: LostRun, owner: str | None, project: str | None, found: dict[str, str]
) -> None:
    rows = [row(model_owner=owner, model_project=project)]
    assert ids_of([lost_run(), other], rows) == found


@pytest.mark.parametrize(
    ("made", "fits"),
    [(-86_400, False), (-121, False), (-120, True), (0, True), (9e6, True), (None, True)],
)
def test_a_task_is_not_older_than_its_run(made: float | None, *, fits: bool) -> None:
    assert SKEW_SECONDS == 120
    assert ids_of([lost_run()], [row(made=made)]) == ({"a": "1"} if fits else {})


def test_the_oldest_run_gets_the_oldest_row() -> None:
    lost = [lost_run("late", 20), lost_run("early", 0), lost_run("middle", 10)]
    rows = [row("10", 5), row("9", 5), row("11", 4), row("8", None), row("12", 30)]
    assert ids_of(lost, rows) == {"early": "11", "middle": "9", "late": "10"}
    assert ids_of(lost, rows[:1]) == {"early": "10"}
    assert ids_of(lost, [rows[0], rows[3]]) == {"early": "10", "middle": "8"}
    assert list(ids_of(lost, rows)) == ["early", "middle", "late"]


def test_of_two_runs_sent_at_once_the_first_by_its_key_is_served() -> None:
    lost = [lost_run("b"), lost_run("a")]
    assert ids_of(lost, [row("1")]) == ids_of(lost[::-1], [row("1")]) == {"a": "1"}


def test_a_row_too_old_for_the_later_run_goes_to_the_earlier_one() -> None:
    lost = [lost_run("early", 0), lost_run("late", 1000)]
    assert ids_of(lost, [row("1", 1), row("2", 1001)]) == {"early": "1", "late": "2"}
    assert ids_of(lost, [row("1", -500), row("2", 1)]) == {"early": "2"}
    assert ids_of(lost, [row("1", 1), row("2", 2), row("3", 1001)]) == {"early": "1", "late": "3"}


@pytest.mark.parametrize(
    "rows",
    [
        [row("1"), row("1")],
        [row("1", token="t"), row(None, token="t")],
        [row(None, token="t"), row(None, token="t")],
        [row("1", status="task_start"), row("1", status="task_end", outcome=Outcome.SUCCEEDED)],
    ],
)
def test_a_row_that_comes_twice_counts_once(rows: list[Task]) -> None:
    lost = [lost_run("a"), lost_run("b", 1)]
    for order in (rows, rows[::-1]):
        (found,) = match_runs(lost, order, is_known=is_nobodys).values()
        assert found == max(rows, key=lambda one: (one.is_terminal, one.id or ""))
        assert match_runs(lost, order, is_known=lambda one: one is rows[0]) == {}


def test_a_row_without_a_name_leads_nowhere() -> None:
    assert ids_of([lost_run()], [row(None)]) == {}


def test_what_is_somebody_s_is_given_to_nobody_else() -> None:
    rows = [row("1"), row("2"), row("3")]
    known = {"1", "2"}
    lost = [lost_run("a"), lost_run("b")]
    assert ids_of(lost, rows, lambda one: one.id in known) == {"a": "3"}


def test_a_row_nested_without_end_costs_nobody_the_others() -> None:
    deep: JsonObject = {"prompt": "a fox"}
    for _ in range(100_000):
        deep = {"inner": deep}
    rows = [row("1", parameters=deep), row("1", parameters=deep), row("2")]
    assert ids_of([lost_run()], rows) == {"a": "2"}


def test_no_row_is_older_than_the_oldest_of_interest() -> None:
    assert oldest_of_interest([]) == math.inf
    lost = [lost_run("a", 50), lost_run("b", 7)]
    assert oldest_of_interest(lost) == NOON + 7 - 120
