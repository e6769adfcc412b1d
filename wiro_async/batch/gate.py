"""Whether the disk takes more: a full one pauses a batch, and the batch goes on by itself.

Rules:

1. Full is a disk that did not take a picture (`DownloadError.is_full`), or that has less free than
   the reserve. The reserve is for the journal: what cannot be noted must not be sent, so a batch
   that fills its disk to the last byte could only stop.
2. While the gate is closed no Run goes out and no money is set aside. Tasks that are at the
   service go on and are watched; what they made waits there.
3. Every few seconds one waiting download is let through, if the reserve is free again: all at once
   would fill the disk together, and ask for everything in vain. When it succeeds the gate opens
   for all. Where none waits, the reserve alone decides.
4. The patience is bounded. When it is over, or the batch is stopped meanwhile, nobody waits any
   more: a download that did not fit is given up with its error, one that was never tried is tried
   once. All of it is in the journal as a task that has succeeded, and is fetched by the next run.
5. Other faults of a disk are not waited for: it does not become writable by itself.

The room is measured on the loop: it takes microseconds, as the line of each item does that is
written there, and a disk that hangs holds up the one as the other.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from attrs import define, field, frozen

from wiro_async.crashpoints import passing
from wiro_async.errors import DownloadError, OutputDirectoryError, WiroError

T = TypeVar("T")

# An item takes some kilobytes of the journal and of its copy, the results; the rest is for the
# pictures that are on their way when the last look was taken.
RESERVE_BYTES = 64 * 1024 * 1024
# Of a disk so small that the reserve would be much of it.
_RESERVE_SHARE = 20
# However many items pass: a look is cheap, and tells nothing new so soon.
_LOOK_SECONDS = 1.0
_TRY_SECONDS = 5.0


@frozen(kw_only=True)
class Room:
    """What a file system has."""

    free_bytes: int
    total_bytes: int

    @property
    def reserve_bytes(self) -> int:
        """What is to be kept free."""
        return min(RESERVE_BYTES, self.total_bytes // _RESERVE_SHARE)

    @property
    def is_low(self) -> bool:
        """Whether the reserve is not free."""
        return self.free_bytes < self.reserve_bytes


def measure_room(directory: Path) -> Room | None:
    """The room for this user on a directory's file system; None where the system does not tell."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return None
    return Room(free_bytes=usage.free, total_bytes=usage.total)


class Paused(WiroError):
    """Raised when a Run is about to go out while the gate is closed; its item waits again."""


@define(eq=False)
class Gate:
    """The gate of one batch; made on its event loop."""

    directory: Path
    patience_seconds: float
    measure: Callable[[Path], Room | None]
    stop: Callable[[WiroError], None]
    now: Callable[[], float]
    _reason: OutputDirectoryError | None = field(init=False, default=None)
    _is_released: bool = field(init=False, default=False)
    _looked_at: float = field(init=False, default=float("-inf"))
    _waiting: deque[asyncio.Future[bool]] = field(init=False, factory=deque)
    _closed: asyncio.Event = field(init=False, factory=asyncio.Event)
    _opened: asyncio.Event = field(init=False, factory=asyncio.Event)
    _tried: asyncio.Event = field(init=False, factory=asyncio.Event)

    @property
    def paused_by(self) -> WiroError | None:
        """Why the gate is closed, also when nobody waits there any more; None if it is open."""
        return self._reason

    def release(self) -> None:
        """Let nobody wait any more: the batch is to end."""
        self._is_released = True
        self._wake_all()

    def check(self) -> None:
        """See that a Run may go out.

        Raises:
            Paused: if the disk is full.
        """
        self._look()
        if self._reason is not None:
            raise Paused(self._reason.message)

    async def wait_open(self) -> None:
        """Wait until Runs may go out, or the batch is to end."""
        while self._is_closed():
            await self._opened.wait()

    async def save(self, save: Callable[[], Awaitable[T]]) -> T:
        """Save what a task made, as soon and as often as the disk lets it.

        Raises:
            DownloadError: if it cannot be saved, and not only for want of room; or for want of
                room, when the batch is to end.
        """
        lost: DownloadError | None = None
        while True:
            is_trial = await self._take_turn()
            if lost is not None and self._is_released:
                raise lost
            try:
                saved = await save()
            except DownloadError as error:
                if not error.is_full or self._is_released:
                    raise
                lost = error
                self._close(f"{error.path or 'a picture'} does not fit")
            else:
                if is_trial:
                    self._open()
                return saved
            finally:
                if is_trial:
                    self._tried.set()

    async def tend(self) -> None:
        """Open the gate again, or give up; goes on until it is cancelled."""
        while True:
            await self._closed.wait()
            until = self.now() + self.patience_seconds
            while self._is_shut:
                await asyncio.sleep(min(_TRY_SECONDS, max(0.0, until - self.now())))
                await self._try()
                if self.now() >= until:
                    self._give_up()
            self._closed.clear()

    async def _try(self) -> None:
        """Let one download through, if there is hope for it."""
        if not self._is_shut or self._is_low():
            return
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self._tried.clear()
                turn.set_result(True)
                await self._tried.wait()
                return
        self._open()

    async def _take_turn(self) -> bool:
        """Wait until a download may begin; whether it is the one that all others wait for."""
        while self._is_closed():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                if await turn:
                    return True
            except asyncio.CancelledError:
                # It was chosen, and does not come.
                if turn.done() and not turn.cancelled() and turn.result():
                    self._tried.set()
                raise
            finally:
                with suppress(ValueError):
                    self._waiting.remove(turn)
        return False

    def _is_closed(self) -> bool:
        self._look()
        return self._is_shut

    @property
    def _is_shut(self) -> bool:
        return self._reason is not None and not self._is_released

    def _look(self) -> None:
        """Close the gate where the reserve is not free; at most one look in a while."""
        now = self.now()
        if (
            self._reason is None
            and not self._is_released
            and now - self._looked_at >= _LOOK_SECONDS
        ):
            self._looked_at = now
            self._is_low()

    def _is_low(self) -> bool:
        room = self.measure(self.directory)
        if room is None or not room.is_low:
            return False
        free, kept = (f"{size / 1e6:.1f} MB" for size in (room.free_bytes, room.reserve_bytes))
        self._close(f"{free} free, {kept} are kept for the journal")
        return True

    def _close(self, why: str) -> None:
        self._reason = OutputDirectoryError(f"the disk that holds {self.directory} is full ({why})")
        self._opened.clear()
        self._closed.set()
        passing("gate.closed")

    def _open(self) -> None:
        self._reason = None
        self._looked_at = float("-inf")
        self._wake_all()
        passing("gate.opened")

    def _give_up(self) -> None:
        if self._reason is None:
            return
        self.stop(
            OutputDirectoryError(
                f"{self._reason.message}, and has been for {self.patience_seconds:.0f} s: make "
                "room, and start the same batch again"
            )
        )
        self.release()

    def _wake_all(self) -> None:
        self._opened.set()
        self._tried.set()
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(False)
