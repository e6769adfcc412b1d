"""A batch with a journal, cancelled at any step: what went out is written down, and it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cancel.journal_thread import in_step
from tests.cancel.stage import (
    LONGEST_ATTEMPT,
    Service,
    check_complete,
    check_left,
    open_batch,
    open_files,
    wall_clock,
)
from tests.cancel.stepping import AfterSteps, AimedLoop, AtLabel, Cut, Style, play, sweep
from tests.cancel.styles import STYLES, by_cancel, every_style
from tests.cancel.test_cancel_download import threads_in_virtual_time
from tests.virtual_session import EVEN, joined

PROMPTS = ["one", "lost", "three"]
DISK = 0.25


@pytest.fixture(autouse=True)
def _keep_step() -> Iterator[None]:
    with in_step(), threads_in_virtual_time():
        yield


async def fresh(cut: Cut) -> None:
    with TemporaryDirectory() as name, wall_clock():
        directory, service = Path(name), Service(lost=("lost",))
        async with joined(service, poll_schedule=EVEN) as session:

            async def use() -> None:
                async with open_batch(session, directory, PROMPTS) as batch:
                    async for _ in batch:
                        pass

            was_open = open_files()
            await cut(use)
            assert open_files() == was_open
            sent = len(service.prompts)
            assert cut.seconds <= LONGEST_ATTEMPT + DISK
            check_left(directory, service)
            await asyncio.sleep(100)
            assert len(service.prompts) == sent
            assert session.statistics.in_flight == 0
            await use()
            check_complete(directory, service, PROMPTS)


@every_style
def test_a_fresh(style: Style) -> None:
    print(sweep(fresh, style))
