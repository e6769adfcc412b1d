"""The error tree is the one that its module draws, and its members travel whole."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from wiro_async import errors
from wiro_async.errors import (
    ApiError,
    ConcurrencyLimitReached,
    ConfigurationError,
    DownloadError,
    InvalidRequest,
    OutcomeUnknown,
    RateLimited,
    RunOutcomeUnknown,
    ServerError,
    SessionStateError,
    SourceError,
    TaskError,
    TaskFailed,
    TransportError,
    WiroError,
)
from wiro_async.task import Task

# Every class of the module, by introspection: the source of other tests' tables too.
TREE: list[type[WiroError]] = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, WiroError) and member.__module__ == errors.__name__
]


def drawn_parents() -> dict[str, str | None]:
    """The tree of the module's docstring: each class's name and its parent's."""
    parents: dict[str, str | None] = {}
    line_of_descent: list[str] = []
    drawing = (errors.__doc__ or "").split("```")[1].removeprefix("text\n")
    for line in drawing.splitlines():
        drawn = re.match(r"(?P<branches>[│├└─ ]*)(?P<name>[A-Z]\w+)", line)
        assert drawn is not None
        depth = len(drawn["branches"]) // 4
        parents[drawn["name"]] = line_of_descent[depth - 1] if depth else None
        line_of_descent[depth:] = [drawn["name"]]
    return parents


def test_the_tree_is_as_it_is_drawn() -> None:
    written = {
        kind.__name__: next(
            (base.__name__ for base in kind.__bases__ if issubclass(base, WiroError)), None
        )
        for kind in TREE
    }
    assert drawn_parents() == written
    assert len(written) > 20


@pytest.mark.parametrize("kind", TREE)
def test_a_docstring_says_when_it_is_raised(kind: type[WiroError]) -> None:
    said = inspect.getdoc(kind) or ""
    assert said.startswith("Raised when") is (kind is not WiroError)
    assert len(said) > 30


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigurationError, ValueError),
        (InvalidRequest, ValueError),
        (SessionStateError, RuntimeError),
    ],
)
def test_some_are_also_what_python_calls_them(kind: type, builtin: type) -> None:
    assert issubclass(kind, builtin)


@pytest.mark.parametrize("kind", TREE)
def test_an_error_knows_its_text_and_its_kind(kind: type[WiroError]) -> None:
    error = kind("what happened; what to do")
    assert error.message == str(error) == "what happened; what to do"
    assert error.kind == kind.__name__


def test_an_error_without_a_text_has_an_empty_one() -> None:
    assert WiroError().message == ""


def limit_reached() -> ConcurrencyLimitReached:
    error = ConcurrencyLimitReached(
        "full", endpoint="/Run/o/m", code="96", http_status=200, reason="up to 5"
    )
    error.limit = 5
    return error


def rate_limited() -> RateLimited:
    error = RateLimited("slow", endpoint="/Run/o/m", code="0", http_status=429, reason="slow")
    error.retry_after_seconds = 2.5
    return error


def failing() -> ServerError:
    error = ServerError("down", endpoint="/Task/Detail", code="0", http_status=503, reason="down")
    error.retry_after_seconds = 7.0
    return error


FULL: list[WiroError] = [
    InvalidRequest("no", field="seed"),
    SourceError("no", file="p.csv", line=3, column=4, field="seed"),
    TransportError("no", endpoint="/Task/Detail", evidence="nothing was written"),
    OutcomeUnknown("no", endpoint="/Task/Kill", evidence="the headers went out"),
    RunOutcomeUnknown(
        "no", endpoint="/Run/o/m", evidence="e", model="o/m", params={"seed": "1"}, sent_at=1.5
    ),
    ApiError("no", endpoint="/Run/o/m", code="97", http_status=200, reason="empty"),
    limit_reached(),
    rate_limited(),
    failing(),
    TaskError("no", task_id="1", token="t", task=Task(id="1")),
    TaskFailed("no", task_id="1", token="t", task=Task(id="1")),
    DownloadError("no", url="https://u", path="p.png", task_id="1", token="t"),
]


def clones_of(error: WiroError) -> list[WiroError]:
    pickled = [
        pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 (our own bytes)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    return [*pickled, copy.copy(error), copy.deepcopy(error)]


@pytest.mark.parametrize("error", [*FULL, *(kind("plain") for kind in TREE)], ids=repr)
def test_an_error_travels_whole(error: WiroError) -> None:
    error.add_note("seen in row 7")
    for clone in clones_of(error):
        assert type(clone) is type(error)
        assert (str(clone), clone.args) == (str(error), error.args)
        assert vars(clone) == vars(error)


def test_the_errors_of_the_table_have_every_attribute() -> None:
    with_attributes = {
        kind for kind in TREE if "__init__" in vars(kind) or "__annotations__" in vars(kind)
    }
    assert with_attributes <= {type(error) for error in FULL}
    for error in FULL:
        assert vars(error)
        assert all(vars(error).values())


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "bad value"),
        ({"file": "p.csv"}, "p.csv: bad value"),
        ({"file": "p.csv", "line": 3}, "p.csv, line 3: bad value"),
        ({"file": "p.csv", "line": 3, "column": 9}, "p.csv, line 3, column 9: bad value"),
        ({"line": 0}, "line 0: bad value"),
        ({"file": "-", "column": 2}, "-, column 2: bad value"),
    ],
)
def test_a_source_error_names_its_place_once(place: dict[str, object], text: str) -> None:
    error = SourceError("bad value", field="seed", **place)  # type: ignore[arg-type]
    assert error.message == text
    for clone in clones_of(error):
        for again in clones_of(clone):
            assert isinstance(again, SourceError)
            assert str(again) == text
            assert (again.file, again.line, again.column, again.field) == (
                place.get("file", ""),
                place.get("line"),
                place.get("column"),
                "seed",
            )


def test_a_run_of_unknown_outcome_always_has_parameters() -> None:
    first, second = RunOutcomeUnknown("a"), RunOutcomeUnknown("b")
    assert first.params == {}
    assert first.params is not second.params
