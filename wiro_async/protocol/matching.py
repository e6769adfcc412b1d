"""Which rows of Task/List are the tasks of Runs whose outcome nobody knows?

A Run that may have been processed is never sent again by itself: its task, if there is one,
is looked for among the project's tasks instead. A row does not name the request that made
it, so it is known by its model, its parameters and its time. The rules (wiro-api facts,
"Endpoints" and "A task"):

1. Identical requests, of one model and one canonical form, are interchangeable: which of
   them a row belongs to cannot be told and need not be. Of k such Runs and m such rows as many
   are paired as can be, the oldest Run first, with the oldest row that can be its own.
2. A row that is known to be somebody's is given to nobody else. Pages overlap when a task is
   made between two of them, so a row can come twice: it counts once.
3. Forms are compared as the parameters travel. The service may hand back a number as it came
   or as a text, a list as JSON or as a text of it, and defaults that the request left out
   where the model is known. ``callbackUrl`` and ``projectid`` belong to a Run, not to what is
   made. A prompt is compared letter by letter: another writing of it is another prompt.
4. The names of a row's model, where it has them, have to be the Run's, in any case of
   letters. Where it leaves one out, or both, and Runs of two models could have made it, it is
   given to nobody: one person's picture must not become another's.
5. A task is not older than its Run, but for clocks that differ (`SKEW_SECONDS`): the same
   prompt of yesterday is not taken for today's. A row that does not tell its time is
   accepted, after those that do.
6. A record without parameters, as in the page's own sample, says nothing of what was asked:
   it is the task only of a Run that gave none either. So an empty form stays empty, whatever
   the model's defaults are.

What no list shows stays unknown: a match is found here, its absence is not proved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from attrs import frozen

from wiro_async.catalog import KNOWN_MODELS, RUN_PARAMETERS, ModelSchema, scalar_text
from wiro_async.protocol.converter import read_json
from wiro_async.task import JsonObject, JsonValue, Task

# What two clocks, each set by hand or by a server far away, are allowed to differ.
SKEW_SECONDS = 120.0

_PROMPT = "prompt"
_SCHEMAS = {slug.casefold(): schema for slug, schema in KNOWN_MODELS.items()}

_Kind: TypeAlias = tuple[str, str]


@frozen(kw_only=True)
class LostRun:
    """A Run that was sent and whose answer was not read.

    Attributes:
        key: the caller's name for it, unlike any other's.
        model: the slug it was sent to.
        params: its parameters, as they were given or as they were sent.
        sent_at: when it was sent, in unix seconds.
    """

    key: str
    model: str
    params: JsonObject
    sent_at: float


def match_runs(
    lost: Sequence[LostRun], rows: Sequence[Task], *, is_known: Callable[[Task], bool]
) -> dict[str, Task]:
    """The rows that are the lost Runs' tasks, by the Runs' keys, by the rules of this module.

    As many as can be paired, the oldest first; the order of the arguments changes nothing. A
    row is only a hint of how its task stands: Task/Detail decides.

    Args:
        lost: the Runs that are looked for.
        rows: the pages of Task/List, in any order, with repetitions.
        is_known: whether a row is already known to be somebody's task.
    """
    runs_by_kind: dict[_Kind, list[LostRun]] = {}
    for run in sorted(lost, key=lambda run: (run.sent_at, run.key)):
        runs_by_kind.setdefault(kind_of(run.model, run.params), []).append(run)
    models = {model for model, _ in runs_by_kind}
    rows_by_kind: dict[_Kind, list[Task]] = {}
    for row in sorted(_distinct(rows, is_known), key=_age):
        possible = [kind for kind in _kinds_of(row, models) if kind in runs_by_kind]
        if len(possible) == 1:
            rows_by_kind.setdefault(possible[0], []).append(row)
    return {
        run.key: row
        for kind, runs in runs_by_kind.items()
        for run, row in _pair(runs, rows_by_kind.get(kind, ()))
    }


def may_be_of(lost: Sequence[LostRun]) -> Callable[[Task], bool]:
    """Tells of a row whether it can be the task of any of these Runs, its time left aside.

    A row of which this says no changes nothing for `match_runs`.
    """
    kinds = {kind_of(run.model, run.params) for run in lost}
    models = {model for model, _ in kinds}
    return lambda row: not kinds.isdisjoint(_kinds_of(row, models))


def kind_of(model: str, params: JsonObject) -> tuple[str, str]:
    """What a Run and the row of its task have in common."""
    return model.casefold(), canonical_params(model, params)


def canonical_params(model: str, params: JsonObject) -> str:
    """The parameters as a JSON text that is equal for equal requests of one model.

    Neither the order of names nor the kind of a scalar (``42`` or ``"42"``) shows in it, nor
    what is None, empty, or a parameter of any Run; the defaults of a known model do, unless
    nothing at all was given (rules 3 and 6 of this module).
    """
    given = {
        name: _unprinted(name, value)
        for name, value in params.items()
        if name not in RUN_PARAMETERS and value is not None and value != ""
    }
    schema = _SCHEMAS.get(model.casefold())
    if given and schema is not None:
        given = {**_defaults_of(schema), **given}
    # ASCII with escapes, as it travels: a lone surrogate in a prompt must not break it.
    return json.dumps(given, sort_keys=True, separators=(",", ":"))


def oldest_of_interest(lost: Sequence[LostRun]) -> float:
    """The unix second before which no row can be a task of these Runs; infinite without any."""
    return min((_earliest(run) for run in lost), default=math.inf)


def _defaults_of(schema: ModelSchema) -> dict[str, JsonValue]:
    # The prompt's is a sample for the page: no Run was ever meant to make that.
    return {
        parameter.id: parameter.default
        for parameter in schema.parameters
        if parameter.default is not None and parameter.id != _PROMPT
    }


def _unprinted(name: str, value: JsonValue) -> JsonValue:
    """A value as it is compared; a text that holds a list or an object is that."""
    # Not the prompt: a person may want a list in words, blanks and all.
    if isinstance(value, str) and name != _PROMPT and value.lstrip().startswith(("[", "{")):
        held = read_json(value)
        if isinstance(held, list | dict):
            return _comparable(held)
    return _comparable(value)


def _comparable(value: JsonValue) -> JsonValue:
    if isinstance(value, Mapping):
        return {name: _comparable(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_comparable(inner) for inner in value]
    return None if value is None else scalar_text(value)


def _distinct(rows: Sequence[Task], is_known: Callable[[Task], bool]) -> Iterator[Task]:
    """Each task that is nobody's once: the copy of its row that tells most."""
    named = {row.token for row in rows if row.id}
    copies: dict[tuple[str, str], list[Task]] = {}
    for row in rows:
        if row.id:
            copies.setdefault(("id", row.id), []).append(row)
        elif row.token and row.token not in named:
            copies.setdefault(("token", row.token), []).append(row)
        # A row without either name leads to no task that could be followed.
    for same in copies.values():
        if not any(map(is_known, same)):
            yield same[0] if len(same) == 1 else max(same, key=_told)


