"""What really happened, written down as it happens: the emulator's ledger.

A client can believe what it likes; the books know how often it asked, how many tasks it
made of one prompt, how many of them ran at once and what was paid. Tests and benchmarks
assert on them, so they are plain values under plain names. They are alive: what
`Emulator.books` gives is the ledger itself, brought up to date at that moment.

Times are service seconds since the emulator was made; money is dollars as `Decimal`.
"""

from collections import Counter
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs

from wiro_async.emulator.timeline import QUEUED, TERMINAL, begins_at


class Fate(Enum):
    """How a task will end if nobody stops it; settled when it is made."""

    SUCCEED = "succeed"
    FAIL = "fail"
    """`task_postprocess_end` with `pexit` "1": the model ran and gave up."""
    ERROR = "error"
    """`task_error` in Task/Detail: a fatal failure before the model ran."""


@attrs.frozen(kw_only=True)
class BookedFile:
    """One file that a task brought forth."""

    name: str
    """As the service calls it: `0.png` or `0.jpeg`, for every task the same."""
    path: str
    """The path of its url, `/cdn/{folder}/{name}`."""
    content_type: str
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hex, of the whole file."""


@attrs.define(kw_only=True, eq=False)
class BookedTask:
    """One task, from Run to its end."""

    id: str
    token: str = attrs.field(repr=False)
    """The socket access token, by which the task can be named as well."""
    model: str
    """`owner/model`."""
    prompt: str
    parameters: dict[str, Any]
    """The model's parameters as they came; what the model does not know is left out."""
    callback_url: str
    project_id: str
    fate: Fate
    created: float
    duration: float
    """Service seconds from creation to the planned end."""
    status: str = QUEUED
    ended: float | None = None
    requests: int = 0
    """How many requests named this task: Detail, Kill, Cancel, InputOutputDelete."""
    cost: Decimal = Decimal(0)
    outputs: tuple[BookedFile, ...] = ()
    """Files of a succeeded task; they stay in the books when they are deleted."""
    answer: str | None = None
    """What a language model says if it succeeds; `None` for a model that draws."""
    drawn: BookedFile | None = None
    """The picture, as soon as it is drawn, whatever becomes of the task."""
    deleted: bool = False
    """Whether InputOutputDelete took the files away."""
    renewals: int = 0
    """How often the urls of its files expired; each time it got fresh ones."""

    @property
    def due(self) -> float:
        """The service second of the planned end."""
        share = begins_at("task_assign") if self.fate is Fate.ERROR else 1.0
        return self.created + share * self.duration

    @property
    def terminal(self) -> bool:
        """Whether the task has ended, in whichever way."""
        return self.status in TERMINAL

    def to_dict(self) -> dict[str, Any]:
        """Give the task as JSON values: money and the fate as strings."""
        record = attrs.asdict(self)
        record["cost"] = str(self.cost)
        record["fate"] = self.fate.value
        return record


@attrs.define(kw_only=True, eq=False)
class Books:
    """The ledger of one emulator.

    `requests` counts what arrived, by endpoint: `Run`, `Task/Detail`, ..., `cdn`, `socket` for
    each connection, and `unknown` for paths that do not exist. `answers` counts what went out,
    one for each request, by kind: `ok`; `code 96` for what the envelope refused; `http 401`,
    `http 404`, `http 416`, `http 429`, `http 500` where the status says it; `fault drop_after`
    and the like where a scripted fault had its hand in it. So both add up to the same number.
    """

    balance: Decimal
    """Dollars left. Tasks that run when it is used up are still billed, so it can go below 0."""
    tasks: dict[str, BookedTask] = attrs.field(factory=dict)
    """By task id, oldest first."""
    tasks_by_prompt: dict[str, list[str]] = attrs.field(factory=dict)
    """The ids of all tasks of a prompt: more than one means it was run more than once."""
    in_flight: int = 0
    most_in_flight: int = 0
    requests: Counter[str] = attrs.field(factory=Counter)
    answers: Counter[str] = attrs.field(factory=Counter)
    spent: Decimal = Decimal(0)
    frames: int = 0
    """Frames about tasks that went out over websockets."""
    callbacks: int = 0
    """Posts to callback urls, the repeated ones too."""
    violations: list[str] = attrs.field(factory=list)
    """What no client should ever do, one sentence each: credentials sent to the CDN."""

    def to_dict(self) -> dict[str, Any]:
        """Give the whole ledger as JSON values: money as strings, tasks as a mapping by id."""
        return {
            "balance": str(self.balance),
            "spent": str(self.spent),
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "requests": dict(self.requests),
            "answers": dict(self.answers),
            "frames": self.frames,
            "callbacks": self.callbacks,
            "violations": list(self.violations),
            "tasks_by_prompt": self.tasks_by_prompt,
            "tasks": {key: task.to_dict() for key, task in self.tasks.items()},
        }
