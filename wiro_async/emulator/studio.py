"""The drawing workers: processes beside the event loop, so that no answer waits for paint.

Each worker runs `pictures.py` and is started at the first picture it gets; an emulator that
draws nothing starts none. The file is run by its path, not with `-m` as a part of the
package, for that would first load the whole client into a process that only draws: measured,
a third of a second of work instead of a twentieth. It is not `multiprocessing` either, which
would run the user's own main module a second time.

Pictures are drawn in the order in which their tasks are due. A worker that dies is replaced
once and its picture drawn again; when that one dies too, or a picture cannot be drawn at
all, the log and `failure` say so, and every answer of the emulator from then on: tasks that
could never end have to be noticed.
"""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

import attrs

PAINTER = Path(__file__).with_name("pictures.py")
SECONDS_TO_CLOSE = 10.0

_log = logging.getLogger("wiro_async.emulator")


@attrs.frozen(kw_only=True)
class Commission:
    """One picture to be drawn."""

    task_id: str
    due: float
    """Service seconds; the sooner, the earlier it is drawn."""
    path: Path
    prompt: str
    model: str
    seed: str
    aspect: str
    """As the model has it, `16:9`."""
    file_format: str
    """`png` or `jpeg`."""
    pixels: int
    """Of the long side."""

    def line(self) -> bytes:
        """Give the line that a worker reads."""
        names = ("prompt", "model", "seed", "aspect", "file_format", "pixels")
        order = {name: getattr(self, name) for name in names}
        return json.dumps({**order, "path": str(self.path)}).encode() + b"\n"


@attrs.frozen
class Drawn:
    """What a worker says of a finished picture: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


class Studio:
    """Draws what is commissioned, in the background.

    Args:
        workers: how many processes draw at once.
        on_drawn: called in the event loop with each finished picture.
        painter: the program that the workers run.
    """

    def __init__(
        self,
        workers: int,
        on_drawn: Callable[[Commission, Drawn], None],
        painter: Path = PAINTER,
    ) -> None:
        self.failure: str | None = None
        self._workers = workers
        self._on_drawn = on_drawn
        self._painter = painter
        self._waiting: asyncio.PriorityQueue[tuple[float, int, Commission]]
        self._waiting = asyncio.PriorityQueue()
        self._count = 0
        self._tasks: list[asyncio.Task[None]] = []

    def draw(self, commission: Commission) -> None:
        """Put a picture on the list; needs a running event loop."""
        if len(self._tasks) < self._workers:
            self._tasks.append(asyncio.create_task(self._work()))
        self._count += 1
        self._waiting.put_nowait((commission.due, self._count, commission))

    async def aclose(self) -> None:
        """End the workers and wait until they are gone; what is not drawn stays undrawn."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        lost = await self._serve(await self._next())
        _log.warning("a drawing worker died and is replaced")
        await self._serve(lost)
        self._fail("its drawing worker died twice")

    async def _serve(self, commission: Commission) -> Commission:
        """Draw with one process until it dies; give the picture that it left undone."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(self._painter), stdin=PIPE, stdout=PIPE
        )
        try:
            while reply := await _ask(process, commission.line()):
                self._take(commission, reply)
                commission = await self._next()
        finally:
            await _end(process)
        return commission

    async def _next(self) -> Commission:
        return (await self._waiting.get())[2]

    def _take(self, commission: Commission, reply: bytes) -> None:
        answer = json.loads(reply)
        if "error" in answer:
            self._fail(f"task {commission.task_id} cannot be drawn: {answer['error']}")
        else:
            self._on_drawn(commission, Drawn(**answer))

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or f"The emulator cannot go on: {reason}"
        _log.error(self.failure)


async def _ask(process: Process, line: bytes) -> bytes:
    """Hand a worker one job; its answer, or b"" when it is dead."""
    if process.stdin is None or process.stdout is None:  # pragma: no cover (both are pipes)
        return b""
    try:
        process.stdin.write(line)
        await process.stdin.drain()
    except ConnectionError:
        return b""
    return await process.stdout.readline()


async def _end(process: Process) -> None:
    """Close a worker's input, at which it ends by itself; the stubborn one is killed."""
    # Empty input, not none: only then is the pipe closed, which is what ends the worker.
    ending = asyncio.ensure_future(process.communicate(b""))
    await asyncio.wait([ending], timeout=SECONDS_TO_CLOSE)
    if not ending.done():
        process.kill()
    await ending
