"""A session that sweeps, before an emulated world whose list is what a test wants it to be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.scripted_service import FLUX, Asked, WorldTransport, answered
from tests.virtual_time import now
from wiro_async.emulator.desk import Desk, Listing
from wiro_async.emulator.world import Terms
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession

Rows = list[dict[str, Any]]
Edit = Callable[[Asked, Answer], Answer]


class ListedWorld(WorldTransport):
    """Tasks of two seconds each; `edit` has the last word on each page, and may raise instead."""

    def __init__(
        self,
        *,
        median_seconds: float = 2.0,
        sigma: float = 0.5,
        listing: Listing | None = None,
        edit: Edit | None = None,
    ) -> None:
        terms = Terms(median_seconds=median_seconds, sigma=sigma, balance=Terms().balance * 1000)
        super().__init__(terms, trip_seconds=0.01)
        self.edit = edit
        self.relist(listing)
        self.script = self._edited

    def relist(self, listing: Listing | None) -> None:
        self._desk = Desk(self.world, "https://cdn.nowhere.test", listing)

    @property
    def pages(self) -> list[float]:
        return self.times("/Task/List")

    @property
    def looks(self) -> list[float]:
        return self.times("/Task/Detail")

    def looks_at(self, task_id: str) -> int:
        return sum(
            asked.endpoint == "/Task/Detail" and asked.fields["taskid"] == task_id
            for asked in self.asked
        )

    async def _edited(self, asked: Asked) -> Answer:
        answer = await self._answer(asked)
        if asked.endpoint == "/Task/List" and self.edit is not None:
            return self.edit(asked, answer)
        return answer


def rewritten(change: Callable[[Rows], Rows]) -> Edit:
    """An edit of a page's rows."""

    def edit(_: Asked, answer: Answer) -> Answer:
        body = json.loads(answer.body)
        return answered({**body, "tasklist": change(body["tasklist"])})

    return edit


async def run_tasks(session: WiroSession, world: WorldTransport, count: int) -> list[float]:
    """Run so many tasks to their ends; how long after its end each was known, in seconds."""

    async def one(number: int) -> float:
        handle = await session.run(FLUX, {"prompt": f"number {number}"})
        task = await handle.wait()
        booked = world.world.books.tasks[handle.task_id or ""]
        assert task.status == booked.status
        assert booked.ended is not None
        return now() - booked.ended

    return list(await asyncio.gather(*map(one, range(count))))


def p95(numbers: list[float]) -> float:
    return sorted(numbers)[int(0.95 * len(numbers))]
