"""The floor, with duties that a client has: how much of its CPU they take.

Still it meets no fault, and knows what the service is going to say. But each of these arms does
what cannot be left out, with the least that it takes:

* **flushed**: the files are on the disk, and named without overwriting another;
* **journal**: each step is on the disk before the next one begins;
* **duties**: flushed, and a Run that nobody's cancellation tears off, with aiohttp's own word on
  whether it went out; every request bounded in time; records as typed values; no output fetched
  from where none may lie; a line of the results for each task;
* **looks**: an end is not foreseen, but looked for. When that is best the distribution of the
  durations tells, which no client knows.

What comes to the disk, the converter of records, the check of addresses and the schedule are this
library's own; the rest is written by hand. A client that loses nothing has all of these duties, and
one that meets faults has more.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TextIO

import aiohttp
from attrs import define, field

from benchmarks.by_hand import SIGMA, Hand, Keeper, Waits, foreseen, run_by_hand
from benchmarks.jobs import Arm, Job, Run
from benchmarks.peer_service import MODEL
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.writer import FileJournal, open_journal
from wiro_async.batch.requests import BatchRequest
from wiro_async.downloads.flushing import Flusher
from wiro_async.downloads.partfile import PartFile
from wiro_async.protocol.addresses import check_output_url, place_of
from wiro_async.protocol.converter import make_converter
from wiro_async.protocol.durations import Durations
from wiro_async.protocol.polling import TAIL_INDEX, learned_schedule
from wiro_async.protocol.ranges import Source
from wiro_async.task import Task
from wiro_async.tracking.agenda import on_beat

# What this library keeps of a record, as far as there is something in it here.
_KEPT = ("id", "socketaccesstoken", "status", "pexit", "totalcost", "elapsedseconds", "outputs")
_REQUEST_SECONDS = 60.0


@define
class _Flushing(Keeper):
    """Flushes what it keeps."""

    _flusher: Flusher = field(init=False, factory=Flusher)

    async def keep(self, picture: bytes, path: Path) -> None:
        """Have it on the disk before this returns."""
        await self._flush(picture, path)

    async def _flush(self, picture: bytes, path: Path) -> PartFile:
        part = PartFile(path)
        part.begin(Source())
        part.take(picture)
        await self._flusher.put_in_place(part, path)
        return part


@define
class _Noting(_Flushing):
    """Flushes, and keeps a journal."""

    journal: FileJournal
    _positions: dict[int, int] = field(init=False, factory=dict)
    _facts: dict[int, dict[str, Any]] = field(init=False, factory=dict)

    async def note(self, number: int, state: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Have it in the journal before this returns."""
        if state == State.INTENT:
            entry = await self.journal.plan(
                BatchRequest(custom_id=str(number), model=MODEL, params={"prompt": facts["prompt"]})
            )
            assert entry is not None  # noqa: S101 - the journal is a new one
            self._positions[number], self._facts[number] = entry.position, {"attempt": 1}
        elif state == State.TERMINAL:
            record = facts["record"]
            self._facts[number]["record"] = {name: record[name] for name in _KEPT}
        else:
            self._facts[number].update(facts)
        await self.journal.write(self._positions[number], State(state), self._facts[number])
        if state == State.INTENT:
            self.journal.note_sent(self._positions[number], 1)
        elif state == State.SAVED:
            del self._positions[number], self._facts[number]


