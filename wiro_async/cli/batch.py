"""``wiro batch``: a file of prompts in, pictures and two files of results out."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from wiro_async.batch.engine import Batch
from wiro_async.batch.lines import spool_stdin
from wiro_async.batch.record import ERRORS_NAME, RESULTS_NAME, ResultFiles
from wiro_async.batch.requests import SourceOptions
from wiro_async.batch.results import BatchSummary
from wiro_async.batch.sources import check_source, read_requests
from wiro_async.catalog import check_slug
from wiro_async.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WELL, on_interrupt
from wiro_async.cli.service import ServiceOptions, open_session
from wiro_async.cli.show import Show, describe_failure, show_batch


def run_batch(service: ServiceOptions, file: str, options: SourceOptions, out: Path) -> int:
    """Check the whole file, then run it; the exit code.

    Raises:
        ConfigurationError: if there are no credentials, or an option cannot work.
        InvalidRequest: if the model's name is none.
        SourceError: if the file cannot be used as it is.
        OutputDirectoryError: if results cannot be written to `out`.
    """
    ResultFiles(out).check()
    if options.model is not None:
        check_slug(options.model)
    if file != "-":
        return asyncio.run(_run(service, Path(file), options, out))
    # Before the loop runs: Ctrl-C on a loop would not end the wait for standard input.
    with spool_stdin(sys.stdin.buffer) as path:
        return asyncio.run(_run(service, path, options, out))


async def _run(service: ServiceOptions, path: Path, options: SourceOptions, out: Path) -> int:
    async with open_session(service) as session:
        total = check_source(path, options).requests
        batch = session.batch(
            read_requests(path, options), output_dir=out, max_in_flight=service.max_in_flight
        )
        with show_batch(total) as show:
            try:
                was_interrupted = await _follow(batch, show)
            except asyncio.CancelledError:
                _tell_end(batch.summary, show, out)
                raise
        summary = batch.summary
        _tell_end(summary, show, out)
    if was_interrupted:
        show.tell(f"interrupted: {total - summary.total} of {total} requests were not begun")
        return EXIT_INTERRUPTED
    return EXIT_WELL if summary.ok else EXIT_FAILED


def _tell_end(summary: BatchSummary, show: Show, out: Path) -> None:
    show.tell(str(summary))
    show.tell(f"results in {out / RESULTS_NAME}")
    if summary.succeeded < summary.total:
        show.tell(f"the others, each with its reason, in {out / ERRORS_NAME}")


async def _follow(batch: Batch, show: Show) -> bool:
    """Show the batch until it is over; whether a person interrupted it."""
    interrupts = 0
    me = asyncio.current_task()
    assert me is not None  # noqa: S101 - a coroutine runs in a task

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts == 1:
            batch.stop()
            show.tell(
                f"stopping: nothing more is submitted, {batch.in_flight} in flight finish; "
                "press Ctrl-C again to leave at once (they go on at the service)"
            )
        else:
            me.cancel()

    async with batch:
        with on_interrupt(interrupt):
            async for item in batch:
                if not item.ok:
                    show.tell(describe_failure(item))
                show.update(batch)
    return interrupts > 0
