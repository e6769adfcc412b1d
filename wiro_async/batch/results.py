"""What became of it: one item, all items, and the two files that say so.

``results.jsonl`` has a line for each request whose files (or text) are there, ``errors.jsonl``
one for each other request; both are keyed by ``custom_id`` and written as the batch goes. A
line is appended with a single write, so it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from attrs import asdict, define, field, frozen

from wiro_async.batch.requests import BatchRequest
from wiro_async.downloads import SavedFile
from wiro_async.errors import (
    DownloadError,
    OutputDirectoryError,
    RunOutcomeUnknown,
    TaskCancelled,
    TaskFailed,
    WiroError,
)
from wiro_async.task import JsonValue, Task

RESULTS_NAME = "results.jsonl"
ERRORS_NAME = "errors.jsonl"

# To JSON characters like any other, to some readers of lines an end of line.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}


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
    """Paid, but an output is not on disk."""
    UNFINISHED = "unfinished"
    """A task was made and goes on at the service; the batch did not see its end."""
    UNKNOWN = "unknown"
    """A task may have been made: its id was not read."""


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
    """

    request: BatchRequest
    status: ItemStatus
    files: tuple[SavedFile, ...] = ()
    task_id: str | None = None
    token: str | None = None
    task: Task | None = None
    error: WiroError | None = None
    elapsed_seconds: float = 0.0

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
    match error:
        case None:
            return ItemStatus.SUCCEEDED
        case TaskFailed():
            return ItemStatus.FAILED
        case TaskCancelled():
            return ItemStatus.CANCELLED
        case DownloadError() | OutputDirectoryError():
            return ItemStatus.UNSAVED
        case RunOutcomeUnknown():
            return ItemStatus.UNKNOWN
        case _:
            return ItemStatus.UNFINISHED if is_task_made else ItemStatus.REFUSED


@define(kw_only=True)
class BatchSummary:
    """All items of a batch, added up; grows while the batch goes.

    Attributes:
        counts: items by status.
        cost: the sum of what the service says the tasks cost.
        unpriced: succeeded tasks whose record tells no cost.
        without_outputs: succeeded tasks that list neither a file nor a text.
        files: outputs on disk.
        size_bytes: and their size.
        elapsed_seconds: from opening the batch until now, or until its end.
        repeats: requests and downloads that had to be sent again.
        rejections: Runs that had to wait because the account was full.
        most_in_flight: the most tasks that ran at once, in the whole session.
        stopped_by: what ended the batch before its input was through; None if nothing did.
    """

    counts: Counter[ItemStatus] = field(factory=Counter)
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    without_outputs: int = 0
    files: int = 0
    size_bytes: int = 0
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
        self.cost += item.cost or Decimal(0)
        if item.ok:
            self.unpriced += item.cost is None
            self.without_outputs += not item.files and (item.task is None or item.task.text is None)

    def __str__(self) -> str:
        ended = ", ".join(
            f"{self.counts[status]} {status}" for status in ItemStatus if self.counts[status]
        )
        lines = [
            f"{_count(self.total, 'request')}: {ended or 'none'}",
            f"{_count(self.files, 'file')}, {self.size_bytes / 1e6:.1f} MB",
            f"cost {format_cost(self.cost)}"
            + (f" ({self.unpriced} tasks tell no cost)" if self.unpriced else ""),
            f"{self.elapsed_seconds:.1f} s, at most {self.most_in_flight} in flight",
            f"{self.repeats} sent again, {self.rejections} waited for a slot",
        ]
        if self.without_outputs:
            lines.append(f"{self.without_outputs} succeeded without any output")
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


def item_line(item: BatchItem, directory: Path) -> dict[str, JsonValue]:
    """The item as a line of one of the files; paths are relative to the output directory."""
    line: dict[str, JsonValue] = {
        "custom_id": item.custom_id,
        "status": item.status.value,
        "model": item.request.model,
        "params": item.request.params,
        "metadata": item.request.metadata,
        "task_id": item.task_id,
        "token": item.token,
        "cost": None if item.cost is None else f"{item.cost:f}",
        "elapsed_seconds": round(item.elapsed_seconds, 3),
        "service_seconds": None if item.task is None else item.task.elapsed_seconds,
        "files": [_file_line(file, directory) for file in item.files],
        "text": None if item.task is None else item.task.text,
    }
    if item.error is not None:
        line["error"] = _error_line(item.error)
    return line


def _file_line(file: SavedFile, directory: Path) -> JsonValue:
    return {**asdict(file), "path": str(file.path.relative_to(directory))}


def _error_line(error: WiroError) -> JsonValue:
    """The kind, the message, and every plain attribute that the error has of its own."""
    facts = {
        name: value
        for name, value in vars(error).items()
        if isinstance(value, str | int | float | Mapping) and value != ""
    }
    facts.pop("task_id", None)
    facts.pop("token", None)
    return {"kind": error.kind, "message": error.message, **facts}


def check_directory(directory: Path) -> None:
    """See, as far as can be known, that a directory can be made or written; changes nothing.

    Raises:
        OutputDirectoryError: if a file is in the way, or writing there is not permitted.
    """
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not there.is_dir():
        raise OutputDirectoryError(
            f"{there} is a file: give a directory that can be made and written"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputDirectoryError(
            f"{there} cannot be written: give a directory that can be made and written"
        )


@define
class ResultFiles:
    """The two files of a batch's output directory, open for appending."""

    directory: Path
    _descriptors: dict[str, int] = field(init=False, factory=dict)

    def check(self) -> None:
        """See that no other batch's results are there; changes nothing.

        Raises:
            OutputDirectoryError: if they are, or the directory can be neither made nor used.
        """
        check_directory(self.directory)
        for name in (RESULTS_NAME, ERRORS_NAME):
            if (self.directory / name).exists():
                raise OutputDirectoryError(
                    f"{self.directory} already holds the results of a batch ({name}): running it "
                    "again would pay again. Give another output directory, or move that one away"
                )

    def open(self) -> None:
        """Make the directory and both files.

        Raises:
            OutputDirectoryError: if they cannot be written, or another batch's are there.
        """
        self.check()
        made: list[Path] = []
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for name in (RESULTS_NAME, ERRORS_NAME):
                self._descriptors[name] = os.open(self.directory / name, flags, 0o644)
                made.append(self.directory / name)
        except OSError as error:
            self.close()
            for path in made:  # an empty one would be taken for another batch's
                path.unlink(missing_ok=True)
            raise OutputDirectoryError(
                f"results cannot be written to {self.directory}: {error.strerror or error}. "
                "Give an output directory that can be made and written"
            ) from None

    def write(self, item: BatchItem) -> None:
        """Append the item's line to the file where it belongs.

        Raises:
            OutputDirectoryError: if the disk does not take it.
        """
        name = RESULTS_NAME if item.ok else ERRORS_NAME
        text = json.dumps(item_line(item, self.directory), ensure_ascii=False, default=str)
        line = f"{text.translate(_LINE_ENDS)}\n".encode(errors="backslashreplace")
        try:
            written = os.write(self._descriptors[name], line)
        except OSError as error:
            raise OutputDirectoryError(f"{self.directory / name}: {error.strerror}") from None
        if written != len(line):
            raise OutputDirectoryError(f"{self.directory / name}: the disk is full")

    def close(self) -> None:
        """Close both files; safe to call twice."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
