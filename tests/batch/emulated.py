"""A batch with a journal, before a fast emulator: run once, or again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import define, field

from tests.batch.source_cases import FLUX
from wiro_async.batch.journal.entries import JOURNAL_NAME
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import BatchItem, BatchSummary, ItemStatus
from wiro_async.emulator import Emulator
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession
from wiro_async.task import JsonObject

SPEED = 200.0
# A task takes its 8 s in 40 ms, and what goes wrong is tried again as soon.
SCHEDULE = PollSchedule().faster(SPEED)
POLICY = RetryPolicy(base_seconds=0.005, cap_seconds=0.02)
SETTLE_SECONDS = 0.05


@define
class Ran:
    """One run of a batch that is over."""

    items: dict[str, BatchItem]
    summary: BatchSummary
    asked: Counter[str]
    """Requests that reached the service, by endpoint."""

    @property
    def statuses(self) -> dict[str, ItemStatus]:
        return {name: item.status for name, item in sorted(self.items.items())}


@define
class Emulated:
    """A service, and the directory of one batch; each run has a session of its own."""

    emulator: Emulator
    directory: Path
    sessions: int = field(default=0)

    @property
    def journal(self) -> Path:
        return self.directory / JOURNAL_NAME

    @asynccontextmanager
    async def session(self) -> AsyncIterator[WiroSession]:
        async with WiroSession(
            self.emulator.api_key,
            self.emulator.api_secret,
            base_url=self.emulator.base_url,
            poll_schedule=SCHEDULE,
            retry_policy=POLICY,
            max_looks_per_second=2000.0,
            request_timeout_seconds=10.0,
            settle_seconds=SETTLE_SECONDS,
        ) as session:
            yield session

    async def run(
        self,
        requests: Iterable[BatchRequest | str | JsonObject],
        **choices: object,
    ) -> Ran:
        """Run the batch to its end, as if it were the first time or the next."""
        before = Counter(self.emulator.books.requests)
        async with (
            self.session() as session,
            session.batch(
                requests,
                output_dir=self.directory,
                model=FLUX,
                journal=self.journal,
                **choices,  # type: ignore[arg-type] # handed on as they came
            ) as batch,
        ):
            items = {item.custom_id: item async for item in batch}
        return Ran(items, batch.summary, Counter(self.emulator.books.requests) - before)


@asynccontextmanager
async def emulated(directory: Path, **settings: object) -> AsyncIterator[Emulated]:
    whole = {"speed": SPEED, "picture_pixels": 0, "sigma": 0.0, **settings}
    async with Emulator(**whole) as emulator:  # type: ignore[arg-type] # handed on as they came
        yield Emulated(emulator, directory)
