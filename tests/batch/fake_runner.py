"""A session without a service: tasks that start, end and are saved when the test says so."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import cast

from attrs import define, field

from wiro_async.api import Statistics
from wiro_async.batch.engine import Batch
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.runner import Choices
from wiro_async.downloads import SavedFile
from wiro_async.errors import RunOutcomeUnknown, TaskError, WiroError
from wiro_async.handle import TaskHandle
from wiro_async.protocol.matching import LostRun
from wiro_async.runs import TaskKeeper
from wiro_async.task import JsonObject, Outcome, Task
from wiro_async.tracking.search import Knower

MODEL = "owner/model"


def save(directory: Path, stem: str) -> SavedFile:
    path = directory / f"{stem}.png"
    path.write_bytes(stem.encode())
    return SavedFile(path=path, size_bytes=len(stem), sha256="0" * 64, url=f"https://cdn/{stem}")


@define(eq=False)
class FakeHandle:
    """What the engine uses of a handle."""

    runner: FakeRunner
    prompt: str
    task_id: str
    token: str
    task: Task | None = None

    def __await__(self) -> Generator[object, None, Task]:
        return self._result().__await__()

    async def _result(self) -> Task:
        error = self.runner.errors.get(self.prompt)
        if error is not None:
            raise error
        assert self.task is not None
        return self.task

    async def wait(self) -> Task:
        try:
            await self.runner.ends[self.prompt].wait()
        finally:
            self.runner.in_flight -= 1
        error = self.runner.errors.get(self.prompt)
        if error is not None and not isinstance(error, TaskError):
            raise error
        self.task = Task(
            id=self.task_id,
            outcome=Outcome.FAILED if error else Outcome.SUCCEEDED,
            total_cost=None if error else Decimal("0.06"),
        )
        return self.task

    async def stop(self) -> Task:
        self.runner.ends[self.prompt].set()
        return await self.wait()

    async def save_outputs(self, directory: Path, *, stem: str) -> tuple[SavedFile, ...]:
        if self.prompt in self.runner.errors:
            raise self.runner.errors[self.prompt]
        await self.runner.saves[self.prompt].wait()
        await self.runner.before_saving(self.prompt)
        if self.prompt in self.runner.spoilt:
            raise self.runner.spoilt[self.prompt]
        return (save(directory, stem),)


async def save_at_once(_: str) -> None:
    """The disk has room."""


@define(eq=False)
class FakeRunner:
    """Starts anything at once; a task ends, and is saved, when its event is set."""

    holds: bool = False
    """Whether tasks wait for `ends`; else they end at once."""
    refused: Mapping[str, WiroError] = field(factory=dict)
    errors: Mapping[str, WiroError] = field(factory=dict)
    spoilt: Mapping[str, WiroError] = field(factory=dict)
    prices: Mapping[str, Decimal] = field(factory=dict)
    before_saving: Callable[[str], Awaitable[None]] = save_at_once
    started: list[str] = field(factory=list)
    adopted: list[str | None] = field(factory=list)
    looked_for: list[str] = field(factory=list)
    handles: dict[str, FakeHandle] = field(factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0
    ends: dict[str, asyncio.Event] = field(init=False)
    saves: dict[str, asyncio.Event] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ends = defaultdict(asyncio.Event if self.holds else open_event)
        self.saves = defaultdict(open_event)

    @property
    def statistics(self) -> Statistics:
        return Statistics(
            requests={},
            repeats=3 * len(self.started),
            rejections=2 * len(self.started),
            in_flight=self.in_flight,
            most_in_flight=self.most_in_flight,
        )

    async def start(self, model: str, params: JsonObject, keeper: TaskKeeper) -> TaskHandle:
        assert model
        prompt = str(params["prompt"])
        self.started.append(prompt)
        number = len(self.started)
        await keeper.before_sending()
        keeper.before_body()
        await asyncio.sleep(0)
        if (error := self.refused.get(prompt)) is not None:
            if isinstance(error, RunOutcomeUnknown):
                await keeper.on_unknown(error)
            else:
                await keeper.on_no_task(error)
            raise error
        made = FakeHandle(self, prompt, f"id-{number}", f"token-{number}")
        self.handles[made.task_id] = made
        await keeper.on_handle(self._run(made))
        return cast("TaskHandle", made)

    async def adopt(
        self, model: str, *, task_id: str | None = None, token: str | None = None
    ) -> TaskHandle:
        assert model
        assert token
        self.adopted.append(task_id)
        return self._run(self.handles[task_id or ""])

    async def find(self, lost: LostRun, knower: Knower | None = None) -> Task | None:
        assert knower is not None
        self.looked_for.append(str(lost.params["prompt"]))
        return None

    async def price(self, model: str, params: JsonObject) -> Decimal | None:
        assert model
        return self.prices.get(str(params["prompt"]))

    def _run(self, handle: FakeHandle) -> TaskHandle:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return cast("TaskHandle", handle)

    def batch(
        self,
        requests: Iterable[BatchRequest | str | JsonObject]
        | AsyncIterable[BatchRequest | str | JsonObject],
        directory: Path,
        *,
        max_in_flight: int = 10,
        choices: Choices | None = None,
    ) -> Batch:
        return Batch(
            self,
            requests,
            output_dir=directory,
            defaults=(MODEL, {}),
            max_in_flight=max_in_flight,
            choices=choices,
        )


def open_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
