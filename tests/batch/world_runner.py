"""A service of pure Python behind a batch's runner, and the ledger that says what it may be asked.

What becomes of each Run is settled before a batch begins, by the item's id, so that nothing
depends on who comes first. The service outlives the batches that talk to it; a runner belongs to
one batch, and when that is said to be dead it changes nothing at the service any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from attrs import define, field, frozen

from wiro_async.api import Statistics
from wiro_async.batch.progress import Progress
from wiro_async.batch.runner import Choices
from wiro_async.downloads import SavedFile, holds
from wiro_async.errors import (
    DownloadError,
    InsufficientBalance,
    NotFound,
    RequestNotSent,
    RequestRefused,
    RunOutcomeUnknown,
    SessionStateError,
    TaskCancelled,
    TaskFailed,
    WiroError,
)
from wiro_async.handle import TaskHandle
from wiro_async.protocol.converter import make_converter
from wiro_async.protocol.matching import LostRun, match_runs
from wiro_async.runs import TaskKeeper
from wiro_async.shield import finish
from wiro_async.task import JsonObject, Outcome, Task
from wiro_async.tracking.search import Knower

MODEL = "o/m"
PRICE = Decimal("0.06")

Answer: TypeAlias = Literal[
    "answered", "made and lost", "not made and lost", "refused", "no balance", "not sent"
]
Fate: TypeAlias = Literal["well", "fails", "is cancelled", "download fails"]
Listed: TypeAlias = Literal["all", "none", "absent", "by token"]

_CONVERTER = make_converter()
_REFUSALS: Mapping[str, WiroError] = {
    "refused": RequestRefused("the prompt is too long", code="0"),
    "no balance": InsufficientBalance("Insufficient balance", code="97"),
}


@frozen(kw_only=True)
class Step:
    """What becomes of one Run. Times are in seconds."""

    answer: Answer = "answered"
    fate: Fate = "well"
    slot_seconds: int = 0
    trip_seconds: int = 1
    task_seconds: int = 3


@frozen(kw_only=True)
class Plan:
    """What happens while one batch runs: each id's Runs in order, and what the list shows."""

    steps: Mapping[str, tuple[Step, ...]] = field(factory=dict)
    listed: Listed = "all"


@define(eq=False)
class WorldTask:
    """A task at the service."""

    id: str
    owner: str
    """The id of the item whose Run made it; the service does not know that."""
    prompt: str
    fate: Fate
    ends_at: float
    made_at: float = field(factory=time.time)
    is_stopped: bool = False
    """Whether the batch itself cancelled it."""
    ended: asyncio.Event = field(factory=asyncio.Event)

    @property
    def token(self) -> str:
        return f"tok-{self.id}"

    @property
    def is_over(self) -> bool:
        return self.is_stopped or _now() >= self.ends_at

    @property
    def is_cancelled(self) -> bool:
        return self.is_stopped or self.fate == "is cancelled"

    @property
    def is_good(self) -> bool:
        """Whether it ends, or has ended, with something to pay for."""
        return not self.is_cancelled and self.fate != "fails"

    def record(self) -> Task:
        """How the service tells of it."""
        status, pexit, cost = "task_start", "", "0"
        if self.is_over:
            status, pexit = "task_postprocess_end", "1" if self.fate == "fails" else "0"
            if self.is_cancelled:
                status = "task_cancel"
            if self.is_good:
                cost = str(PRICE)
        row = {
            "id": self.id,
            "socketaccesstoken": self.token,
            "status": status,
            "pexit": pexit,
            "totalcost": cost,
            "parameters": {"prompt": self.prompt},
            "createtime": str(self.made_at),
            "modelslugowner": MODEL.partition("/")[0],
            "modelslugproject": MODEL.partition("/")[2],
            "outputs": [{"name": "0.png", "url": f"https://cdn/{self.id}"}],
        }
        return _CONVERTER.structure(row, Task)


@define(eq=False)
class SentRun:
    """A Run that went out whole."""

    owner: str
    task: WorldTask | None
    is_harmless: bool
    """Whether the service said that it made none."""


@define(eq=False)
class World:
    """The service, and the ledger: what was sent, and whether it might have been."""

    tasks: dict[str, WorldTask] = field(factory=dict)
    sent: list[SentRun] = field(factory=list)
    granted: Counter[str] = field(factory=Counter)
    """By id: how many more Runs than one a person has asked for."""
    resubmitted: Counter[str] = field(factory=Counter)
    """By id: how many of these may have paid twice."""
    may_retry: set[str] = field(factory=set)
    """Ids whose task has failed, and that a person has run again."""
    may_resubmit: set[str] = field(factory=set)
    """Ids whose Run is sent again if it is lost, once."""
    violations: list[str] = field(factory=list)

    def allow(self, ids: Iterable[str], states: Mapping[str, str], choices: Choices) -> None:
        """Note what a person chooses for a run of the batch that begins with these states."""
        # What was chosen before holds as long as it has not come to a Run.
        unsent = {name for name, state in states.items() if state == "planned"}
        self.may_retry &= unsent
        self.may_resubmit &= unsent
        if choices.retry_failed:
            self.may_retry |= {name for name, state in states.items() if state == "failed"}
        if choices.on_unknown == "resubmit":
            self.may_resubmit |= set(ids)

    def send(self, owner: str, prompt: str, step: Step) -> SentRun:
        """Process a Run."""
        task = None
        if step.answer in ("answered", "made and lost"):
            number = f"{len(self.tasks) + 1}"
            task = WorldTask(number, owner, prompt, step.fate, _now() + step.task_seconds)
            self.tasks[number] = task
        run = SentRun(owner, task, is_harmless=step.answer in _REFUSALS)
        self.sent.append(run)
        return run

    def judge(self, owner: str) -> None:
        """Hold a Run against the promise: never twice, but where a person chose so."""
        owed = sum(run.owner == owner and not run.is_harmless for run in self.sent)
        if owed <= self.granted[owner]:
            return
        self.granted[owner] += 1
        if owner in self.may_retry:
            self.may_retry.remove(owner)
        elif owner in self.may_resubmit:
            self.may_resubmit.remove(owner)
            self.resubmitted[owner] += 1
        else:
            self.violations.append(f"{owner} was sent again, and {owed} may have made a task")


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
                async with asyncio.timeout(self.it.ends_at - _now()):
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
    _runs: Counter[str] = field(factory=Counter)
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

    async def price(self, model: str, params: JsonObject) -> Decimal | None:
        assert model == MODEL
        assert "prompt" in params
        self.asked["price"] += 1
        await asyncio.sleep(1)
        return PRICE

    async def start(self, model: str, params: JsonObject, keeper: TaskKeeper) -> TaskHandle:
        assert model == MODEL
        assert isinstance(keeper, Progress)
        self.asked["start"] += 1
        owner = keeper.request.custom_id or ""
        steps = self.plan.steps.get(owner, ())
        step = steps[self._runs[owner]] if self._runs[owner] < len(steps) else Step()
        self._runs[owner] += 1
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
            rows = [_CONVERTER.structure({**row.raw, "id": None}, Task) for row in rows]
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
            await keeper.on_no_task(_REFUSALS[step.answer])
            raise _REFUSALS[step.answer]
        unknown = RunOutcomeUnknown("no answer was read", evidence="cut off", params=dict(params))
        await keeper.on_unknown(unknown)
        raise unknown

    def _watch(self, task: WorldTask) -> TaskHandle:
        self._names |= {task.id, task.token}
        return cast("TaskHandle", WorldHandle(self, task))


def _now() -> float:
    return asyncio.get_running_loop().time()
