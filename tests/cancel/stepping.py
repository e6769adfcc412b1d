"""Cancelling after the n-th step of the event loop, for every n until it ends undisturbed.

A scenario is played again and again, each time a step later, so whatever await there is, the
cancellation comes while somebody waits in it. Where the steps are not the same each time (real
sockets, real threads), the instants of `wiro_async.crashpoints` are struck instead.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context
from functools import partial
from typing import Any, Protocol
from unittest import mock

from attrs import define, field, frozen

from tests.cancel.threads import wait_for_the_journal
from tests.virtual_time import _JumpingSelector, settle
from wiro_async import crashpoints

# A wait of that length is one that a style means to end itself.
FAR_SECONDS = 1e7
_SECONDS_UNTIL_HUNG = 1e5
_MOST_STRIKES_AT_ONCE = 10
_SECONDS_HELD = 0.005
_REAL_SECONDS_UNTIL_HUNG = 20.0

Use = Callable[[], Coroutine[Any, Any, object]]
Strike = Callable[[], bool]
"""Cancels; whether it wants to be called again at the next step."""
Arm = Callable[[Strike], AbstractContextManager[None]]
"""While the context is open, the strike falls when its time comes."""


class Style(Protocol):
    """One way to cancel. Fails if the cancellation does not go through."""

    __name__: str

    async def __call__(self, use: Use, arm: Arm) -> bool:
        """Whether it was cancelled; False if it had ended before."""
        ...


class _Steps(_JumpingSelector):
    """Counts the loop's steps (it asks its selector once in each), and strikes between two."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.strike: Strike | None = None
        self.strikes_at = 0
        self._struck: list[float] = []

    def select(self, timeout: float | None = None) -> list[Any]:
        self.count += 1
        wait_for_the_journal()
        if self._is_due():
            assert self.strike is not None
            self._struck.append(self.now)
            if not self.strike():
                self.strike = None
            timeout = 0.0  # no time passes: there is something to do
        return super().select(timeout)

    def _is_due(self) -> bool:
        is_there = self.strike is not None and self.count > self.strikes_at
        # Who is cancelled at each step has no time to pass; but a bounded wait has to end.
        return is_there and self._struck.count(self.now) < _MOST_STRIKES_AT_ONCE


class AimedLoop(asyncio.SelectorEventLoop):
    """A loop of the usual kind, on which the end of a far wait can be brought forward."""

    _far: tuple[asyncio.TimerHandle, Callable[[], object]] | None = None

    def call_at(  # type: ignore[override] # takes all that the original takes
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - whatever the callback wants
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        if when - self.time() > FAR_SECONDS / 2:
            self._far = handle, partial(callback, *args)
        return handle

    def end_the_far_wait(self) -> None:
        """Have the timer fire now, if somebody still waits for it."""
        assert self._far is not None
        timer, callback = self._far
        if not timer.cancelled():
            timer.cancel()
            self.call_soon(callback)


class SteppingLoop(AimedLoop):
    """In virtual time, with a strike between two of its steps."""

    def __init__(self) -> None:
        self.steps = _Steps()
        super().__init__(self.steps)

    def time(self) -> float:
        return self.steps.now


@frozen
class AfterSteps:
    """Strikes after so many steps."""

    number: int

    @contextmanager
    def __call__(self, strike: Strike) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppingLoop)
        loop.steps.strikes_at = loop.steps.count + self.number
        loop.steps.strike = strike
        try:
            yield
        finally:
            loop.steps.strike = None


@define
class AtLabel:
    """Strikes when an instant is passed for the so-manieth time, on whichever thread.

    A thread other than the loop's is held there meanwhile: the cancellation comes first.
    """

    label: str
    number: int = 1
    passed: Counter[str] = field(factory=Counter)

    @contextmanager
    def __call__(self, strike: Strike) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        here = threading.current_thread()
        is_over = False
        go_on = threading.Event()

        def again_and_again() -> None:
            loop.call_later(_SECONDS_HELD, go_on.set)
            if not is_over and strike():
                loop.call_later(0.001, again_and_again)

        def pass_by(label: str) -> None:
            self.passed[label] += 1
            if label == self.label and self.passed[label] == self.number:
                loop.call_soon_threadsafe(again_and_again)
                if threading.current_thread() is not here:
                    go_on.wait(1)

        with mock.patch.object(crashpoints, "hook", pass_by):
            try:
                yield
            finally:
                is_over = True


@define
class Cut:
    """Cancels a scenario once: in a style, at a time.

    Attributes:
        was_struck: whether it came in time; else the scenario was undisturbed.
        struck_at: the loop's time of the strike, infinite without one.
        ended_at: the loop's time of the end.
    """

    style: Style
    arm: Arm
    was_struck: bool = False
    struck_at: float = math.inf
    ended_at: float = math.inf

    @property
    def was_called_for(self) -> bool:
        """Whether its time came at all before the end."""
        return self.struck_at < math.inf

    @property
    def seconds(self) -> float:
        """How long it took from the strike to the end."""
        return max(0.0, self.ended_at - self.struck_at)

    async def __call__(self, use: Use) -> bool:
        """Use, and be cancelled; whether that happened."""
        self.was_struck = await self.style(use, self._arm)
        self.ended_at = asyncio.get_running_loop().time()
        return self.was_struck

    def _arm(self, strike: Strike) -> AbstractContextManager[None]:
        def note() -> bool:
            self.struck_at = min(self.struck_at, asyncio.get_running_loop().time())
            return strike()

        return self.arm(note)


Scenario = Callable[[Cut], Coroutine[Any, Any, None]]


def play(
    scenario: Scenario, cut: Cut, loop_factory: Callable[[], AimedLoop] = SteppingLoop
) -> None:
    """Play a scenario once; fail if it leaves a task behind, or an error that nobody fetched."""
    with _no_complaints() as complain:
        _run(scenario, cut, loop_factory, complain)


def sweep(scenario: Scenario, *styles: Style, first: int = 0) -> int:
    """Play it cancelled after 0, 1, 2, ... steps, until it ends undisturbed; the steps it took.

    With several styles each has its turn. Steps before the `first` are left out.
    """
    with _no_complaints() as complain:
        for number, style in zip(itertools.count(first), itertools.cycle(styles), strict=False):
            cut = Cut(style, AfterSteps(number))
            try:
                _run(scenario, cut, SteppingLoop, complain)
            except BaseException as error:
                error.add_note(f"cancelled after {number} steps, {style.__name__}")
                raise
            if not cut.was_called_for:
                return number
    raise AssertionError


Complain = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


def _run(
    scenario: Scenario, cut: Cut, loop_factory: Callable[[], AimedLoop], complain: Complain
) -> None:
    async def whole() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(complain)
        is_virtual = isinstance(loop, SteppingLoop)
        async with asyncio.timeout(_SECONDS_UNTIL_HUNG if is_virtual else _REAL_SECONDS_UNTIL_HUNG):
            await scenario(cut)
        await settle()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left running: {left}"

    with (
        mock.patch.object(random, "random", return_value=0.5),  # the same each time
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        runner.run(whole())


@contextmanager
def _no_complaints() -> Iterator[Complain]:
    """Fail if an error was not fetched: its task tells when it is collected."""
    complaints: list[dict[str, Any]] = []
    gc.freeze()  # what was there before is of no interest, and much
    try:
        yield lambda _, complaint: complaints.append(complaint)
        gc.collect()
    finally:
        gc.unfreeze()
    assert complaints == []
