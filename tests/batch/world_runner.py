"""A batch's runner before the service of `tests.batch.world`.

A runner belongs to one batch. When that is said to be dead, it changes nothing at the service any
more, whatever is left of it still does.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Generator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from attrs import define, field

from tests.batch.world import (
    MODEL,
    PRICE,
    REFUSALS,
    Plan,
    SentRun,
    Step,
    World,
    WorldTask,
    now,
    read_task,
)
from wiro_async.api import Statistics
from wiro_async.batch.progress import Progress
from wiro_async.downloads import SavedFile, holds
from wiro_async.errors import (
    DownloadError,
    NotFound,
    RequestNotSent,
    RunOutcomeUnknown,
    SessionStateError,
    TaskCancelled,
    TaskFailed,
    WiroError,
)
from wiro_async.handle import TaskHandle
from wiro_async.protocol.matching import LostRun, match_runs
from wiro_async.runs import TaskKeeper
from wiro_async.shield import finish
from wiro_async.task import JsonObject, Outcome, Task
from wiro_async.tracking.search import Knower


@define(eq=False)
class WorldHandle:
    """What the engine uses of a handle."""

    runner: WorldRunner
    it: WorldTask
    task: Task | None = None

    @property
    def task_id(self) -> str:
        return self.it.id

    @property
    def token(self) -> str:
        return self.it.token

    def __await__(self) -> Generator[object, None, Task]:
        return self._result().__await__()

    async def wait(self) -> Task:
        while not self.it.is_over:
            try:
                async with asyncio.timeout(self.it.ends_at - now()):
                    await self.it.ended.wait()
            except TimeoutError:
                pass
        self.task = self.it.record()
        return self.task

    async def _result(self) -> Task:
        task = await self.wait()
        names: dict[str, Any] = {"task_id": task.id, "token": task.token, "task": task}
        if task.outcome is Outcome.CANCELLED:
            raise TaskCancelled(f"task {task.id} was cancelled", **names)
        if task.outcome is Outcome.FAILED:
            raise TaskFailed(f"task {task.id} failed", **names)
        return task

    async def save_outputs(self, directory: Path, *, stem: str) -> tuple[SavedFile, ...]:
        await self
        await asyncio.sleep(1)
        self.runner.check_alive()
        if self.it.fate == "download fails":
            self.it.fate = "well"  # the next time it works
            raise DownloadError(f"{stem} is paid but not saved", task_id=self.it.id)
        if self.it.fate == "disk is full":
            self.it.fate = "well"
            full = DownloadError(f"{stem} is paid but not saved", task_id=self.it.id)
            full.is_disk = full.is_full = True
            raise full
        content = self.it.prompt.encode()
        digest = hashlib.sha256(content).hexdigest()
        for name in (f"{stem}.png", f"{stem}-{digest[:16]}.png"):
            path = directory / name
            if not path.exists():
                path.write_bytes(content)
            if holds(path, digest):
                saved = SavedFile(path=path, size_bytes=len(content), sha256=digest, url="u")
                return (saved,)
        raise DownloadError("both names are taken")

    async def stop(self) -> Task:
        await asyncio.sleep(1)
        self.runner.check_alive()
        if not self.it.is_over:
            self.it.is_stopped = True
            self.it.ended.set()
        return await self.wait()


@define(eq=False)
class WorldRunner:
    """What a batch needs of a session (`batch.runner.Runner`), for one batch."""

    world: World
    plan: Plan
    asked: Counter[str] = field(factory=Counter)
    is_dead: bool = False
    _on_wire: set[SentRun] = field(factory=set)
    _names: set[str] = field(factory=set)
    _list: asyncio.Lock = field(factory=asyncio.Lock)

    @property
    def statistics(self) -> Statistics:
        return Statistics(requests={}, repeats=0, rejections=0, in_flight=0, most_in_flight=0)

    def check_alive(self) -> None:
        """Let nobody change anything who is dead."""
        if self.is_dead:
            raise SessionStateError("this process is no more")

    async def price(
        self,
        model: str,
        params: JsonObject,  # noqa: ARG002 - as declared
    ) -> Decimal | None:
        assert model == MODEL
        self.asked["price"] += 1
        await asyncio.sleep(1)
        return PRICE

    async def start(self, model: str, params: JsonObject, keeper: TaskKeeper) -> TaskHandle:
        assert model == MODEL
        assert isinstance(keeper, Progress)
        self.asked["start"] += 1
        owner = keeper.request.custom_id or ""
        step = self.plan.steps[(self.asked["start"] - 1) % len(self.plan.steps)]
        await asyncio.sleep(step.slot_seconds)
        return await finish(self._submit(owner, params, step, keeper))

    async def adopt(
        self, model: str, *, task_id: str | None = None, token: str | None = None
    ) -> TaskHandle:
        assert model == MODEL
        self.asked["adopt"] += 1
        await asyncio.sleep(1)
        (task,) = [
            one for one in self.world.tasks.values() if task_id == one.id or token == one.token
        ]
        return self._watch(task)

    async def find(self, lost: LostRun, knower: Knower | None = None) -> Task | None:
        self.asked["find"] += 1
        async with self._list:
            await asyncio.sleep(1)
            if self.plan.listed == "absent":
                raise NotFound("there is no such path", http_status=404)
            rows = self._rows()
            names = frozenset(name for row in rows for name in (row.id, row.token) if name)
            known = self._names | (await knower(names) if knower is not None else set())
            found = match_runs([lost], rows, is_known=lambda row: bool({row.id, row.token} & known))
            task = found.get(lost.key)
            if task is not None:
                self._names |= {name for name in (task.id, task.token) if name}
            return task

    def _rows(self) -> list[Task]:
        if self.plan.listed == "none":
            return []
        # What is on the wire cannot be told from what is lost, and is not concluded from.
        hidden = {run.task.id for run in self._on_wire if run.task is not None}
        rows = [task.record() for task in self.world.tasks.values() if task.id not in hidden]
        if self.plan.listed == "by token":
            rows = [read_task({**row.raw, "id": None}) for row in rows]
        return rows

    async def _submit(
        self, owner: str, params: JsonObject, step: Step, keeper: Progress
    ) -> TaskHandle:
        self.check_alive()
        if step.answer == "not sent":
            error: WiroError = RequestNotSent("the service could not be reached")
            await keeper.on_no_task(error)
            raise error
        await keeper.before_sending()
        keeper.before_body()
        self.check_alive()
        prompt = str(params["prompt"])
        self.world.judge(owner)
        run = self.world.send(owner, prompt, step)
        self._on_wire.add(run)
        try:
            return await self._answer(run, params, step, keeper)
        finally:
            self._on_wire.discard(run)

    async def _answer(
        self, run: SentRun, params: JsonObject, step: Step, keeper: Progress
    ) -> TaskHandle:
        await asyncio.sleep(step.trip_seconds)
        self.check_alive()
        if step.answer == "answered":
            assert run.task is not None
            handle = self._watch(run.task)
            await keeper.on_handle(handle)
            return handle
        if run.is_harmless:
            await keeper.on_no_task(REFUSALS[step.answer])
            raise REFUSALS[step.answer]
        unknown = RunOutcomeUnknown("no answer was read", evidence="cut off", params=dict(params))
        await keeper.on_unknown(unknown)
        raise unknown

    def _watch(self, task: WorldTask) -> TaskHandle:
        self._names |= {task.id, task.token}
        return cast("TaskHandle", WorldHandle(self, task))
