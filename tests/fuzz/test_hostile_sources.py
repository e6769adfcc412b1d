"""Files that are made to cost time or memory: each is answered, soon, and in a bounded space.

Each is read in a process of its own, to which the system gives no more memory than that.
"""

from __future__ import annotations

import os
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.batch.source_cases import FLUX
from wiro_async.batch.requests import SourceOptions
from wiro_async.batch.sources import check_source
from wiro_async.errors import SourceError

_MEGABYTE = 1_000_000
_MOST_MEMORY = 700 * _MEGABYTE
# An order of magnitude more than any of them takes.
_MOST_SECONDS = 30.0


def _repeated(piece: bytes, times: int) -> Iterator[bytes]:
    """A piece so many times, without all of it in the memory at once."""
    many = max(1, _MEGABYTE // len(piece))
    for start in range(0, times, many):
        yield piece * min(many, times - start)


def _names(count: int, join: bytes) -> bytes:
    return join.join(b"c%d" % number for number in range(count))


HOSTILE: dict[str, tuple[str, Callable[[], Iterator[bytes]], str]] = {
    "a line of fifty million letters": (
        *("a.txt", lambda: _repeated(b"x", 50 * _MEGABYTE)),
        "longer than 16,777,216",
    ),
    "fifty million letters in one cell": (
        *("a.csv", lambda: iter((b"prompt\n", *_repeated(b"x", 50 * _MEGABYTE)))),
        "longer than 16,777,216",
    ),
    "a million commas": (
        *("a.csv", lambda: iter((b"," * _MEGABYTE, b"\n", b"," * _MEGABYTE))),
        "there are no requests",
    ),
    "a million commas in a row": (
        *("a.csv", lambda: iter((b"prompt\na", b"," * _MEGABYTE))),
        "1000001 cells and the header has 1",
    ),
    "a header of two hundred thousand names": (
        *("a.csv", lambda: iter((_names(200_000, b","), b"\na\n"))),
        "no column is named 'prompt'",
    ),
    "the same, with tabs": (
        *("a.tsv", lambda: iter((_names(200_000, b"\t"), b"\na\n"))),
        "no column is named 'prompt'",
    ),
    "a quote that is never closed": (
        *("a.csv", lambda: iter((b'prompt\n"', *_repeated(b"a fox\n", 8 * _MEGABYTE)))),
        "never closed",
    ),
    "a row that is never at its end": (
        *("a.csv", lambda: iter((b'prompt\n"', *_repeated(b'\nab","', 15 * _MEGABYTE)))),
        "never closed",
    ),
    "ends of lines only": (
        *("a.csv", lambda: _repeated(b"\r", 2 * _MEGABYTE)),
        "there are no requests",
    ),
    "a list in a list, a million deep": (
        *("a.jsonl", lambda: iter((b'{"prompt":', b"[" * _MEGABYTE, b"]" * _MEGABYTE, b"}"))),
        "no JSON that can be used",
    ),
    "a number of a million digits": (
        *("a.jsonl", lambda: iter((b'{"prompt":"a","seed":', b"9" * _MEGABYTE, b"}"))),
        "no JSON that can be used",
    ),
    "a number of a million digits, with a fraction": (
        *("a.jsonl", lambda: iter((b'{"prompt":"a","seed":', b"9" * _MEGABYTE, b".0}"))),
        "is no number that JSON has",
    ),
    "a key of a million letters, twice": (
        *("a.jsonl", lambda: iter((b'{"', b"k" * _MEGABYTE, b'":1,"', b"k" * _MEGABYTE, b'":1}'))),
        "stands twice",
    ),
    "fifty thousand keys": (
        *("a.jsonl", lambda: iter((b'{"', _names(50_000, b'":1,"'), b'":1}'))),
        "no key is named 'prompt'",
    ),
    "a mistake on a hundred thousand lines": (
        *("a.jsonl", lambda: _repeated(b"1\n", 100_000)),
        "and 99,999 more lines like it",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_answered_soon_and_in_a_bounded_space(name: str, tmp_path: Path) -> None:
    file_name, content, says = HOSTILE[name]
    path = tmp_path / file_name
    with path.open("wb") as file:
        file.writelines(content())
    began = time.monotonic()
    answer = _read_elsewhere(path, tmp_path / "answer")
    assert says in answer
    assert len(answer) < 8_000
    assert time.monotonic() - began < _MOST_SECONDS


def _read_elsewhere(path: Path, answer: Path) -> str:
    child = os.fork()
    if child == 0:  # pragma: no cover - the other process
        code = 1
        try:
            answer.write_text(_read_bounded(path))
            code = 0
        except BaseException:  # noqa: BLE001 - this process must not go on with pytest
            answer.write_text(traceback.format_exc()[:2_000])
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, answer.read_text()
    return answer.read_text()


def _read_bounded(path: Path) -> str:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + _MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (int(_MOST_SECONDS), int(_MOST_SECONDS)))
    try:
        check_source(path, SourceOptions(model=FLUX))
    except SourceError as error:
        return error.message
    return "accepted"
