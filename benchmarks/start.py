"""How long does a person wait before anything is done?

Starts interpreters, one after the other, in interleaved rounds, and prints the medians: of the
seconds that pass, and of the CPU's, which travel better from one machine to another. Each
"/ dependencies" is the CPU time over a bare interpreter against that of the four dependencies.

    python -m benchmarks.start
    python -m benchmarks.start --rounds 31
    .venv-peers/bin/python -m benchmarks.start      # those peers of benchmarks/peers.txt too

Bytecode is kept in a folder of its own, and a round that is not counted fills it, so that no arm
pays for compiling what another finds compiled.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from attrs import frozen

from benchmarks.tables import table, write_number

_BARE = "a bare interpreter"
_DEPENDENCIES = "aiohttp, anyio, attrs, cattrs"
_OURS = "wiro_async"
_HELP = "wiro --help"
_OPEN = """
import asyncio
from wiro_async import WiroSession

async def main():
    async with WiroSession("key", "secret", base_url="http://127.0.0.1:9"):
        pass

asyncio.run(main())
"""
_WIRO = ("-m", "wiro_async")
_IMPORTS: Mapping[str, Sequence[str]] = {
    _BARE: ("-c", "pass"),
    "asyncio": ("-c", "import asyncio"),
    "asyncio, anyio, attrs, cattrs": ("-c", "import asyncio, anyio, attrs, cattrs"),
    _DEPENDENCIES: ("-c", "import aiohttp, anyio, attrs, cattrs"),
    _OURS: ("-c", "import wiro_async"),
    "wiro_async, a session opened": ("-c", _OPEN),
}
_COMMANDS: Mapping[str, Sequence[str]] = {
    "wiro --version": (*_WIRO, "--version"),
    _HELP: (*_WIRO, "--help"),
    "wiro batch --help": (*_WIRO, "batch", "--help"),
}
_PEERS = ("fal_client", "replicate", "runwayml", "openai")
_MOST_RATIO = 1.05
_MOST_HELP_SECONDS = 0.35


@frozen
class Start:
    """What one start took, in seconds."""

    seconds: float
    cpu_seconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Compare how long it takes to start.")
    parser.add_argument("--rounds", type=int, default=11, metavar="N")
    rounds: int = parser.parse_args().rounds
    arms = _arms()
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        started: dict[str, list[Start]] = {name: [] for name in arms}
        for number in range(rounds + 1):
            for name, arguments in arms.items():
                start = measure(arguments, environment)
                if number:
                    started[name].append(start)
    _tell({name: _median(starts) for name, starts in started.items()}, rounds)


def _arms() -> dict[str, Sequence[str]]:
    """What can be started here: the commands need their extra, the peers their own install."""
    commands = _COMMANDS if find_spec("typer") and find_spec("rich") else {}
    peers = {name: ("-c", f"import {name}") for name in _PEERS if find_spec(name)}
    return {**_IMPORTS, **commands, **peers}


def measure(arguments: Sequence[str], environment: Mapping[str, str]) -> Start:
    """Start an interpreter and wait for its end."""
    cpu, since = _cpu_seconds(), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True
    )
    return Start(time.perf_counter() - since, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """What all children that have ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _median(starts: Sequence[Start]) -> Start:
    return Start(
        statistics.median(start.seconds for start in starts),
        statistics.median(start.cpu_seconds for start in starts),
    )


def _tell(medians: Mapping[str, Start], rounds: int) -> None:
    bare = medians[_BARE].cpu_seconds
    unit = medians[_DEPENDENCIES].cpu_seconds - bare
    rows = [
        [
            name,
            write_number(start.seconds),
            write_number(start.cpu_seconds),
            write_number((start.cpu_seconds - bare) / unit),
        ]
        for name, start in medians.items()
    ]
    print(f"medians of {rounds} rounds, {len(os.sched_getaffinity(0))} cores\n")
    for line in table(rows, ["what is started", "seconds", "CPU seconds", "/ dependencies"]):
        print(line)
    ratio = (medians[_OURS].cpu_seconds - bare) / unit
    print(f"\nimporting the package: {ratio:.2f} of its dependencies, at most {_MOST_RATIO}")
    if _HELP in medians:
        print(f"{_HELP}: {medians[_HELP].seconds:.2f} s, at most {_MOST_HELP_SECONDS}")


if __name__ == "__main__":
    main()
