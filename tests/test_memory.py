"""Thousands of tasks run through one session leave its memory where it was."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import pytest

import wiro_async
from tests import scripted_service
from tests.batch.emulated import emulated
from tests.lossy_world import Loss, LossyWorld
from tests.scripted_service import FLUX, WorldTransport
from tests.tracking.project_list import wall_clock
from tests.virtual_session import joined
from tests.virtual_time import run_virtual, settle
from wiro_async.batch.journal.entries import JOURNAL_NAME
from wiro_async.batch.results import ItemStatus
from wiro_async.emulator import Fault
from wiro_async.emulator.world import Terms
from wiro_async.errors import RunOutcomeUnknown, TaskCancelled, TaskFailed, TaskTimeout
from wiro_async.protocol.matching import LostRun, match_runs
from wiro_async.protocol.polling import PollSchedule
from wiro_async.session import WiroSession
from wiro_async.task import Task
from wiro_async.tracking import search

__all__ = ["wall_clock"]

_OURS = str(Path(wiro_async.__file__).parent / "*")
_EMULATORS = str(Path(wiro_async.__file__).parent / "emulator" / "*")
MOST_BYTES = 64 * 1024
MOST_OBJECTS = 50
AT_ONCE = 100


def count_objects() -> Counter[str]:
    """How many objects of the library's own types are alive, the emulator's left out."""
    gc.collect()
    names = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return Counter(
        name
        for name in names
        if name.startswith("wiro_async.") and not name.startswith("wiro_async.emulator")
    )


def bytes_held(root: object, without: Iterable[object]) -> int:
    """The size of everything that an object holds on to, down to the last text."""
    gc.collect()
    seen = {id(vars(module)) for module in list(sys.modules.values())}
    seen |= {id(one) for one in without}
    waiting, total = [root], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | BuiltinFunctionType):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        held = one.__closure__ or () if isinstance(one, FunctionType) else gc.get_referents(one)
        waiting += held
    return total


@contextmanager
def tracing() -> Iterator[Callable[[], int]]:
    """Trace what the library's own lines allocate; gives what of that is there now, in bytes."""

    def measure() -> int:
        gc.collect()
        # By all frames: what a generated method or the standard library allocates for a line of
        # ours counts, and what the emulator keeps, or the stand-in for it, does not.
        ours = tracemalloc.Filter(inclusive=True, filename_pattern=_OURS, all_frames=True)
        others = [
            tracemalloc.Filter(inclusive=False, filename_pattern=pattern, all_frames=True)
            for pattern in (_EMULATORS, scripted_service.__file__)
        ]
        snapshot = tracemalloc.take_snapshot().filter_traces([ours, *others])
        return sum(trace.size for trace in snapshot.traces)

    tracemalloc.start(4)
    try:
        yield measure
    finally:
        tracemalloc.stop()


async def await_it(session: WiroSession, prompt: str) -> None:
    assert (await (await session.run(FLUX, {"prompt": prompt}))).succeeded


async def follow_it(session: WiroSession, prompt: str) -> None:
    handle = await session.run(FLUX, {"prompt": prompt})
    assert [event.status async for event in handle.stream()][-1] == "task_postprocess_end"


async def leave_its_stream(session: WiroSession, prompt: str) -> None:
    handle = await session.run(FLUX, {"prompt": prompt})
    events = handle.stream()
    await anext(events)
    await events.aclose()
    await handle


async def lose_patience(session: WiroSession, prompt: str) -> None:
    handle = await session.run(FLUX, {"prompt": prompt})
    with pytest.raises(TaskTimeout):
        await handle.wait(timeout_seconds=1.0)
    await handle


async def forget_it(session: WiroSession, prompt: str) -> None:
    await session.run(FLUX, {"prompt": prompt})
    await asyncio.sleep(60.0)


async def see_it_fail(session: WiroSession, prompt: str) -> None:
    with pytest.raises(TaskFailed):
        await (await session.run(FLUX, {"prompt": prompt}))


async def cancel_it(session: WiroSession, prompt: str) -> None:
    handle = await session.run(FLUX, {"prompt": prompt})
    await handle.cancel()
    with pytest.raises(TaskCancelled):
        await handle


