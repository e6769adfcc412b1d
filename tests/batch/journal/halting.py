"""Holding a thread up at an instant, so that a test can say what comes first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeAlias

from attrs import define, field

SetHook: TypeAlias = Callable[[Callable[[str], None]], None]


@define
class Halt:
    """Holds up whoever passes an instant, from the first time on, until it is let go."""

    label: str
    reached: threading.Event = field(factory=threading.Event)
    let_go: threading.Event = field(factory=threading.Event)

    def __call__(self, label: str) -> None:
        if label == self.label:
            self.reached.set()
            assert self.let_go.wait(10)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)
