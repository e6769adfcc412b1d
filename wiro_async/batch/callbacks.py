"""A batch whose tasks are called for: each Run names a url of its own.

The url is no part of what a request asks for, so it is put in when the Run goes out: the journal
does not know it, and the same batch goes on in another process with other urls.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from attrs import define

from wiro_async.api import Statistics
from wiro_async.batch.runner import Runner
from wiro_async.handle import TaskHandle
from wiro_async.protocol.matching import LostRun
from wiro_async.runs import TaskKeeper
from wiro_async.task import JsonObject, Task
from wiro_async.tracking.search import Knower


@define(eq=False)
class CallingRunner:
    """A `Runner` that gives each Run the next url; a request's own one wins."""

    runner: Runner
    url_for: Callable[[], str]

    async def start(self, model: str, params: JsonObject, keeper: TaskKeeper) -> TaskHandle:
        """Start a task that is called for."""
        if params.get("callbackUrl") is None:
            params = {**params, "callbackUrl": self.url_for()}
        return await self.runner.start(model, params, keeper)

    async def adopt(
        self, model: str, *, task_id: str | None = None, token: str | None = None
    ) -> TaskHandle:
        """Watch a task that exists: what it calls, if anything, is known to nobody here."""
        return await self.runner.adopt(model, task_id=task_id, token=token)

    async def find(self, lost: LostRun, knower: Knower | None = None) -> Task | None:
        """Look for the task of a Run whose answer was not read."""
        return await self.runner.find(lost, knower)

    async def price(self, model: str, params: JsonObject) -> Decimal | None:
        """What one Run may cost at most, as far as the service tells."""
        return await self.runner.price(model, params)

    @property
    def statistics(self) -> Statistics:
        """What the session has done so far."""
        return self.runner.statistics