@define
class _Listing(_Flushing):
    """Flushes, and writes a line of the results for each task."""

    lines: TextIO
    _facts: dict[int, dict[str, Any]] = field(init=False, factory=dict)

    async def note(self, number: int, state: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Write a line when all is there."""
        known = self._facts.setdefault(number, {"custom_id": str(number), "model": MODEL})
        record = facts.pop("record", None)
        known |= facts
        if record is not None:
            known["outputs"] = [output["url"] for output in record["outputs"]]
            known["cost"] = record["totalcost"]
        if state == State.SAVED:
            self.lines.write(f"{json.dumps(self._facts.pop(number))}\n")
            self.lines.flush()

    async def keep(self, picture: bytes, path: Path) -> None:
        """Have it on the disk before this returns."""
        part = await self._flush(picture, path)
        self._facts[int(path.stem)] |= {"size": part.size_bytes, "sha256": part.digest}


@define
class _CarefulHand(Hand):
    """The protocol by hand, with the duties of whoever pays for what it sends."""

    runs: aiohttp.ClientSession
    _place: Any = field(init=False)
    _converter: Any = field(init=False, factory=make_converter)

    def __attrs_post_init__(self) -> None:
        self._place = place_of(self.job.base_url)

    @classmethod
    @asynccontextmanager
    async def open(cls, job: Job, connections: int = 0) -> AsyncIterator[Self]:
        """Open two sessions: what is paid for is watched as it goes out."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as http,
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=connections), trace_configs=[_trace()]
            ) as runs,
        ):
            yield cls(job, http, runs)

    async def start(self, prompt: str, params: Mapping[str, str]) -> str:
        """Run a task to its answer, whatever becomes of the caller; its id."""
        return await asyncio.shield(asyncio.create_task(self._run({"prompt": prompt, **params})))

    async def look(self, task_id: str) -> Any:  # noqa: ANN401 - JSON
        """Read a task's record, and check its fields."""
        async with asyncio.timeout(_REQUEST_SECONDS):
            record = await super().look(task_id)
        self._converter.structure(record, Task)
        return record

    async def fetch(self, record: Any) -> bytes:  # noqa: ANN401 - JSON
        """Read a task's picture from where one may lie."""
        url = record["outputs"][0]["url"]
        check_output_url(url, may_be_local=True, own_place=self._place)
        async with asyncio.timeout(_REQUEST_SECONDS):
            return await super().fetch(record)

    async def _run(self, body: Mapping[str, str]) -> str:
        seen = SimpleNamespace(is_started=False, is_sent=False)
        async with asyncio.timeout(_REQUEST_SECONDS):
            answer = await self._post(self.runs, f"/Run/{MODEL}", body, seen)
        assert seen.is_started  # noqa: S101 - it was answered
        assert seen.is_sent  # noqa: S101 - it was answered
        return str(answer["taskid"])


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def on_start(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.is_started = True

    async def on_sent(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.is_sent = True

    trace.on_request_start.append(on_start)
    trace.on_request_headers_sent.append(on_sent)
    return trace


async def run_flushed(job: Job) -> None:
    """Flush what is saved."""
    async with Hand.open(job) as hand:
        await run_by_hand(hand, _Flushing(), foreseen(job))


async def run_with_journal(job: Job) -> None:
    """Flush what is saved, and note each step before the next."""
    journal = await open_journal(job.out / "batch.sqlite")
    try:
        await journal.left_over()
        async with Hand.open(job) as hand:
            await run_by_hand(hand, _Noting(journal), foreseen(job))
    finally:
        await journal.aclose()


async def run_with_duties(job: Job, waits: Waits) -> None:
    """Flush what is saved, and be careful with what is paid for."""
    with (job.out / "results.jsonl").open("a") as lines:
        async with _CarefulHand.open(job) as hand:
            await run_by_hand(hand, _Listing(lines), waits)


def looked_for(job: Job) -> Waits:
    """Look for the ends as is best for the durations that there are."""
    clock = asyncio.get_running_loop().time
    durations = Durations(median_seconds=job.median, spread=SIGMA, tail_index=TAIL_INDEX)
    schedule = learned_schedule(durations)

    def waits(_: str, __: Mapping[str, str]) -> Iterator[float]:
        made = clock()
        while True:
            now = clock()
            wait = schedule.wait_seconds(now - made, random.random())  # noqa: S311 - no secret
            yield on_beat(now, wait) - now

    return waits


_BURDENED: Mapping[str, Run] = {
    "floor, flushed": run_flushed,
    "floor, flushed, journal": run_with_journal,
    "floor, duties": lambda job: run_with_duties(job, foreseen(job)),
    "floor, duties, looks": lambda job: run_with_duties(job, looked_for(job)),
}
DUTIES: Mapping[str, Arm] = {
    name: Arm(run=run, package="wiro-async", modules=("wiro_async",))
    for name, run in _BURDENED.items()
}
