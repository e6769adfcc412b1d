"""How many tasks may run at once: the limiter whose total the controller moves.

A slot is taken before Run and given back when the task is terminal, because that is what the
service counts. The rules of the limit itself stand in `protocol.limits`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from anyio import CapacityLimiter
from attrs import define, field

from wiro_async.errors import ConcurrencyLimitReached
from wiro_async.protocol.limits import InFlightController


@define(eq=False)
class Slots:
    """The session's slots; made on its event loop."""

    ceiling: int
    dice: Callable[[], float]
    rejections: int = 0
    most_in_flight: int = 0
    _controller: InFlightController = field(init=False)
    _limiter: CapacityLimiter = field(init=False)
    _released: asyncio.Event = field(init=False, factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self._controller = InFlightController(self.ceiling)
        self._limiter = CapacityLimiter(self.ceiling)

    @property
    def in_flight(self) -> int:
        """Slots that are taken."""
        return int(self._limiter.borrowed_tokens)

    @property
    def limit(self) -> int:
        """Slots there are, as far as is known of the account."""
        return self._controller.limit

    def raise_ceiling(self, ceiling: int) -> None:
        """Let more tasks run at once than was asked for at first."""
        if ceiling > self._controller.ceiling:
            self._controller.raise_ceiling(ceiling)
            self._move_limit()

    async def acquire(self, owner: object) -> None:
        """Wait for a slot, first come, first served."""
        self._move_limit()
        await self._limiter.acquire_on_behalf_of(owner)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def release(self, owner: object) -> None:
        """Give a slot back; whoever waits for it is woken."""
        self._limiter.release_on_behalf_of(owner)
        self._move_limit()
        released, self._released = self._released, asyncio.Event()
        released.set()

    def on_accepted(self) -> None:
        """A Run made a task."""
        self._controller.on_accepted()

    async def wait_again(self, owner: object, error: ConcurrencyLimitReached) -> None:
        """Give the slot of a rejected Run back and wait for the next one.

        The slot is the owner's again when this returns, and nobody's if it raises.
        """
        others = self.in_flight - 1
        self.rejections += 1
        self._controller.on_rejected(stated=error.limit, in_flight=others, now=_now())
        is_taken_elsewhere = others < self.limit
        released = self._released
        self._limiter.release_on_behalf_of(owner)
        self._move_limit()
        if is_taken_elsewhere:
            await _wait_for(released, self._controller.wait_seconds(self.dice()))
        await self.acquire(owner)

    def _move_limit(self) -> None:
        limit = self._controller.probe(_now())
        if self._limiter.total_tokens != limit:
            self._limiter.total_tokens = limit


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
