"""``wiro batch``: a file of prompts in, pictures and two files of results out."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from attrs import define, frozen

from wiro_async.batch.engine import Batch
from wiro_async.batch.journal.entries import JOURNAL_NAME
from wiro_async.batch.lines import spool_stdin
from wiro_async.batch.record import ERRORS_NAME, RESULTS_NAME, ResultFiles, check_directory
from wiro_async.batch.requests import SourceOptions
from wiro_async.batch.results import BatchSummary, ItemStatus
from wiro_async.batch.runner import OnUnknown
from wiro_async.batch.sources import check_source, read_requests
from wiro_async.catalog import check_slug
from wiro_async.cli.exits import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WELL,
    leave_at_once,
    on_interrupt,
)
from wiro_async.cli.loops import run_on_loop
from wiro_async.cli.memory import seldom_searched
from wiro_async.cli.service import ServiceOptions, open_session
from wiro_async.cli.show import Show, describe_failure, show_batch

_LOOK_SECONDS = 0.2
_PAUSED = (
    "nothing more is submitted; it goes on by itself when there is room (Ctrl-C stops it; the same "
    "command goes on later)"
)
_AGAIN = "there is room on the disk again: it goes on"
_SILENCE_SECONDS = 5.0
_UNANSWERED = (
    "the service answers nothing: it is asked again and again, a few times a minute, and what it "
    "has made is not lost (Ctrl-C stops it; the same command goes on later)"
)
_ANSWERED_AGAIN = "the service answers again: it goes on"


@frozen(kw_only=True)
class BatchOptions:
    """What a person wants of a batch, beside its input and its service.

    Attributes:
        max_cost: submit nothing more when this could be passed, in US dollars.
        on_unknown: what becomes of a Run that may have made a task, and is not found.
        retry_failed: whether to run again what failed in an earlier run.
        drain: whether an interrupt lets what is in flight finish.
        cancel: whether an interrupt cancels what is in flight.
        disk_patience_seconds: how long a full disk pauses the batch before it stops it.
        uvloop: whether it runs on uvloop.
    """

    max_cost: Decimal | None = None
    on_unknown: OnUnknown = "hold"
    retry_failed: bool = False
    drain: bool = False
    cancel: bool = False
    disk_patience_seconds: float = 600.0
    uvloop: bool = False


def run_batch(
    service: ServiceOptions, file: str, source: SourceOptions, out: Path, options: BatchOptions
) -> int:
    """Check the whole file, then run it, or go on with it; the exit code.

    Raises:
        ConfigurationError: if there are no credentials, or an option cannot work.
        InvalidRequest: if the model's name is none.
        SourceError: if the file cannot be used as it is.
        OutputDirectoryError: if results cannot be written to `out`.
    """
    check_directory(out)
    if not (out / JOURNAL_NAME).exists():
        ResultFiles(out).check()
    if source.model is not None:
        check_slug(source.model)
    if file != "-":
        work = _run(service, Path(file), source, out, options)
        return run_on_loop(work, uvloop=options.uvloop)
    # Before the loop runs: Ctrl-C on a loop would not end the wait for standard input.
    with spool_stdin(sys.stdin.buffer) as path:
        work = _run(service, path, source, out, options)
        return run_on_loop(work, uvloop=options.uvloop)


async def _run(
    service: ServiceOptions, path: Path, source: SourceOptions, out: Path, options: BatchOptions
) -> int:
    async with open_session(service) as session:
        total = check_source(path, source).requests
        from wiro_async.cli.resuming import compare_with_journal  # noqa: PLC0415 - for a batch only

        journal = out / JOURNAL_NAME
        await compare_with_journal(
            journal, read_requests(path, source), is_emulated=service.emulator is not None
        )
        batch = session.batch(
            read_requests(path, source),
            output_dir=out,
            max_in_flight=service.max_in_flight,
            journal=journal,
            on_unknown=options.on_unknown,
            retry_failed=options.retry_failed,
            max_cost=options.max_cost,
            disk_patience_seconds=options.disk_patience_seconds,
        )
        with show_batch(total) as show, seldom_searched():
            was_interrupted = await _follow(batch, show, options)
        summary = batch.summary
        _tell_end(summary, show, out)
    if was_interrupted:
        show.tell(f"interrupted: {_how_to_resume()}")
        return EXIT_INTERRUPTED
    return EXIT_WELL if summary.ok else EXIT_FAILED


def _tell_end(summary: BatchSummary, show: Show, out: Path) -> None:
    show.tell(str(summary))
    show.tell(f"results in {out / RESULTS_NAME}")
    if summary.succeeded < summary.total:
        show.tell(f"the others, each with its reason, in {out / ERRORS_NAME}")
    unknown = summary.counts[ItemStatus.UNKNOWN]
    if unknown:
        show.tell(
            f"{unknown} unknown: each may have made a task that is billed. {ERRORS_NAME} tells "
            "what was sent and when. The same command looks for them again; with --on-unknown "
            "resubmit it runs them again, which may pay twice, with --on-unknown skip it leaves "
            "them"
        )


def _how_to_resume() -> str:
    again = shlex.join(["wiro", *sys.argv[1:]])
    return f"nothing is lost, and nothing is paid twice; go on with: {again}"


@define
class _Notice:
    """A line when something begins, and one when it is over."""

    show: Show
    over: str
    is_told: bool = False

    def look(self, begun: str | None) -> None:
        """Tell of it where it has begun, or is over, since the last look."""
        if self.is_told != (begun is not None):
            self.is_told = begun is not None
            self.show.tell(begun or self.over)


@asynccontextmanager
async def _telling_pauses(batch: Batch, show: Show) -> AsyncIterator[None]:
    """Say when a full disk or a service that is not there holds the batch up, and when no more."""
    disk, service = _Notice(show, _AGAIN), _Notice(show, _ANSWERED_AGAIN)

    def look() -> None:
        reason = batch.paused_by
        disk.look(None if reason is None else f"{reason.message}: {_PAUSED}")
        silence = batch.unanswered_seconds
        service.look(_UNANSWERED if silence >= _SILENCE_SECONDS else None)
        if disk.is_told or service.is_told:
            show.update(batch)

    async def go_on_looking() -> None:
        while True:
            look()
            await asyncio.sleep(_LOOK_SECONDS)

    telling = asyncio.create_task(go_on_looking())
    try:
        yield
        look()  # it can have gone on, and come to its end, since the last time
    finally:
        telling.cancel()
        await asyncio.wait([telling])


async def _follow(batch: Batch, show: Show, options: BatchOptions) -> bool:
    """Show the batch until it is over; whether a person interrupted it."""
    interrupts = 0
    ending: asyncio.Task[None] | None = None

    def interrupt() -> None:
        nonlocal interrupts, ending
        interrupts += 1
        if interrupts > 1:
            show.leave()
            show.tell(f"left at once: {_how_to_resume()}")
            leave_at_once(EXIT_INTERRUPTED)
        first = f"stopping: nothing more is submitted, {batch.in_flight} in flight"
        if options.cancel:
            show.tell(f"{first} are cancelled; press Ctrl-C again to leave at once")
            ending = asyncio.ensure_future(batch.cancel())
        elif options.drain:
            show.tell(f"{first} finish; press Ctrl-C again to leave at once")
            batch.stop()
        else:
            show.tell(f"{first} go on at the service")
            batch.stop(drain=False)

    with on_interrupt(interrupt):
        async with batch, _telling_pauses(batch, show):
            async for item in batch:
                if not item.ok:
                    show.tell(describe_failure(item))
                show.update(batch)
        if ending is not None:
            await ending
    return interrupts > 0
