"""A project's Task/List that shows what a test wants it to, when it wants it to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define, field

from tests.scripted_service import Asked, ScriptedTransport, answered, make_api
from tests.virtual_time import now
from wiro_async.errors import WiroError
from wiro_async.protocol.matching import LostRun
from wiro_async.protocol.responses import Answer
from wiro_async.task import JsonObject
from wiro_async.tracking.search import Search

NOON = 1_734_513_807.0
SETTLE = 10.0
FOX: JsonObject = {"prompt": "a fox"}

Row = dict[str, Any]
Step = Answer | WiroError | list[Row]


def row(task_id: str, made: float | None = 0.0, **changes: object) -> Row:
    """A row as the service lists it, made so many seconds after noon."""
    times = {} if made is None else {"createtime": str(int(NOON + made))}
    whole: Row = {
        "id": task_id,
        "socketaccesstoken": f"tok-{task_id}",
        "status": "task_start",
        "parameters": dict(FOX),
        "modelslugowner": "o",
        "modelslugproject": "m",
        **times,
        **changes,
    }
    return whole


def lost(sent: float = 0.0, **changes: Any) -> LostRun:  # noqa: ANN401 - as of the class
    """A Run that was sent so many seconds after noon."""
    whole = {"key": "", "model": "o/m", "params": FOX, **changes}
    return LostRun(sent_at=NOON + sent, **whole)


@define
class ProjectList:
    """What Task/List answers: a step for each reading, the last one for ever.

    A reading is what begins with a request for the first page.
    """

    steps: list[Step]
    page_rows: int = 100
    ignores_start: bool = False
    trip_seconds: float = 0.0
    readings: list[float] = field(factory=list)
    starts: list[int] = field(factory=list)

    async def __call__(self, asked: Asked) -> Answer:
        assert asked.endpoint == "/Task/List"
        start, limit = int(asked.fields["start"]), int(asked.fields["limit"])
        self.starts.append(start)
        if start == 0:
            self.readings.append(asked.at)
        step = self.steps[min(len(self.readings), len(self.steps)) - 1]
        await asyncio.sleep(self.trip_seconds)
        if isinstance(step, WiroError):
            raise step
        if isinstance(step, Answer):
            return step
        begin = 0 if self.ignores_start else start
        page = step[begin : begin + min(limit, self.page_rows)]
        return answered({"total": "1", "errors": [], "tasklist": page, "result": True})


def search_in(script: Callable[[Asked], Any]) -> Search:
    return Search(api=make_api(ScriptedTransport(script)), settle_seconds=SETTLE)


@pytest.fixture(autouse=True)
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The wall's clock stands at noon when the virtual one begins, and goes with it."""

    def wall() -> float:
        try:
            return NOON + now()
        except RuntimeError:  # outside of any loop
            return NOON

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", wall)
        yield
