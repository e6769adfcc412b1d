"""What a person sees: progress on a terminal, plain lines elsewhere; everything on stderr.

Results go to files and, for `wiro run`, to standard output; so a pipe gets no decoration.
Texts are shown as texts: nothing that the service or a file says is taken for markup, and nothing
that a terminal would obey gets there (`protocol.wording`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol, cast

from attrs import define, field
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from wiro_async.batch.engine import Batch
from wiro_async.batch.results import BatchItem, format_cost
from wiro_async.cli.streams import Eyes
from wiro_async.protocol.wording import one_line, visible_text

_PLAIN_LINE_SECONDS = 2.0


class Show(Protocol):
    """How a batch is followed."""

    def tell(self, message: str) -> None:
        """Show a line that stays."""

    def update(self, batch: Batch) -> None:
        """Show how far it is."""

    def leave(self) -> None:
        """Give the terminal back as it was."""


def make_console() -> Console:
    """The terminal of a person's eyes; what cannot be shown there is let go without an error."""
    eyes = cast("IO[str]", Eyes(sys.stderr))  # as much of a file as rich asks for
    return Console(file=eyes, highlight=False, markup=False, emoji=False)


def plain(message: str) -> Text:
    """The message as it stands, without what a terminal would obey."""
    return Text(visible_text(message))


def describe_failure(item: BatchItem) -> str:
    """One line about an item that gave no result."""
    reason = item.error.message if item.error is not None else "no reason is known"
    return f"{item.status}  {one_line(item.custom_id)}: {one_line(reason)}"


@contextmanager
def show_batch(total: int) -> Iterator[Show]:
    """A progress bar on a terminal, a line every few seconds elsewhere."""
    console = make_console()
    if not console.is_terminal:
        yield _Lines(console, total)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        yield _Bar(progress, total)


def _counts(batch: Batch) -> str:
    summary = batch.summary
    failed = summary.total - summary.succeeded
    paused = "" if batch.paused_by is None else "paused, "
    return (
        f"{paused}{batch.in_flight} in flight, {failed} without result, {format_cost(summary.cost)}"
    )


@define
class _Lines:
    console: Console
    total: int
    _next_at: float = field(factory=time.monotonic)
    _has_told_last: bool = False

    def tell(self, message: str) -> None:
        self.console.print(plain(message), soft_wrap=True)

    def update(self, batch: Batch) -> None:
        now = time.monotonic()
        # Items are counted when they are recorded, which can be before they are taken here.
        is_last = batch.summary.total == self.total and not self._has_told_last
        if now >= self._next_at or is_last:
            self._has_told_last = is_last
            self._next_at = now + _PLAIN_LINE_SECONDS
            self.tell(f"{batch.summary.total}/{self.total}, {_counts(batch)}")

    def leave(self) -> None:
        """Nothing was taken."""


class _Bar:
    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("batch", total=total, counts="")

    def tell(self, message: str) -> None:
        self._progress.console.print(plain(message), soft_wrap=True)

    def update(self, batch: Batch) -> None:
        self._progress.update(self._task, completed=batch.summary.total, counts=_counts(batch))

    def leave(self) -> None:
        self._progress.stop()
