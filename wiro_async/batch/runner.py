"""What a batch needs of a session, what a person decides about it, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from attrs import frozen

from wiro_async.api import Statistics
from wiro_async.batch.gate import Room, measure_room
from wiro_async.errors import (
    AuthenticationFailed,
    InsufficientBalance,
    OutputDirectoryError,
    RequestNotSent,
    SessionStateError,
)
from wiro_async.handle import TaskHandle
from wiro_async.protocol.matching import LostRun
from wiro_async.runs import TaskKeeper
from wiro_async.task import JsonObject, Task
from wiro_async.tracking.search import Knower

OnUnknown: TypeAlias = Literal["hold", "skip", "resubmit"]


# Errors that the next item would meet as well.
STOPPING = (
    AuthenticationFailed,
    InsufficientBalance,
    OutputDirectoryError,
    RequestNotSent,
    SessionStateError,
)


class Runner(Protocol):
    """What a batch needs of a session."""

    async def start(self, model: str, params: JsonObject, keeper: TaskKeeper) -> TaskHandle:
        """Start a task; the keeper is told of it first, whatever happens to the caller."""
        ...

    async def adopt(
        self, model: str, *, task_id: str | None = None, token: str | None = None
    ) -> TaskHandle:
        """Watch a task that exists, in a slot."""
        ...

    async def find(self, lost: LostRun, knower: Knower | None = None) -> Task | None:
        """Look for the task of a Run whose answer was not read."""
        ...

    async def price(self, model: str, params: JsonObject) -> Decimal | None:
        """What one Run may cost at most, as far as the service tells."""
        ...

    @property
    def statistics(self) -> Statistics:
        """What the session has done so far."""
        ...


@frozen(kw_only=True)
class Choices:
    """What a person decides about a batch.

    Attributes:
        journal: the file of the journal; None for a batch in memory.
        on_unknown: what becomes of a Run of which nobody knows whether it made a task, when it
            was looked for and not found: it is held (and looked for again by the next run of
            the batch), skipped for good, or sent again, which may pay twice.
        retry_failed: whether what failed in an earlier run is run again.
        max_cost: what the batch may cost, in US dollars; None for no limit.
        disk_patience_seconds: how long a full disk pauses the batch before it stops it.
        measure_room: tells what the file system of the output directory has.
    """

    journal: Path | None = None
    on_unknown: OnUnknown = "hold"
    retry_failed: bool = False
    max_cost: Decimal | None = None
    disk_patience_seconds: float = 600.0
    measure_room: Callable[[Path], Room | None] = measure_room
