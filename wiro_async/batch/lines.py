"""Lines of text from a file, read as they are asked for, with what is no text refused.

The stream is decoded with ``surrogateescape``: a byte that is not UTF-8 becomes a lone
surrogate, which no decoded UTF-8 can hold, so each line tells by itself whether it is text and
the error names the right line. Lines end in LF, CRLF or CR and nowhere else; a Unicode line
separator is a character of a prompt like any other.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from wiro_async.batch.fields import did_you_mean
from wiro_async.errors import InvalidRequest, SourceError

# Far above any prompt, and room for a picture as a data url; a bound, so that a file without
# line ends cannot fill the memory.
LONGEST_LINE = 16 * 1024 * 1024

STDIN_NAME = "standard input"

_MOST_NAMES_COMPARED = 10_000
_BOM = b"\xef\xbb\xbf"


class PlacedProblem(InvalidRequest):
    """Raised when what was read is wrong at a known place; the file's name is added later.

    Attributes:
        line: counted from 1.
        column: the character in the line, counted from 1, where that is known.
    """

    def __init__(self, message: str, *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def name_source(path: Path) -> str:
    """Call a file as its reader does: by its path, or standard input by that name."""
    # `spool_stdin` names its file so; the folder above it means nothing to anybody.
    return STDIN_NAME if path.stem == STDIN_NAME else str(path)


def check_readable(path: Path) -> None:
    """Check that a path is a file that can be read twice.

    Raises:
        SourceError: saying what stands there instead, or what is named nearly so.
    """
    name = name_source(path)
    if str(path) == "-":
        raise SourceError(
            "it can be read only once, and a source is read twice: keep it in a file first, "
            "as spool_stdin does",
            file=STDIN_NAME,
        )
    if path.is_dir():
        raise SourceError("this is a folder: name a file in it", file=name)
    if not path.exists():
        near = did_you_mean(path.name, _names_beside(path))
        raise SourceError(
            f"there is no such file{near}: check the name, and the folder you are in", file=name
        )
    if not path.is_file():
        raise SourceError(
            "this is no regular file, and a source is read twice: save it as a file, "
            "or pipe it in and name '-'",
            file=name,
        )


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file of UTF-8, with or without its byte order mark.

    Raises:
        PlacedProblem: where the system does not let it be opened or read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            yield stream
    except OSError as error:
        raise PlacedProblem(f"it cannot be read: {error.strerror or error}") from None


def read_lines(stream: TextIO, *, longest: int = LONGEST_LINE) -> Iterator[str]:
    """Give the lines with their ends, one at a time.

    Raises:
        PlacedProblem: for a line that is not UTF-8 text, or longer than `longest`.
    """
    number = 0
    while line := stream.readline(longest + 1):
        number += 1
        _check_text(line, number)
        if len(line) > longest:
            raise PlacedProblem(
                f"this line is longer than {longest:,} characters: "
                "is this a file with one request a line?",
                line=number,
            )
        yield line


@contextmanager
def spool_stdin(stream: BinaryIO) -> Iterator[Path]:
    """Keep what comes in on a stream in a temporary file, so that it can be read twice.

    The file's ending says what it looks like: JSON Lines if the first character that is not
    blank is ``{`` or ``"``, plain prompts otherwise. It is gone after the ``with``.

    Raises:
        SourceError: where it cannot be kept.
    """
    with tempfile.TemporaryDirectory(prefix="wiro-") as folder:
        spooled = Path(folder, "spooled")
        try:
            with spooled.open("wb") as file:
                shutil.copyfileobj(stream, file)
            path = spooled.rename(Path(folder, f"{STDIN_NAME}.{_guess_ending(spooled)}"))
        except OSError as error:
            raise SourceError(
                f"it cannot be kept in {folder}: {error.strerror or error}; "
                "set TMPDIR to a folder with room",
                file=STDIN_NAME,
            ) from None
        yield path


def _guess_ending(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)
        while chunk := file.read(65536):
            if start := chunk.lstrip():
                return "jsonl" if start[:1] in (b"{", b'"') else "txt"
    return "txt"


def _check_text(line: str, number: int) -> None:
    column = _first_no_text(line)
    if column is None:
        return
    raise PlacedProblem(
        "this is not UTF-8 text: save the file as UTF-8, or convert it, for example with "
        "iconv -f UTF-16 -t UTF-8 (or -f WINDOWS-1252), and read the result",
        line=number,
        column=column,
    )


def _names_beside(path: Path) -> list[str]:
    try:
        with os.scandir(path.parent) as entries:
            return [entry.name for entry in itertools.islice(entries, _MOST_NAMES_COMPARED)]
    except (OSError, ValueError):
        return []


def _first_no_text(line: str) -> int | None:
    if not line.isascii():
        try:
            line.encode()
        except UnicodeEncodeError as error:
            return error.start + 1
    # UTF-16 without its mark decodes well, with a NUL beside every letter.
    return line.index("\0") + 1 if "\0" in line else None
