"""A Run, a read, and scripts of what becomes of each attempt."""

from __future__ import annotations

import asyncio

from tests.keepers import Notebook
from tests.scripted_service import (
    FLUX,
    Asked,
    Script,
)
from wiro_async.api import Api
from wiro_async.errors import (
    OutcomeUnknown,
    RequestNotSent,
    WiroError,
)
from wiro_async.protocol.requests import build_detail
from wiro_async.protocol.responses import Answer, decode_tasks
from wiro_async.task import JsonObject

Step = Answer | WiroError


def steps(*given: Step) -> Script:
    """One step an attempt; the last one for ever."""
    left = list(given)

    async def script(_: Asked) -> Answer:
        await asyncio.sleep(0)
        step = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(step, WiroError):
            raise step
        return step

    return script


async def run(api: Api) -> str | None:
    params: JsonObject = {"prompt": "a lighthouse", "seed": 7, "left": None}
    keeper = Notebook()
    await api.run(FLUX, params, keeper)
    (started,) = keeper.started
    return started.task_id


async def look(api: Api) -> str:
    (task,) = await api.call(build_detail(task_id="1"), decode_tasks)
    return task.status


UNKNOWN = OutcomeUnknown("/Run: no answer was read", endpoint="/Run", evidence="cut off")
NOT_SENT = RequestNotSent("/Run: not reached", endpoint="/Run", evidence="refused")
HTML = Answer(http_status=200, body=b"<!DOCTYPE html><html>")
