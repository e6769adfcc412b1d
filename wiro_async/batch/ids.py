"""The ids of a whole source, and the line where each was first met.

Two requests may have neither the same id nor ids whose files some file system takes for the same
ones (rule 5 of `filenames`). Which of two ids comes first makes no difference to that.

A million of them would fill the memory, so they are kept in a temporary table of SQLite's, which
moves to the disk as it grows. An id is kept as a digest: the same size for every one, however
long a person makes it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from types import TracebackType
from typing import Self

from attrs import frozen

from wiro_async.batch.requests import cut_off
from wiro_async.errors import InvalidRequest
from wiro_async.filenames import name_key, safe_stem

_DIGEST_BYTES = 16
# Room for about a million ids; beyond that it gets slower, not larger.
_CACHE_KIBIBYTES = 64 * 1024


@frozen(kw_only=True)
class Earlier:
    """What an id stands in the way of: one that was met before.

    Attributes:
        line: where that was, as it was told then.
        is_same: whether it is the very id, and not only one that gives the same names.
    """

    line: int | None
    is_same: bool


class SeenIds:
    """A context manager; what it knows goes with it."""

    def __enter__(self) -> Self:
        self._table = sqlite3.connect("", isolation_level=None)  # no name: a temporary one
        for setting in (f"cache_size = -{_CACHE_KIBIBYTES}", "journal_mode = OFF"):
            self._table.execute(f"PRAGMA {setting}")
        self._table.execute(
            "CREATE TABLE ids (names BLOB PRIMARY KEY, id BLOB, line) WITHOUT ROWID"
        )
        self._table.execute("BEGIN")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._table.close()

    def meet(self, custom_id: str, line: int | None) -> Earlier | None:
        """Note an id of this line; the earlier one that it stands in the way of, or None."""
        names, itself = _digest(name_key(safe_stem(custom_id))), _digest(custom_id)
        insert = "INSERT OR IGNORE INTO ids VALUES (?, ?, ?)"
        if self._table.execute(insert, (names, itself, line)).rowcount:
            return None
        select = "SELECT id, line FROM ids WHERE names = ?"
        known, before = self._table.execute(select, (names,)).fetchone()
        return Earlier(line=before, is_same=known == itself)

    def refuse(self, custom_id: str, line: int | None) -> InvalidRequest | None:
        """Note an id of this line; what is wrong with it, if it stands in an earlier one's way."""
        earlier = self.meet(custom_id, line)
        if earlier is None:
            return None
        place = f"line {earlier.line}"
        if not earlier.is_same:
            return same_names(custom_id, place)
        return InvalidRequest(
            f"the custom_id {cut_off(custom_id)!r} is already that of {place}: give each request "
            "its own, or leave it out to have the request numbered by its position",
            field="custom_id",
        )


def same_names(custom_id: str, other: str) -> InvalidRequest:
    """Say that an id gives files of the same names as another, which is told by its place."""
    return InvalidRequest(
        f"the custom_id {cut_off(custom_id)!r} gives files of the same names as that of {other}, "
        "where case and form of letters make no difference (macOS, Windows): give one of the two "
        "another custom_id",
        field="custom_id",
    )


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
