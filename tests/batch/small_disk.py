"""A disk that has room for so many pictures, and tells how much of it is free."""

from __future__ import annotations

import asyncio
from pathlib import Path

from attrs import define, field

from tests.batch.fake_runner import FakeRunner
from tests.virtual_time import now
from wiro_async.batch.engine import Batch
from wiro_async.batch.gate import RESERVE_BYTES, Room
from wiro_async.batch.runner import Choices
from wiro_async.errors import DownloadError

LARGE = 1 << 40


def full(prompt: str) -> DownloadError:
    error = DownloadError(f"{prompt} is paid but not saved: no space left", path=f"{prompt}.png")
    error.is_disk = error.is_full = True
    return error


@define(eq=False)
class SmallDisk:
    """Takes pictures while there is room; one takes a second of virtual time."""

    room: int = 0
    """Pictures that still fit."""
    free_bytes: int = LARGE
    misfits: set[str] = field(factory=set)
    """Prompts whose picture fits in no case."""
    seconds: float = 1.0
    tries: list[tuple[float, str]] = field(factory=list)
    looks: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def save(self, prompt: str) -> None:
        self.tries.append((now(), prompt))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        if self.room <= 0 or prompt in self.misfits:
            raise full(prompt)
        self.room -= 1

    def measure(self, directory: Path) -> Room:
        assert directory.is_dir()
        self.looks += 1
        return Room(free_bytes=self.free_bytes, total_bytes=LARGE)

    def make_low(self) -> None:
        """Leave less than the reserve."""
        self.free_bytes = RESERVE_BYTES - 1

    def tries_after(self, moment: float) -> list[tuple[float, str]]:
        return [one for one in self.tries if one[0] > moment]


def batch_on(
    disk: SmallDisk,
    runner: FakeRunner,
    prompts: list[str],
    directory: Path,
    *,
    max_in_flight: int = 2,
    patience_seconds: float = 600.0,
) -> Batch:
    runner.before_saving = disk.save
    return runner.batch(
        prompts,
        directory,
        max_in_flight=max_in_flight,
        choices=Choices(disk_patience_seconds=patience_seconds, measure_room=disk.measure),
    )
