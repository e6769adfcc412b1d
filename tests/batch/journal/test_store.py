"""What a journal keeps of each item, and which changes it takes."""

from __future__ import annotations

import stat
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve

from tests.batch.journal.stage import (
    WAYS,
    bring_to,
    facts_at,
    make_mixed,
    opened,
    read,
    request,
)
from wiro_async.batch.journal.states import State
from wiro_async.batch.requests import BatchRequest
from wiro_async.errors import InvalidRequest, JournalError
from wiro_async.task import JsonObject

# Written out a second time, so that a slip of the pen in the product's own table shows.
ALLOWED = {
    State.PLANNED: {"planned", "intent", "unknown", "submitted", "failed"},
    State.INTENT: {"planned", "intent", "unknown", "submitted", "failed"},
    State.UNKNOWN: {"planned", "unknown", "submitted", "skipped"},
    State.SUBMITTED: {"planned", "terminal", "failed"},
    State.TERMINAL: {"planned", "terminal", "saved", "failed"},
    State.SAVED: {"terminal"},
    State.FAILED: {"planned"},
    State.SKIPPED: set(),
}


def test_a_new_request_is_planned(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        entries = [store.plan(request(number)) for number in range(3)]
        store.commit()
    assert [entry and (entry.position, entry.state, entry.facts) for entry in entries] == [
        (1, State.PLANNED, {}),
        (2, State.PLANNED, {}),
        (3, State.PLANNED, {}),
    ]
    with opened(path) as store:
        assert [entry.request for entry in store.entries(*State)] == [*map(request, range(3))]


@pytest.mark.parametrize("state", State)
def test_started_again_it_is_given_as_it_was_left(path: Path, state: State) -> None:
    with opened(path) as store:
        store.begin()
        position = bring_to(store, 7, state).position
        store.commit()
    with opened(path) as store:
        store.begin()
        entry = store.plan(request(7))
        assert entry is not None
        assert (entry.position, entry.state) == (position, state)
        assert entry.facts == facts_at(state, 7)
        assert entry.request == request(7)


def test_an_id_used_twice_in_one_input_is_refused(path: Path) -> None:
    for _ in range(2):  # in the first run and in one that goes on
        with opened(path) as store:
            store.begin()
            assert store.plan(request(1)) is not None
            store.commit()
            store.begin()
            with pytest.raises(InvalidRequest, match=r"'000001' was used before") as caught:
                store.plan(request(1))
            assert caught.value.field == "custom_id"


def test_an_id_that_stands_for_something_else_is_refused_by_its_differences(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        store.plan(request(1, seed=42, aspectRatio="16:9"))
        store.commit()
    changed = evolve(request(1, seed=43, outputFormat="png"), model="other/model")
    with opened(path) as store:
        store.begin()
        with pytest.raises(InvalidRequest) as caught:
            store.plan(changed)
        message = caught.value.message
        for difference in (
            "'000001'",
            "model was 'black-forest-labs/flux-pro-1-1-ultra' and is now 'other/model'",
            "seed was '42' and is now '43'",
            "aspectRatio was '16:9' and is now not there",
            "outputFormat was not there and is now 'png'",
            "another output directory",
        ):
            assert difference in message
        assert "prompt was" not in message
        store.commit()
    with opened(path) as store:
        (entry,) = store.entries(*State)
        assert entry.request == request(1, seed=42, aspectRatio="16:9"), "it stays as it was"


def test_a_long_difference_is_cut(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        store.plan(request(1, prompt="a" * 5000))
        store.commit()
    with opened(path) as store:
        store.begin()
        with pytest.raises(
            InvalidRequest, match=r"prompt was 'a{59}[.]{3} and is now 'b'"
        ) as caught:
            store.plan(request(1, prompt="b"))
        assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"seed": 42}, {"seed": "42"}),
        ({"seed": "42"}, {"seed": 42}),
        ({"promptUpsampling": False}, {"promptUpsampling": "false"}),
        ({"seed": None}, {}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}),
    ],
)
def test_what_travels_alike_is_the_same(
    path: Path, before: dict[str, object], now: dict[str, object]
) -> None:
    with opened(path) as store:
        store.begin()
        store.plan(request(1, **before))
        store.commit()
    with opened(path) as store:
        store.begin()
        entry = store.plan(request(1, **now))
        assert entry is not None
        assert entry.position == 1


