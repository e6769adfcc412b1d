"""One cell, played: a session, a batch or a call, and a man in the middle who spoils it."""

from __future__ import annotations

import asyncio
import secrets
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from unittest.mock import patch

from attrs import define, field, frozen

from tests.hostile.ears import CONNECTED, listening, open_descriptors, settled_descriptors
from tests.hostile.meanings import VERBS
from tests.hostile.middleman import Middleman, between
from tests.hostile.rows import PROMPTS, Cell
from tests.scripted_service import FLUX
from tests.virtual_time import settle
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import BatchItem, BatchSummary
from wiro_async.emulator import Emulator
from wiro_async.errors import WiroError
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession

PICTURES = "out"
_POLICY = RetryPolicy(
    max_attempts=4,
    max_download_attempts=4,
    max_rate_limited=4,
    max_failed_looks=4,
    base_seconds=0.01,
    cap_seconds=0.05,
    max_pause_seconds=0.5,
    max_outage_seconds=1.0,
)
_SCHEDULE = PollSchedule(first_seconds=0.01, growth=1.1, max_seconds=0.02, jitter=0.2)
# The library's own patience with a service that is slow, made short: no cell is about it.
_QUICK = {
    "wiro_async.tracking.tracker._MISSING_GRACE_SECONDS": 0.25,
    "wiro_async.protocol.limits._SLOWEST_RATE": 100.0,
    "wiro_async.protocol.limits._FIRST_WAIT_SECONDS": 0.05,
}
# For rows that only a timeout ends; what is not struck has to be well within it on a slow machine.
_SHORT_SECONDS = 0.7
_LONG_SECONDS = 10.0
_WHOLE_SECONDS = 25.0


@frozen(kw_only=True)
class Secrets:
    """Credentials that nobody else has; never shown."""

    key: str = field(factory=lambda: f"key-{secrets.token_hex(16)}", repr=False)
    secret: str = field(factory=lambda: f"secret-{secrets.token_hex(16)}", repr=False)


@define(kw_only=True, repr=False)
class Play:
    """What came of a cell, for the checks to judge.

    Attributes:
        items: how the batch's items ended, by prompt.
        again: the same, of the same batch started again without the fault.
        outcome: what a direct call ended with; None for well.
        connected: where connections were tried to that are not the scene's own.
        logged: at every level.
        complaints: what the event loop said of tasks that nobody awaited, and the like.
        made: tasks, by prompt, before the batch was started again.
        runs: Runs that came in, the same.
        files: what is on disk in the end, by path.
        descriptors: how many were open before and after.
    """

    cell: Cell
    place: Path
    secrets: Secrets
    emulator: Emulator
    middleman: Middleman
    items: dict[str, BatchItem] = field(factory=dict)
    summary: BatchSummary = field(factory=BatchSummary)
    again: dict[str, BatchItem] | None = None
    outcome: WiroError | None = None
    connected: list[tuple[str, int]] = field(factory=list)
    logged: list[str] = field(factory=list)
    complaints: list[str] = field(factory=list)
    made: dict[str, int] = field(factory=dict)
    runs: Counter[str] = field(factory=Counter)
    files: dict[str, bytes] = field(factory=dict)
    descriptors: tuple[int, int] = (0, 0)

    @property
    def errors(self) -> list[WiroError]:
        """Every error that anybody was told."""
        ended = [*self.items.values(), *(self.again or {}).values()]
        told = [item.error for item in ended if item.error is not None]
        stops = [self.summary.stopped_by] if self.summary.stopped_by else []
        return [*told, *stops, *([self.outcome] if self.outcome else [])]

    @property
    def output_dir(self) -> Path:
        return self.place / PICTURES

    def shown(self) -> str:
        """All that a report of its errors would show, locals of the frames included."""
        return "\n".join(
            text
            for error in self.errors
            for text in (
                str(error),
                repr(error),
                *traceback.TracebackException.from_exception(error, capture_locals=True).format(),
            )
        )


async def play(cell: Cell, place: Path) -> Play:
    """Let it happen; nothing of it runs any more when this returns.

    Raises:
        TimeoutError: if it hangs.
    """
    before = open_descriptors()
    with ExitStack() as stack:
        for name, value in _QUICK.items():
            stack.enter_context(patch(name, value))
        logged, complaints = stack.enter_context(listening())
        async with asyncio.timeout(_WHOLE_SECONDS):
            played = await _play(cell, place, Secrets())
        await settle()
    played.logged, played.complaints = logged, complaints
    played.descriptors = (before, await settled_descriptors(before))
    return played


