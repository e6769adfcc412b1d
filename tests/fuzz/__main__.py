"""``python -m tests.fuzz``: the long run, each target in a process of its own.

With ``--engine atheris`` (not a dependency of the tests: ``pip install atheris``) the library's
branches guide what is tried, by the same targets. What was found is kept as the input that shows
it, in the directory that ``--keep`` names; with atheris the inputs that reached something new are
kept there too, and the next run begins with them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from tests.fuzz.laws import memory_place
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
_WRONG_USE = 2
# For the last input to come to its own limit of time, and for the imports.
_SECONDS_TO_END = 60.0
_EXECUTED = re.compile(r"^stat::number_of_executed_units: *(\d+)", re.MULTILINE)
_ADDED = re.compile(r"^stat::new_units_added: *(\d+)", re.MULTILINE)
_LINES_OF_A_LOG = 25
_LONGEST_LINE = 200


@frozen(kw_only=True)
class Run:
    """What came of one target."""

    target: str
    seconds: float
    executions: int
    added: int
    findings: tuple[str, ...]
    log: str


def main(arguments: Sequence[str] | None = None) -> int:
    options = read_options(arguments)
    if options.engine == "atheris" and importlib.util.find_spec("atheris") is None:
        say(["atheris is not installed: pip install atheris, or leave --engine out"])
        return _WRONG_USE
    keep = Path(options.keep or tempfile.mkdtemp(prefix="fuzz-")).absolute()
    keep.mkdir(parents=True, exist_ok=True)
    runs = []
    for name in options.target or TARGETS:
        one = run_target(name, options, keep)
        runs.append(one)
        if one.findings:
            say(["", f"{name}:", *(f"    | {line}" for line in end_of(one.log)), ""])
    say(table(options.engine, runs))
    found = sum(len(one.findings) for one in runs)
    say([f"{found} findings, kept in {keep}"] if found else ["nothing was found"])
    return 1 if found else 0


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--target", action="append", choices=TARGETS, metavar="NAME")
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), default="hypothesis")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="DIR", help="where inputs are kept; else a new one")
    return parser.parse_args(arguments)


def run_target(name: str, options: argparse.Namespace, keep: Path) -> Run:
    """Drive one target in a process of its own, and see what it left behind."""
    before = set(keep.glob(f"{name}-*"))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory_place()) as scratch:
        child = (sys.executable, "-m", "tests.fuzz.child", options.engine, name)
        told = (f"{options.seconds}", f"{options.seed}", str(keep))
        try:
            done = subprocess.run(  # noqa: S603 - this very program
                (*child, *told),
                cwd=ROOT,
                env={**os.environ, "TMPDIR": scratch},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=options.seconds + _SECONDS_TO_END,
                text=True,
                errors="replace",
                check=False,
            )
            log, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired:
            log, code = "it never ended", 1
    findings = sorted(str(path) for path in set(keep.glob(f"{name}-*")) - before)
    if code != 0 and not findings:
        findings = [f"ended with {code}"]
    return Run(
        target=name,
        seconds=time.monotonic() - began,
        executions=number_in(_EXECUTED, log),
        added=number_in(_ADDED, log),
        findings=tuple(findings),
        log=log,
    )


def number_in(pattern: re.Pattern[str], log: str) -> int:
    found = pattern.search(log)
    return int(found.group(1)) if found else 0


def end_of(log: str) -> list[str]:
    """What it is that was found, without the engine's own words about memory and stacks."""
    lines = log.splitlines()
    start = next((at for at, line in enumerate(lines) if "Traceback" in line), 0)
    told = [line[:_LONGEST_LINE] for line in lines[start:]]
    end = next((at for at, line in enumerate(told) if line.startswith("==")), len(told))
    return told[:end][:_LINES_OF_A_LOG]


def table(engine: str, runs: Iterable[Run]) -> list[str]:
    heads = ("target", "engine", "seconds", "executions", "new inputs", "findings")
    rows = [
        (
            *(one.target, engine, f"{one.seconds:.0f}", f"{one.executions:,}"),
            *(f"{one.added:,}", str(len(one.findings))),
        )
        for one in runs
    ]
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    return [
        "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))
        for row in (heads, *rows)
    ]


def say(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
