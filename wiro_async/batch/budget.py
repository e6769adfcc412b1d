"""What a batch may cost: spent, reserved, and whether one more task fits.

Rules:

1. Spent is the sum of what the records of ended tasks say they cost. A task that succeeded and
   tells no cost counts with what was reserved for it.
2. From before its Run until its end is known, a task has the price reserved that is expected of
   it: what the service's page of the model says, or, where it says nothing or was seen to say
   too little, the highest that a task of that model has cost in this batch. (Not the highest
   in any case: one model has dear and cheap parameters.) A task whose fate is unknown stays
   reserved for good.
3. A task starts if spent and reserved and its own price are within the limit. If not, it waits
   for others to end, since what fails is not billed; when none is left to wait for, the limit
   is reached.
4. A model whose price nobody tells is tried with one task at a time until one has ended and
   told. That first one can cost more than is left.
"""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field

_NOTHING = Decimal(0)


@define
class Budget:
    """The sums of one batch. All amounts are in the account's currency (US dollars)."""

    limit: Decimal | None = None
    spent: Decimal = _NOTHING
    _open: dict[int, tuple[str, Decimal | None]] = field(init=False, factory=dict)
    _held: dict[int, tuple[str, Decimal | None]] = field(init=False, factory=dict)
    _highest: dict[str, Decimal] = field(init=False, factory=dict)
    _untold: dict[str, Decimal] = field(init=False, factory=dict)

    @property
    def reserved(self) -> Decimal:
        """What the tasks may still cost whose end is not known."""
        held = [*self._open.values(), *self._held.values()]
        return sum((self._price(*one) or _NOTHING for one in held), _NOTHING)

    @property
    def open_tasks(self) -> int:
        """How many tasks may still end, and make room."""
        return len(self._open)

    @property
    def reserved_tasks(self) -> int:
        """How many tasks there are whose end is not known, those included that are held."""
        return len(self._open) + len(self._held)

    def fits(self, model: str, price: Decimal | None) -> bool:
        """Whether one more task of a model may start, given the price that its page tells."""
        if self.limit is None:
            return True
        expected = self._price(model, price)
        if expected is None:
            is_tried = any(
                other == model and self._price(other, told) is None
                for other, told in self._open.values()
            )
            return not is_tried and self.spent + self.reserved < self.limit
        return self.spent + self.reserved + expected <= self.limit

    def reserve(self, position: int, model: str, price: Decimal | None) -> None:
        """Set a task's price aside."""
        self._open[position] = (model, price)

    def release(self, position: int) -> None:
        """There is no task."""
        self._open.pop(position, None)

    def hold(self, position: int) -> None:
        """Nothing more will be learned of a task in this run: its price stays set aside."""
        if position in self._open:
            self._held[position] = self._open.pop(position)

    def spend(self, position: int, model: str, cost: Decimal | None, *, is_billed: bool) -> None:
        """A task has ended, and its record tells this cost."""
        _, price = self._open.pop(position, (model, None))
        if cost is not None and is_billed:
            self._highest[model] = max(cost, self._highest.get(model, _NOTHING))
            if price is not None and cost > price:
                self._untold[model] = max(cost, self._untold.get(model, _NOTHING))
        if cost is None and is_billed:
            cost = self._price(model, price)
        self.spent += cost or _NOTHING

    def _price(self, model: str, price: Decimal | None) -> Decimal | None:
        if price is None:
            return self._highest.get(model)
        return max(price, self._untold.get(model, _NOTHING))
