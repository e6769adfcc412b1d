"""How near does a batch come to the time that its tasks need anyway?

Runs the same tasks with several clients, in interleaved rounds, each against an emulator in a
process of its own, and prints for each client the medians of:

* makespan / ideal: wall time over the time that the tasks would need if a slot were never
  empty (the tasks in the order of their making, each put in the slot that is free first);
* requests a task, Run, looks and the file together;
* lag: from when a task was terminal to when the client had its file, in seconds (p50, p95);
* CPU a task of the client's process, in milliseconds;
* memory: the growth of the client's peak resident size, in MB.

The time and memory of the imports are not counted.

    python -m benchmarks.throughput                     # 1,000 tasks, 100 in flight, 3 rounds
    python -m benchmarks.throughput --tasks 200 --rounds 1
    python -m benchmarks.throughput --in-flight 200 --only \
        "wiro_async, first look 0.5 s" "the same, with a journal"   # what the journal costs
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import heapq
import hmac
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp

MODEL = "black-forest-labs/flux-pro-1-1-ultra"
_TERMINAL = {"task_postprocess_end", "task_cancel"}


async def run_ours(
    base_url: str, tasks: int, in_flight: int, first_look: float, *, journal: bool = False
) -> list[str]:
    """Run this library's batch, pictures on disk included."""
    from wiro_async import PollSchedule, WiroSession  # noqa: PLC0415 - not in the peers' memory

    ended: list[str] = []
    schedule = PollSchedule(first_seconds=first_look, max_seconds=max(10.0, first_look))
    with tempfile.TemporaryDirectory() as out:
        async with WiroSession(
            "emulator-key",
            "emulator-secret",
            base_url=base_url,
            max_in_flight=in_flight,
            max_looks_per_second=1_000_000,
            poll_schedule=schedule,
        ) as session:
            prompts = (f"prompt number {number}" for number in range(tasks))
            async with session.batch(
                prompts,
                model=MODEL,
                output_dir=out,
                journal=Path(out, "batch.sqlite") if journal else None,
            ) as batch:
                async for item in batch:
                    assert item.ok, item.error  # noqa: S101 - a benchmark of failures is none
                    ended.append(f"{item.task_id} {time.time()}")
    return ended


async def run_plain(base_url: str, tasks: int, in_flight: int, interval: float) -> list[str]:
    """Run a hand-written loop on aiohttp: a semaphore, a fixed interval, no care for anything."""
    ended: list[str] = []
    places = asyncio.Semaphore(in_flight)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def post(path: str, body: Mapping[str, str]) -> dict[str, object]:
            nonce = str(time.time_ns())
            signature = hmac.new(
                b"emulator-key", f"emulator-secret{nonce}".encode(), hashlib.sha256
            ).hexdigest()
            headers = {"x-api-key": "emulator-key", "x-nonce": nonce, "x-signature": signature}
            async with http.post(f"{base_url}{path}", json=body, headers=headers) as response:
                answer: dict[str, object] = await response.json()
                return answer

        async def one(number: int, out: str) -> None:
            async with places:
                prompt = f"prompt number {number}"
                started = await post(f"/Run/{MODEL}", {"prompt": prompt})
                record: dict[str, object] = {"status": ""}
                while record["status"] not in _TERMINAL:
                    await asyncio.sleep(interval)
                    answer = await post("/Task/Detail", {"taskid": str(started["taskid"])})
                    record = answer["tasklist"][0]  # type: ignore[index]
            url: str = record["outputs"][0]["url"]  # type: ignore[index]
            async with http.get(url) as response:
                picture = await response.read()
            Path(out, f"{number}.png").write_bytes(picture)  # noqa: ASYNC240 - so do its kind
            ended.append(f"{started['taskid']} {time.time()}")

        with tempfile.TemporaryDirectory() as out:
            await asyncio.gather(*(one(number, out) for number in range(tasks)))
    return ended


Contender = Callable[[str, int, int], Coroutine[object, object, list[str]]]
CONTENDERS: dict[str, Contender] = {
    "wiro_async, default schedule": lambda url, tasks, n: run_ours(url, tasks, n, 3.0),
    "wiro_async, first look 0.5 s": lambda url, tasks, n: run_ours(url, tasks, n, 0.5),
    "the same, with a journal": lambda url, tasks, n: run_ours(url, tasks, n, 0.5, journal=True),
    "plain aiohttp, 3 s": lambda url, tasks, n: run_plain(url, tasks, n, 3.0),
    "plain aiohttp, 0.5 s": lambda url, tasks, n: run_plain(url, tasks, n, 0.5),
}


