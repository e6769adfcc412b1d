"""Many tasks by one request: what it saves, when it is not done, and what it never does."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.scripted_service import FLUX
from tests.tracking.sweeping import ListedWorld, Rows, p95, rewritten, run_tasks
from tests.virtual_session import joined
from tests.virtual_time import now, run_virtual
from wiro_async.emulator.desk import Listing
from wiro_async.session import WiroSession
from wiro_async.tracking import sweeps
from wiro_async.tracking.sweeps import Sweeps


def sweeper_of(session: WiroSession) -> Sweeps:
    assert session._sweeps is not None
    return session._sweeps


@pytest.mark.parametrize(("tracking", "fewest", "most"), [("poll", 6, 9), ("sweep", 2, 3.2)])
def test_a_hundred_tasks_in_flight_take_few_requests_each(
    tracking: str, fewest: float, most: float
) -> None:
    async def scenario() -> None:
        world = ListedWorld()
        async with joined(world, tracking=tracking) as session:
            lags = await run_tasks(session, world, 250)
        assert fewest <= len(world.asked) / 250 <= most
        assert p95(lags) < 0.4

    run_virtual(scenario())


def test_tasks_that_start_while_sweeps_go_on_are_hardly_looked_at_before_their_end() -> None:
    async def scenario() -> None:
        world = ListedWorld(sigma=0.1)
        async with joined(world, tracking="sweep", max_in_flight=40) as session:
            await run_tasks(session, world, 120)
            assert sweeper_of(session).trust.is_proven
        late = sorted(world.world.books.tasks, key=int)[60:]
        again = [task_id for task_id in late if world.looks_at(task_id) > 1]
        # Some are, though: for each dozen ends that the list tells of, whether it is right.
        assert 0 < len(again) < 0.2 * len(late)

    run_virtual(scenario())


def test_a_few_tasks_are_not_swept_for() -> None:
    async def scenario() -> None:
        world = ListedWorld()
        async with joined(world, tracking="sweep", max_in_flight=7) as session:
            await run_tasks(session, world, 30)
        assert world.pages == []
        assert len(world.looks) > 5 * 30

    run_virtual(scenario())


def test_nothing_goes_on_when_there_is_nothing_to_sweep_for() -> None:
    async def scenario() -> None:
        world = ListedWorld()
        async with joined(world, tracking="sweep") as session:
            before = asyncio.all_tasks()
            for _ in range(2):
                await run_tasks(session, world, 30)
                assert world.pages
                await asyncio.sleep(1000)
                assert asyncio.all_tasks() == before
                assert max(world.pages) < now() - 900
                world.asked.clear()

    run_virtual(scenario())


def test_tasks_that_no_page_shows_are_looked_at_as_if_there_were_no_list() -> None:
    def even(rows: Rows) -> Rows:
        return [row for row in rows if int(row["id"]) % 2 == 0]

    async def scenario() -> None:
        world = ListedWorld(edit=rewritten(even), sigma=0.0)
        async with joined(world, tracking="sweep") as session:
            lags = await run_tasks(session, world, 100)
            assert sweeper_of(session).trust.is_proven
        ids = list(world.world.books.tasks)
        shown = sum(world.looks_at(task_id) for task_id in ids if int(task_id) % 2 == 0)
        hidden = sum(world.looks_at(task_id) for task_id in ids if int(task_id) % 2)
        assert shown < 2.5 * 50
        assert hidden >= 4 * 50
        assert max(lags) < 0.6

    run_virtual(scenario())


def test_a_service_with_short_pages_is_read_page_after_page() -> None:
    async def scenario() -> None:
        world = ListedWorld(sigma=0.0, listing=Listing(page_limit=20))
        async with joined(world, tracking="sweep") as session:
            lags = await run_tasks(session, world, 100)
        assert p95(lags) < 0.4
        assert len(world.looks) < 250
        starts = [int(a.fields["start"]) for a in world.asked if a.endpoint == "/Task/List"]
        sweeps_of = [[*group] for _, group in itertools.groupby(_numbered(starts), lambda x: x[0])]
        assert [[start for _, start in one] for one in sweeps_of][:3] == [[0, 20, 40, 60, 80]] * 3

    run_virtual(scenario())


def _numbered(starts: list[int]) -> list[tuple[int, int]]:
    """Each start with the number of its sweep."""
    number = itertools.accumulate(start == 0 for start in starts)
    return list(zip(number, starts, strict=True))


def test_a_sweep_has_an_end_however_long_the_list_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "_MOST_PAGES", 2)

    async def scenario() -> None:
        world = ListedWorld(sigma=0.0, listing=Listing(page_limit=20))
        async with joined(world, tracking="sweep") as session:
            await run_tasks(session, world, 60)
        starts = {int(a.fields["start"]) for a in world.asked if a.endpoint == "/Task/List"}
        assert starts == {0, 20}

    run_virtual(scenario())


def test_a_page_asks_for_as_many_rows_as_are_needed() -> None:
    async def scenario() -> None:
        world = ListedWorld()
        async with joined(world, tracking="sweep", max_in_flight=12) as session:
            await run_tasks(session, world, 60)
        limits = [int(a.fields["limit"]) for a in world.asked if a.endpoint == "/Task/List"]
        assert set(limits) <= set(range(20, 101))
        assert sum(limits) / len(limits) < 60

    run_virtual(scenario())


def test_pages_grow_at_once_when_more_tasks_run() -> None:
    async def scenario() -> None:
        world = ListedWorld(median_seconds=30.0)
        async with joined(world, tracking="sweep") as session:
            for count in (10, 60):
                for number in range(count):
                    await session.run(FLUX, {"prompt": f"{count} {number}"})
                await asyncio.sleep(5)
        asked = [a.fields for a in world.asked if a.endpoint == "/Task/List"]
        later = {int(fields["limit"]) for fields in asked if fields["start"] != "0"}
        assert {int(fields["limit"]) for fields in asked} > {100, 25}
        assert later == {100}

    run_virtual(scenario())


def test_who_is_far_down_the_list_is_looked_at_and_not_searched_for() -> None:
    """Ten slow tasks, and then somebody else's by the thousand."""

    def crowded(rows: Rows) -> Rows:
        return [{**row, "id": f"9{row['id']}", "socketaccesstoken": ""} for row in rows]

    async def scenario() -> None:
        world = ListedWorld(median_seconds=100.0, sigma=0.0)
        async with joined(world, tracking="sweep") as session:
            handles = [await session.run(FLUX, {"prompt": str(n)}) for n in range(10)]
            await asyncio.sleep(5)
            assert len(world.pages) > 3
            world.edit = rewritten(crowded)
            before = len(world.pages)
            await asyncio.gather(*(handle.wait() for handle in handles))
            assert now() < 102
            assert len(world.pages) - before < 10

    run_virtual(scenario())


