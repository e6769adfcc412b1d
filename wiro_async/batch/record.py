"""The two files that say what became of a batch.

``results.jsonl`` has a line for each request whose files (or text) are there, ``errors.jsonl``
one for each other request; both are keyed by ``custom_id`` and written as the batch goes. A
line is appended with a single write, so it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from attrs import asdict, define, field

from wiro_async.batch.results import BatchItem
from wiro_async.downloads import SavedFile
from wiro_async.errors import OutputDirectoryError, WiroError
from wiro_async.task import JsonValue

RESULTS_NAME = "results.jsonl"
ERRORS_NAME = "errors.jsonl"

# To JSON characters like any other, to some readers of lines an end of line.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}


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
