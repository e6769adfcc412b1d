"""The whole way to the emulator on this machine: sockets, signatures, files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.scripted_service import FLUX
from wiro_async.emulator import Emulator, Fault
from wiro_async.errors import AuthenticationFailed, RunOutcomeUnknown, SessionStateError
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession

PROMPT = {"prompt": "a lighthouse"}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(speed=200, picture_pixels=0) as emulator:
        yield emulator


@pytest.fixture
async def session(emulator: Emulator) -> AsyncIterator[WiroSession]:
    async with WiroSession(
        emulator.api_key,
        emulator.api_secret,
        base_url=emulator.base_url,
        max_looks_per_second=2000,
        poll_schedule=PollSchedule().faster(200),
        retry_policy=RetryPolicy(base_seconds=0.01),
    ) as session:
        yield session


async def test_from_a_prompt_to_a_file(
    emulator: Emulator, session: WiroSession, tmp_path: Path
) -> None:
    handle = await session.run(FLUX, PROMPT)
    (path,) = await handle.download(tmp_path)
    (booked,) = emulator.books.tasks.values()
    assert path == tmp_path / f"{handle.task_id}.png"
    assert path.stat().st_size == booked.outputs[0].size
    (saved,) = await handle.save_outputs(tmp_path, stem="mine")
    assert (saved.path.name, saved.sha256) == ("mine.png", booked.outputs[0].sha256)
    await handle.delete_files()
    assert booked.deleted
    assert emulator.books.violations == []


async def test_a_hundred_handles_awaited_together(emulator: Emulator, session: WiroSession) -> None:
    handles = await asyncio.gather(
        *[session.run(FLUX, {"prompt": str(number)}) for number in range(100)]
    )
    tasks = await asyncio.gather(*handles)
    assert all(task.succeeded for task in tasks)
    books = emulator.books
    assert len(books.tasks) == 100
    assert all(len(ids) == 1 for ids in books.tasks_by_prompt.values())
    assert session.statistics.requests["/Run"] == 100
    assert session.statistics.requests["/Task/Detail"] == books.requests["Task/Detail"]


@pytest.mark.parametrize(
    ("fault", "made"),
    [
        (Fault(endpoint="Run", action="drop_before"), 0),
        (Fault(endpoint="Run", action="drop_after"), 1),
        (Fault(endpoint="Run", action="html", task_made=True), 1),
        (Fault(endpoint="Run", action="status", status=502), 0),
    ],
    ids=lambda value: getattr(value, "action", ""),
)
async def test_a_run_whose_answer_is_lost_is_sent_once(
    emulator: Emulator, session: WiroSession, fault: Fault, made: int
) -> None:
    emulator.add_fault(fault)
    with pytest.raises(RunOutcomeUnknown):
        await session.run(FLUX, PROMPT)
    assert emulator.books.requests["Run"] == 1
    assert len(emulator.books.tasks) == made
    assert session.statistics.in_flight == 0


async def test_half_an_answer_that_names_the_task_is_followed(
    emulator: Emulator, session: WiroSession
) -> None:
    emulator.add_fault(Fault(endpoint="Run", action="truncate"))
    assert (await (await session.run(FLUX, PROMPT))).succeeded
    assert emulator.books.requests["Run"] == 1


async def test_lost_looks_are_looked_again(emulator: Emulator, session: WiroSession) -> None:
    for action in ("drop_before", "truncate", "html", "status", "not_found"):
        emulator.add_fault(Fault(endpoint="Task/Detail", action=action))
    assert (await (await session.run(FLUX, PROMPT))).succeeded
    assert len(emulator.books.tasks) == 1


async def test_a_wrong_key_is_told_at_once(emulator: Emulator) -> None:
    async with WiroSession("wrong", "wrong", base_url=emulator.base_url) as session:
        with pytest.raises(AuthenticationFailed, match="check WIRO_API_KEY") as caught:
            await session.run(FLUX, PROMPT)
    assert caught.value.http_status == 401
    assert emulator.books.requests["Run"] == 1


async def test_it_is_opened_in_one_task_and_closed_in_another() -> None:
    async with Emulator(speed=200, picture_pixels=0) as emulator:
        session = WiroSession(emulator.api_key, emulator.api_secret, base_url=emulator.base_url)
        await asyncio.create_task(session.open())
        handle = await asyncio.create_task(session.run(FLUX, PROMPT))
        await asyncio.create_task(session.aclose())
        with pytest.raises(SessionStateError, match=f"closed while task {handle.task_id}"):
            await handle
