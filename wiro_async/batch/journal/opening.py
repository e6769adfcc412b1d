"""Opening a journal's file: made if there is none, recognised, and read whole.

A file that is there is either a journal that fits in every part, or it is refused with the ways
out: it is never begun afresh without being told. So it is made under another name and renamed
when its tables are in it: an empty file under its name is damage and never a beginning.

A file that is refused stays as it is. Its head is read before SQLite sees it, which would bring
another program's file into its own order; and where a process died within a transaction, which
SQLite undoes as soon as it reads, it is tried on a copy first.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from decimal import InvalidOperation
from pathlib import Path
from tempfile import TemporaryDirectory

from wiro_async.batch.journal.chain import ORIGIN, verify_tables
from wiro_async.batch.journal.store import Store
from wiro_async.crashpoints import passing
from wiro_async.downloads import sync_directory
from wiro_async.errors import JournalError

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x5749524F  # "WIRO"
_PRIVATE = 0o600
# SQLite could not read; that says nothing about what stands there.
_OF_THE_DISK = ("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_BUSY", "SQLITE_CANTOPEN")
# SQLite's documentation, "Database File Format": the head of a file, in whose bytes 18 and 19
# stand two ones where there is no write-ahead log. A journal of its own that begins with a
# nought, or is empty, was finished.
_HEAD_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_NO_LOG = b"\1\1"
_NOTHING_TO_UNDO = (b"", b"\0")

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE items (
    position INTEGER PRIMARY KEY,
    custom_id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    params TEXT NOT NULL,
    metadata TEXT NOT NULL,
    digest BLOB NOT NULL,
    state TEXT NOT NULL,
    facts TEXT NOT NULL,
    run INTEGER NOT NULL
);
CREATE INDEX items_unsettled ON items (state)
    WHERE state IN ('intent', 'unknown', 'submitted', 'terminal');
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    state TEXT NOT NULL,
    facts TEXT NOT NULL,
    at REAL NOT NULL,
    link BLOB NOT NULL,
    task_id TEXT,
    token TEXT
);
CREATE INDEX events_by_task ON events (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX events_by_token ON events (token) WHERE token IS NOT NULL;
"""


def open_store(path: Path) -> Store:
    """Open a journal, made if there is none, and verify it. The caller holds its lock.

    Raises:
        JournalError: if it is damaged, of another version, or no journal at all.
        OSError: if the disk does not take it.
        sqlite3.Error: likewise.
    """
    undo = path.with_name(f"{path.name}-journal")
    _check_places(path, undo)
    if not path.exists():
        if undo.exists():
            raise _damaged(path, f"it is gone, and {undo.name} that belongs to it is still there")
        _make(path)
    _recognise(path)
    if undo.exists():
        _rehearse(path, undo)
    store = _read(path, path)
    try:
        store.begin()
        store.start_run()
        store.commit()
    except BaseException:
        store.close()
        raise
    return store


def _check_places(path: Path, undo: Path) -> None:
    """See that nothing but files stands where files belong; a pipe would be waited for."""
    # A disk that is not there now: a journal begun in its place would have all of it paid again.
    if path.is_symlink() and not path.exists():
        raise JournalError(
            f"the journal {path} is a link to a file that is not there: see to it that it is (is "
            "a disk missing?), or, if there never was one, remove the link. Nothing was submitted"
        )
    for place in (path, undo):
        if (place.exists() or place.is_symlink()) and not place.is_file():
            raise JournalError(
                f"the journal {place} is no file: move away what is there, or name another"
            )
    log = path.with_name(f"{path.name}-wal")
    if log.exists() or log.is_symlink():
        raise JournalError(
            f"{log} stands beside the journal, and SQLite would take what is in it for a part of "
            "it: no batch writes such a file. Move it away, and start the same batch again"
        )


def _recognise(path: Path) -> None:
    """See by a file's head that it is a journal of this version; SQLite does not touch it."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[:16] != _MAGIC or head[68:72] != _APPLICATION_ID.to_bytes(4, "big"):
        raise _damaged(path, "it is no journal of this program" if head else "it is empty")
    version = int.from_bytes(head[60:64], "big")
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"the journal {path} was written by another version of wiro_async (format {version}, "
            f"this one knows {SCHEMA_VERSION}): go on with that version. In another output "
            "directory all of it would be paid again"
        )
    if head[18:20] != _NO_LOG:
        raise _damaged(path, "its head is not what was written")


def _rehearse(path: Path, undo: Path) -> None:
    """Where SQLite has a transaction to undo, see on a copy that a whole journal comes of it."""
    with undo.open("rb") as file:
        if file.read(1) in _NOTHING_TO_UNDO:
            return
    with TemporaryDirectory() as folder:
        try:
            for source in (path, undo):
                shutil.copyfile(source, Path(folder, source.name))
        except OSError:  # no room for a copy
            return
        _read(Path(folder, path.name), path).close()


def _read(path: Path, name: Path) -> Store:
    """Open a file and verify it; errors call it by the name."""
    try:
        connection = _connect(path)
        try:
            verify_tables(connection, _SCHEMA)
            store = Store(name, connection)
            store.verify()
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, ValueError, KeyError, TypeError, InvalidOperation) as error:
        if getattr(error, "sqlite_errorname", "").startswith(_OF_THE_DISK):
            raise
        raise _damaged(name, str(error)) from None
    return store


def _damaged(path: Path, what: str) -> JournalError:
    """Say that a journal cannot be trusted, and which ways there are."""
    return JournalError(
        f"the journal {path} is damaged: {what}. Nothing was submitted. What is already saved is "
        "untouched, and listed in results.jsonl. You can put back a copy of the journal that is "
        "whole, and start again; what was begun after that copy was made is not in it, and would "
        "be paid again. Or take the requests that are not in results.jsonl to a new output "
        "directory, after looking in the dashboard for tasks of theirs that are made already: "
        "there they would be paid again, too"
    )


def _make(path: Path) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE))
    passing("store.made")
    connection = _connect(fresh)
    try:
        connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        connection.execute("INSERT INTO meta VALUES ('head', ?)", (ORIGIN,))
    finally:
        connection.close()
    passing("store.filled")
    fresh.rename(path)
    sync_directory(path.parent)
    passing("store.named")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = DELETE", "synchronous = EXTRA"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection
