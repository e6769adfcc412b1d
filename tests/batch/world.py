"""A service of pure Python, and the ledger that says which Runs it might have been sent.

What becomes of each Run is settled before a batch begins. The service outlives the batches that
talk to it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal, TypeAlias

from attrs import define, field, frozen

from wiro_async.batch.runner import Choices
from wiro_async.errors import InsufficientBalance, RequestRefused, WiroError
from wiro_async.protocol.converter import make_converter
from wiro_async.task import JsonObject, Task

MODEL = "o/m"
PRICE = Decimal("0.06")
CENT = Decimal("0.01")

Answer: TypeAlias = Literal[
    "answered", "made and lost", "not made and lost", "refused", "no balance", "not sent"
]
Fate: TypeAlias = Literal["well", "fails", "is cancelled", "download fails", "disk is full"]
Listed: TypeAlias = Literal["all", "none", "absent", "by token"]

REFUSALS: Mapping[str, WiroError] = {
    "refused": RequestRefused("the prompt is too long", code="0"),
    "no balance": InsufficientBalance("Insufficient balance", code="97"),
}
_CONVERTER = make_converter()


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
    """What happens while one batch runs: to its Runs, over and over, and what the list shows."""

    steps: tuple[Step, ...] = (Step(),)
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
        return self.is_stopped or now() >= self.ends_at

    @property
    def is_cancelled(self) -> bool:
        return self.is_stopped or self.fate == "is cancelled"

    @property
    def is_good(self) -> bool:
        """Whether it ends, or has ended, with something to pay for."""
        return not self.is_cancelled and self.fate != "fails"

    @property
    def cost(self) -> Decimal:
        """What its record tells: also of one that failed, billed or not."""
        return PRICE if self.is_good else CENT

    def record(self) -> Task:
        """How the service tells of it."""
        status, pexit, cost = "task_start", "", "0"
        if self.is_over:
            status, pexit = "task_postprocess_end", "1" if self.fate == "fails" else "0"
            status = "task_cancel" if self.is_cancelled else status
            cost = str(self.cost)
        row: JsonObject = {
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
        return read_task(row)


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
    may_resubmit: Counter[str] = field(factory=Counter)
    """By id: how many times a lost Run is sent again, once for each run where that is chosen."""
    violations: list[str] = field(factory=list)

    @property
    def owed(self) -> Decimal:
        """What all tasks that were ever made cost, those included that still run."""
        return PRICE * sum(task.is_good for task in self.tasks.values())

    def allow(self, ids: Iterable[str], states: Mapping[str, str], choices: Choices) -> None:
        """Note what a person chooses for a run of the batch that begins with these states."""
        # What was chosen before holds as long as it has not come to a Run.
        unsent = {name for name, state in states.items() if state in ("planned", "intent")}
        self.may_retry &= unsent
        # One that is planned can have been chosen to be sent again in one run before, not in two.
        self.may_resubmit = Counter(name for name in unsent if self.may_resubmit[name])
        if choices.retry_failed:
            self.may_retry |= {name for name, state in states.items() if state == "failed"}
        if choices.on_unknown == "resubmit":
            self.may_resubmit.update(ids)

    def send(self, owner: str, prompt: str, step: Step) -> SentRun:
        """Process a Run."""
        task = None
        if step.answer in ("answered", "made and lost"):
            number = f"{len(self.tasks) + 1}"
            task = WorldTask(number, owner, prompt, step.fate, now() + step.task_seconds)
            self.tasks[number] = task
        run = SentRun(owner, task, is_harmless=step.answer in REFUSALS)
        self.sent.append(run)
        return run

    def judge(self, owner: str) -> None:
        """Hold a Run against the promise: never twice, but where a person chose so."""
        owed = sum(run.owner == owner and not run.is_harmless for run in self.sent)
        is_retried = owner in self.may_retry
        self.may_retry.discard(owner)
        if owed <= self.granted[owner]:
            return
        self.granted[owner] += 1
        if is_retried:
            return
        if self.may_resubmit[owner]:
            self.may_resubmit[owner] -= 1
            self.resubmitted[owner] += 1
        else:
            self.violations.append(f"{owner} was sent again, and {owed} may have made a task")


def read_task(row: JsonObject) -> Task:
    """A record as the library reads it."""
    return _CONVERTER.structure(row, Task)


def now() -> float:
    return asyncio.get_running_loop().time()
