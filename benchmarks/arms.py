"""Who runs the tasks: this library in its ways, beside loops written by hand and other clients."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

from benchmarks.by_hand import KEY, SECRET, run_floor, run_plain
from benchmarks.duties import DUTIES
from benchmarks.jobs import Arm, Job
from benchmarks.peer_service import MODEL
from benchmarks.peers import PEERS


async def run_ours(job: Job, *, has_journal: bool = False, **settings: object) -> None:
    """Run this library's batch."""
    session: Any = import_module("wiro_async").WiroSession
    async with (
        session(KEY, SECRET, base_url=job.base_url, **settings) as wiro,
        wiro.batch(
            job.prompts(),
            model=MODEL,
            output_dir=job.out,
            journal=job.out / "batch.sqlite" if has_journal else None,
        ) as batch,
    ):
        async for item in batch:
            if item.ok:
                job.ended.note(item.task_id)
            else:
                job.errors[type(item.error).__name__] += 1


Tracking = Literal["auto", "poll", "sweep", "socket"]


def _ours(tracking: Tracking, *, has_journal: bool = False) -> Arm:
    async def run(job: Job) -> None:
        await run_ours(
            job,
            has_journal=has_journal,
            tracking=tracking,
            socket_url=job.socket_url,
            max_in_flight=job.in_flight,
        )

    return Arm(run=run, package="wiro-async", modules=("wiro_async",))


def _by_default(*, has_socket: bool) -> Arm:
    async def run(job: Job) -> None:
        found = {"socket_url": job.socket_url} if has_socket else {}
        await run_ours(job, has_journal=True, **found)

    return Arm(run=run, package="wiro-async", modules=("wiro_async",))


ARMS: Mapping[str, Arm] = {
    "floor": Arm(run=run_floor),
    "plain aiohttp, 0.5 s": Arm(run=lambda job: run_plain(job, 0.5)),
    "plain aiohttp, 3 s": Arm(run=lambda job: run_plain(job, 3.0)),
    "wiro_async, looks alone": _ours("poll"),
    "wiro_async, with sweeps": _ours("sweep"),
    "wiro_async, with push": _ours("socket"),
    "wiro_async, auto": _ours("auto"),
    "wiro_async, looks, journal": _ours("poll", has_journal=True),
    "wiro_async, auto, journal": _ours("auto", has_journal=True),
    "wiro_async as it comes": _by_default(has_socket=True),
    "the same, no socket": _by_default(has_socket=False),
}

EVERYBODY: Mapping[str, Arm] = {**ARMS, **DUTIES, **PEERS}
