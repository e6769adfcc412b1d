"""The row of requests that wait for the pace: Runs in front of everything else.

A Run that waits leaves a slot empty, a look that waits only tells a little later. So where the
service limits the rate (`protocol.limits`, the pace), looks get what Runs leave. That comes into
balance by itself: without looks no task is known to have ended, and there is no slot for a Run.

Nobody is given a time to wait for: the pace changes while they wait. Only the first of the row has
a timer.
"""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import define, field

from wiro_async.protocol.limits import RequestPace


@define(eq=False)
class Turns:
    """The row of a session; made on its event loop."""

    pace: RequestPace
    _runs: deque[asyncio.Future[None]] = field(init=False, factory=deque)
    _others: deque[asyncio.Future[None]] = field(init=False, factory=deque)
    _timer: asyncio.TimerHandle | None = field(init=False, default=None)

    async def wait(self, *, is_run: bool) -> None:
        """Return when the request may go out."""
        loop = asyncio.get_running_loop()
        if self._timer is None and self.pace.take(loop.time()):
            return
        turn = loop.create_future()
        (self._runs if is_run else self._others).append(turn)
        self.pace.waiting += 1
        self._come_back(loop)
        try:
            await turn
        finally:
            self.pace.waiting -= 1

    def _come_back(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            at = self.pace.next_at(loop.time())
            self._timer = loop.call_at(at, self._serve, loop, at)

    def _serve(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self._timer = None
        now = max(at, loop.time())  # a timer may come a trifle before its time
        while (turn := self._first()) is not None:
            if not self.pace.take(now):
                self._come_back(loop)
                return
            turn.set_result(None)

    def _first(self) -> asyncio.Future[None] | None:
        """Who is next; whoever has given up since is forgotten."""
        for row in (self._runs, self._others):
            while row and row[0].done():
                row.popleft()
            if row:
                return row[0]
        return None
