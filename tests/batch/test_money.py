"""What a batch may cost, against an emulator's books: the limit, and how it is gone on with."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from tests.batch.emulated import emulated
from tests.batch.source_cases import FLUX
from wiro_async.batch.results import ItemStatus
from wiro_async.emulator import Fault
from wiro_async.errors import AuthenticationFailed, CostLimitReached, InsufficientBalance

LIMIT = Decimal("0.30")
SIX = Decimal("0.06")
TEN = [f"number {number}" for number in range(10)]


async def test_a_batch_stops_at_its_limit_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    async with emulated(tmp_path) as at:
        first = await at.run(TEN, max_cost=LIMIT)
        assert first.summary.succeeded == 5
        assert first.summary.total == 5, "what was not begun is not an item"
        assert isinstance(first.summary.stopped_by, CostLimitReached)
        assert not first.summary.ok
        assert (first.summary.cost, first.summary.reserved) == (LIMIT, Decimal(0))
        assert first.asked["Tool/Detail"] == 1, "of one model, once"
        assert at.emulator.books.spent == LIMIT
        again = await at.run(TEN, max_cost=LIMIT)
        assert again.asked["Run"] == 0
        assert again.summary.earlier == 5
        assert again.summary.cost == LIMIT
        last = await at.run(TEN, max_cost=Decimal("0.60"))
        assert last.asked["Run"] == 5
        assert last.summary.ok
        assert at.emulator.books.spent == Decimal("0.60")


@pytest.mark.parametrize(
    ("limit", "tasks"), [("0.05", 0), ("0.06", 1), ("0.119", 1), ("0.12", 2), ("100", 10)]
)
async def test_as_many_are_run_as_the_limit_pays_for(
    tmp_path: Path, limit: str, tasks: int
) -> None:
    async with emulated(tmp_path) as at:
        ran = await at.run(TEN, max_cost=Decimal(limit), max_in_flight=3)
        assert len(at.emulator.books.tasks) == tasks
        assert ran.summary.succeeded == tasks
        assert ran.summary.ok is (tasks == 10)


async def test_what_fails_leaves_its_money_to_another(tmp_path: Path) -> None:
    faults = [
        Fault(endpoint="Run", action="fail_task", match=f"number {number}") for number in (1, 3)
    ]
    async with emulated(tmp_path, faults=faults) as at:
        ran = await at.run(TEN, max_cost=LIMIT)
        assert ran.summary.succeeded == 5
        assert ran.summary.counts[ItemStatus.FAILED] == 2
        assert at.emulator.books.spent == LIMIT == ran.summary.cost
        assert ran.summary.reserved_tasks == 0


async def test_what_is_refused_leaves_it_too(tmp_path: Path) -> None:
    requests = [{"prompt": prompt, "custom_id": prompt} for prompt in TEN]
    requests[0]["aspectRatio"] = "17:3"
    async with emulated(tmp_path) as at:
        ran = await at.run(requests, max_cost=LIMIT)
        assert ran.statuses["number 0"] is ItemStatus.REFUSED
        assert ran.summary.succeeded == 5


async def test_who_may_not_ask_for_a_price_is_stopped_by_that(tmp_path: Path) -> None:
    fault = Fault(endpoint="Tool/Detail", action="unauthorized", times=None)
    async with emulated(tmp_path, faults=[fault]) as at:
        ran = await at.run(TEN, max_cost=LIMIT)
        assert isinstance(ran.summary.stopped_by, AuthenticationFailed)
        assert ran.asked["Run"] == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(endpoint="Tool/Detail", action="status", status=500, times=None),
        Fault(endpoint="Tool/Detail", action="status", status=404, times=None),
        Fault(endpoint="Tool/Detail", action="html", times=None),
        Fault(endpoint="Tool/Detail", action="drop_before", times=None),
    ],
    ids=lambda fault: f"{fault.action} {fault.status}",
)
async def test_where_the_service_tells_no_price_the_first_task_does(
    tmp_path: Path, fault: Fault
) -> None:
    async with emulated(tmp_path, faults=[fault]) as at:
        ran = await at.run(TEN, max_cost=LIMIT)
        tasks = list(at.emulator.books.tasks.values())
        assert len(tasks) == 5
        assert ran.summary.cost == LIMIT
        assert isinstance(ran.summary.stopped_by, CostLimitReached)
        assert tasks[0].ended is not None
        assert tasks[1].created > tasks[0].ended, "the first one runs alone"
        assert at.emulator.books.most_in_flight > 1, "the others do not"
        assert ran.asked["Tool/Detail"] <= 5, "once, with its repetitions"


async def test_a_price_that_is_told_too_low_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulated(tmp_path) as at:
        async with at.session() as session:

            async def too_low(*_: object) -> Decimal:
                return Decimal("0.01")

            monkeypatch.setattr(session, "price", too_low)
            async with session.batch(
                TEN,
                output_dir=tmp_path,
                model=FLUX,
                journal=at.journal,
                max_cost=LIMIT,
                max_in_flight=1,
            ) as batch:
                summary = await batch.wait()
        assert at.emulator.books.spent == LIMIT == summary.cost
        assert summary.succeeded == 5


async def test_without_a_limit_no_price_is_asked_for(tmp_path: Path) -> None:
    async with emulated(tmp_path) as at:
        ran = await at.run(TEN)
        assert ran.asked["Tool/Detail"] == 0
        assert ran.summary.ok
        assert ran.summary.cost == 10 * SIX


async def test_an_empty_account_leaves_what_is_done_done(tmp_path: Path) -> None:
    faults = [Fault(endpoint="Run", action="no_balance", skip=4, times=3)]
    async with emulated(tmp_path, faults=faults) as at:
        ran = await at.run(TEN, max_in_flight=2, max_cost=Decimal(1))
        assert isinstance(ran.summary.stopped_by, InsufficientBalance)
        assert ran.summary.succeeded == 4
        assert ran.summary.cost == 4 * SIX
        assert ran.summary.reserved_tasks == 0
        last = await at.run(TEN, max_cost=Decimal(1))
        while not last.summary.ok:  # the account is empty for a while
            last = await at.run(TEN, max_cost=Decimal(1))
        assert last.summary.cost == 10 * SIX == at.emulator.books.spent
        assert {len(ids) for ids in at.emulator.books.tasks_by_prompt.values()} == {1}


async def test_what_is_unknown_stays_reserved(tmp_path: Path) -> None:
    faults = [Fault(endpoint="Run", action="drop_before", match="number 0")]
    async with emulated(tmp_path, faults=faults) as at:
        ran = await at.run(TEN, max_cost=LIMIT)
        assert ran.summary.counts == {ItemStatus.SUCCEEDED: 4, ItemStatus.UNKNOWN: 1}
        assert (ran.summary.cost, ran.summary.reserved) == (4 * SIX, SIX)
        assert ran.summary.reserved_tasks == 1
        assert "spent $0.24" in str(ran.summary)
        assert "reserved $0.06 for 1 task whose end is not known" in str(ran.summary)
        assert "1 unknown" in str(ran.summary)
        again = await at.run(TEN, max_cost=LIMIT)
        assert again.asked["Run"] == 0, "also in the next run"
        assert again.summary.reserved == SIX


async def test_what_was_made_and_lost_is_reserved_until_it_is_found(tmp_path: Path) -> None:
    faults = [Fault(endpoint="Run", action="drop_after", match="number 0")]
    async with emulated(tmp_path, faults=faults) as at:
        ran = await at.run(TEN, max_cost=LIMIT, max_in_flight=1)
        assert ran.summary.counts == {ItemStatus.SUCCEEDED: 5}
        assert at.emulator.books.spent == LIMIT == ran.summary.cost
        assert ran.summary.reserved_tasks == 0


async def test_who_waits_for_money_holds_up_nobody_who_has_a_task(tmp_path: Path) -> None:
    faults = [Fault(endpoint="Run", action="drop_after", match="number 0")]
    async with emulated(tmp_path, faults=faults) as at, asyncio.timeout(10):
        ran = await at.run(TEN[:2], max_cost=SIX, max_in_flight=1)
        assert ran.summary.counts == {ItemStatus.SUCCEEDED: 1}
        assert isinstance(ran.summary.stopped_by, CostLimitReached)


async def test_what_an_earlier_run_has_in_flight_counts_in_the_next(tmp_path: Path) -> None:
    async with emulated(tmp_path, median_seconds=100.0) as at:
        async with (
            at.session() as session,
            session.batch(TEN[:3], output_dir=tmp_path, model=FLUX, journal=at.journal) as batch,
        ):
            while len(at.emulator.books.tasks) < 3:  # noqa: ASYNC110 - the books tell nobody
                await asyncio.sleep(0.01)
            batch.stop(drain=False)
        ran = await at.run(TEN, max_cost=4 * SIX)
        assert ran.asked["Run"] == 1
        assert at.emulator.books.spent == 4 * SIX == ran.summary.cost


async def test_left_overs_that_are_sent_again_do_not_wait_for_each_other(tmp_path: Path) -> None:
    faults = [Fault(endpoint="Run", action="drop_before", times=6)]
    async with emulated(tmp_path, faults=faults) as at, asyncio.timeout(20):
        first = await at.run(TEN[:6])
        assert first.summary.counts == {ItemStatus.UNKNOWN: 6}
        ran = await at.run(TEN[:6], on_unknown="resubmit", max_in_flight=1, max_cost=6 * SIX)
        assert isinstance(ran.summary.stopped_by, CostLimitReached)
        assert ran.asked["Run"] == 0, "each of the lost ones may have to be paid"
        last = await at.run(TEN[:6], on_unknown="resubmit", max_in_flight=1, max_cost=12 * SIX)
        assert last.summary.ok
        assert (last.summary.cost, last.summary.reserved) == (6 * SIX, 6 * SIX)
        assert at.emulator.books.spent == 6 * SIX
