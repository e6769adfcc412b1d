"""What is to be done, by whom, and how far it got."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from benchmarks.peer_service import MODEL


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
