"""Does a long run in bad weather leave anything behind: in memory, in doubt or on the bill?

Runs one batch with a journal against an emulator in a process of its own, which fails in every
way that it knows, at a low rate. Every second the client's own process is measured. At the end
the results on disk are held against the emulator's books: every task that was made is
accounted for, none was made twice, every file has the bytes that the service gave out.

It exits with 1 if that is not so, or if memory grew by more than it may between the first tenth
of the tasks and the last.

    python -m benchmarks.soak                                       # 20,000 tasks, 500 in flight
    python -m benchmarks.soak --tasks 300 --in-flight 100           # a quick one
    python -m benchmarks.soak --plot docs/images/soak.svg           # needs matplotlib
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.accounts import Account, read_books, settle_accounts
from wiro_async import Batch, PollSchedule, WiroSession
from wiro_async.emulator import Emulator, Fault
from wiro_async.emulator.faults import ACTIONS

MODEL = "black-forest-labs/flux-pro-1-1-ultra"
# A tenth of what the client takes at all; 18,000 tasks that left their records would be 100 MB.
_MOST_GROWTH_MB = 8.0
_KEY, _SECRET = "emulator-key", "emulator-secret"

_ENDPOINTS = ("Run", "Task/Detail", "Task/List", "cdn")
# Of these a batch stops, as it should; that is tried elsewhere.
_STOPPING = {"no_balance", "unauthorized"}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "delay": {"seconds": 0.5},
    "rate_limit": {"retry_after": 0.2},
    "status": {"status": 502},
}


@frozen
class Sample:
    """The client's process at one moment; times in seconds since the batch was opened."""

    seconds: float
    done: int
    in_flight: int
    memory_mb: float
    files: int
    tasks: int
    threads: int