def test_whoever_is_vouched_for_by_somebody_else_is_no_reason_to_sweep() -> None:
    async def scenario() -> None:
        world = ListedWorld(median_seconds=30.0)
        async with joined(world, tracking="sweep") as session:
            session._tracker.on_watch.insert(0, lambda w: session._tracker.vouch(w, 1e4))
            for number in range(50):
                await session.run(FLUX, {"prompt": str(number)})
            await asyncio.sleep(20)
            assert world.pages == []
            assert world.looks == []

    run_virtual(scenario())


def test_pages_and_looks_share_one_ceiling() -> None:
    async def scenario() -> None:
        world = ListedWorld()
        async with joined(world, tracking="sweep", max_looks_per_second=20) as session:
            await run_tasks(session, world, 100)
        both = sorted([*world.pages, *world.looks])
        assert len(world.pages) > 10
        for first, at in enumerate(both):
            assert sum(other < at + 0.999 for other in both[first:]) <= 24  # and one burst

    run_virtual(scenario())


def test_runs_do_not_wait_for_pages() -> None:
    async def scenario() -> None:
        world = ListedWorld(median_seconds=30.0)
        async with joined(world, tracking="sweep") as session:
            for number in range(20):
                await session.run(FLUX, {"prompt": str(number)})
            await asyncio.sleep(3)
            assert world.pages
            world.trip_seconds = 50.0  # a page that was asked for now does not come
            await asyncio.sleep(2)
            world.trip_seconds = 0.01
            began = now()
            await session.run(FLUX, {"prompt": "another"})
            assert now() - began < 0.1

    run_virtual(scenario())


def test_closing_ends_a_page_that_is_under_way() -> None:
    async def scenario() -> None:
        world = ListedWorld(median_seconds=1000.0)
        async with joined(world, tracking="sweep") as session:
            for number in range(20):
                await session.run(FLUX, {"prompt": str(number)})
            world.trip_seconds = 500.0
            await asyncio.sleep(10)
            sweeper = sweeper_of(session)
            assert sweeper._sweeper is not None
        assert now() < 20
        assert sweeper._sweeper is None

    run_virtual(scenario())


def test_ends_that_no_page_ever_shows_are_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeps, "_MOST_ENDED", 10)

    async def scenario() -> None:
        world = ListedWorld()
        async with joined(world, tracking="sweep", max_in_flight=7) as session:
            await run_tasks(session, world, 30)
            assert len(sweeper_of(session)._ended) == 10

    run_virtual(scenario())
