"""``wiro emulator``: the service on a port of this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys

from wiro_async.cli.exits import EXIT_WELL, on_interrupt
from wiro_async.cli.service import EmulatorOptions, open_emulator
from wiro_async.emulator import Emulator


async def serve(options: EmulatorOptions) -> int:
    """Serve until SIGINT or SIGTERM; says how to reach it first and what it saw at the end.

    Raises:
        ConfigurationError: if it cannot draw, or the port cannot be had.
    """
    over = asyncio.Event()
    async with open_emulator(options) as emulator:
        with on_interrupt(over.set):
            _tell_how_to_reach(emulator, options)
            await over.wait()
        books = emulator.books
        sys.stdout.write(f"# {len(books.tasks)} tasks, at most {books.most_in_flight} at once\n")
    return EXIT_WELL


def _tell_how_to_reach(emulator: Emulator, options: EmulatorOptions) -> None:
    secret = f"export WIRO_API_SECRET={options.api_secret}\n" if options.api_secret else ""
    sys.stdout.write(
        f"export WIRO_BASE_URL={emulator.base_url}\n"
        f"export WIRO_API_KEY={options.api_key}\n{secret}"
        f"# the books are at {emulator.origin}/emulator/books; Ctrl-C ends it\n"
    )
    sys.stdout.flush()