def weather(tasks: int) -> Iterator[Fault]:
    """Give faults of every kind at a low rate, and each at least a few times."""
    # Each Run of unknown outcome is looked for in the list of tasks: they are to be rare.
    run_every = min(499, max(7, tasks // 4))
    other_every = min(97, max(7, tasks // 4))
    number = 0
    for endpoint in _ENDPOINTS:
        for action, where in ACTIONS.items():
            if endpoint not in where or action in _STOPPING:
                continue
            number += 1
            every = run_every if endpoint == "Run" else other_every
            if action == "rate_limit":  # each slows the whole session for a minute or more
                every = max(every, tasks // 2)
            fault = {
                "endpoint": endpoint,
                "action": action,
                "times": None,
                # Each another number, or they would all strike the same requests.
                "every": every + 2 * number,
                **_OPTIONS.get(action, {}),
            }
            yield Fault(**fault)
            if endpoint == "Run" and action in ("status", "html", "empty"):
                yield Fault(**{**fault, "every": fault["every"] + 1, "task_made": True})


async def serve(tasks: int, seed: int) -> None:
    """Be the emulator, until standard input ends."""
    emulator = Emulator(
        api_key=_KEY,
        api_secret=_SECRET,
        balance=Decimal(1_000_000),
        median_seconds=5.0,
        picture_pixels=0,
        faults=weather(tasks),
        seed=seed,
    )
    async with emulator:
        print(emulator.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def service(tasks: int, seed: int) -> Iterator[str]:
    """Have an emulator in a process of its own; its base url."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.soak", "--serve"),
            *("--tasks", str(tasks), "--seed", str(seed)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


def take_sample(batch: Batch, since: float) -> Sample:
    """Measure this process; memory and files are nought where there is no /proc."""
    memory = Path("/proc/self/statm")
    files = Path("/proc/self/fd")
    pages = int(memory.read_text().split()[1]) if memory.exists() else 0
    return Sample(
        seconds=time.monotonic() - since,
        done=batch.summary.total,
        in_flight=batch.in_flight,
        memory_mb=pages * 4096 / 1e6,
        files=len([*files.iterdir()]) if files.exists() else 0,
        tasks=len(asyncio.all_tasks()),
        threads=threading.active_count(),
    )


async def run(base_url: str, out: Path, tasks: int, in_flight: int) -> list[Sample]:
    """Run the batch; a sample of every second."""
    samples: list[Sample] = []
    since = time.monotonic()

    async def watch(batch: Batch) -> None:
        while True:
            samples.append(take_sample(batch, since))
            if sys.stderr.isatty():
                print(f"\r{samples[-1].done}/{tasks}", end="", file=sys.stderr, flush=True)
            await asyncio.sleep(1.0)

    async with (
        WiroSession(
            _KEY,
            _SECRET,
            base_url=base_url,
            max_in_flight=in_flight,
            poll_schedule=PollSchedule(),
            settle_seconds=3.0,
        ) as session,
        session.batch(
            (f"picture number {number}" for number in range(tasks)),
            model=MODEL,
            output_dir=out,
            journal=out / "batch.sqlite",
        ) as batch,
    ):
        watching = asyncio.create_task(watch(batch))
        try:
            await batch.wait()
        finally:
            watching.cancel()
            samples.append(take_sample(batch, since))
    print(f"\r{batch.summary}\n")
    return samples


def memory_growth(samples: Iterable[Sample], tasks: int) -> tuple[float, float]:
    """Find the median memory of the second tenth of the tasks and of the last, in MB."""
    tenths: dict[int, list[float]] = {}
    for sample in samples:
        tenths.setdefault(min(9, 10 * sample.done // tasks), []).append(sample.memory_mb)
    early = tenths.get(1) or tenths[min(tenths)]
    return statistics.median(early), statistics.median(tenths[max(tenths)])


def print_report(samples: list[Sample], books: dict[str, Any], account: Account) -> None:
    """Print the tables."""
    struck = {kind: n for kind, n in sorted(books["answers"].items()) if kind.startswith("fault ")}
    rows = {
        "requests": ", ".join(f"{n} {status}" for status, n in account.lines.most_common()),
        "tasks in the books": f"{len(books['tasks'])}, ${books['spent']} charged "
        f"({account.unpriced} records told no cost)",
        "requests at the service": ", ".join(f"{k} {n}" for k, n in books["requests"].items()),
        "of them struck": ", ".join(f"{n} {k.removeprefix('fault ')}" for k, n in struck.items()),
        "seconds": f"{samples[-1].seconds:.0f}",
    }
    for what, said in rows.items():
        print(f"{what:<24} {said}")
    print("\n| seconds | done | in flight | memory MB | open files | asyncio tasks | threads |")
    print("|---|---|---|---|---|---|---|")
    step = max(1, len(samples) // 10)
    for one in [*samples[::step], samples[-1]]:
        print(
            f"| {one.seconds:.0f} | {one.done} | {one.in_flight} | {one.memory_mb:.1f} "
            f"| {one.files} | {one.tasks} | {one.threads} |"
        )


def soak(options: argparse.Namespace, out: Path) -> int:
    """Run, report, judge; the exit code."""
    with service(options.tasks, options.seed) as base_url:
        samples = asyncio.run(run(base_url, out, options.tasks, options.in_flight))
        books = read_books(base_url)
    account = settle_accounts(books, out, options.tasks)
    print_report(samples, books, account)
    early, late = memory_growth(samples, options.tasks)
    print(f"\nmemory: {early:.1f} MB early, {late:.1f} MB late; may grow by {_MOST_GROWTH_MB} MB")
    if late - early > _MOST_GROWTH_MB:
        account.problems.append(f"memory grew by {late - early:.1f} MB")
    if options.plot is not None:
        from benchmarks.plots import plot_soak  # noqa: PLC0415 - matplotlib only where asked for

        plot_soak(samples, options.plot)
    for problem in account.problems[:20]:
        print(f"wrong: {problem}")
    print(f"{len(account.problems)} problems" if account.problems else "all is accounted for")
    return 1 if account.problems else 0


def main() -> int:
    """Read the options, and soak."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the emulator's world")
    parser.add_argument("--plot", type=Path, help="a file for the picture of it: .svg or .png")
    parser.add_argument("--out", type=Path, help="a new directory that is kept")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.tasks, options.seed))
        return 0
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install -e '.[benchmarks]'")
    if options.out is not None and options.out.exists():
        parser.error(f"{options.out} exists: a soak begins in a new directory")
    with tempfile.TemporaryDirectory() as scratch:
        return soak(options, options.out or Path(scratch, "out"))


if __name__ == "__main__":
    sys.exit(main())
