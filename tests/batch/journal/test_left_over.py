"""What an earlier run has left unsettled: given once, and never taken for what it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.journal.stage import bring_to, make_mixed, opened, request, state_of
from wiro_async.batch.journal.states import UNSETTLED, State
from wiro_async.errors import InvalidRequest


def test_what_is_left_over_is_given_once(path: Path) -> None:
    make_mixed(path)
    unsettled = [number for number in range(40) if state_of(number) in UNSETTLED]
    with opened(path) as store:
        store.begin()
        left = store.left_over(None)
        assert [entry.request for entry in left] == [*map(request, unsettled)]
        # What may have been sent is unknown from now on, whatever becomes of this run.
        seen = {State.INTENT: State.UNKNOWN}
        states = [seen.get(state_of(number), state_of(number)) for number in unsettled]
        assert [entry.state for entry in left] == states
        for number in range(40):
            entry = store.plan(request(number))
            assert (entry is None) == (number in unsettled)
        with pytest.raises(InvalidRequest, match="used before"):
            store.plan(request(unsettled[0]))
        store.commit()
    with opened(path) as store:  # what was given in one run is given again in the next
        store.begin()
        assert store.left_over(None) == left


def test_an_intent_that_was_certainly_not_sent_is_planned_again(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        for number in range(4):
            store.plan(request(number))
            store.change(number + 1, State.INTENT, {"attempt": 1, "sent_at": 1.5, "kept": number})
        store.change(4, State.INTENT, {"attempt": 2, "sent_at": 2.5})
        store.commit()
    with opened(path) as store:
        store.begin()
        left = store.left_over(frozenset({(2, 1), (3, 2), (4, 2)}))
        assert [(entry.position, entry.state) for entry in left] == [
            (2, State.UNKNOWN),
            (4, State.UNKNOWN),
        ]
        assert left[0].facts == {"sent_at": 1.5, "kept": 1}
        planned = [store.plan(request(number)) for number in range(4)]
        assert [entry and (entry.state, entry.facts) for entry in planned] == [
            (State.PLANNED, {"kept": 0}),
            None,
            (State.PLANNED, {"kept": 2}),
            None,
        ]


def test_an_intent_that_may_have_been_sent_stays_in_doubt_in_the_run_after_next(
    path: Path,
) -> None:
    with opened(path) as store:
        store.begin()
        store.plan(request(1))
        store.change(1, State.INTENT, {"attempt": 1, "sent_at": 1.5})
        store.commit()
    for sent in (frozenset({(1, 1)}), frozenset[tuple[int, int]](), None):
        with opened(path) as store:  # and each of these dies before it has looked for anything
            store.begin()
            (entry,) = store.left_over(sent)
            assert entry.state is State.UNKNOWN
            store.commit()


def test_a_left_over_item_is_held_against_its_request_as_well(path: Path) -> None:
    with opened(path) as store:
        store.begin()
        bring_to(store, 1, State.SUBMITTED)
        store.commit()
    with opened(path) as store:
        store.begin()
        store.left_over(None)
        with pytest.raises(InvalidRequest, match="seed was not there and is now '1'"):
            store.plan(request(1, seed=1))
