"""What is said by every target alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from wiro_async.errors import WiroError

# A person reads it at a terminal: more than a screen of it is no message.
_LONGEST_MESSAGE = 8_000


@frozen(kw_only=True)
class Target:
    """One thing that is fuzzed.

    Attributes:
        name: what it is called on the command line.
        check: takes any bytes; raises whatever it finds wrong.
        seeds: good inputs to begin from.
        examples: how many inputs the short run tries; fewer where each of them is costly.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    examples: int = 150


def require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise an AssertionError that says what does not hold."""
    if not holds:
        raise AssertionError(what)


@contextmanager
def only(*allowed: type[WiroError]) -> Iterator[None]:
    """Let errors of these kinds be an answer, and no other."""
    try:
        yield
    except allowed as error:
        check_words(error)


def check_words(error: WiroError) -> None:
    """See that an error says something, in words that can be read."""
    require(bool(error.message.strip()), "an error says nothing")
    require(len(error.message) <= _LONGEST_MESSAGE, "an error says more than anybody reads")
    require(bool(repr(error)), "an error cannot be shown")


def memory_place() -> Path | None:
    """Where to put files that need not last: in memory, where there is such a place.

    What is fuzzed is bytes, not the disk's flushes. Whoever set TMPDIR knows better, and clears up
    after a process that is killed.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    return memory if "TMPDIR" not in os.environ and memory.is_dir() else None


def is_text(value: str | None) -> bool:
    """Whether it can be written down: what holds half a character cannot."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        return False
    return True