def test_metadata_may_change(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        store.plan(request(1))
        store.commit()
    with opened(path) as store:
        store.begin()
        assert store.plan(evolve(request(1), metadata={"shelf": "another"})) is not None


@pytest.mark.parametrize(
    "odd",
    [
        BatchRequest(custom_id="half \ud800", model="o/m"),
        BatchRequest(custom_id="1", model="o/half \ud800"),
        BatchRequest(custom_id="1", model="o/m", params={"deep": {1: "a", "b": 2}}),  # type: ignore[dict-item]
    ],
)
def test_what_cannot_be_written_down_is_the_request_s_own_error(
    path: Path, odd: BatchRequest
) -> None:
    with opened(path) as store:
        store.begin()
        with pytest.raises(InvalidRequest, match="cannot be written down"):
            store.plan(odd)
        store.plan(request(1))
        store.commit()
    with opened(path) as store:
        assert [entry.request for entry in store.entries(*State)] == [request(1)]


@pytest.mark.parametrize("start", State)
def test_only_what_may_follow_follows(path: Path, start: State) -> None:
    assert ALLOWED.keys() == WAYS.keys() == set(State)
    with opened(path) as store:
        store.begin()
        for number, follower in enumerate(State):
            position = bring_to(store, number, start).position
            if follower in ALLOWED[start]:
                store.change(position, follower, facts_at(follower, number))
                continue
            with pytest.raises(JournalError, match=f"cannot go from {start} to {follower}"):
                store.change(position, follower, facts_at(follower, number))
        store.commit()
    with opened(path) as store:
        states = [entry.state for entry in store.entries(*State)]
        assert states == [one if one in ALLOWED[start] else start for one in State]


def test_an_item_that_was_never_planned_does_not_move(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        with pytest.raises(JournalError, match="cannot go from None to intent"):
            store.change(1, State.INTENT, {})


def test_it_knows_the_tasks_that_an_item_has_or_had(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        bring_to(store, 1, State.SAVED)
        bring_to(store, 2, State.INTENT)
        failed = bring_to(store, 3, State.FAILED)
        store.change(failed.position, State.PLANNED, {})
        store.change(failed.position, State.SUBMITTED, {"token": "only a token"})
        store.commit()
    with opened(path) as store:
        own = {"2001", "token-of-1", "2003", "token-of-3", "only a token"}
        assert store.knows(frozenset({*own, "2002", "token-of-2", "", "2001 "})) == own
        assert store.knows(frozenset()) == frozenset()


def test_entries_come_in_the_order_of_planning(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        for number in (5, 3, 9, 1):
            store.plan(request(number))
        store.change(4, State.FAILED, {})
        store.change(2, State.FAILED, {})
        store.commit()
        failed = [entry.request.custom_id for entry in store.entries(State.FAILED)]
        assert failed == ["000003", "000001"]
        assert [entry.position for entry in store.entries(State.PLANNED)] == [1, 3]
        assert list(store.entries(State.SAVED)) == []


def test_totals_are_counted_when_it_is_opened(path: Path) -> None:
    make_mixed(path)
    with opened(path) as store:
        assert store.totals.counts == dict.fromkeys(State, 5)
        assert store.totals.spent == Decimal("0.0035") * 15
        assert isinstance(store.totals.spent, Decimal)
        store.begin()
        again = store.plan(request(6))  # it had failed, and what it cost stays spent
        assert again is not None
        assert again.state is State.FAILED
        store.change(again.position, State.PLANNED, {"spent_before": "0.0035"})
        store.commit()
    with opened(path) as store:
        assert store.totals.counts[State.FAILED] == 4
        assert store.totals.spent == Decimal("0.0035") * 15


def test_a_new_journal_holds_nothing(path: Path) -> None:
    with opened(path) as store:
        assert store.totals.counts == {}
        assert store.totals.spent == 0
        assert list(store.entries(*State)) == []


def test_what_is_not_committed_is_not_in_it(path: Path) -> None:
    make_mixed(path)
    before = read(path)
    with opened(path) as store:
        store.begin()
        bring_to(store, 99, State.SAVED)
    assert read(path) == before


def test_it_peeks_without_taking_in(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        store.plan(request(1, seed=42))
        assert store.peek("000001") == (request(1).model, {**request(1).params, "seed": 42})
        assert store.peek("000002") is None
        assert len(list(store.entries(*State))) == 1


def test_it_keeps_texts_of_its_own(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        assert store.get("service") is None
        store.put("service", "the real one")
        store.commit()
    with opened(path) as store:
        assert store.get("service") == "the real one"


def test_it_is_readable_to_its_owner_alone(path: Path) -> None:
    seen = set()
    with opened(path) as store:
        store.begin()
        bring_to(store, 1, State.SAVED)
        store.commit()
        seen = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        assert len(list(path.parent.iterdir())) == 2, "the file, and SQLite's own journal"
    assert seen == {0o600}


def test_texts_of_any_kind_come_back(path: Path) -> None:
    odd = BatchRequest(
        custom_id="'; DROP TABLE items; -- \x00 ☃ \u2028",
        model=request(1).model,
        params={"prompt": "half \ud800, nul \x00, quote ' and \"", "n": 1e300, "list": [1, None]},
        metadata={"ключ": [True, {"deep": "ß"}]},
    )
    facts: JsonObject = {"task_id": "1'--", "evidence": "half \udfff", "sent_at": 0.1 + 0.2}
    with opened(path) as store:
        store.begin()
        assert store.plan(odd) is not None
        store.change(1, State.SUBMITTED, facts)
        store.commit()
    with opened(path) as store:
        (entry,) = store.entries(*State)
        assert entry.request == odd
        assert entry.facts == facts
        assert store.knows(frozenset({"1'--"})) == {"1'--"}
