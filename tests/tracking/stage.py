"""A tracker before a scripted service, and the life of the tasks it watches."""

from __future__ import annotations

import asyncio

from attrs import define, field

from tests.scripted_service import (
    Asked,
    Script,
    ScriptedTransport,
    make_api,
    record,
    refused,
)
from wiro_async.api import Api
from wiro_async.errors import (
    OutcomeUnknown,
    WiroError,
)
from wiro_async.protocol.learning import Told, Waits
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.responses import Answer
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.tracking.tracker import Tracker
from wiro_async.tracking.watch import Watch

EVEN = PollSchedule(jitter=0.0)
MISSING = refused(1, "There is no task yet.")
LOST = OutcomeUnknown("/Task/Detail: cut off", endpoint="/Task/Detail")


@define
class Stage:
    """A tracker before a scripted service."""

    transport: ScriptedTransport
    api: Api
    tracker: Tracker

    def watch(self, task_id: str = "1", **options: object) -> Watch:
        return self.tracker.watch(task_id=task_id, token=None, **options)  # type: ignore[arg-type] # handed on

    def looks(self) -> list[float]:
        return self.transport.times("/Task/Detail")


def set_up(
    script: Script,
    *,
    policy: RetryPolicy | None = None,
    schedule: PollSchedule = EVEN,
    waits: Waits | None = None,
    rate: float = 100.0,
) -> Stage:
    transport = ScriptedTransport(script)
    api = make_api(transport, policy=policy)
    tracker = Tracker(api=api, waits=waits or Told(schedule), max_looks_per_second=rate)
    return Stage(transport, api, tracker)


@define
class Life:
    """Tasks that all run for `seconds`, with what goes wrong in between."""

    seconds: float = 60.0
    trouble: dict[int, Answer | WiroError] = field(factory=dict)
    _count: int = 0

    async def __call__(self, asked: Asked) -> Answer:
        await asyncio.sleep(0)
        self._count += 1
        step = self.trouble.get(self._count, self.trouble.get(0))
        if isinstance(step, WiroError):
            raise step
        if step is not None:
            return step
        done = asked.at >= self.seconds
        return record(asked.fields["taskid"], "task_postprocess_end" if done else "task_start")
