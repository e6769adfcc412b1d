"""A command in a process of its own, and what it says meanwhile."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from tests.cli.conftest import variables
from wiro_async.emulator import Emulator


@define
class Process:
    """A batch that runs; what it says is collected as it comes."""

    popen: subprocess.Popen[bytes]
    source: int
    said: str = ""
    _more: threading.Condition = field(factory=threading.Condition)
    _reader: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self.source, 65536)
            except OSError:  # how a terminal ends
                chunk = b""
            with self._more:
                self.said += chunk.decode(errors="replace")
                self._more.notify_all()
            if not chunk:
                return

    def wait_for(self, pattern: str) -> None:
        with self._more:
            found = self._more.wait_for(lambda: re.search(pattern, self.said), timeout=15)
        assert found, self.said

    def end(self, timeout_seconds: float = 20) -> int:
        code = self.popen.wait(timeout_seconds)
        self._reader.join(10)
        return code


@contextmanager
def process_of(
    folder: Path, emulator: Emulator, *arguments: str, terminal: bool = False
) -> Iterator[Process]:
    """An interpreter with these arguments, which talks to the emulator; killed in the end."""
    source, sink = pty.openpty() if terminal else os.pipe()
    popen = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **variables(emulator), "TERM": "xterm", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        start_new_session=True,
    )
    os.close(sink)
    process = Process(popen, source)
    try:
        yield process
    finally:
        popen.kill()
        process.end()
        os.close(source)
