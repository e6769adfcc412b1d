"""The callback: a POST to `callbackUrl` when a task has ended.

What the service sends is not documented and it is not signed; here it is the task's record, as
Task/Detail lists it. That it is tried three times, two seconds apart, until an HTTP 200 comes, is
documented for the callbacks of agents (facts of the API, "Webhook").
"""

import asyncio
from collections.abc import Callable

import aiohttp
import attrs

from wiro_async.emulator.answers import Scribe
from wiro_async.emulator.books import BookedTask, Books
from wiro_async.emulator.timeline import TERMINAL

TRIES = 3
_SECONDS_BETWEEN = 2.0  # service seconds
_PATIENCE = aiohttp.ClientTimeout(total=10.0)


@attrs.define(eq=False)
class Caller:
    """Posts the records of ended tasks; a `herald.Follower`."""

    scribe: Scribe
    books: Books
    now: Callable[[], float]
    speed: float
    _http: aiohttp.ClientSession | None = attrs.field(init=False, default=None)
    _calls: set[asyncio.Task[None]] = attrs.field(init=False, factory=set)

    def hear(self, task: BookedTask, status: str, share: float) -> None:
        """Call, if the task has ended."""
        del share
        if status in TERMINAL:
            call = asyncio.ensure_future(self._call(task))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def aclose(self) -> None:
        """Call nobody any more."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    async def _call(self, task: BookedTask) -> None:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=_PATIENCE)
        record = self.scribe.record(task, self.now())
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(_SECONDS_BETWEEN / self.speed)
            self.books.callbacks += 1
            try:
                async with self._http.post(task.callback_url, json=record) as answer:
                    if answer.status == 200:  # noqa: PLR2004 - as documented
                        return
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
