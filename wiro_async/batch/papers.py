"""What a batch writes down, opened in its order: the journal, then the two files of results.

The journal comes first, since its lock says who may write there; then what an earlier run left
unsettled; then the results, with what the journal says has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from attrs import frozen

from wiro_async.batch.journal.entries import Entry, Journal, Memory
from wiro_async.batch.journal.states import State
from wiro_async.batch.record import ResultFiles, earlier_item
from wiro_async.batch.runner import Choices
from wiro_async.downloads import remove_parts
from wiro_async.errors import JournalError


@frozen(kw_only=True)
class Papers:
    """A batch's journal and results, open; closed by the stack that they were opened on."""

    journal: Journal
    files: ResultFiles
    left_over: tuple[Entry, ...]
    journal_path: Path | None

    def check_in_place(self) -> None:
        """See that what is written down can be found again: the system would write on unseen.

        Raises:
            OutputDirectoryError: if one of the files was moved or removed under the batch.
        """
        path = self.journal_path
        if path is not None and not path.is_file():
            raise JournalError(
                f"{path} is not there any more: nothing is sent that cannot be noted in the "
                "journal. If it was moved, with its directory or alone, put it back and start the "
                "same batch again; without it, what was paid would be paid again"
            )
        self.files.check_in_place()


async def open_papers(directory: Path, choices: Choices, stack: AsyncExitStack) -> Papers:
    """Open them all.

    Raises:
        OutputDirectoryError: if they cannot be written, or are another batch's.
    """
    files = ResultFiles(directory)
    if choices.journal is None or not choices.journal.exists():
        files.check()
    # Closed after the journal, on whose thread they may just be opening when this is cancelled.
    stack.callback(files.close)
    journal = await _open_journal(choices.journal, stack)
    left_over = await journal.left_over()
    ended = [State.SAVED, State.SKIPPED]
    if not choices.retry_failed:
        ended.append(State.FAILED)

    def begin(entries: Iterator[Entry]) -> None:
        files.open(earlier_item(entry, directory) for entry in entries)
        if choices.journal is not None:  # whose lock says that nobody else writes here
            remove_parts(directory)

    # On the journal's thread: who is cancelled meanwhile gives the lock back after it, not before.
    await journal.replay((*ended,), begin)
    return Papers(
        journal=journal, files=files, left_over=(*left_over,), journal_path=choices.journal
    )


async def _open_journal(path: Path | None, stack: AsyncExitStack) -> Journal:
    if path is None:
        return Memory()
    from wiro_async.batch.journal.writer import open_journal  # noqa: PLC0415 - not without need

    journal = await open_journal(path)
    stack.push_async_callback(journal.aclose)
    return journal
