"""One connection of the socket, and the tasks that it carries.

A line dials when it has tasks, registers each, hands on what comes, dials again when it is lost,
with growing waits, and ends when it has had no task for a while. What to make of all that is the
hub's business (`websocket`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import define, field

from wiro_async.errors import TransportError
from wiro_async.protocol.frames import Frame, build_registration, decode_frame
from wiro_async.tracking.watch import Watch

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0
_IDLE_SECONDS = 30.0


class Socket(Protocol):
    """An open connection, such as `sockets.Socket`."""

    async def send(self, text: str) -> None:
        """Send a message, or raise a `TransportError`."""
        ...

    async def receive(self) -> str | bytes | None:
        """The next message; None when there will be none any more."""
        ...

    async def close(self) -> None:
        """Close it, within a moment."""
        ...


@define(eq=False)
class Followed:
    """A task that the socket is asked about.

    Attributes:
        token: what it goes by there.
        watches: who wants to know of it, while they do.
        registered_at: when it was registered on the connection that is open.
        running_looks: how many looks have shown it running since then.
        is_heard: whether the socket has ever spoken of it.
        last_status: what it said last on the connection that is open.
        tries: how many looks there were since it was said to be over; None if it was not.
        quiet_seconds: for how long its errors ask for no further look, next time.
        quiet_until: and this time.
        timer: what is to look at it.
    """

    token: str
    watches: list[Watch] = field(factory=list)
    registered_at: float | None = None
    running_looks: int = 0
    is_heard: bool = False
    last_status: str | None = None
    tries: int | None = None
    quiet_seconds: float = 1.0
    quiet_until: float = 0.0
    timer: asyncio.TimerHandle | None = None


class Listener(Protocol):
    """Who makes something of what a line hears."""

    def on_frame(self, frame: Frame) -> bool:
        """A frame about a task; whether it is one of ours."""
        ...

    def on_lost(self, line: Line, reason: str) -> None:
        """The connection is lost, or there was none to be had."""
        ...

    def on_end(self, line: Line, bug: BaseException | None) -> None:
        """The line has ended, and why if it should not have."""
        ...


@define(eq=False)
class Line:
    """One connection at a time; made on the session's event loop.

    Attributes:
        tasks: what it carries, by token.
        failures: how many connections in a row were of no use.
    """

    dial: Callable[[], Awaitable[Socket]]
    listener: Listener
    dice: Callable[[], float]
    tasks: dict[str, Followed] = field(init=False, factory=dict)
    failures: int = field(init=False, default=0)
    _unsent: deque[Followed] = field(init=False, factory=deque)
    _news: asyncio.Event = field(init=False, factory=asyncio.Event)
    _running: asyncio.Task[None] = field(init=False)

    def start(self) -> None:
        """Begin."""
        self._running = asyncio.create_task(self._run(), name="wiro_async socket")
        self._running.add_done_callback(self._finish)

    def add(self, followed: Followed) -> None:
        """Carry one more task."""
        self.tasks[followed.token] = followed
        self._unsent.append(followed)
        self._news.set()

    def drop(self, followed: Followed) -> None:
        """Carry one less."""
        if self.tasks.pop(followed.token, None) is not None and not self.tasks:
            self._news.set()

    def cancel(self) -> asyncio.Task[None]:
        """End it; what is still to be waited for."""
        self._running.cancel()
        return self._running

    def _finish(self, running: asyncio.Task[None]) -> None:
        self.listener.on_end(self, None if running.cancelled() else running.exception())

    async def _run(self) -> None:
        while self.tasks:
            try:
                socket = await self.dial()
            except TransportError as error:
                reason = error.message
            else:
                reason = "the connection was lost"
                try:
                    await self._serve(socket)
                finally:
                    await socket.close()
            if not self.tasks:
                return
            self.failures += 1
            self.listener.on_lost(self, reason)
            await asyncio.sleep(self._wait_seconds())

    async def _serve(self, socket: Socket) -> None:
        """Register and listen until the connection is lost, or has long been of no use."""
        self._unsent = deque(self.tasks.values())
        parts = [asyncio.create_task(part) for part in (self._register(socket), self._read(socket))]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            ends = await asyncio.gather(*parts, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, TransportError):
                raise end

    async def _register(self, socket: Socket) -> None:
        """Send what is to be sent; returns when there has been no task for a while."""
        clock = asyncio.get_running_loop()
        while True:
            while self._unsent:
                followed = self._unsent.popleft()
                await socket.send(build_registration(followed.token))
                followed.registered_at = clock.time()
            self._news.clear()
            try:
                async with asyncio.timeout(None if self.tasks else _IDLE_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                return

    async def _read(self, socket: Socket) -> None:
        while (data := await socket.receive()) is not None:
            frame = decode_frame(data)
            if frame is not None and self.listener.on_frame(frame):
                self.failures = 0

    def _wait_seconds(self) -> float:
        longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(self.failures - 1, 9))
        return longest * (0.5 + 0.5 * self.dice())
