"""The ids of a whole source, and the line where each was first met.

A million of them would fill the memory, so they are kept in a temporary table of SQLite's, which
moves to the disk as it grows. An id is kept as a digest: the same size for every one, however
long a person makes it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from types import TracebackType
from typing import Self

_DIGEST_BYTES = 16
# Room for about a million ids; beyond that it gets slower, not larger.
_CACHE_KIBIBYTES = 64 * 1024


class SeenIds:
    """A context manager; what it knows goes with it."""

    def __enter__(self) -> Self:
        self._table = sqlite3.connect("", isolation_level=None)  # no name: temporary
        for setting in (f"cache_size = -{_CACHE_KIBIBYTES}", "journal_mode = OFF"):
            self._table.execute(f"PRAGMA {setting}")
        self._table.execute("CREATE TABLE ids (digest BLOB PRIMARY KEY, line) WITHOUT ROWID")
        self._table.execute("BEGIN")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._table.close()

    def first_line(self, custom_id: str, line: int | None) -> int | None:
        """Note an id of this line; the line where it was met before, None if it was not."""
        digest = hashlib.blake2b(custom_id.encode(), digest_size=_DIGEST_BYTES).digest()
        insert = "INSERT OR IGNORE INTO ids VALUES (?, ?)"
        if self._table.execute(insert, (digest, line)).rowcount:
            return None
        select = "SELECT line FROM ids WHERE digest = ?"
        found: int = self._table.execute(select, (digest,)).fetchone()[0]
        return found
