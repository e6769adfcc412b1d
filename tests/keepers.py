"""Who keeps note of Runs in tests: remembers what it was told, in order."""

from __future__ import annotations

from attrs import define, field

from wiro_async.errors import RunOutcomeUnknown, WiroError
from wiro_async.handle import TaskHandle
from wiro_async.protocol.responses import Started


@define(eq=False)
class Notebook:
    """A keeper for `Api.run` and for `WiroSession.start`."""

    told: list[str] = field(factory=list)
    started: list[Started] = field(factory=list)
    handles: list[TaskHandle] = field(factory=list)
    unknown: list[RunOutcomeUnknown] = field(factory=list)
    refused: list[WiroError] = field(factory=list)
    forbids: WiroError | None = None

    async def before_sending(self) -> None:
        self.told.append("before sending")
        if self.forbids is not None:
            raise self.forbids

    def before_body(self) -> None:
        self.told.append("before body")

    async def on_started(self, started: Started) -> None:
        self.told.append("started")
        self.started.append(started)

    async def on_handle(self, handle: TaskHandle) -> None:
        self.told.append("handle")
        self.handles.append(handle)

    async def on_unknown(self, error: RunOutcomeUnknown) -> None:
        self.told.append("unknown")
        self.unknown.append(error)

    async def on_no_task(self, error: WiroError) -> None:
        self.told.append("no task")
        self.refused.append(error)
