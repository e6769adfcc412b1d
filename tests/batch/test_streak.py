"""A row of lost answers: nothing more is sent until they were looked for, and not for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.test_unknown import SUCCEEDED, UNKNOWN, run_batch
from tests.lossy_world import Losses, LossyWorld
from tests.tracking.project_list import wall_clock
from wiro_async.batch.streak import LONGEST
from wiro_async.errors import RunOutcomeUnknown

__all__ = ["wall_clock"]

MANY = [f"prompt {number:02}" for number in range(40)]


def test_a_batch_whose_answers_are_all_lost_does_not_go_on_paying(tmp_path: Path) -> None:
    world = LossyWorld(dict.fromkeys(MANY, ("not made",)))
    ended = run_batch(world, tmp_path, MANY, max_in_flight=4)
    assert LONGEST <= len(world.times("/Run")) < LONGEST + 4
    assert {item.status for item in ended.items.values()} == {UNKNOWN}
    assert isinstance(ended.summary.stopped_by, RunOutcomeUnknown)
    assert "start the same batch again" in ended.summary.stopped_by.message
    assert not ended.summary.ok


def test_while_they_are_looked_for_nothing_goes_out(tmp_path: Path) -> None:
    world = LossyWorld(dict.fromkeys(MANY[:LONGEST], ("made",)))
    ended = run_batch(world, tmp_path, MANY, max_in_flight=1000)
    assert set(ended.statuses) == {SUCCEEDED}
    first = world.times("/Run")
    assert len(first) == len(MANY), "nothing was sent twice"
    assert ended.summary.stopped_by is None


@pytest.mark.parametrize("answered", [0, LONGEST - 2])
def test_one_answer_ends_the_row(tmp_path: Path, answered: int) -> None:
    lost: Losses = {
        prompt: ("not made",) for place, prompt in enumerate(MANY) if place % 6 != answered % 6
    }
    ended = run_batch(LossyWorld(lost), tmp_path, MANY, max_in_flight=1)
    assert len(ended.items) == len(MANY)
    assert ended.statuses.count(UNKNOWN) == len(lost)
    assert ended.summary.stopped_by is None


def test_lost_ones_that_are_found_end_the_row_too(tmp_path: Path) -> None:
    world = LossyWorld(dict.fromkeys(MANY, ("made",)))
    ended = run_batch(world, tmp_path, MANY, max_in_flight=3)
    assert set(ended.statuses) == {SUCCEEDED}
    assert len(world.times("/Run")) == len(MANY)


def test_those_that_are_sent_again_are_no_way_around_it(tmp_path: Path) -> None:
    world = LossyWorld(dict.fromkeys(MANY, ("not made", "not made")))
    ended = run_batch(world, tmp_path, MANY, max_in_flight=2, on_unknown="resubmit")
    assert len(world.times("/Run")) <= 2 * LONGEST + 2
    assert isinstance(ended.summary.stopped_by, RunOutcomeUnknown)


def test_lost_ones_of_a_batch_that_goes_well_are_no_row(tmp_path: Path) -> None:
    """Their searches end one after another when everything else has."""
    lost: Losses = dict.fromkeys(MANY[::3], ("not made",))
    assert len(lost) > LONGEST
    ended = run_batch(LossyWorld(lost), tmp_path, MANY, max_in_flight=40)
    assert ended.statuses.count(UNKNOWN) == len(lost)
    assert ended.summary.stopped_by is None
