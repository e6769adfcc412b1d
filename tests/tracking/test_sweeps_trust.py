"""How far a list is believed that nobody documents: what it can do wrong, and what that costs."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest

from tests.scripted_service import FLUX, Asked, answered, refused, too_fast
from tests.tracking.sweeping import Edit, ListedWorld, Rows, p95, rewritten, run_tasks
from tests.virtual_session import joined
from tests.virtual_time import now, run_virtual
from wiro_async.emulator.desk import Listing
from wiro_async.errors import OutcomeUnknown, WiroError
from wiro_async.protocol.pages import Trust
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession
from wiro_async.tracking import sweeps


def trust_of(session: WiroSession) -> Trust:
    assert session._sweeps is not None
    return session._sweeps.trust


def ended(rows: Rows) -> Rows:
    return [{**row, "status": "task_postprocess_end"} for row in rows]


def running(rows: Rows) -> Rows:
    return [{**row, "status": "task_start"} for row in rows]


def nothing(rows: Rows) -> Rows:
    return rows[:0]


def before(seconds: float, first: Edit, then: Edit | None = None) -> Edit:
    """One edit up to a time, another one from then on."""

    def edit(asked: Asked, answer: Answer) -> Answer:
        if asked.at < seconds:
            return first(asked, answer)
        return answer if then is None else then(asked, answer)

    return edit


def failing(failure: Answer | WiroError) -> Edit:
    def edit(_: Asked, __: Answer) -> Answer:
        if isinstance(failure, WiroError):
            raise failure
        return failure

    return edit


@pytest.mark.parametrize(
    ("listing", "edit", "pages", "reason"),
    [
        (Listing(is_absent=True), None, 1, "Error parsing url"),
        (None, failing(refused(1, "tool-not-accessible")), 1, "tool-not-accessible"),
        (None, failing(answered({}, http_status=403)), 1, "HTTP 403"),
        (Listing(lag_seconds=1.0), None, 30, "otherwise"),
        (Listing(lag_seconds=30.0), None, 12, "does not show"),
        (None, rewritten(nothing), 12, "does not show"),
        (None, rewritten(running), 40, "otherwise"),
        (None, rewritten(ended), 4, "otherwise"),
    ],
)
def test_a_list_that_is_of_no_use_is_noticed_and_left_alone(
    listing: Listing | None,
    edit: Edit | None,
    pages: int,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "wiro_async")

    async def scenario() -> None:
        world = ListedWorld(listing=listing, edit=edit)
        async with joined(world, tracking="sweep", max_in_flight=40) as session:
            lags = await run_tasks(session, world, 120)
            assert reason in trust_of(session).reason
            assert len(world.pages) <= pages
            assert p95(lags) < 0.8
            assert len(world.looks) < 9.5 * 120
            world.asked.clear()
            await run_tasks(session, world, 40)
            assert world.pages == []

    run_virtual(scenario())
    (told,) = [record for record in caplog.records if "left alone" in record.message]
    assert (told.levelname, reason in told.message) == ("INFO", True)


@pytest.mark.parametrize("lag", [0.6, 3.0])
def test_a_list_that_begins_to_lag_is_noticed_too(lag: float) -> None:
    async def scenario() -> None:
        world = ListedWorld()
        async with joined(world, tracking="sweep", max_in_flight=40) as session:
            await run_tasks(session, world, 60)
            assert trust_of(session).is_proven
            world.relist(Listing(lag_seconds=lag))
            lags = await run_tasks(session, world, 240)
            assert trust_of(session).has_ended
            assert p95(lags[180:]) < 0.8

    run_virtual(scenario())


@pytest.mark.parametrize("median", [2.0, 30.0])
def test_a_list_that_stands_still_holds_no_task_for_long(median: float) -> None:
    """It goes on to call those running that it has shown once; nobody else tells of their end."""

    async def scenario() -> None:
        world = ListedWorld(median_seconds=median, sigma=0.2)
        async with joined(world, tracking="sweep", max_in_flight=20) as session:
            handles = [await session.run(FLUX, {"prompt": str(number)}) for number in range(20)]
            await asyncio.sleep(median / 4)
            assert trust_of(session).is_proven
            world.edit = rewritten(running)
            await asyncio.gather(*(handle.wait() for handle in handles))
            books = world.world.books.tasks.values()
            assert now() < max(task.ended or 0.0 for task in books) + max(6.0, median)

    run_virtual(scenario())


def test_a_row_never_ends_a_task() -> None:
    async def scenario() -> None:
        world = ListedWorld(median_seconds=20.0, sigma=0.0, edit=rewritten(ended))
        async with joined(world, tracking="sweep") as session:
            handles = [await session.run(FLUX, {"prompt": str(number)}) for number in range(20)]
            await asyncio.sleep(19)
            assert world.pages
            assert all(handle.task and not handle.task.is_terminal for handle in handles)

    run_virtual(scenario())


def test_a_row_that_was_wrong_is_not_asked_about_again() -> None:
    def wrong(rows: Rows) -> Rows:
        oldest = min(rows, key=lambda row: int(row["id"]), default=None)
        return [{**row, "status": "task_cancel"} if row is oldest else row for row in rows]

    async def scenario() -> None:
        world = ListedWorld(median_seconds=5.0, sigma=0.2, edit=rewritten(wrong))
        async with joined(world, tracking="sweep") as session:
            await run_tasks(session, world, 40)
            assert not trust_of(session).has_ended
        assert len(world.pages) > 20
        assert world.looks_at(min(world.world.books.tasks, key=int)) < 20

    run_virtual(scenario())


def test_a_look_that_was_under_way_is_not_held_against_the_list() -> None:
    """It was answered before the end, and the row was written after it."""

    async def scenario() -> None:
        world = ListedWorld(sigma=0.0)
        whole = world.script

        async def script(asked: Asked) -> Answer:
            answer = await whole(asked)
            await asyncio.sleep(0.5 if asked.endpoint == "/Task/Detail" else 0.0)
            return answer

        world.script = script
        async with joined(world, tracking="sweep") as session:
            handles = [await session.run(FLUX, {"prompt": str(number)}) for number in range(40)]
            await asyncio.sleep(1.9 - now())
            for watch in session._tracker.watches:
                session._tracker.look_now(watch)
            await asyncio.gather(*(handle.wait() for handle in handles))
            assert trust_of(session)._ends > 20
            assert not trust_of(session)._contradictions
            assert not trust_of(session).has_ended

    run_virtual(scenario())


@pytest.mark.parametrize(
    "failure",
    [
        answered({}, http_status=503),
        answered({"result": True}),
        OutcomeUnknown("/Task/List: cut off", endpoint="/Task/List"),
    ],
)
def test_a_failure_that_passes_is_waited_for(failure: Answer | WiroError) -> None:
    async def scenario() -> None:
        world = ListedWorld(median_seconds=20.0, edit=before(8.0, failing(failure)))
        async with joined(world, tracking="sweep") as session:
            await run_tasks(session, world, 60)
            assert trust_of(session).is_proven
        failed = [at for at in world.pages if at < 8]
        gaps = [later - earlier for earlier, later in pairwise(failed)]
        assert 3 <= len(failed) <= 8
        assert gaps[-1] > 2 * gaps[0]
        assert len(world.pages) > 20

    run_virtual(scenario())


def test_a_429_on_a_page_pauses_the_session_and_no_more() -> None:
    async def scenario() -> None:
        world = ListedWorld(median_seconds=20.0, edit=before(1.0, failing(too_fast("3"))))
        async with joined(world, tracking="sweep") as session:
            await run_tasks(session, world, 60)
            assert trust_of(session).is_proven
        first = world.pages[0]
        assert not [asked for asked in world.asked if first + 0.02 < asked.at < first + 2.9]
        assert len(world.pages) > 20

    run_virtual(scenario())


def test_no_page_is_asked_for_in_an_outage() -> None:
    async def scenario() -> None:
        world = ListedWorld(median_seconds=100.0, sigma=0.0)
        whole = world.script

        async def script(asked: Asked) -> Answer:
            if 5 < asked.at < 65 and asked.endpoint != "/Run":
                return answered({}, http_status=503)
            return await whole(asked)

        world.script = script
        async with joined(world, tracking="sweep") as session:
            await run_tasks(session, world, 40)
            assert trust_of(session).is_proven
        assert [at for at in world.pages if at > 66]
        assert len([at for at in world.pages if 15 < at < 65]) <= 1

    run_virtual(scenario())


def test_a_sweep_that_breaks_down_leaves_the_looks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(sweeps, "decode_page", broken)

    async def scenario() -> None:
        world = ListedWorld()
        async with joined(world, tracking="sweep") as session:
            lags = await run_tasks(session, world, 30)
            assert p95(lags) < 0.8
            assert "ZeroDivisionError: of the test" in trust_of(session).reason
        assert len(world.pages) == 1

    run_virtual(scenario())
    assert [record for record in caplog.records if "broke down" in record.message]
