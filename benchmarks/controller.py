"""Does a session find out what an account bears, without asking in vain or leaving places empty?

Runs one batch after another against an emulator in a process of its own, each with another limit
of the account or of the requests. The emulator's own clock and books are sampled ten times a
second, so what is told of is what the service saw, and not what the client believes. For each:

* rejected: Runs that met code 96, of all Runs;
* empty: places that stood empty while tasks waited, of all place-seconds (from the first Run until
  the last task was made); the way of an answer to the client and of a Run back is in it;
* 429: requests that came too fast, of all requests; and the rate of those that were answered,
  where the service limits it, from the tenth second on;
* makespan / ideal: against the time that the tasks need if a place is never empty.

    python -m benchmarks.controller                          # eight minutes
    python -m benchmarks.controller --only "limit 5" "20 requests/s"
    python -m benchmarks.controller --plot docs/images       # needs matplotlib
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from attrs import asdict, frozen

from wiro_async import WiroSession
from wiro_async.emulator import Emulator
from wiro_async.emulator.limits import concurrent_limit

MODEL = "black-forest-labs/flux-pro-1-1-ultra"
_KEY, _SECRET = "emulator-key", "emulator-secret"
_SAMPLE_SECONDS = 0.1
# The session's default.
_CEILING = 100
# Until then a session may look for the rate that the service bears.
_SETTLED_SECONDS = 10.0


@frozen(kw_only=True)
class Scenario:
    """An account, and a batch.

    Attributes:
        tasks: of the batch.
        median_seconds: of the tasks' durations, lognormal with a sigma of 0.5.
        balance: dollars to begin with.
        price: dollars a task.
        rate: requests a second that the service bears; None for any number.
        added: dollars that are added.
        added_at: seconds after the start at which they are.
        tracking: the session's.
    """

    tasks: int
    median_seconds: float = 2.0
    balance: float = 1_000_000.0
    price: float = 0.000_001
    rate: float | None = None
    added: float = 0.0
    added_at: float = 0.0
    tracking: str = "auto"


SCENARIOS: Mapping[str, Scenario] = {
    "limit 5": Scenario(tasks=150, balance=55.0),
    "limit 25": Scenario(tasks=600, balance=250.0),
    "unlimited": Scenario(tasks=1_500),
    "shrinking": Scenario(tasks=800, balance=270.0, price=0.25),
    "funds added": Scenario(tasks=600, balance=55.0, added=1_000.0, added_at=30.0),
    "20 requests/s": Scenario(tasks=400, median_seconds=4.0, rate=20.0),
    "20 requests/s, looks alone": Scenario(
        tasks=400, median_seconds=4.0, rate=20.0, tracking="poll"
    ),
}


@frozen(kw_only=True)
class Sample:
    """How the account stands at one moment.

    Attributes:
        seconds: since the emulator was opened.
        limit: tasks that may run at once; None for any number.
        in_flight: tasks that run.
        made: tasks made so far.
        runs: Runs that have come in.
        rejected: of these, by code 96.
        requests: of every kind but the files.
        limited: of these, by 429.
    """

    seconds: float
    limit: int | None
    in_flight: int
    made: int
    runs: int
    rejected: int
    requests: int
    limited: int


def take_sample(emulator: Emulator, since: float) -> Sample:
    """Read the books."""
    books = emulator.books
    return Sample(
        seconds=time.monotonic() - since,
        limit=concurrent_limit(books.balance),
        in_flight=books.in_flight,
        made=len(books.tasks),
        runs=books.requests["Run"],
        rejected=books.answers["code 96"],
        requests=books.requests.total() - books.requests["cdn"],
        limited=books.answers["http 429"],
    )


async def serve(scenario: Scenario) -> None:
    """Be the emulator until standard input ends; then print what was seen."""
    samples: list[Sample] = []

    async def watch(emulator: Emulator) -> None:
        since = time.monotonic()
        is_added = False
        while True:
            samples.append(take_sample(emulator, since))
            if scenario.added and not is_added and samples[-1].seconds >= scenario.added_at:
                is_added = True
                emulator.books.balance += Decimal(str(scenario.added))
            await asyncio.sleep(_SAMPLE_SECONDS)

    emulator = Emulator(
        api_key=_KEY,
        api_secret=_SECRET,
        balance=scenario.balance,
        price=scenario.price,
        median_seconds=scenario.median_seconds,
        rate_limit=scenario.rate,
        picture_pixels=0,
    )
    async with emulator:
        print(json.dumps([emulator.base_url, emulator.socket_url]), flush=True)
        watching = asyncio.create_task(watch(emulator))
        await asyncio.to_thread(sys.stdin.read)
        watching.cancel()
        durations = [task.duration for task in emulator.books.tasks.values()]
        json.dump({"samples": [*map(asdict, samples)], "durations": durations}, sys.stdout)


@frozen
class Seen:
    """What the emulator's process tells at its end."""

    samples: list[Sample]
    durations: list[float]


