"""A batch with a journal, cancelled at any step: what went out is written down, and it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import frozen

from tests.cancel.journal_thread import in_step
from tests.cancel.stage import (
    LONGEST_ATTEMPT,
    Service,
    check_complete,
    check_left,
    live_before,
    open_batch,
    open_files,
    wall_clock,
)
from tests.cancel.stepping import AfterSteps, AimedLoop, AtLabel, Cut, Style, play, sweep
from tests.cancel.styles import STYLES, by_cancel, every_style
from tests.cancel.test_cancel_download import threads_in_virtual_time
from tests.virtual_session import EVEN, joined
from wiro_async.batch.engine import Batch
from wiro_async.session import WiroSession

PROMPTS = ["one", "lost", "three"]
DISK = 0.25


@pytest.fixture(autouse=True)
def _keep_step() -> Iterator[None]:
    with in_step(), threads_in_virtual_time():
        yield


async def read_to_the_end(batch: Batch) -> None:
    async for _ in batch:
        pass


async def leave_after_the_first(batch: Batch) -> None:
    """What is in flight is finished while the batch is left."""
    await anext(batch)


Body = Callable[[Batch], Coroutine[Any, Any, None]]


async def fresh(cut: Cut, body: Body) -> None:
    with TemporaryDirectory() as name, wall_clock():
        directory, service = Path(name), Service(lost=("lost",))
        async with joined(service, poll_schedule=EVEN) as session:
            await go(cut, Run(session, service, directory, PROMPTS), body)


async def resumed(cut: Cut) -> None:
    with TemporaryDirectory() as name, wall_clock():
        directory, service = Path(name), Service()
        prompts = await live_before(directory, service)
        async with joined(service, poll_schedule=EVEN, settle_seconds=2.0) as session:
            run = Run(session, service, directory, prompts)
            await go(cut, run, read_to_the_end, on_unknown="resubmit", retry_failed=True)


@frozen
class Run:
    session: WiroSession
    service: Service
    directory: Path
    prompts: list[str]


async def go(cut: Cut, run: Run, body: Body, **choices: object) -> None:
    """Be cancelled; see that all is in order, and go on to the end."""

    async def use(body: Body = body) -> None:
        async with open_batch(run.session, run.directory, run.prompts, **choices) as batch:
            await body(batch)

    was_open = open_files()
    await cut(use)
    assert open_files() == was_open
    sent = len(run.service.prompts)
    assert cut.seconds <= LONGEST_ATTEMPT + DISK
    check_left(run.directory, run.service)
    await asyncio.sleep(100)
    assert len(run.service.prompts) == sent
    assert run.session.statistics.in_flight == 0
    await use(read_to_the_end)
    check_complete(run.directory, run.service, run.prompts)
    assert run.session.statistics.in_flight == 0


@every_style
def test_a_fresh(style: Style) -> None:
    print(sweep(lambda cut: fresh(cut, read_to_the_end), style))


@every_style
def test_a_leave(style: Style) -> None:
    print(sweep(lambda cut: fresh(cut, leave_after_the_first), style))


@every_style
def test_a_resumed(style: Style) -> None:
    print(sweep(resumed, style))
