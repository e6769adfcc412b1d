"""Loops written by hand on aiohttp, which care for nothing: the floor, and two that look.

The floor is no client that anybody could have: it knows how long each task will take, sleeps
until then, asks once and fetches the file. Nobody needs fewer requests or hears sooner, and its
CPU is that of the HTTP alone. The plain loops look at a fixed interval.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
from attrs import define

from benchmarks.jobs import Job, Leave, crowd
from benchmarks.peer_service import MODEL
from wiro_async.emulator import chance
from wiro_async.emulator.catalog import CATALOG

KEY, SECRET = "emulator-key", "emulator-secret"
_TERMINAL = {"task_postprocess_end", "task_cancel", "task_error"}
# The emulator's own default.
SIGMA = 0.5
_WORLD_SEED = 0
# So many requests at once keep any service on this machine busy.
_FLOOR_CONNECTIONS = 200
# Should the floor ask a moment too early.
_SOON = 0.001

# How long to sleep before each look at a task, in seconds: of its prompt and parameters.
Waits = Callable[[str, Mapping[str, str]], Iterator[float]]


@define
class Hand:
    """The service's protocol by hand."""

    job: Job
    http: aiohttp.ClientSession

    @classmethod
    @asynccontextmanager
    async def open(cls, job: Job, connections: int = 0) -> AsyncIterator[Self]:
        """Open a session of so many connections; nought is for as many as it likes."""
        connector = aiohttp.TCPConnector(limit=connections)
        async with aiohttp.ClientSession(connector=connector) as http:
            yield cls(job, http)

    async def start(self, prompt: str, params: Mapping[str, str]) -> str:
        """Run a task; its id."""
        answer = await self._post(self.http, f"/Run/{MODEL}", {"prompt": prompt, **params})
        return str(answer["taskid"])

    async def look(self, task_id: str) -> Any:  # noqa: ANN401 - JSON
        """Read a task's record."""
        answer = await self._post(self.http, "/Task/Detail", {"taskid": task_id})
        return answer["tasklist"][0]

    async def fetch(self, record: Any) -> bytes:  # noqa: ANN401 - JSON
        """Read a task's picture."""
        async with self.http.get(record["outputs"][0]["url"]) as response:
            return await response.read()

    async def _post(
        self, http: aiohttp.ClientSession, path: str, body: Mapping[str, str], trace: object = None
    ) -> Any:  # noqa: ANN401 - JSON
        nonce = str(time.time_ns())
        signature = hmac.new(KEY.encode(), f"{SECRET}{nonce}".encode(), hashlib.sha256)
        headers = {"x-api-key": KEY, "x-nonce": nonce, "x-signature": signature.hexdigest()}
        url = f"{self.job.base_url}{path}"
        async with http.post(url, json=body, headers=headers, trace_request_ctx=trace) as response:
            return await response.json()


class Keeper:
    """Keeps what comes of a task, as a script would: nothing is flushed, nothing noted."""

    async def note(self, number: int, state: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Take note of how far a task is."""

    async def keep(self, picture: bytes, path: Path) -> None:
        """Bring a picture to the disk."""
        path.write_bytes(picture)  # noqa: ASYNC240 - as a script would


def foresee(prompt: str, params: Mapping[str, str], median: float) -> float:
    """Know how long a task will take at the emulator, in seconds."""
    model = CATALOG[MODEL]
    seed = model.value("seed", params)
    return chance.lognormal(median, SIGMA, "duration", _WORLD_SEED, model.slug, prompt, seed)


async def run_by_hand(hand: Hand, keeper: Keeper, waits: Waits) -> None:
    """Run every task of a hand's job."""

    async def one(number: int, prompt: str, params: Mapping[str, str], leave: Leave) -> str:
        await keeper.note(number, "intent", prompt=prompt)
        task_id = await hand.start(prompt, params)
        await keeper.note(number, "submitted", task_id=task_id)
        record = await _see_end(hand, task_id, waits(prompt, params))
        leave()
        await keeper.note(number, "terminal", record=record)
        await keeper.keep(await hand.fetch(record), hand.job.out / f"{number}.png")
        await keeper.note(number, "saved")
        return task_id

    await crowd(hand.job, one)


async def _see_end(hand: Hand, task_id: str, waits: Iterator[float]) -> Any:  # noqa: ANN401 - JSON
    while True:
        await asyncio.sleep(next(waits))
        record = await hand.look(task_id)
        if record["status"] in _TERMINAL:
            return record


def foreseen(job: Job) -> Waits:
    """Look when a task has ended, and not before."""

    def waits(prompt: str, params: Mapping[str, str]) -> Iterator[float]:
        return itertools.chain([foresee(prompt, params, job.median)], itertools.repeat(_SOON))

    return waits


async def run_floor(job: Job) -> None:
    """Know in advance when each task ends."""
    async with Hand.open(job, _FLOOR_CONNECTIONS) as hand:
        await run_by_hand(hand, Keeper(), foreseen(job))


async def run_plain(job: Job, interval: float) -> None:
    """Look at a fixed interval."""
    async with Hand.open(job) as hand:
        await run_by_hand(hand, Keeper(), lambda _, __: itertools.repeat(interval))
