"""How many tasks may run at once: a row of those that wait, and the controller who lets them go.

A slot is taken before Run and given back when the task is terminal, because that is what the
service counts. The rules of the limit itself stand in `protocol.limits`.

Rules:

1. First come, first served; a Run that was rejected waits in front of all others.
2. Whatever could let somebody go (a task ended, a Run was answered, the time has come to ask)
   lets go as many as may: no slot is free while somebody waits for it.
3. Whoever is cancelled has no slot, and the one that it was just given goes to the next.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal

from attrs import define, field

from wiro_async.errors import ConcurrencyLimitReached
from wiro_async.protocol.limits import InFlightController, stated_balance


@define(eq=False)
class Slots:
    """The session's slots; made on its event loop."""

    ceiling: int
    dice: Callable[[], float]
    rejections: int = 0
    most_in_flight: int = 0
    _controller: InFlightController = field(init=False)
    # Whose Run is not answered yet, and how many tasks ran when it took its slot.
    _asking: dict[object, int] = field(init=False, factory=dict)
    _running: set[object] = field(init=False, factory=set)
    _turns: OrderedDict[object, asyncio.Future[None]] = field(init=False, factory=OrderedDict)
    _timer: asyncio.TimerHandle | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._controller = InFlightController(self.ceiling)

    @property
    def in_flight(self) -> int:
        """Slots that are taken."""
        return len(self._running) + len(self._asking)

    @property
    def limit(self) -> int:
        """Slots there are, as far as is known of the account."""
        return self._controller.limit

    def raise_ceiling(self, ceiling: int) -> None:
        """Let more tasks run at once than was asked for at first."""
        if ceiling > self._controller.ceiling:
            self._controller.raise_ceiling(ceiling)
            self._serve()

    async def acquire(self, owner: object) -> None:
        """Wait for a slot, first come, first served."""
        if not self._turns and self._controller.may_start(self.in_flight, _now()):
            self._take(owner)
        else:
            await self._wait_for_turn(owner)

    def release(self, owner: object, cost: Decimal | None = None) -> None:
        """Give a slot back, of a task that cost so much; whoever waits for it is woken."""
        self._running.discard(owner)
        self._asking.pop(owner, None)
        if cost is not None:
            self._controller.on_spent(cost)
        self._serve()

    def on_accepted(self, owner: object) -> None:
        """A Run made a task, or its owner has one that was made before."""
        self._asking.pop(owner, None)
        self._running.add(owner)
        self._controller.on_accepted(len(self._running))
        self._serve()

    async def wait_again(self, owner: object, error: ConcurrencyLimitReached) -> None:
        """Wait until a rejected Run may be tried again.

        The slot is the owner's again when this returns, and nobody's if it raises.
        """
        ran = self._asking.pop(owner)
        self.rejections += 1
        self._controller.on_rejected(
            stated=error.limit,
            balance=stated_balance(error.reason),
            # What ended while the Run was on the wire still took a place when it was rejected.
            ours=max(ran, self.in_flight),
            now=_now(),
            dice=self.dice(),
        )
        await self._wait_for_turn(owner, at_front=True)

    async def _wait_for_turn(self, owner: object, *, at_front: bool = False) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._turns[owner] = turn
        if at_front:
            self._turns.move_to_end(owner, last=False)
        self._serve()
        try:
            await turn
        except BaseException:
            if self._turns.pop(owner, None) is None:
                self.release(owner)
            else:
                self._serve()  # the timer may have been for nobody else
            raise

    def _serve(self, earliest: float = 0.0) -> None:
        """Let go whoever may go, and come back when time alone lets the next one go."""
        now = max(earliest, _now())
        while self._turns and self._controller.may_start(self.in_flight, now):
            owner, turn = self._turns.popitem(last=False)
            self._take(owner)
            if not turn.done():
                turn.set_result(None)
        self._set_timer(self._controller.asks_at() if self._turns else math.inf, now)

    def _take(self, owner: object) -> None:
        self._asking[owner] = len(self._running)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def _set_timer(self, at: float, now: float) -> None:
        if self._timer is not None:
            if self._timer.when() == at:
                return
            self._timer.cancel()
            self._timer = None
        # A time that is over is for the next event to use: it was no matter of time.
        if now < at < math.inf:
            self._timer = asyncio.get_running_loop().call_at(at, self._on_time, at)

    def _on_time(self, at: float) -> None:
        self._timer = None
        self._serve(at)  # a timer may come a trifle before its time


def _now() -> float:
    return asyncio.get_running_loop().time()
