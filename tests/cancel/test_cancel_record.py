"""A batch with a journal, cancelled at any step: what went out is written down, and it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from tests.cancel.stage import (
    LONGEST_ATTEMPT,
    Service,
    check_complete,
    check_left,
    live_before,
    open_batch,
    wall_clock,
)
from tests.cancel.stepping import Cut, Style, sweep
from tests.cancel.styles import STYLES
from tests.cancel.threads import DISK, in_step, open_files, threads_in_virtual_time
from tests.virtual_session import EVEN, joined
from wiro_async.batch.engine import Batch
from wiro_async.session import WiroSession

# Until the first item has ended it does not show how the batch will be left.
SAME_STEPS = 70
PROMPTS = ["one", "lost", "three"]
Body = Callable[[Batch], Coroutine[Any, Any, None]]


async def read_to_the_end(batch: Batch) -> None:
    async for _ in batch:
        pass


async def leave_after_the_first(batch: Batch) -> None:
    """What is in flight is finished while the batch is left."""
    await anext(batch)


@frozen
class Place:
    session: WiroSession
    service: Service
    directory: Path
    prompts: list[str]


async def go(cut: Cut, place: Place, body: Body, **choices: object) -> None:
    """Be cancelled; see that all is in order, and go on to the end."""
    service, session = place.service, place.session

    async def use(body: Body = body) -> None:
        async with open_batch(session, place.directory, place.prompts, **choices) as batch:
            await body(batch)

    was_open = open_files()
    await cut(use)
    assert open_files() == was_open
    sent = len(service.prompts)
    assert cut.seconds <= LONGEST_ATTEMPT + DISK
    check_left(place.directory, service)
    await asyncio.sleep(100)
    assert len(service.prompts) == sent
    assert session.statistics.in_flight == 0
    await use(read_to_the_end)
    check_complete(place.directory, service, place.prompts)
    assert session.statistics.in_flight == 0


async def fresh(cut: Cut, body: Body) -> None:
    with TemporaryDirectory() as name, wall_clock():
        directory, service = Path(name), Service(lost=("lost",), full=("three",))
        async with joined(service, poll_schedule=EVEN) as session:
            await go(cut, Place(session, service, directory, PROMPTS), body)


async def resumed(cut: Cut) -> None:
    with TemporaryDirectory() as name, wall_clock():
        directory, service = Path(name), Service()
        prompts = await live_before(directory, service)
        async with joined(service, poll_schedule=EVEN, settle_seconds=2.0) as session:
            await go(
                cut,
                Place(session, service, directory, prompts),
                read_to_the_end,
                on_unknown="resubmit",
                retry_failed=True,
                max_cost=Decimal(100),
            )


def turned(places: int) -> list[Style]:
    """All styles, beginning with another one."""
    return STYLES[places:] + STYLES[:places]


def test_at_every_step_of_a_fresh_batch() -> None:
    with in_step(), threads_in_virtual_time():
        assert sweep(lambda cut: fresh(cut, read_to_the_end), *turned(0)) > 100


def test_at_every_step_of_a_batch_that_is_left_early() -> None:
    with in_step(), threads_in_virtual_time():
        steps = sweep(lambda cut: fresh(cut, leave_after_the_first), *turned(5), first=SAME_STEPS)
        assert steps > SAME_STEPS + 50


def test_at_every_step_of_a_batch_that_goes_on_from_any_state() -> None:
    with in_step(), threads_in_virtual_time():
        assert sweep(resumed, *turned(9)) > 100