@contextmanager
def service(name: str) -> Iterator[tuple[list[str], list[Seen]]]:
    """Have an emulator in a process of its own: its urls; what it saw is there afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.controller", "--serve", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen: list[Seen] = []
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        yield json.loads(process.stdout.readline()), seen
    finally:
        told, _ = process.communicate()
        found = json.loads(told)
        seen.append(Seen([Sample(**sample) for sample in found["samples"]], found["durations"]))


async def run(urls: Sequence[str], scenario: Scenario, out: Path) -> float:
    """Run the batch with the default settings; for how many seconds."""
    base_url, socket_url = urls
    since = time.monotonic()
    async with (
        WiroSession(
            _KEY,
            _SECRET,
            base_url=base_url,
            socket_url=socket_url,
            tracking=scenario.tracking,  # type: ignore[arg-type] # one of those it names
        ) as session,
        session.batch(
            (f"picture number {number}" for number in range(scenario.tasks)),
            model=MODEL,
            output_dir=out,
        ) as batch,
    ):
        summary = await batch.wait()
    assert summary.ok, str(summary)  # noqa: S101 - a benchmark of failures is none
    return time.monotonic() - since


def empty_share(samples: Sequence[Sample], tasks: int) -> float:
    """Find which part of the place-seconds stood empty while tasks waited."""
    there = empty = 0
    for sample in samples:
        if 0 < sample.made < tasks:
            places = min(_CEILING, _CEILING if sample.limit is None else sample.limit)
            places = min(places, sample.in_flight + tasks - sample.made)
            there += places
            empty += max(0, places - sample.in_flight)
    return empty / there if there else 0.0


def ideal_seconds(scenario: Scenario, durations: Sequence[float]) -> float:
    """Find how long the tasks take if a place is never empty, with what they cost as they end."""
    balance, price = Decimal(str(scenario.balance)), Decimal(str(scenario.price))
    added = Decimal(str(scenario.added))
    running: list[float] = []
    now = 0.0
    for duration in durations:
        while True:
            while running and running[0] <= now:
                heapq.heappop(running)
                balance -= price
            limit = concurrent_limit(balance + (added if now >= scenario.added_at else 0))
            if len(running) < min(_CEILING, _CEILING if limit is None else limit):
                break
            is_added_first = now < scenario.added_at < running[0]
            now = scenario.added_at if is_added_first else running[0]
        heapq.heappush(running, now + duration)
    return max(running)


def print_row(name: str, scenario: Scenario, seconds: float, seen: Seen) -> None:
    """Print one scenario's figures."""
    last = seen.samples[-1]
    rate = "-"
    if scenario.rate is not None:
        ran = [sample for sample in seen.samples if 0 < sample.made < scenario.tasks]
        first = next(sample for sample in ran if sample.seconds >= _SETTLED_SECONDS)
        answered = ran[-1].requests - ran[-1].limited - first.requests + first.limited
        rate = f"{answered / (ran[-1].seconds - first.seconds):.1f}/s"
    cells = [
        name,
        f"{scenario.tasks}",
        f"{100 * last.rejected / last.runs:.2f} %",
        f"{100 * empty_share(seen.samples, scenario.tasks):.2f} %",
        f"{last.requests / scenario.tasks:.1f}",
        f"{100 * last.limited / last.requests:.2f} %",
        rate,
        f"{seconds:.1f}",
        f"{seconds / ideal_seconds(scenario, seen.durations):.3f}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def measure(names: Sequence[str], plot: Path | None) -> None:
    """Run the scenarios one after another, and print the table."""
    heads = ["account", "tasks", "rejected", "empty", "requests a task", "429", "answered"]
    print("| " + " | ".join([*heads, "seconds", "/ ideal"]) + " |")
    print("|" + "---|" * (len(heads) + 2))
    for name in names:
        with tempfile.TemporaryDirectory() as out, service(name) as (urls, told):
            seconds = asyncio.run(run(urls, SCENARIOS[name], Path(out)))
        print_row(name, SCENARIOS[name], seconds, told[0])
        if plot is not None:
            from benchmarks.plots import plot_controller  # noqa: PLC0415 - matplotlib if asked for

            slug = "".join(one if one.isalnum() else "-" for one in name)
            plot_controller(name, told[0].samples, plot / f"controller-{slug}.svg")


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=[*SCENARIOS])
    parser.add_argument("--plot", type=Path, metavar="DIR", help="where a picture of each goes")
    parser.add_argument("--serve", choices=SCENARIOS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(SCENARIOS[options.serve]))
        return
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install -e '.[benchmarks]'")
    measure(options.only, options.plot)


if __name__ == "__main__":
    main()