async def stop_waiting(session: WiroSession, prompt: str) -> None:
    waiting = asyncio.ensure_future(await_it(session, prompt))
    await asyncio.sleep(2.0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(60.0)


async def take_it_up(session: WiroSession, prompt: str) -> None:
    started = await session.run(FLUX, {"prompt": prompt})
    assert (await session.task(token=started.token)).succeeded


async def find_it(session: WiroSession, prompt: str) -> None:
    with pytest.raises(RunOutcomeUnknown) as caught:
        await session.run(FLUX, {"prompt": prompt})
    handle = await caught.value.find()
    assert handle is not None
    await handle


async def lose_it(session: WiroSession, prompt: str) -> None:
    with pytest.raises(RunOutcomeUnknown) as caught:
        await session.run(FLUX, {"prompt": prompt})
    assert await caught.value.find() is None


Use = Callable[[WiroSession, str], Awaitable[None]]
Gauge = Callable[[], int]


async def growth(
    use: Use, transport: WorldTransport, *, few: int, many: int, gauges: Iterable[Gauge] = ()
) -> list[str]:
    """Use a session a few times and then many times; what there is too much more of, in words."""
    async with joined(
        transport,
        max_in_flight=AT_ONCE,
        max_looks_per_second=1e6,
        poll_schedule=PollSchedule(jitter=0.0),
    ) as session:
        spared = [transport, asyncio.get_running_loop()]
        gauges = [lambda: bytes_held(session, spared), *gauges]

        async def run(first: int, count: int) -> tuple[list[int], Counter[str]]:
            for start in range(first, first + count, AT_ONCE):
                numbers = range(start, start + AT_ONCE)
                await asyncio.gather(*(use(session, f"number {number}") for number in numbers))
                transport.asked.clear()
            await settle()
            return [gauge() for gauge in gauges], count_objects()

        sizes, objects = await run(0, few)
        later_sizes, later_objects = await run(few, many)
        assert all(sizes), "a gauge that shows nothing shows no growth either"
        more = later_objects - objects
        kept = more if more.total() >= MOST_OBJECTS else {}
        grown = [after - before for before, after in zip(sizes, later_sizes, strict=True)]
        return [
            *(f"{number} objects of {name}" for name, number in kept.items()),
            *(f"{size} bytes" for size in grown if size >= MOST_BYTES),
        ]


def make_world(**terms: object) -> WorldTransport:
    whole = {"median_seconds": 8.0, "sigma": 0.0, "balance": Decimal(1_000_000), **terms}
    return WorldTransport(Terms(**whole))  # type: ignore[arg-type] # handed on


@pytest.fixture(autouse=True)
def _few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of tasks that a session remembers are bounded; here the bound is soon reached."""
    monkeypatch.setattr(search, "_MOST_REMEMBERED", 500)


def test_thousands_of_tasks_leave_a_session_where_it_was_after_the_first_thousand() -> None:
    assert run_virtual(growth(await_it, make_world(), few=1_000, many=4_000)) == []


@pytest.mark.parametrize(
    "use",
    [follow_it, leave_its_stream, lose_patience, forget_it, cancel_it, stop_waiting, take_it_up],
    ids=lambda use: use.__name__,
)
def test_nothing_stays_of_a_task_however_it_was_used(use: Use) -> None:
    assert run_virtual(growth(use, make_world(), few=400, many=1_000)) == []


def test_nothing_stays_of_a_task_that_failed() -> None:
    world = make_world(failure_rate=1.0)
    assert run_virtual(growth(see_it_fail, world, few=400, many=1_000)) == []


@pytest.mark.usefixtures("wall_clock")
@pytest.mark.parametrize(("use", "loss"), [(find_it, "made"), (lose_it, "not made")])
def test_nothing_stays_of_a_run_whose_answer_was_lost(use: Use, loss: Loss) -> None:
    losses = {f"number {number}": (loss,) for number in range(900)}
    world = LossyWorld(losses, median_seconds=8.0, balance=Decimal(1_000_000))
    assert run_virtual(growth(use, world, few=400, many=500)) == []


def test_what_the_librarys_own_lines_allocate_is_freed() -> None:
    """Also what no object of the session leads to: a global, a cache that is never full."""
    with tracing() as measure:
        use = growth(await_it, make_world(), few=300, many=900, gauges=[measure])
        assert run_virtual(use) == []


@pytest.mark.usefixtures("wall_clock")
def test_of_a_long_list_only_rows_that_could_be_the_lost_one_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[int] = []

    def match(lost: Sequence[LostRun], rows: Sequence[Task], **options: Any) -> dict[str, Task]:  # noqa: ANN401 - handed on
        kept.append(len(rows))
        return match_runs(lost, rows, **options)

    monkeypatch.setattr(search, "match_runs", match)
    world = LossyWorld({"lost": ("made",)}, median_seconds=8.0, balance=Decimal(1_000_000))

    async def use() -> None:
        async with joined(world, max_in_flight=AT_ONCE) as session:
            await asyncio.gather(*(await_it(session, f"number {n}") for n in range(350)))
            await find_it(session, "lost")

    run_virtual(use())
    assert kept == [1, 1]
    assert len(world.times("/Task/List")) == 2 * 5, "each reading went to the end"


async def test_nothing_stays_of_a_batch_with_a_journal(tmp_path: Path) -> None:
    faults = [
        Fault(endpoint="Run", action="fail_task", times=None, every=11),
        Fault(endpoint="Run", action="drop_after", times=None, every=37),
        Fault(endpoint="cdn", action="truncate", times=None, every=13),
    ]
    async with (
        emulated(tmp_path, speed=2000.0, faults=faults) as service,
        service.session() as session,
    ):

        async def run(number: int) -> list[weakref.ref[Any]]:
            async with session.batch(
                (f"number {number}.{n}" for n in range(100)),
                output_dir=tmp_path / str(number),
                model=FLUX,
                max_in_flight=20,  # or now more connections are open, and now fewer
                journal=tmp_path / str(number) / JOURNAL_NAME,
            ) as batch:
                items = [item async for item in batch]
            assert {item.status for item in items} == {ItemStatus.SUCCEEDED, ItemStatus.FAILED}
            return [weakref.ref(batch), *(weakref.ref(item.request) for item in items)]

        await run(0)
        # What aiohttp keeps for its open connections is not the question here.
        spared = [asyncio.get_running_loop(), session._transport]
        size, objects = bytes_held(session, spared), count_objects()
        references = [one for number in range(1, 4) for one in await run(number)]
        more = count_objects() - objects
        assert more.total() < MOST_OBJECTS, more
        assert bytes_held(session, spared) - size < MOST_BYTES
        assert not [reference() for reference in references if reference() is not None]
