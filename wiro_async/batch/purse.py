"""The budget where tasks wait for it: one more may start when others have left room."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal

from attrs import define, field

from wiro_async.batch.budget import Budget
from wiro_async.batch.results import format_cost
from wiro_async.batch.runner import STOPPING, Runner
from wiro_async.errors import CostLimitReached, WiroError
from wiro_async.task import JsonObject


@define(eq=False)
class Purse:
    """A batch's budget; made on its event loop."""

    budget: Budget
    runner: Runner
    _moved: asyncio.Event = field(init=False, factory=asyncio.Event)
    _asking: asyncio.Lock = field(init=False, factory=asyncio.Lock)
    _silent: set[str] = field(init=False, factory=set)
    _doubts: int = field(init=False, default=0)

    async def reserve(self, position: int, model: str, params: JsonObject) -> None:
        """Set a task's price aside; wait for others to end where it does not fit.

        Raises:
            CostLimitReached: if it does not fit, and no other task could still make room.
            WiroError: if the price was asked for, and nobody may ask.
        """
        price = None if self.budget.limit is None else await self._ask_price(model, params)
        while not self.budget.fits(model, price):
            if not self.budget.open_tasks:
                raise CostLimitReached(
                    f"the limit is {format_cost(self.budget.limit or Decimal(0))}, "
                    f"{format_cost(self.budget.spent)} is spent and "
                    f"{format_cost(self.budget.reserved)} reserved: one more task of {model} could "
                    "pass it. Nothing more is submitted; with a higher limit the same batch goes on"
                )
            self._moved.clear()
            await self._moved.wait()
        self.budget.reserve(position, model, price)

    async def expect(self, position: int, model: str, params: JsonObject) -> None:
        """Set the price aside of a task that an earlier run has begun, fit or not."""
        price = None
        if self.budget.limit is not None:
            with suppress(WiroError):  # who may not ask will be told so by the first task
                price = await self._ask_price(model, params)
        self.budget.reserve(position, model, price)

    async def doubt(self, model: str, number: int) -> None:
        """Keep the price aside of tasks that may have been made, and that nobody looks for."""
        for _ in range(number):
            self._doubts += 1
            await self.expect(-self._doubts, model, {})  # no item has such a position
            self.hold(-self._doubts)

    def spend(self, position: int, model: str, cost: Decimal | None, *, is_billed: bool) -> None:
        """A task has ended, and its record tells this cost."""
        self.budget.spend(position, model, cost, is_billed=is_billed)
        self._moved.set()

    def release(self, position: int) -> None:
        """There is no task."""
        self.budget.release(position)
        self._moved.set()

    def hold(self, position: int) -> None:
        """Nothing more will be learned in this run, if a price is set aside."""
        self.budget.hold(position)
        self._moved.set()

    async def _ask_price(self, model: str, params: JsonObject) -> Decimal | None:
        # One at a time: what the first hears the session keeps, and nobody asks in vain twice.
        async with self._asking:
            if model in self._silent:
                return None
            try:
                return await self.runner.price(model, params)
            except STOPPING:
                raise
            except WiroError:  # a service that does not tell: the first task will
                self._silent.add(model)
                return None
