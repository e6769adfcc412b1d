"""What does a long input cost before its first task: time and memory, for up to a million rows?

A process of its own for each length goes through a CSV file as `wiro batch` does: it checks the
whole file first, then reads it row by row and plans each in a journal. Nothing is submitted.

    python -m benchmarks.rows                    # 10,000, 100,000 and 1,000,000 rows
    python -m benchmarks.rows --rows 10000
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.contender import peak_kilobytes
from benchmarks.peer_service import MODEL
from benchmarks.tables import table
from wiro_async import SourceOptions, check_source, read_requests
from wiro_async.batch.journal.writer import open_journal

_AT_ONCE = 200


def write_rows(path: Path, rows: int) -> None:
    """Write a file of prompts."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["custom_id", "prompt", "seed"])
        writer.writerows((f"row-{row}", f"picture number {row}", row) for row in range(rows))


async def plan(path: Path, journal_path: Path) -> None:
    """Read a file and plan each row, some at a time, as a batch does."""
    requests = read_requests(path, SourceOptions(model=MODEL))
    journal = await open_journal(journal_path)
    try:
        while chunk := list(islice(requests, _AT_ONCE)):
            await asyncio.gather(*map(journal.plan, chunk))
    finally:
        await journal.aclose()


@contextmanager
def _measured(into: dict[str, float], what: str) -> Iterator[None]:
    memory, started, used = peak_kilobytes(), time.perf_counter(), time.process_time()
    yield
    into[f"{what} s"] = time.perf_counter() - started
    into[f"{what} CPU us a row"] = time.process_time() - used
    into[f"{what} MB"] = (peak_kilobytes() - memory) / 1024


def measure(rows: int) -> dict[str, float]:
    """Go through one file in this process; what it cost."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "prompts.csv")
        write_rows(path, rows)
        # The first row pays for what is loaded late.
        small = Path(scratch, "small.csv")
        write_rows(small, 1)
        check_source(small, SourceOptions(model=MODEL))
        asyncio.run(plan(small, Path(scratch, "small.sqlite")))
        with _measured(figures, "check"):
            check_source(path, SourceOptions(model=MODEL))
        with _measured(figures, "plan"):
            asyncio.run(plan(path, Path(scratch, "batch.sqlite")))
    for what in ("check", "plan"):
        figures[f"{what} CPU us a row"] *= 1e6 / rows
    return figures


def main() -> None:
    """Measure each length in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        json.dump(measure(options.measure), sys.stdout)
        return
    measured = {}
    for rows in options.rows:
        command = [sys.executable, "-m", "benchmarks.rows", "--measure", str(rows)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        measured[rows] = json.loads(done.stdout)
    head = list(next(iter(measured.values())))
    lines = [
        [f"{rows:,}", *(f"{figures[name]:.1f}" for name in head)]
        for rows, figures in measured.items()
    ]
    print("\n".join(table(lines, ["rows", *head])))


if __name__ == "__main__":
    main()
