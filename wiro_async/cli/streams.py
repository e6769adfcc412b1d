"""Standard output and standard error, which can be a terminal, a pipe, a full disk or nothing.

Rules:

1. What is meant for another program (the paths of files, a model's text) goes to standard output
   as it is, byte for byte as it came. On a terminal it is shown without what a terminal would
   obey (`protocol.wording`).
2. What the encoding of a stream does not have is written as an escape with a backslash; the
   bytes of a path that are no text are written as these bytes.
3. Who closes a pipe has had enough (``| head``): what comes after goes nowhere, the work goes on
   to its end, and the exit code is the work's. The files are on disk all the same.
4. A standard output that cannot be written for another reason, such as a full disk, is an error
   that is told: what was to stand there may stand nowhere else.
5. Standard error is for a person's eyes; if it cannot be written, nobody is there to be told. A
   batch that lost its terminal goes on.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from attrs import frozen

from wiro_async.protocol.wording import visible_text


def give_out(words: str | Path) -> None:
    """Write a line to standard output, where it is at once.

    Raises:
        OSError: if that does not take it; not where its reader has left.
    """
    stream = sys.stdout
    if stream is None:  # closed by whoever started this process
        return
    text = visible_text(str(words)) if stream.isatty() else str(words)
    try:
        _write(stream, f"{text}\n", is_path=isinstance(words, Path))
    except OSError as error:
        _lead_nowhere(stream)
        if not isinstance(error, BrokenPipeError):
            raise


def complain(message: str) -> None:
    """Say on standard error what was wrong, in one message."""
    Eyes(sys.stderr).write(f"{visible_text(f'wiro: {message}')}\n")


@frozen
class Eyes:
    """Standard error as a stream that never fails, for what a person is told."""

    stream: TextIO | None

    @property
    def encoding(self) -> str:
        """The stream's; ASCII where there is no stream."""
        return "ascii" if self.stream is None else self.stream.encoding

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.stream is not None and self.stream.isatty()

    def write(self, text: str) -> int:
        """Write it, or let it go; how many characters it was."""
        if self.stream is not None:
            try:
                _write(self.stream, text, is_path=False)
            except OSError:
                _lead_nowhere(self.stream)
        return len(text)

    def flush(self) -> None:
        """Do nothing: what is written is there at once."""


def _write(stream: TextIO, text: str, *, is_path: bool) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.flush()
        stream.buffer.write(_encoded(text, stream.encoding, is_path=is_path))
    stream.flush()


def _encoded(text: str, encoding: str, *, is_path: bool) -> bytes:
    if is_path:
        with suppress(UnicodeEncodeError):
            return text.encode(encoding, "surrogateescape")
    return text.encode(encoding, "backslashreplace")


def _lead_nowhere(stream: TextIO) -> None:
    """Let what is still in the stream, and what comes after, be lost without another error.

    Else the interpreter would try once more at its end, and the exit code would be its own.
    """
    with suppress(OSError):  # it has no descriptor: not a stream of the system's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
