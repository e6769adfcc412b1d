"""A session without a service: tasks that start, end and are saved when the test says so."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import cast

from attrs import define, field

from wiro_async.api import Statistics
from wiro_async.batch.engine import Batch
from wiro_async.batch.requests import BatchRequest
from wiro_async.downloads import SavedFile
from wiro_async.errors import RunOutcomeUnknown, TaskError, WiroError
from wiro_async.handle import TaskHandle
from wiro_async.task import JsonObject, Outcome, Task

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

    async def save_outputs(self, directory: Path, *, stem: str) -> tuple[SavedFile, ...]:
        if self.prompt in self.runner.errors:
            raise self.runner.errors[self.prompt]
        await self.runner.saves[self.prompt].wait()
        if self.prompt in self.runner.spoilt:
            raise self.runner.spoilt[self.prompt]
        return (save(directory, stem),)


@define(eq=False)
class FakeRunner:
    """Starts anything at once; a task ends, and is saved, when its event is set."""

    holds: bool = False
    """Whether tasks wait for `ends`; else they end at once."""
    refused: Mapping[str, WiroError] = field(factory=dict)
    errors: Mapping[str, WiroError] = field(factory=dict)
    spoilt: Mapping[str, WiroError] = field(factory=dict)
    started: list[str] = field(factory=list)
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

    async def start(
        self,
        model: str,
        params: JsonObject,
        *,
        on_handle: Callable[[TaskHandle], None],
        on_unknown: Callable[[RunOutcomeUnknown], None],
    ) -> TaskHandle:
        assert model
        prompt = str(params["prompt"])
        self.started.append(prompt)
        number = len(self.started)
        await asyncio.sleep(0)
        if (error := self.refused.get(prompt)) is not None:
            if isinstance(error, RunOutcomeUnknown):
                on_unknown(error)
            raise error
        made = cast("TaskHandle", FakeHandle(self, prompt, f"id-{number}", f"token-{number}"))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        on_handle(made)
        return made

    def batch(
        self,
        requests: Iterable[BatchRequest | str | JsonObject]
        | AsyncIterable[BatchRequest | str | JsonObject],
        directory: Path,
        *,
        max_in_flight: int = 10,
    ) -> Batch:
        return Batch(
            self,
            requests,
            output_dir=directory,
            model=MODEL,
            params={},
            max_in_flight=max_in_flight,
        )


def open_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
