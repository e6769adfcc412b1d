"""The service that every arm meets, in a process of its own.

This library and the hand-written loops meet the emulator. The peers meet the same world behind
their own services' addresses (`benchmarks/peer_service.py`): the same prompt takes as long there
and has the same picture.

    python -m benchmarks.backend wiro --median 2      # one line of JSON: where it is
                                                      # its books when standard input ends
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from attrs import define, field, frozen

from benchmarks.figures import Account, Booked
from benchmarks.peer_service import PeerService
from wiro_async.emulator import Emulator

Kind = Literal["wiro", "peers"]


@frozen(kw_only=True)
class Address:
    """Where a service is.

    Attributes:
        base_url: what a client is given.
        socket_url: where its websocket is; "" if it has none.
    """

    base_url: str
    socket_url: str


@define
class Backend:
    """A service that runs; `account` is there once it has ended."""

    address: Address
    account: Account | None = field(default=None)


async def serve(kind: Kind, median: float) -> None:
    """Be the service until standard input ends, then tell its books."""
    # Before the service, whose clock begins when it is made: within a millisecond of this.
    born = time.time()
    service: Emulator | PeerService = (
        Emulator(balance=10_000_000, median_seconds=median, picture_pixels=0)
        if kind == "wiro"
        else PeerService(median_seconds=median)
    )
    async with service:
        print(
            json.dumps({"base_url": service.base_url, "socket_url": service.socket_url}),
            flush=True,
        )
        before = _cpu_seconds()
        await asyncio.to_thread(sys.stdin.read)
        used = _cpu_seconds() - before
        books = service.books
    tasks = {task.id: [task.created, task.duration, task.ended] for task in books.tasks.values()}
    json.dump(
        {"born": born, "tasks": tasks, "requests": dict(books.requests), "cpu": used}, sys.stdout
    )


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def backend(kind: Kind, median: float) -> Iterator[Backend]:
    """Have a service for as long as the context is open; its books are there afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.backend", kind, "--median", str(median)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = ""
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        running = Backend(Address(**json.loads(process.stdout.readline())))
        yield running
    finally:
        told, _ = process.communicate()
    running.account = read_account(json.loads(told))


def read_account(told: dict[str, Any]) -> Account:
    """Read what `serve` tells at its end."""
    return Account(
        born=told["born"],
        tasks={
            task_id: Booked(created=created, duration=duration, ended=ended)
            for task_id, (created, duration, ended) in told["tasks"].items()
        },
        requests=told["requests"],
        cpu_seconds=told["cpu"],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=("wiro", "peers"))
    parser.add_argument("--median", type=float, default=2.0)
    options = parser.parse_args()
    asyncio.run(serve(options.kind, options.median))
