"""The emulator's world behind a transport that loses the answers of some Runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal, TypeAlias

from tests.scripted_service import Asked, WorldTransport
from tests.tracking.project_list import NOON
from wiro_async.emulator.desk import Desk, Listing
from wiro_async.emulator.world import Terms
from wiro_async.errors import OutcomeUnknown
from wiro_async.protocol.responses import Answer

# A model whose output is a text: nothing of it goes to a disk.
ECHO = "wiro-emulator/echo-llm"

Loss: TypeAlias = Literal["made", "not made", "answered"]
Losses: TypeAlias = Mapping[str, tuple[Loss, ...]]


class LossyWorld(WorldTransport):
    """For each prompt, what becomes of its Runs in their order; the rest is answered."""

    def __init__(
        self,
        losses: Losses,
        listing: Listing | None = None,
        **terms: object,
    ) -> None:
        whole = {"epoch": NOON, "median_seconds": 100.0, "sigma": 0.0, **terms}
        super().__init__(Terms(**whole))  # type: ignore[arg-type] # handed on as they came
        self._desk = Desk(self.world, "https://cdn.nowhere.test", listing)
        self._losses = {prompt: list(steps) for prompt, steps in losses.items()}

    def made(self, prompt: str) -> int:
        """How many tasks there are of a prompt."""
        return len(self.world.books.tasks_by_prompt.get(prompt, ()))

    async def _answer(self, asked: Asked) -> Answer:
        steps = self._losses.get(asked.fields.get("prompt", ""), [])
        loss = steps.pop(0) if asked.endpoint == "/Run" and steps else "answered"
        if loss != "not made":
            answer = await super()._answer(asked)
            if loss == "answered":
                return answer
        await asyncio.sleep(1.0)
        raise OutcomeUnknown(
            "/Run: no answer was read", endpoint=asked.request.path, evidence="it was cut off"
        )
