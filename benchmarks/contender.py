"""One arm in a process of its own: it runs the tasks once, and tells what it used as JSON.

`python -m benchmarks` starts it; to profile an arm it is started by hand, against a service of
`python -m benchmarks.backend`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pkgutil
import resource
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from benchmarks.arms import EVERYBODY
from benchmarks.backend import Address
from benchmarks.figures import Performance
from benchmarks.jobs import Arm, Job

# An arm that is too busy to notice that its time is over is ended by force, so much later.
_GRACE_SECONDS = 60.0
_APART = ("wiro_async.cli", "wiro_async.emulator", "wiro_async.__main__", "wiro_async.pytest")


def is_installed(arm: Arm) -> bool:
    """Tell whether the distribution that an arm needs is there."""
    try:
        distribution(arm.package)
    except PackageNotFoundError:
        return False
    return True


def contend(arm: Arm, job: Job, limit: float) -> Performance:
    """Run an arm in this process, for so many seconds at most."""
    _import_all(arm)
    memory = peak_kilobytes()
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.time()
    is_whole = asyncio.run(_run(arm, job, limit))
    seconds = time.time() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    return Performance(
        seconds=seconds,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        memory_kb=peak_kilobytes() - memory,
        ended=[*job.ended],
        is_whole=is_whole and len(job.ended) == job.tasks,
        errors=dict(job.errors),
    )


async def _run(arm: Arm, job: Job, limit: float) -> bool:
    """Run an arm; whether it came to its end in time."""
    cap = asyncio.timeout(limit)
    try:
        async with cap:
            await arm.run(job)
    except TimeoutError:
        if not cap.expired():
            raise
        return False
    return True


def _import_all(arm: Arm) -> None:
    """Import what an arm would import on its way: the time for that is measured elsewhere."""
    for name in arm.modules:
        import_module(name)
    if arm.package == "wiro-async":
        package = import_module("wiro_async")
        for module in pkgutil.walk_packages(package.__path__, "wiro_async."):
            if not module.name.startswith(_APART):
                import_module(module.name)
    if "anyio" in sys.modules:  # it imports the most of itself where it is first used
        anyio = import_module("anyio")
        anyio.run(anyio.sleep, 0)
        for name in dir(anyio):
            getattr(anyio, name)


def peak_kilobytes() -> float:
    """Read the largest resident size of this program so far (Linux; elsewhere nought)."""
    try:
        # Not getrusage: its peak survives exec, so it would be that of the parent.
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return float(status.partition("VmHWM:")[2].split()[0])


def call(name: str, address: Address, job: Job, limit: float) -> Performance | None:
    """Have an arm contend in a process of its own; None if that had to be ended by force.

    Raises:
        subprocess.CalledProcessError: if it failed.
    """
    command = [sys.executable, "-m", "benchmarks.contender", "--arm", name]
    command += ["--base-url", address.base_url, "--socket-url", address.socket_url]
    command += ["--tasks", str(job.tasks), "--in-flight", str(job.in_flight)]
    command += ["--median", str(job.median), "--limit", str(limit), "--out", str(job.out)]
    if job.file is not None:
        command += ["--file", str(job.file)]
    try:
        done = subprocess.run(
            command,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=limit + _GRACE_SECONDS,
            env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        )
    except subprocess.TimeoutExpired:
        return None
    return Performance(**json.loads(done.stdout))


def main() -> None:
    """Read the options, contend and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arm", choices=EVERYBODY, required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--socket-url", default="")
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--median", type=float, required=True)
    parser.add_argument("--limit", type=float, default=120.0)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(
            base_url=options.base_url,
            socket_url=options.socket_url,
            tasks=options.tasks,
            in_flight=options.in_flight,
            median=options.median,
            out=options.out or Path(scratch),
            file=options.file,
        )
        used = contend(EVERYBODY[options.arm], job, options.limit)
    json.dump(
        {
            "seconds": used.seconds,
            "cpu_seconds": used.cpu_seconds,
            "memory_kb": used.memory_kb,
            "ended": used.ended,
            "is_whole": used.is_whole,
            "errors": used.errors,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
