"""How many tasks may run at once: the limiter whose total the controller moves.

A slot is taken before Run and given back when the task is terminal, because that is what the
service counts. The rules of the limit itself stand in `protocol.limits`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from anyio import CapacityLimiter, WouldBlock
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
    _turns: deque[asyncio.Event] = field(init=False, factory=deque)

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
        # A free slot is taken without a wait: cancelled in that wait, anyio (4.14, for one) would
        # keep the slot and raise a RuntimeError.
        try:
            self._limiter.acquire_on_behalf_of_nowait(owner)
        except WouldBlock:
            await self._limiter.acquire_on_behalf_of(owner)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def release(self, owner: object) -> None:
        """Give a slot back; whoever waits for it is woken."""
        self._limiter.release_on_behalf_of(owner)
        self._move_limit()
        self._wake_one()

    def on_accepted(self) -> None:
        """A Run made a task."""
        self._controller.on_accepted()

    async def wait_again(self, owner: object, error: ConcurrencyLimitReached) -> None:
        """Wait until a rejected Run may be tried again.

        The slot is the owner's again when this returns, and nobody's if it raises.
        """
        others = self.in_flight - 1
        self.rejections += 1
        self._controller.on_rejected(stated=error.limit, in_flight=others, now=_now())
        if others < self.limit:
            await self._wait_for_turn(owner)
        else:
            self._move_limit()  # first, or the slot that is given back would be handed on
            self._limiter.release_on_behalf_of(owner)
            await self.acquire(owner)

    async def _wait_for_turn(self, owner: object) -> None:
        """Wait until a task of this session ends, or for a while: others hold the places.

        The slot is kept meanwhile: handed on, it would have the next one ask in vain too.
        """
        turn = asyncio.Event()
        self._turns.append(turn)
        try:
            async with asyncio.timeout(self._controller.wait_seconds(self.dice())):
                await turn.wait()
        except TimeoutError:
            return
        except BaseException:
            self._limiter.release_on_behalf_of(owner)
            if turn.is_set():
                self._wake_one()
            raise
        finally:
            if not turn.is_set():
                self._turns.remove(turn)

    def _wake_one(self) -> None:
        if self._turns:
            self._turns.popleft().set()

    def _move_limit(self) -> None:
        limit = self._controller.probe(_now())
        if self._limiter.total_tokens != limit:
            self._limiter.total_tokens = limit


def _now() -> float:
    return asyncio.get_running_loop().time()
