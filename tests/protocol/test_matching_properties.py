"""Small worlds of a few models, requests and spellings, where every way of pairing is tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.lost_runs import ids_of, is_nobodys, lost_run, row
from wiro_async.protocol.matching import LostRun, match_runs
from wiro_async.task import JsonObject, Task

MODELS = ("o/m", "o/n", "x/m")
SPELLINGS: tuple[tuple[JsonObject, ...], ...] = (
    ({"prompt": "a fox"}, {"prompt": "a fox", "seed": None}),
    ({"prompt": "a fox", "seed": 1}, {"seed": "1", "prompt": "a fox"}),
    ({}, {"prompt": ""}),
)
KINDS = range(len(SPELLINGS))
SECONDS = st.sampled_from([0.0, 1.0, 100.0, 200.0, 300.0])


@st.composite
def lost_runs(draw: st.DrawFn) -> list[tuple[int, LostRun]]:
    """Runs with the number of their request."""
    count = draw(st.integers(0, 4))
    runs = []
    for key in "abcd"[:count]:
        kind = draw(st.sampled_from(KINDS))
        params = draw(st.sampled_from(SPELLINGS[kind]))
        model = draw(st.sampled_from([*MODELS, "O/M"]))
        runs.append((kind, lost_run(key, draw(SECONDS), model=model, params=params)))
    return runs


@st.composite
def listed_rows(draw: st.DrawFn, ids: Sequence[str] = ("1", "2", "10", "11", "100")) -> list[Task]:
    rows = []
    for task_id in draw(st.lists(st.sampled_from(ids), unique=True)):
        owner, _, project = draw(st.sampled_from(MODELS)).partition("/")
        rows.append(
            row(
                task_id,
                draw(SECONDS | st.none()),
                parameters=draw(st.sampled_from(SPELLINGS[draw(st.sampled_from(KINDS))])),
                model_owner=draw(st.sampled_from([owner, owner, None])),
                model_project=draw(st.sampled_from([project, project, None])),
            )
        )
    return rows


def can_be(run: tuple[int, LostRun], one: Task, lost: list[tuple[int, LostRun]]) -> bool:
    """By the rules, but written as they are told: one row, one Run, and all the others."""
    kind, it = run
    if not any(one.parameters == spelling for spelling in SPELLINGS[kind]):
        return False

    def may_be_named(model: str) -> bool:
        names = zip((one.model_owner, one.model_project), model.lower().split("/"), strict=True)
        return all(said is None or said == meant for said, meant in names)

    others = {other.model.lower() for k, other in lost if k == kind and may_be_named(other.model)}
    in_time = one.created_at is None or one.created_at.timestamp() >= it.sent_at - 120
    return others == {it.model.lower()} and in_time


def largest(lost: list[tuple[int, LostRun]], rows: list[Task]) -> int:
    """The size of the largest pairing, by trying all."""

    def best(index: int, free: tuple[Task, ...]) -> int:
        if index == len(lost):
            return 0
        sizes = [best(index + 1, free)]
        for place, one in enumerate(free):
            if can_be(lost[index], one, lost):
                sizes.append(1 + best(index + 1, free[:place] + free[place + 1 :]))
        return max(sizes)

    return best(0, tuple(rows))


@given(lost_runs(), listed_rows(), st.sets(st.sampled_from(["1", "10", "100"])))
def test_as_many_are_paired_as_can_be_and_no_row_twice(
    lost: list[tuple[int, LostRun]], rows: list[Task], known: set[str]
) -> None:
    runs = {run.key: (kind, run) for kind, run in lost}
    found = match_runs([run for _, run in lost], rows, is_known=lambda one: (one.id or "") in known)
    ids = [one.id or "" for one in found.values()]
    assert len(set(ids)) == len(ids)
    assert not known & set(ids)
    assert all(can_be(runs[key], one, lost) for key, one in found.items())
    assert len(found) == largest(lost, [one for one in rows if one.id not in known])


@given(lost_runs(), listed_rows(), st.data())
def test_the_order_of_runs_and_rows_changes_nothing(
    lost: list[tuple[int, LostRun]], rows: list[Task], data: st.DataObject
) -> None:
    runs = [run for _, run in lost]
    again = [
        evolve(one, status=data.draw(st.sampled_from(["task_start", "task_end"])))
        for one in data.draw(st.lists(st.sampled_from(rows), max_size=3) if rows else st.just([]))
    ]
    found = match_runs(runs, rows + again, is_known=is_nobodys)
    shuffled = match_runs(
        data.draw(st.permutations(runs)),
        data.draw(st.permutations(rows + again)),
        is_known=is_nobodys,
    )
    assert list(found.items()) == list(shuffled.items())
    assert ids_of(runs, rows) == {key: one.id for key, one in found.items()}


@given(lost_runs(), listed_rows(), st.data())
def test_a_row_that_is_unrelated_changes_nothing(
    lost: list[tuple[int, LostRun]], rows: list[Task], data: st.DataObject
) -> None:
    runs = [run for _, run in lost]
    found = match_runs(runs, rows, is_known=is_nobodys)
    unrelated = [
        row("500", 2.0, parameters={"prompt": "a hen"}),
        row("501", 2.0, model_owner="nobody"),
        row("502", -121.0),
        row(None, 2.0),
    ]
    place = data.draw(st.integers(0, len(rows)))
    more = [*rows[:place], *data.draw(st.permutations(unrelated)), *rows[place:]]
    assert match_runs(runs, more, is_known=is_nobodys) == found


@given(lost_runs(), listed_rows())
def test_a_run_without_a_row_is_never_older_than_an_equal_one_with_one(
    lost: list[tuple[int, LostRun]], rows: list[Task]
) -> None:
    """The oldest are served first: what is served of equal Runs is the oldest few."""
    found = match_runs([run for _, run in lost], rows, is_known=is_nobodys)
    served: Counter[tuple[int, str]] = Counter()
    for kind, run in sorted(lost, key=lambda pair: (pair[1].sent_at, pair[1].key)):
        same = (kind, run.model.lower())
        if run.key in found:
            assert served[same] == 0, "a younger one of the same kind was served"
        else:
            served[same] += 1
