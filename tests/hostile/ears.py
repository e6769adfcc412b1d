"""What a scene leaves in this process: connections tried, lines logged, descriptors open."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONNECTED: list[tuple[str, int]] = []


def _note_connections(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple):
        CONNECTED.append((str(args[1][0]), int(args[1][1])))


# It sees each connection that this process tries, whatever comes of it; it cannot be taken back.
sys.addaudithook(_note_connections)


class _Listener(logging.Handler):
    """All that is logged, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def listening() -> Iterator[tuple[list[str], list[str]]]:
    """What is logged, and what the event loop complains of, meanwhile."""
    root, listener = logging.getLogger(), _Listener()
    complaints: list[str] = []
    level = root.level
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield listener.lines, complaints
    finally:
        root.setLevel(level)
        root.removeHandler(listener)
        loop.set_exception_handler(None)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def settled_descriptors(expected: int) -> int:
    for pause in (0, 0, 0.01, 0.02, 0.05, 0.1, 0.2):
        if open_descriptors() <= expected:
            break
        await asyncio.sleep(pause)
        gc.collect()
    return open_descriptors()
