"""Before a batch goes on: is this input still the one that the journal knows?

The whole input is held against the journal before anything is submitted, so that a changed row
is told with its place in the file, and not in the middle of the batch.

An embedded emulator ends with its process, and its tasks with it. So a journal says whether it
was written over one: then whatever was in flight is planned again, and no real batch goes on
from pictures that an emulator made, nor the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from wiro_async.batch.journal.entries import check_same
from wiro_async.batch.journal.states import UNSETTLED, State
from wiro_async.batch.journal.store import Store
from wiro_async.batch.journal.writer import FileJournal, open_journal
from wiro_async.batch.requests import BatchRequest
from wiro_async.errors import InvalidRequest, JournalError, SourceError

_SERVICE = "service"
_EMULATOR = "an embedded emulator"
_REAL = "the service"
_ROWS_AT_ONCE = 1000
_MOST_PROBLEMS = 10


async def compare_with_journal(
    path: Path, requests: Iterator[BatchRequest], *, is_emulated: bool
) -> None:
    """Hold an input against the journal, where there is one; make one where there is none.

    Raises:
        SourceError: with up to ten of the requests whose ids stand for other ones.
        JournalError: if the journal cannot be used, or is about another kind of service.
    """
    journal = await open_journal(path)
    try:
        await journal.use(lambda store: _claim(store, is_emulated=is_emulated))
        await _compare(journal, requests)
    finally:
        await journal.aclose()


def _claim(store: Store, *, is_emulated: bool) -> None:
    mine = _EMULATOR if is_emulated else _REAL
    written = store.get(_SERVICE)
    if written not in (None, mine):
        raise JournalError(
            f"{store.path.parent} holds a batch that was run on {written}, and this is "
            f"{mine}: give another output directory"
        )
    store.put(_SERVICE, mine)
    if is_emulated:
        for entry in list(store.entries(*UNSETTLED)):
            store.change(entry.position, State.PLANNED, {})


async def _compare(journal: FileJournal, requests: Iterator[BatchRequest]) -> None:
    problems: list[str] = []
    while rows := list(islice(requests, _ROWS_AT_ONCE)):
        found = await journal.use(lambda store, rows=rows: _differences(store, rows))  # type: ignore[misc]
        problems += found
        if len(problems) >= _MOST_PROBLEMS:
            break
    if problems:
        raise SourceError("\n  ".join(problems[:_MOST_PROBLEMS]))


def _differences(store: Store, rows: list[BatchRequest]) -> list[str]:
    problems = []
    for row in rows:
        known = store.peek(row.custom_id or "")
        if known is None:
            continue
        try:
            check_same(*known, row)
        except InvalidRequest as problem:
            problems.append(f"{row.origin}: {problem.message}")
    return problems
