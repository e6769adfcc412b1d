"""The two files that say what became of a batch.

``results.jsonl`` has a line for each request whose files (or text) are there, ``errors.jsonl``
one for each other request; both are keyed by ``custom_id`` and written as the batch goes. A
line is appended with a single write, so it is there whole or not at all.

Where there is a journal they are only its copy: a batch that is started again writes them
anew, with what has ended so far, and goes on behind that.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from anyio import to_thread
from attrs import asdict, define, field

from wiro_async import errors
from wiro_async.batch.journal.entries import Entry
from wiro_async.batch.results import BatchItem, ItemStatus
from wiro_async.crashpoints import passing
from wiro_async.downloads import SavedFile, holds
from wiro_async.errors import OutputDirectoryError, WiroError
from wiro_async.protocol.records import read_record
from wiro_async.task import JsonValue

RESULTS_NAME = "results.jsonl"
ERRORS_NAME = "errors.jsonl"

# To JSON characters like any other. To some readers of lines some are an end of line, and a
# terminal that is shown the file would obey others: the controls of 8 bits, and those of direction.
_ESCAPED = {
    code: f"\\u{code:04x}"
    for code in (
        *range(0x7F, 0xA0),
        *(0x061C, 0x200E, 0x200F),
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
    )
}

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


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
        "files": file_facts(item.files, directory),
        "text": None if item.task is None else item.task.text,
    }
    if item.error is not None:
        line["error"] = error_facts(item.error)
    return line


def file_facts(files: tuple[SavedFile, ...], directory: Path) -> list[JsonValue]:
    """Files as they stand in a line: their paths relative to the output directory."""
    beginning = f"{directory}{os.sep}"
    return [
        {**asdict(file, recurse=False), "path": str(file.path).removeprefix(beginning)}
        for file in files
    ]


def error_facts(error: WiroError) -> dict[str, JsonValue]:
    """The kind, the message, and every plain attribute that the error has of its own."""
    facts = {
        name: value
        for name, value in vars(error).items()
        if isinstance(value, str | int | float | Mapping) and value != ""
    }
    facts.pop("task_id", None)
    facts.pop("token", None)
    return {"kind": error.kind, "message": error.message, **facts}


def earlier_item(entry: Entry, directory: Path) -> BatchItem:
    """An item that an earlier run of the batch has ended, from what the journal kept of it."""
    facts = entry.facts
    record = facts.get("record")
    seconds = facts.get("elapsed_seconds")
    task_id, token = facts.get("task_id"), facts.get("token")
    return BatchItem(
        request=entry.request,
        status=ItemStatus(str(facts.get("status", ItemStatus.SUCCEEDED))),
        files=_read_files(facts.get("files"), directory),
        task_id=task_id if isinstance(task_id, str) else None,
        token=token if isinstance(token, str) else None,
        task=read_record(record) if isinstance(record, Mapping) else None,
        error=_read_error(facts.get("error")),
        elapsed_seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        is_earlier=True,
    )


async def is_whole(files: tuple[SavedFile, ...]) -> bool:
    """Whether every file is still where it was saved, with the bytes that it had.

    Raises:
        OutputDirectoryError: if one of them cannot be read, which tells neither.
    """
    try:
        return await to_thread.run_sync(
            lambda: all(holds(file.path, file.sha256) for file in files)
        )
    except OSError as error:
        raise OutputDirectoryError(
            f"{error.filename} cannot be read: {error.strerror}. See to it, and start again"
        ) from None


def _read_files(facts: JsonValue, directory: Path) -> tuple[SavedFile, ...]:
    rows = facts if isinstance(facts, list) else []
    return tuple(SavedFile(**{**row, "path": directory / row["path"]}) for row in rows)


def _read_error(facts: JsonValue) -> WiroError | None:
    """The error that `error_facts` made these of; its own attributes come back as they were."""
    if not isinstance(facts, Mapping):
        return None
    known = dict(facts)
    kind = getattr(errors, str(known.pop("kind", "")), WiroError)
    error: WiroError = kind(str(known.pop("message", "")))
    vars(error).update(known)
    return error


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
        """See that no batch's results are there that no journal vouches for; changes nothing.

        Raises:
            OutputDirectoryError: if they are, or the directory can be neither made nor used.
        """
        check_directory(self.directory)
        for name in (RESULTS_NAME, ERRORS_NAME):
            if (self.directory / name).exists():
                raise OutputDirectoryError(
                    f"{self.directory} already holds the results of a batch ({name}) and no "
                    "journal of it: running it again would pay again. Give another output "
                    "directory, or move that one away"
                )

    def open(self, ended: Iterable[BatchItem] = ()) -> None:
        """Make the directory and both files, with the lines of what has ended before.

        Raises:
            OutputDirectoryError: if they cannot be written.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        fresh = {name: self.directory / f".{name}.new" for name in (RESULTS_NAME, ERRORS_NAME)}
        check_directory(self.directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for name in fresh:
                if (self.directory / name).is_dir():
                    raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
            for name, path in fresh.items():
                path.unlink(missing_ok=True)
                self._descriptors[name] = os.open(path, flags, 0o644)
            for item in ended:
                self.write(item)
            passing("record.rewritten")
            for name, path in fresh.items():
                path.replace(self.directory / name)
                passing("record.named")
        except OSError as error:
            self.close()
            for path in fresh.values():
                with suppress(OSError):
                    path.unlink()
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
        text = _ENCODER.encode(item_line(item, self.directory))
        line = f"{text.translate(_ESCAPED)}\n".encode(errors="backslashreplace")
        passing("record.before_line")
        try:
            written = os.write(self._descriptors[name], line)
        except OSError as error:
            raise OutputDirectoryError(f"{self.directory / name}: {error.strerror}") from None
        if written != len(line):
            with suppress(OSError):  # half a line would spoil the next one
                descriptor = self._descriptors[name]
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OutputDirectoryError(f"{self.directory / name}: the disk is full")
        passing("record.after_line")

    def check_in_place(self) -> None:
        """See that both files are where they were made.

        Raises:
            OutputDirectoryError: if one is not.
        """
        for path in (f"{self.directory}{os.sep}{name}" for name in (RESULTS_NAME, ERRORS_NAME)):
            if not os.path.isfile(path):  # noqa: PTH113 - before every Run, and in half the time
                raise OutputDirectoryError(
                    f"{path} is not there any more, or no file any more, and what is written to it "
                    "is lost. Put it right and start the same batch again: with its journal it "
                    "writes the results anew"
                )

    def drop_stale(self, custom_ids: set[str]) -> None:
        """Drop the lines with which the results began, of ids whose files were not there any more.

        Raises:
            OutputDirectoryError: if the disk does not take it.
        """
        path = self.directory / RESULTS_NAME
        stale = set(custom_ids)
        kept = []
        try:
            with path.open("rb") as file:
                for line in file:
                    custom_id = json.loads(line)["custom_id"]
                    if custom_id in stale:
                        stale.remove(custom_id)  # the first one only: what came after holds
                    else:
                        kept.append(line)
            fresh = self.directory / f".{RESULTS_NAME}.new"
            fresh.write_bytes(b"".join(kept))
            fresh.replace(path)
        except OSError as error:
            raise OutputDirectoryError(f"{path}: {error.strerror or error}") from None

    def close(self) -> None:
        """Close both files; safe to call twice."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