def _told(row: Task) -> tuple[bool, str]:
    # The text only breaks ties, so that it does not matter which page came first.
    try:
        return row.is_terminal, repr(row)
    except RecursionError:
        return row.is_terminal, ""


def _kinds_of(row: Task, models: Iterable[str]) -> list[_Kind]:
    """What the row can be a task of: one kind for each model that it may name."""
    try:
        return [
            (model, canonical_params(model, row.parameters))
            for model in models
            if _may_name(row, model)
        ]
    except RecursionError:  # nested deeper than any request that this client can send
        return []


def _may_name(row: Task, model: str) -> bool:
    owner, _, project = model.partition("/")
    pairs = ((row.model_owner, owner), (row.model_project, project))
    return all((said or "").strip().casefold() in {"", meant} for said, meant in pairs)


def _age(row: Task) -> tuple[float, int, str, str, str]:
    """Oldest first, by time, then by number; without a time last, for these fit any Run."""
    created = math.inf if row.created_at is None else row.created_at.timestamp()
    digits = (row.id or "").lstrip("0")
    return created, len(digits), digits, row.id or "", row.token or ""


def _earliest(run: LostRun) -> float:
    return run.sent_at - SKEW_SECONDS


def _pair(runs: Sequence[LostRun], rows: Sequence[Task]) -> Iterator[tuple[LostRun, Task]]:
    """Pair as many as can be paired; both come oldest first.

    A row that is too old for one Run is too old for all later ones, and the earlier ones have
    a row already: so it can be passed over, and no other pairing is larger.
    """
    rest = iter(rows)
    for run in runs:
        row = next((row for row in rest if _age(row)[0] >= _earliest(run)), None)
        if row is None:
            return
        yield run, row
