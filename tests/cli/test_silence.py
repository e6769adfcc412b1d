"""What a person is told while the service answers nothing, and when it does again."""

from __future__ import annotations

import asyncio
from typing import cast

from attrs import define, field

from wiro_async.batch.engine import Batch
from wiro_async.cli import batch as command
from wiro_async.errors import OutputDirectoryError, WiroError


@define
class FakeBatch:
    paused_by: WiroError | None = None
    unanswered_seconds: float = 0.0


@define
class FakeShow:
    told: list[str] = field(factory=list)

    def tell(self, message: str) -> None:
        self.told.append(message)

    def update(self, batch: Batch) -> None:
        """Nothing is shown."""

    def leave(self) -> None:
        """Nothing was taken."""


async def looks() -> None:
    """Let a look or two pass."""
    await asyncio.sleep(3 * command._LOOK_SECONDS)


async def test_a_long_silence_is_told_once_and_so_is_its_end() -> None:
    batch, show = FakeBatch(), FakeShow()
    async with command._telling_pauses(cast("Batch", batch), show):
        batch.unanswered_seconds = 1.0
        await looks()
        assert show.told == [], "a hiccup is none of a person's business"
        batch.unanswered_seconds = 6.0
        await looks()
        batch.unanswered_seconds = 60.0
        await looks()
        (told,) = show.told
        assert "answers nothing" in told
        batch.unanswered_seconds = 0.0
        await looks()
        assert show.told[1:] == ["the service answers again: it goes on"]


async def test_disk_and_service_are_told_apart() -> None:
    batch, show = FakeBatch(), FakeShow()
    async with command._telling_pauses(cast("Batch", batch), show):
        batch.paused_by = OutputDirectoryError("the disk is full")
        batch.unanswered_seconds = 9.0
        await looks()
        batch.paused_by = None
        await looks()
    assert [line.split(":")[0] for line in show.told] == [
        "the disk is full",
        "the service answers nothing",
        "there is room on the disk again",
    ]
