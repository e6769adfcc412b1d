"""Who runs the tasks: this library in its ways, and two loops written by hand on aiohttp.

The floor is no client that anybody could have: it knows how long each task will take, sleeps
until then, asks once and fetches the file. Nobody needs fewer requests or hears sooner, and its
CPU is that of the HTTP alone. The plain loops look at a fixed interval, and care for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import aiohttp
from attrs import define, field, frozen

from benchmarks.peer_service import MODEL
from wiro_async.emulator import chance
from wiro_async.emulator.catalog import CATALOG

KEY, SECRET = "emulator-key", "emulator-secret"
_TERMINAL = {"task_postprocess_end", "task_cancel", "task_error"}
# So many requests at once keep any service on this machine busy.
_FLOOR_CONNECTIONS = 200
# The emulator's own defaults.
_SIGMA, _WORLD_SEED = 0.5, 0


@define
class Ended:
    """The tasks whose file is on disk, in as little memory as it can be."""

    _ids: array[int] = field(init=False, factory=lambda: array("q"))
    _times: array[float] = field(init=False, factory=lambda: array("d"))

    def note(self, task_id: str) -> None:
        """Note that a task's file is on disk now."""
        self._ids.append(int(task_id))
        self._times.append(time.time())

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return ((str(number), at) for number, at in zip(self._ids, self._times, strict=True))


@define(kw_only=True)
class Job:
    """What an arm is to do, and how far it got.

    Attributes:
        base_url: where the service is.
        socket_url: where its websocket is; "" if it has none.
        tasks: how many there are.
        in_flight: how many may run at once.
        median: of their durations, in seconds.
        out: an empty directory.
        file: the prompts; made up if None.
        ended: what is done.
        errors: what went wrong, by the class of the error.
    """

    base_url: str
    socket_url: str
    tasks: int
    in_flight: int
    median: float
    out: Path
    file: Path | None = None
    ended: Ended = field(init=False, factory=Ended)
    errors: Counter[str] = field(init=False, factory=Counter)

    def prompts(self) -> Iterable[Any]:
        """Give what is to be run, as this library takes it."""
        if self.file is not None:
            ours = import_module("wiro_async")
            requests: Iterable[Any] = ours.read_requests(self.file, ours.SourceOptions(model=MODEL))
            return requests
        return map(prompt_of, range(self.tasks))

    def settings(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Give each prompt, and its parameters."""
        for prompt in self.prompts():
            if isinstance(prompt, str):
                yield prompt, {}
            else:
                params = dict(prompt.params)
                yield params.pop("prompt"), {name: str(value) for name, value in params.items()}


Run = Callable[[Job], Awaitable[None]]
Leave = Callable[[], None]
One = Callable[[int, str, Mapping[str, str], Leave], Awaitable[str]]


@frozen(kw_only=True)
class Arm:
    """One way to run the tasks.

    Attributes:
        run: runs them; it can be cancelled.
        package: the distribution that it needs.
        modules: what is imported before its time runs; all of this library's for its own.
        is_peer: whether it is another service's client.
    """

    run: Run
    package: str = "aiohttp"
    modules: tuple[str, ...] = ("aiohttp",)
    is_peer: bool = False


def prompt_of(number: int) -> str:
    """Give the prompt of a task: each arm has the same ones."""
    return f"picture number {number}"


async def crowd(job: Job, one: One) -> None:
    """Run every task, so many at once as may be; what goes wrong is counted.

    Args:
        job: what is to be done.
        one: runs one task to the end and gives its id; may give its place back before that.
    """
    places = asyncio.Semaphore(job.in_flight)

    async def run(number: int, prompt: str, params: Mapping[str, str]) -> None:
        has_left = False

        def leave() -> None:
            nonlocal has_left
            if not has_left:
                has_left = True
                places.release()

        try:
            job.ended.note(await one(number, prompt, params, leave))
        except Exception as error:  # noqa: BLE001 - what it is, is the result
            job.errors[type(error).__name__] += 1
        finally:
            leave()

    async with asyncio.TaskGroup() as group:
        for number, (prompt, params) in enumerate(job.settings()):
            await places.acquire()
            group.create_task(run(number, prompt, params))


@define
class _Hand:
    """The service's protocol by hand."""

    job: Job
    http: aiohttp.ClientSession

    async def post(self, path: str, body: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
        nonce = str(time.time_ns())
        signature = hmac.new(KEY.encode(), f"{SECRET}{nonce}".encode(), hashlib.sha256)
        headers = {"x-api-key": KEY, "x-nonce": nonce, "x-signature": signature.hexdigest()}
        url = f"{self.job.base_url}{path}"
        async with self.http.post(url, json=body, headers=headers) as response:
            return await response.json()

    async def start(self, prompt: str, params: Mapping[str, str]) -> str:
        answer = await self.post(f"/Run/{MODEL}", {"prompt": prompt, **params})
        return str(answer["taskid"])

    async def look_until_terminal(self, task_id: str, interval: float) -> Any:  # noqa: ANN401
        while True:
            answer = await self.post("/Task/Detail", {"taskid": task_id})
            record = answer["tasklist"][0]
            if record["status"] in _TERMINAL:
                return record
            await asyncio.sleep(interval)

    async def fetch(self, record: Any) -> bytes:  # noqa: ANN401 - JSON
        async with self.http.get(record["outputs"][0]["url"]) as response:
            return await response.read()


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
    return chance.lognormal(median, _SIGMA, "duration", _WORLD_SEED, model.slug, prompt, seed)


async def run_floor(job: Job, keeper: Keeper | None = None) -> None:
    """Know in advance when each task ends."""
    keeper = keeper or Keeper()
    connector = aiohttp.TCPConnector(limit=_FLOOR_CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as http:
        hand = _Hand(job, http)

        async def one(number: int, prompt: str, params: Mapping[str, str], leave: Leave) -> str:
            await keeper.note(number, "intent", prompt=prompt)
            task_id = await hand.start(prompt, params)
            await keeper.note(number, "submitted", task_id=task_id)
            await asyncio.sleep(foresee(prompt, params, job.median))
            record = await hand.look_until_terminal(task_id, 0.001)
            leave()
            await keeper.note(number, "terminal", record=record)
            await keeper.keep(await hand.fetch(record), job.out / f"{number}.png")
            await keeper.note(number, "saved")
            return task_id

        await crowd(job, one)


async def run_plain(job: Job, interval: float) -> None:
    """Look at a fixed interval."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        hand = _Hand(job, http)

        async def one(number: int, prompt: str, params: Mapping[str, str], _: Leave) -> str:
            task_id = await hand.start(prompt, params)
            await asyncio.sleep(interval)
            record = await hand.look_until_terminal(task_id, interval)
            (job.out / f"{number}.png").write_bytes(await hand.fetch(record))
            return task_id

        await crowd(job, one)


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
