"""Brings the outputs of tasks to disk; the rules stand in the package's essay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread
from attrs import define, field

from wiro_async.downloads.errands import Errand, Patience, Refresh, SavedFile, is_file
from wiro_async.downloads.fetching import Fault, Wanted, fetch
from wiro_async.downloads.flushing import Flusher
from wiro_async.downloads.partfile import PartFile
from wiro_async.errors import AddressRefused, DownloadError, TransportError
from wiro_async.filenames import output_names, safe_stem
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.shield import finish
from wiro_async.task import Task

if TYPE_CHECKING:  # it brings aiohttp, which is imported when a session opens
    from wiro_async.transport import Transport


# Written in about the time that a thread takes to wake up.
_SMALL_BYTES = 256 * 1024


@define
class Downloader:
    """Brings outputs to disk, so many at a time; made on its session's event loop.

    Attributes:
        transport: where the bytes come from.
        policy: how patiently an output is asked for.
        max_downloads: outputs that are on their way at once.
        dice: random numbers from 0 to 1, for the waits.
        max_bytes: the largest output that is saved.
        repeats: tries beyond the first, of all outputs.
    """

    transport: Transport
    policy: RetryPolicy
    max_downloads: int
    dice: Callable[[], float]
    max_bytes: int = 1 << 30
    repeats: int = 0
    _places: asyncio.Semaphore = field(init=False)
    _flusher: Flusher = field(init=False, factory=Flusher)

    def __attrs_post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.max_downloads)

    async def save_all(
        self, task: Task, directory: Path, stem: str, *, refresh: Refresh | None = None
    ) -> tuple[SavedFile, ...]:
        """Save every output of a task that is a file; a language model's content is none.

        Args:
            task: the record that lists them.
            directory: where they go; it is made if it is not there.
            stem: what their names begin with.
            refresh: asks for the task's record anew, for urls that have expired.

        Raises:
            DownloadError: for the first output that could not be saved. Its `saved` are the
                others: they are tried all the same, unless it is the disk that failed.
        """
        files = [(place, output) for place, output in enumerate(task.outputs) if is_file(output)]
        names = output_names(safe_stem(stem), tuple(output for _, output in files))
        saved: list[SavedFile] = []
        lost: DownloadError | None = None
        for (place, output), name in zip(files, names, strict=True):
            errand = Errand(
                task=task, place=place, path=directory / name, refresh=refresh, output=output
            )
            try:
                saved.append(await self._save(errand))
            except DownloadError as error:
                lost = lost or error
                if error.is_disk:
                    break
        if lost is None:
            return (*saved,)
        lost.saved = (*saved,)
        if len(files) > 1:
            missing = len(files) - len(saved)
            lost.args = (f"{lost.message}. {missing} of the task's {len(files)} files are missing",)
        raise lost

    async def _save(self, errand: Errand) -> SavedFile:
        async with self._places:
            part = PartFile(errand.path)
            try:
                await self._bring(errand, part)
                path, note = errand.place_file(part.head)
                if part.size_bytes <= _SMALL_BYTES:
                    path = await self._flusher.put_in_place(part, path)
                else:
                    path = await finish(to_thread.run_sync(part.put_in_place, path))
            except OSError as error:
                lost = errand.disk_failure(error)
            else:
                return SavedFile(
                    path=path,
                    size_bytes=part.size_bytes,
                    sha256=part.digest,
                    url=errand.output.url or "",
                    content_type=errand.output.content_type,
                    note=note,
                )
            finally:
                with suppress(OSError):  # the first failure of the disk is the one to tell
                    part.discard()
        raise lost

    async def _bring(self, errand: Errand, part: PartFile) -> None:
        """Have all bytes of an output in its part, or raise its `DownloadError`."""
        patience = Patience(self.policy)
        while True:
            url = errand.output.url
            fault = await self._try(errand, part)
            if fault is None:
                return
            patience.note_failure(part.size_bytes if fault.keeps else 0)
            wait = await self._wait_after(errand, fault, patience)
            if not fault.keeps or errand.output.url != url:
                part.forget()
            self.repeats += 1
            await asyncio.sleep(wait)

    async def _try(self, errand: Errand, part: PartFile) -> Fault | None:
        """What one try failed of; None if everything came."""
        wanted = Wanted(
            output=errand.output, extension=errand.path.suffix, max_bytes=self.max_bytes
        )
        try:
            await fetch(self.transport, wanted, part)
        except AddressRefused as error:
            return Fault(error.message, is_final=True)
        except TransportError as error:
            return Fault(error.message, keeps=True)
        except Fault as fault:
            return fault
        return None

    async def _wait_after(self, errand: Errand, fault: Fault, patience: Patience) -> float:
        """The wait in seconds before the next try, or the `DownloadError` if there is none."""
        if fault.is_refusal:
            if not errand.is_renewed and await errand.renew():
                return 0.0
            may_come = fault.http_status == HTTPStatus.NOT_FOUND and not errand.is_gone
            if patience.is_over(is_refused=True) or not may_come:
                raise errand.unavailable(str(fault))
        elif fault.is_final or patience.is_over(is_refused=False):
            raise errand.unsaved(str(fault))
        return self._pause(errand, fault, patience)

    def _pause(self, errand: Errand, fault: Fault, patience: Patience) -> float:
        longest, asked = self.policy.max_pause_seconds, fault.retry_after_seconds or 0.0
        if asked > longest and fault.http_status == HTTPStatus.TOO_MANY_REQUESTS:
            raise errand.unsaved(
                f"{fault}, and a wait of {asked:.0f} s is asked for; the retry policy's "
                f"max_pause_seconds is {longest:.0f}"
            )
        backoff = self.policy.backoff_seconds(patience.failures, self.dice())
        return max(backoff, min(asked, longest))
