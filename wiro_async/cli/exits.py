"""How a command ends: the exit codes, and what Ctrl-C, SIGTERM and a closed terminal do."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

EXIT_WELL = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count


@contextmanager
def on_interrupt(callback: Callable[[], None]) -> Iterator[None]:
    """Call back for Ctrl-C, SIGTERM and SIGHUP, where the loop can (not on Windows)."""
    loop = asyncio.get_running_loop()
    handled = []
    for number in _endings():
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


def _endings() -> list[signal.Signals]:
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:  # as nohup has it
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hang_up]


def leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for anything: a Run on the wire, a file, a loop.

    What a journal has is on the disk, so nothing is lost by it.
    """
    with suppress(OSError, ValueError, AttributeError):  # nobody may be there to read
        sys.stderr.flush()
    atexit._run_exitfuncs()  # noqa: SLF001 - removes temporary folders, as any exit does
    os._exit(code)
