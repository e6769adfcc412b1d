"""What comes back? Frozen values: a task, its outputs, and what was seen of it over time.

The service's own vocabulary is open: a status that nobody has documented yet is normal input,
so `Task.status` is a plain string and `TaskStatus` only names the ones that are known. What
this library concludes from it is closed: an `Outcome`, four members, nothing else.

Every field can be missing on the wire (wiro-api facts, "A task"); what is missing or not
readable is None here, and the mapping that it came from stays at hand as `raw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from attrs import field, frozen

JsonValue: TypeAlias = (
    "Mapping[str, JsonValue] | Sequence[JsonValue] | str | int | float | bool | None"
)
JsonObject: TypeAlias = Mapping[str, JsonValue]


class TaskStatus(StrEnum):
    """The statuses that the service's page and documentation name."""

    QUEUE = "task_queue"
    ACCEPT = "task_accept"
    ASSIGN = "task_assign"
    PREPROCESS_START = "task_preprocess_start"
    PREPROCESS_END = "task_preprocess_end"
    START = "task_start"
    OUTPUT = "task_output"
    OUTPUT_FULL = "task_output_full"
    ERROR_FULL = "task_error_full"
    END = "task_end"
    POSTPROCESS_START = "task_postprocess_start"
    STREAM_READY = "task_stream_ready"
    STREAM_END = "task_stream_end"
    COST = "task_cost"
    POSTPROCESS_END = "task_postprocess_end"
    CANCEL = "task_cancel"
    ERROR = "task_error"


class Outcome(StrEnum):
    """What a task's record means."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@frozen(kw_only=True)
class Output:
    """One output of a task: a file on the CDN, or a language model's content.

    The url is public to whoever has it, and expires (wiro-api facts, "Outputs").
    """

    id: str | None = None
    name: str | None = None
    content_type: str | None = None
    size_bytes: int | None = None
    url: str | None = None
    access_key: str | None = field(default=None, repr=False)
    added_at: datetime | None = None
    modified_at: datetime | None = None
    expires_at: datetime | None = None
    content: JsonObject | None = field(default=None, eq=False)
    raw: JsonObject = field(factory=dict, repr=False, eq=False)

    @property
    def text(self) -> str | None:
        """A language model's answer as one string; None for a file."""
        if self.content is None:
            return None
        answer = self.content.get("answer")
        if isinstance(answer, str):
            return answer
        if isinstance(answer, Sequence) and answer:
            return "".join(part for part in answer if isinstance(part, str))
        whole = self.content.get("raw")
        return whole if isinstance(whole, str) else None


@frozen(kw_only=True)
class Task:
    """A task as Task/Detail told of it: the only source that decides how it stands.

    Times are aware datetimes in UTC, `elapsed_seconds` is the service's own measure, and
    `total_cost` is in the account's currency (US dollars), to the last digit that was sent.
    """

    id: str | None = None
    token: str | None = None
    uuid: str | None = None
    status: str = ""
    outcome: Outcome = Outcome.RUNNING
    exit_code: str | None = None
    outputs: tuple[Output, ...] = ()
    parameters: JsonObject = field(factory=dict, eq=False)
    debug_output: str = ""
    debug_error: str = ""
    elapsed_seconds: float | None = None
    cost_per_second: Decimal | None = None
    total_cost: Decimal | None = None
    size_bytes: int | None = None
    categories: tuple[str, ...] = ()
    model_id: str | None = None
    model_owner: str | None = None
    model_project: str | None = None
    project_id: str | None = None
    created_at: datetime | None = None
    accepted_at: datetime | None = None
    assigned_at: datetime | None = None
    preprocess_started_at: datetime | None = None
    preprocess_ended_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    postprocess_started_at: datetime | None = None
    postprocess_ended_at: datetime | None = None
    cancelled_at: datetime | None = None
    raw: JsonObject = field(factory=dict, repr=False, eq=False)

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self.outcome is not Outcome.RUNNING

    @property
    def succeeded(self) -> bool:
        """Whether it ended well. Success without outputs is possible: look at `outputs`."""
        return self.outcome is Outcome.SUCCEEDED

    @property
    def text(self) -> str | None:
        """What a language model answered, all outputs in one string; None if there is none."""
        texts = [text for output in self.outputs if (text := output.text) is not None]
        return "\n".join(texts) if texts else None


@frozen(kw_only=True)
class Progress:
    """How far a model is, as it tells itself; what it does not tell is None.

    Attributes:
        percentage: from 0 to 100.
        step: the step that it is at.
        steps: how many there are.
        speed: in the unit of `speed_type`.
        speed_type: such as ``it/s``.
        elapsed_seconds: what this run has taken so far.
        remaining_seconds: the model's own estimate.
    """

    percentage: float | None = None
    step: int | None = None
    steps: int | None = None
    speed: float | None = None
    speed_type: str | None = None
    elapsed_seconds: float | None = None
    remaining_seconds: float | None = None


@frozen(kw_only=True)
class TaskEvent:
    """One change of a task's status, or news of its work, as a status stream tells it.

    News is what has one of `progress`, `log`, `text` and `thinking`. It comes by websocket only,
    and only while the task runs. A status that came this way is the service's word on the way: the
    last event of a stream is made of Task/Detail's record, which decides.

    Attributes:
        status: the last status that was told.
        outcome: what that means.
        task: the last record that was read, with that status; where none was read yet, one that
            holds nothing but the status and the task's names.
        elapsed_seconds: by the session's clock, from when the session began to watch the task to
            when this was seen; what the service's clock says stands in `task`.
        progress: how far the model is.
        log: a line of the model's output or of its errors.
        text: all that a language model has answered so far.
        thinking: all that it has thought so far.
    """

    status: str
    outcome: Outcome
    task: Task
    elapsed_seconds: float
    progress: Progress | None = None
    log: str | None = None
    text: str | None = None
    thinking: str | None = None

    @property
    def task_id(self) -> str | None:
        """The service's id of the task."""
        return self.task.id

    @property
    def is_terminal(self) -> bool:
        """Whether this is the last event of its stream."""
        return self.task.is_terminal
