"""A single Run whose answer was lost: the error that tells of it, and its `find`."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable

import pytest

from tests.lossy_world import Losses, LossyWorld
from tests.scripted_service import FLUX, KEY, SECRET
from tests.tracking.project_list import NOON, wall_clock
from tests.virtual_session import joined
from tests.virtual_time import now, run_virtual
from wiro_async.emulator.desk import Listing
from wiro_async.errors import NotFound, RunOutcomeUnknown, SessionStateError
from wiro_async.session import WiroSession

__all__ = ["wall_clock"]

MADE: Losses = {"a fox": ("made",)}
NOT_MADE: Losses = {"a fox": ("not made",)}


async def lose(session: WiroSession, prompt: str = "a fox") -> RunOutcomeUnknown:
    with pytest.raises(RunOutcomeUnknown) as caught:
        await session.run(FLUX, {"prompt": prompt})
    return caught.value


def test_a_task_that_was_made_is_found_and_can_be_awaited() -> None:
    async def scenario() -> None:
        world = LossyWorld(MADE)
        async with joined(world) as session:
            error = await lose(session)
            handle = await error.find()
            assert now() == 15, "ten seconds to be listed, and a second reading"
            assert handle is not None
            (task,) = world.tasks
            assert (handle.task_id, handle.token) == (task.id, task.token)
            assert (await handle).succeeded
            assert world.made("a fox") == 1
            assert world.times("/Run") == [0.0]

    run_virtual(scenario())


def test_what_was_found_is_found_again() -> None:
    async def scenario() -> None:
        async with joined(LossyWorld(MADE)) as session:
            error = await lose(session)
            first, second = await error.find(), await error.find()
            assert first is not None
            assert second is not None
            assert first.task_id == second.task_id
            assert first.model == FLUX

    run_virtual(scenario())


def test_what_does_not_show_is_not_found() -> None:
    async def scenario() -> None:
        world = LossyWorld(NOT_MADE)
        async with joined(world) as session:
            error = await lose(session)
            assert await error.find() is None
            assert now() == 25
            assert len(world.times("/Run")) == 1, "it was not sent again"
            assert await error.find() is None, "it may be asked again"

    run_virtual(scenario())


def test_a_list_that_lags_more_than_it_waits_shows_it_the_next_time() -> None:
    async def scenario() -> None:
        world = LossyWorld(MADE, Listing(lag_seconds=30.0))
        async with joined(world) as session:
            error = await lose(session)
            assert await error.find() is None
            handle = await error.find()
            assert handle is not None
            assert handle.task_id == world.tasks[0].id

    run_virtual(scenario())


def test_a_session_that_is_more_patient_waits_longer() -> None:
    async def scenario() -> None:
        world = LossyWorld(MADE, Listing(lag_seconds=30.0))
        async with joined(world, settle_seconds=40.0) as session:
            assert await (await lose(session)).find()
            assert now() == 60

    run_virtual(scenario())


def test_two_that_look_alike_find_a_task_each() -> None:
    async def scenario() -> None:
        world = LossyWorld({"a fox": ("made", "made")})
        async with joined(world) as session:
            errors = [await lose(session), await lose(session)]
            handles = await asyncio.gather(*(error.find() for error in errors))
            ids = [handle.task_id for handle in handles if handle is not None]
            assert ids == [task.id for task in world.tasks]

    run_virtual(scenario())


def test_the_task_of_a_run_that_was_answered_is_not_taken_for_it() -> None:
    async def scenario() -> None:
        world = LossyWorld(NOT_MADE)
        async with joined(world) as session:
            error = await lose(session)
            handle = await session.run(FLUX, {"prompt": "a fox"})
            assert await error.find() is None
            assert (await handle).succeeded

    run_virtual(scenario())


def test_a_list_that_is_not_there_is_an_error() -> None:
    async def scenario() -> None:
        async with joined(LossyWorld(MADE, Listing(is_absent=True))) as session:
            error = await lose(session)
            with pytest.raises(NotFound):
                await error.find()

    run_virtual(scenario())


def test_when_the_session_is_closed_it_cannot_look() -> None:
    async def scenario() -> None:
        async with joined(LossyWorld(MADE)) as session:
            error = await lose(session)
        with pytest.raises(SessionStateError, match="closed"):
            await error.find()

    run_virtual(scenario())


def test_a_closing_that_comes_between_is_not_taken_for_an_answer() -> None:
    async def scenario() -> None:
        async with joined(LossyWorld(MADE)) as session:
            error = await lose(session)
            looking = asyncio.create_task(error.find())
            await asyncio.sleep(12.0)
        with pytest.raises(SessionStateError, match="closed"):
            await looking

    run_virtual(scenario())


COPIES: list[Callable[[RunOutcomeUnknown], RunOutcomeUnknown]] = [
    copy.copy,
    copy.deepcopy,
    lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301 - its own
]


@pytest.mark.parametrize("again", COPIES, ids=["copy", "deepcopy", "pickle"])
def test_a_copy_knows_everything_but_where_to_look(
    again: Callable[[RunOutcomeUnknown], RunOutcomeUnknown],
) -> None:
    async def scenario() -> None:
        async with joined(LossyWorld(MADE)) as session:
            error = await lose(session)
            other = again(error)
            assert type(other) is RunOutcomeUnknown
            known = {name: value for name, value in vars(error).items() if name != "_finder"}
            assert vars(other) == known
            assert known == {
                "endpoint": f"/Run/{FLUX}",
                "evidence": "it was cut off",
                "model": FLUX,
                "params": {"prompt": "a fox"},
                "sent_at": NOON,
            }
            assert other.message == error.message
            with pytest.raises(SessionStateError, match="list_tasks"):
                await other.find()
            assert await error.find(), "the error itself still can"

    run_virtual(scenario())


def test_neither_its_text_nor_its_pickle_holds_a_secret() -> None:
    async def scenario() -> RunOutcomeUnknown:
        async with joined(LossyWorld(MADE)) as session:
            return await lose(session)

    error = run_virtual(scenario())
    for text in (repr(error), str(error), repr(pickle.dumps(error))):
        assert KEY not in text
        assert SECRET not in text
    assert repr(error) == f"RunOutcomeUnknown({error.message!r})"
    assert FLUX in error.message
    assert "not sent again" in error.message


async def test_one_that_no_session_sent_cannot_look() -> None:
    with pytest.raises(SessionStateError, match="somewhere: only the session that sent it"):
        await RunOutcomeUnknown("lost somewhere").find()
