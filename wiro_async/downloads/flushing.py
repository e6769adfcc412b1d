"""Small files written and named together: one hop to a thread for all that wait.

For a small file the hop costs more than the work, and the flush of a directory holds for every
name that it was given before. So what is finished while the thread is busy waits for its return,
and goes together; a single file waits for nobody. All of them are on their way to the disk before
the first is flushed, and all flushed before the first gets its name: a file system with a journal
(ext4) then commits once for all, where each file in its turn, with its name after it, costs a
commit. Large files have a thread each: nobody is to wait until one of them is on the disk.

The loop itself writes none of them: while a file system flushes one file, making another costs
several times as much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from anyio import to_thread
from attrs import define, field

from wiro_async.crashpoints import passing
from wiro_async.downloads.partfile import PartFile, current_umask, sync_directory
from wiro_async.shield import finish


@define(eq=False)
class _Job:
    part: PartFile
    path: Path
    done: asyncio.Future[Path]
    named: Path | None = None
    error: Exception | None = None

    def attempt(self, step: Callable[[], object]) -> None:
        """Take a step, unless one before failed; whoever waits gets the error."""
        if self.error is None:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - as said
                self.error = error

    def give_name(self) -> None:
        self.named = self.part.give_name(self.path)

    def settle(self) -> None:
        if self.error is not None:
            self.done.set_exception(self.error)
        elif self.named is not None:
            self.done.set_result(self.named)
        else:  # the loop ends, and the thread's word does not come any more
            self.done.cancel()


@define(eq=False)
class Flusher:
    """Writes the small files of a session; made on its event loop.

    What they may be used for is what the process's umask says when the session opens: to ask for it
    takes longer than to write a file.
    """

    _umask: int = field(init=False, factory=current_umask)
    _waiting: list[_Job] = field(init=False, factory=list)
    _work: asyncio.Task[None] | None = field(init=False, default=None)

    async def put_in_place(self, part: PartFile, path: Path) -> Path:
        """Like `PartFile.put_in_place`, with others.

        It is done whatever happens to the caller, whose cancellation holds afterwards.

        Raises:
            OSError: if the disk does not take it.
        """
        job = _Job(part, path, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        # Not "is None": with an eager task factory the task can be done before it is assigned.
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._flush_all(), name="wiro_async flusher")
        return await finish(job.done)

    async def _flush_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await to_thread.run_sync(_flush, group, self._umask)
            except Exception as error:  # noqa: BLE001 - of no thread; whoever waits gets it
                for job in group:
                    job.error = job.error or error
            finally:
                for job in group:
                    job.settle()


def _flush(group: list[_Job], umask: int) -> None:
    for job in group:
        job.attempt(partial(job.part.write_rest, umask))
    for job in group:
        job.attempt(job.part.flush)
    for job in group:
        job.attempt(job.give_name)
    for directory in {job.path.parent for job in group if job.error is None}:
        try:
            sync_directory(directory)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            for job in group:
                if job.path.parent == directory:
                    job.error = job.error or error
    passing("download.in_place")