@contextmanager
def emulator(median: float) -> Iterator[str]:
    """Serve an emulator in a process of its own; its base url."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "wiro_async", "emulator", "--picture-pixels", "0"),
            *("--median", str(median), "--balance", "1000000"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        yield process.stdout.readline().strip().removeprefix("export WIRO_BASE_URL=")
    finally:
        process.terminate()
        process.communicate()


def contend(name: str, base_url: str, tasks: int, in_flight: int) -> None:
    """Be one contender, in a process of its own; prints what it used as JSON."""
    if not name.startswith("plain"):
        import_module("wiro_async")  # the time to import is not the time to run
    baseline = peak_kilobytes()
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.time()
    ended = asyncio.run(CONTENDERS[name](base_url, tasks, in_flight))
    makespan = time.time() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = (peak_kilobytes() - baseline) / 1024
    print(json.dumps({"makespan": makespan, "cpu": cpu, "memory": memory, "ended": ended}))


def peak_kilobytes() -> float:
    """Read the largest resident size of this program so far (Linux; elsewhere nought)."""
    try:
        # Not getrusage: its peak survives exec, so it would be that of the parent.
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return float(status.partition("VmHWM:")[2].split()[0])


def ideal_makespan(durations: list[float], in_flight: int) -> float:
    """Find when the last task ends if a slot is never empty, in seconds."""
    slots = [0.0] * in_flight
    for duration in durations:
        heapq.heapreplace(slots, slots[0] + duration)
    return max(slots)


def measure(name: str, tasks: int, in_flight: int, median: float) -> dict[str, float]:
    """Run one contender once; its figures."""
    with emulator(median) as base_url:
        command = [sys.executable, "-m", "benchmarks.throughput", "--contender", name]
        command += ["--base-url", base_url, "--tasks", str(tasks), "--in-flight", str(in_flight)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        origin = base_url.removesuffix("/v1")
        with urllib.request.urlopen(f"{origin}/emulator/books") as answer:  # noqa: S310 - loopback
            books = json.load(answer)
        born = time.time() - books["now"]
    return figures(json.loads(done.stdout), books, born, in_flight)


def figures(
    used: dict[str, Any], books: dict[str, Any], born: float, in_flight: int
) -> dict[str, float]:
    """Bring the client's figures and the emulator's books together.

    Args:
        used: what the contender printed.
        books: the emulator's books, their times in seconds since it was made.
        born: the unix time at which that was.
        in_flight: tasks that may run at once.
    """
    made = sorted(books["tasks"].values(), key=lambda task: task["created"])
    ideal = ideal_makespan([task["duration"] for task in made], in_flight)
    lags = []
    for line in used["ended"]:
        task_id, at = line.split()
        lags.append(float(at) - born - books["tasks"][task_id]["ended"])
    cuts = statistics.quantiles(lags, n=20)
    return {
        "makespan s": used["makespan"],
        "/ ideal": used["makespan"] / ideal,
        "requests a task": sum(books["requests"].values()) / len(made),
        "lag p50 s": statistics.median(lags),
        "lag p95 s": cuts[-1],
        "CPU ms a task": 1000 * used["cpu"] / len(made),
        "memory MB": used["memory"],
    }


def print_table(rounds: Mapping[str, list[dict[str, float]]]) -> None:
    """Print the medians, a row for each contender."""
    names = list(next(iter(rounds.values()))[0])
    print(" | ".join(["| client".ljust(31), *names]) + " |")
    print("|" + "---|" * (len(names) + 1))
    for name, results in rounds.items():
        medians = [statistics.median(result[key] for result in results) for key in names]
        cells = [
            f"{median:.2f}".rjust(len(key)) for key, median in zip(names, medians, strict=True)
        ]
        print(" | ".join([f"| {name}".ljust(31), *cells]) + " |")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--median", type=float, default=2.0, help="median duration in seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", choices=CONTENDERS, default=[*CONTENDERS], help="these contenders"
    )
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        contend(options.contender, options.base_url, options.tasks, options.in_flight)
        return
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    for _ in range(options.rounds):
        for name, results in rounds.items():
            results.append(measure(name, options.tasks, options.in_flight, options.median))
    print(
        f"{options.tasks} tasks, {options.in_flight} in flight, median {options.median} s; "
        f"medians of {options.rounds} rounds\n"
    )
    print_table(rounds)


if __name__ == "__main__":
    main()
