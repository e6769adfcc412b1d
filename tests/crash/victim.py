"""A `wiro` that dies where it is told to: the process that the proof kills.

    python -m tests.crash.victim journal.before_commit:3 -- batch prompts.csv --model M --out out

Before the ``--`` stand its aims, seen to in their order; behind it stands what `wiro` is called
with (or `naive`, for the client that the proof has to catch). An aim is one of:

* ``LABEL:N``: kill this process with SIGKILL when it passes that instant for the Nth time;
* ``trace:FILE``: append to FILE each label that is passed;
* ``time:SECONDS``: whoever started it kills it then; it does nothing about that itself.

Its disk is full twice, for a moment: at its third look and at its eighth.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace

from tests.crash import naive
from wiro_async import crashpoints
from wiro_async.batch import gate
from wiro_async.cli.app import run_app

Hook = Callable[[str], None]


def run(aims: Sequence[str], arguments: Sequence[str]) -> int:
    """Be the client with these arguments, until its end or until an aim is met; the exit code."""
    hooks = [hook for hook in map(read_aim, aims) if hook is not None]

    def call_all(label: str) -> None:
        for hook in hooks:
            hook(label)

    crashpoints.hook = call_all
    if arguments[0] == "naive":
        return naive.main(arguments[1:])
    fill_disk_at_times()
    sys.argv = ["wiro", *arguments]
    return run_app()


def fill_disk_at_times() -> None:
    """Let the disk be full at two looks, and have the batch look more often than it would."""
    gate._LOOK_SECONDS, gate._TRY_SECONDS = 0.05, 0.05
    looks = count(1)

    def tell(_: Path) -> SimpleNamespace:
        is_full = next(looks) in {3, 8}
        return SimpleNamespace(total=1 << 40, free=0 if is_full else 1 << 39)

    vars(gate)["shutil"] = SimpleNamespace(disk_usage=tell)  # its one use there


def read_aim(text: str) -> Hook | None:
    """Make what is called at each instant of one aim; None for one that others see to."""
    label, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is no aim: write LABEL:N, trace:FILE or time:SECONDS")
    if label == "time":
        return None
    return trace_to(value) if label == "trace" else die_at(label, int(value))


def trace_to(path: str) -> Hook:
    # Never closed: it is needed until the process is no more.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def trace(label: str) -> None:
        os.write(file, f"{label}\n".encode())

    return trace


def die_at(wanted: str, number: int) -> Hook:
    passed = count(1)

    def die(label: str) -> None:
        if label == wanted and next(passed) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


def main() -> int:
    split = sys.argv.index("--")
    return run(sys.argv[1:split], sys.argv[split + 1 :])


if __name__ == "__main__":
    sys.exit(main())