async def _play(cell: Cell, place: Path, own: Secrets) -> Play:
    is_verb = cell.endpoint in VERBS
    async with Emulator(
        api_key=own.key,
        api_secret=own.secret,
        # Tasks that a person stops have to run still.
        speed=1.0 if is_verb else 200.0,
        median_seconds=1e6 if is_verb else 8.0,
        sigma=0,
        picture_pixels=0,
    ) as emulator:
        async with between(emulator, cell.plan) as middleman:
            played = Play(
                cell=cell, place=place, secrets=own, emulator=emulator, middleman=middleman
            )
            CONNECTED.clear()
            await (_call(played) if is_verb else _run_batch(played))
            played.connected = [one for one in CONNECTED if one[1] not in _own_ports(played)]
        played.files = read_files(place)
    return played


def _own_ports(played: Play) -> set[int]:
    middleman = played.middleman
    doors = (middleman.api, middleman.cdn, middleman.nobody)
    return {played.emulator.port, *(door.port for door in doors)}


@asynccontextmanager
async def _session(played: Play, *, is_again: bool = False) -> AsyncIterator[WiroSession]:
    row = played.cell.row
    seconds = _SHORT_SECONDS if row.needs_patience and not is_again else _LONG_SECONDS
    async with WiroSession(
        played.secrets.key,
        played.secrets.secret,
        base_url=played.middleman.base_url,
        max_looks_per_second=2000,
        poll_schedule=_SCHEDULE,
        retry_policy=_POLICY,
        request_timeout_seconds=seconds,
        silence_timeout_seconds=seconds,
        settle_seconds=0.03,
        **({} if is_again else row.settings),  # type: ignore[arg-type] # named in the row
    ) as session:
        yield session


async def _run_batch(played: Play) -> None:
    middleman = played.middleman
    if played.cell.endpoint == "Run":
        await middleman.strike_door()
    async with _session(played) as session:
        played.items = await _batch(session, played)
    played.made = _tasks_made(played)
    played.runs = Counter(
        str(one.fields.get("prompt")) for one in middleman.requests if one.endpoint == "Run"
    )
    is_well = all(item.ok for item in played.items.values()) and len(played.items) == len(
        played.cell.prompts
    )
    if is_well:
        return
    await middleman.mend()
    async with _session(played, is_again=True) as session:
        played.again = await _batch(session, played, is_again=True)


async def _batch(
    session: WiroSession, played: Play, *, is_again: bool = False
) -> dict[str, BatchItem]:
    requests = [
        BatchRequest(custom_id=prompt.split()[-1], model=FLUX, params={"prompt": prompt})
        for prompt in played.cell.prompts
    ]
    async with session.batch(
        requests,
        output_dir=played.output_dir,
        journal=played.output_dir / "batch.sqlite",
        max_in_flight=played.cell.at_once,
    ) as batch:
        items = {str(item.request.params["prompt"]): item async for item in batch}
    if not is_again:
        played.summary = batch.summary
    return items


async def _call(played: Play) -> None:
    async with _session(played) as session:
        handle = await session.run(FLUX, {"prompt": PROMPTS[0]})
        if played.cell.endpoint == "Task/Kill":
            await _until_killable(played)
        await played.middleman.strike_door()
        try:
            if played.cell.endpoint == "Tool/Detail":
                await session.price(FLUX, {"prompt": PROMPTS[0]})
            elif played.cell.endpoint == "Task/Kill":
                await handle.kill()
            else:
                await handle.cancel()
        except WiroError as error:
            played.outcome = error
    played.made = _tasks_made(played)


async def _until_killable(played: Play) -> None:
    """The world's clock runs on by itself too slowly for a worker to take the task."""
    world = played.emulator._world
    (task,) = world.books.tasks.values()
    task.created -= 0.5 * task.duration
    world.look(played.emulator._now())
    await asyncio.sleep(0)


def _tasks_made(played: Play) -> dict[str, int]:
    return {name: len(ids) for name, ids in played.emulator.books.tasks_by_prompt.items()}


def read_files(place: Path) -> dict[str, bytes]:
    """Every file under a directory by its path; a journal's own files too."""
    found = sorted(path for path in place.rglob("*") if not path.is_dir())
    return {str(path.relative_to(place)): path.read_bytes() for path in found}
