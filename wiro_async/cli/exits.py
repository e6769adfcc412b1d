"""How a command ends: the exit codes, and what Ctrl-C and SIGTERM do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
