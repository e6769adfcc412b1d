"""``wiro emulator``: the service on a port of this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from wiro_async.cli.exits import EXIT_WELL, on_interrupt
from wiro_async.cli.service import EmulatorOptions, open_emulator
from wiro_async.cli.streams import give_out
from wiro_async.errors import ConfigurationError

if TYPE_CHECKING:  # as in `service`
    from wiro_async.emulator import Emulator


async def serve(options: EmulatorOptions) -> int:
    """Serve until SIGINT or SIGTERM; says how to reach it first and what it saw at the end.

    Raises:
        ConfigurationError: if it cannot draw, the port cannot be had, or nobody can be told of it.
    """
    over = asyncio.Event()
    async with open_emulator(options) as emulator:
        with on_interrupt(over.set):
            _tell_how_to_reach(emulator, options)
            await over.wait()
        books = emulator.books
        with suppress(OSError):  # it has served all the same
            give_out(f"# {len(books.tasks)} tasks, at most {books.most_in_flight} at once")
    return EXIT_WELL


def _tell_how_to_reach(emulator: Emulator, options: EmulatorOptions) -> None:
    variables = {
        "WIRO_BASE_URL": emulator.base_url,
        "WIRO_SOCKET_URL": emulator.socket_url,
        "WIRO_API_KEY": options.api_key,
        "WIRO_API_SECRET": options.api_secret,
    }
    # Quoted: a shell is to read these lines.
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items() if value]
    lines.append(f"# the books are at {emulator.origin}/emulator/books; Ctrl-C ends it")
    try:
        give_out("\n".join(lines))
    except OSError as error:
        raise ConfigurationError(
            f"standard output cannot be written: {error.strerror or error}; it is where the "
            "emulator says how to reach it"
        ) from None
