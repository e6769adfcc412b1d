"""What became of it: one item, and all items added up."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from attrs import define, field, frozen

from wiro_async.batch.requests import BatchRequest
from wiro_async.downloads import SavedFile
from wiro_async.errors import (
    DownloadError,
    JournalError,
    OutputDirectoryError,
    RunOutcomeUnknown,
    TaskCancelled,
    TaskFailed,
    WiroError,
)
from wiro_async.task import Task


class ItemStatus(StrEnum):
    """How one request of a batch ended."""

    SUCCEEDED = "succeeded"
    """The task succeeded, and all its files are on disk."""
    FAILED = "failed"
    """The task ended with an error; not billed."""
    CANCELLED = "cancelled"
    """The task was cancelled or killed; not billed."""
    REFUSED = "refused"
    """No task was made: the request was wrong, or the service said no; nothing to pay."""
    UNSAVED = "unsaved"
    """Paid, but an output is not on disk; the item's `files` are those that are."""
    UNFINISHED = "unfinished"
    """A task was made and goes on at the service; the batch did not see its end."""
    UNKNOWN = "unknown"
    """A task may have been made: its id was not read, and it was not found."""
    SKIPPED = "skipped"
    """The same, and a person chose to leave it at that."""


# The first that fits. None: it says nothing of the task, which was made or was not.
_STATUS_OF_ERROR: tuple[tuple[type[WiroError], ItemStatus | None], ...] = (
    (TaskFailed, ItemStatus.FAILED),
    (TaskCancelled, ItemStatus.CANCELLED),
    (DownloadError, ItemStatus.UNSAVED),
    (RunOutcomeUnknown, ItemStatus.UNKNOWN),
    (JournalError, None),
    (OutputDirectoryError, ItemStatus.UNSAVED),
    (WiroError, None),
)


@frozen(kw_only=True)
class BatchItem:
    """What became of one request.

    Attributes:
        request: what was asked for.
        status: how it ended.
        files: the outputs on disk.
        task_id: the service's id, where a task was made.
        token: the task's socket access token, where it is known.
        task: the last record that was read.
        error: what went wrong; None if nothing did.
        elapsed_seconds: from when the request was read to when this was known.
        is_earlier: whether an earlier run of the batch ended it; nothing was done for it now.
    """

    request: BatchRequest
    status: ItemStatus
    files: tuple[SavedFile, ...] = ()
    task_id: str | None = None
    token: str | None = None
    task: Task | None = None
    error: WiroError | None = None
    elapsed_seconds: float = 0.0
    is_earlier: bool = False

    @property
    def custom_id(self) -> str:
        """The caller's name for the request."""
        return self.request.custom_id or ""

    @property
    def ok(self) -> bool:
        """Whether the task succeeded and its files are on disk."""
        return self.status is ItemStatus.SUCCEEDED

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the outputs are."""
        return tuple(file.path for file in self.files)

    @property
    def cost(self) -> Decimal | None:
        """What the service says the task cost; None if it did not say."""
        return None if self.task is None else self.task.total_cost


def status_of(error: WiroError | None, *, is_task_made: bool) -> ItemStatus:
    """How an item ended that ended with this error, or with none."""
    if error is None:
        return ItemStatus.SUCCEEDED
    said = next(status for kind, status in _STATUS_OF_ERROR if isinstance(error, kind))
    return said or (ItemStatus.UNFINISHED if is_task_made else ItemStatus.REFUSED)


@define(kw_only=True)
class BatchSummary:
    """All items of a batch, added up; grows while the batch goes.

    Attributes:
        counts: items by status.
        cost: what the service says that the batch's tasks have cost, those of earlier runs
            included.
        reserved: what tasks may still cost whose end is not known, as far as a price is.
        reserved_tasks: how many those are.
        earlier: items that an earlier run of the batch had ended.
        unpriced: succeeded tasks whose record tells no cost.
        without_outputs: succeeded tasks that list neither a file nor a text.
        files: outputs on disk.
        size_bytes: and their size.
        notes: those among them that have a `SavedFile.note`.
        elapsed_seconds: from opening the batch until now, or until its end.
        repeats: requests and downloads that had to be sent again.
        rejections: Runs that had to wait because the account was full.
        most_in_flight: the most tasks that ran at once, in the whole session.
        stopped_by: what ended the batch before its input was through; None if nothing did.
    """

    counts: Counter[ItemStatus] = field(factory=Counter)
    cost: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    reserved_tasks: int = 0
    earlier: int = 0
    unpriced: int = 0
    without_outputs: int = 0
    files: int = 0
    size_bytes: int = 0
    notes: int = 0
    elapsed_seconds: float = 0.0
    repeats: int = 0
    rejections: int = 0
    most_in_flight: int = 0
    stopped_by: WiroError | None = None
    is_stopped: bool = False

    @property
    def total(self) -> int:
        """Items that have ended, one way or another."""
        return self.counts.total()

    @property
    def succeeded(self) -> int:
        """Items whose files are on disk."""
        return self.counts[ItemStatus.SUCCEEDED]

    @property
    def ok(self) -> bool:
        """Whether every request was read and succeeded."""
        return self.succeeded == self.total and not self.is_stopped

    def add(self, item: BatchItem) -> None:
        """Count one more item."""
        self.counts[item.status] += 1
        self.files += len(item.files)
        self.size_bytes += sum(file.size_bytes for file in item.files)
        self.notes += sum(file.note is not None for file in item.files)
        self.earlier += item.is_earlier
        if item.ok:
            self.unpriced += item.cost is None
            self.without_outputs += not item.files and (item.task is None or item.task.text is None)

    def __str__(self) -> str:
        ended = ", ".join(
            f"{self.counts[status]} {status}" for status in ItemStatus if self.counts[status]
        )
        earlier = f" ({self.earlier} of them in earlier runs)" if self.earlier else ""
        lines = [
            f"{_count(self.total, 'request')}: {ended or 'none'}{earlier}",
            f"{_count(self.files, 'file')}, {self.size_bytes / 1e6:.1f} MB",
            f"spent {format_cost(self.cost)}"
            + (f" ({self.unpriced} tasks tell no cost)" if self.unpriced else "")
            + f", reserved {format_cost(self.reserved)} for {_count(self.reserved_tasks, 'task')} "
            "whose end is not known",
            f"{self.elapsed_seconds:.1f} s, at most {self.most_in_flight} in flight",
            f"{self.repeats} sent again, {self.rejections} waited for a slot",
        ]
        if self.without_outputs:
            lines.append(f"{self.without_outputs} succeeded without any output")
        if self.notes:
            lines.append(
                f"{_count(self.notes, 'file')} saved under another ending than the service gave "
                "it, by what is in it: see its note in results.jsonl"
            )
        if self.stopped_by is not None:
            lines.append(f"stopped early: {self.stopped_by.message}")
        return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_cost(cost: Decimal) -> str:
    """Dollars, with at least the cents and no noughts after the last digit that counts."""
    text = f"{cost:.12f}".rstrip("0")
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents:0<2}"
