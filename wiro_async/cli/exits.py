"""How a command ends: the exit codes, and what Ctrl-C and SIGTERM do."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

EXIT_WELL = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count


@contextmanager
def on_interrupt(callback: Callable[[], None]) -> Iterator[None]:
    """Call back for Ctrl-C and SIGTERM, where the loop can (not on Windows)."""
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, callback)
        except (NotImplementedError, RuntimeError):
            break
        handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for anything: a Run on the wire, a file, a loop.

    What a journal has is on the disk, so nothing is lost by it.
    """
    sys.stderr.flush()
    atexit._run_exitfuncs()  # noqa: SLF001 - removes temporary folders, as any exit does
    os._exit(code)
