"""The engine that is always there: Hypothesis, from seeds that it changes and from nothing."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from attrs import define, field
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.laws import Target

# No input of these sizes takes a tenth of it on any machine.
LONGEST_SECONDS = 10.0
# Cleaning up may wait for the same thing: then it is interrupted as well.
_SECONDS_TO_LEAVE = 1.0
_LONGEST_INPUT = 400
_ROUND = 200


@st.composite
def _changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with a few of its pieces cut out, doubled or replaced."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 24)))
        piece = draw(st.binary(max_size=8) | st.sampled_from((bytes(data[at:end]) * 2, b"")))
        data[at:end] = piece
    return bytes(data)


def inputs_of(target: Target) -> st.SearchStrategy[bytes]:
    """Inputs for a target: bytes of any kind, its seeds, and what is near to them."""
    seeds = target.seeds()
    return (
        st.binary(max_size=_LONGEST_INPUT)
        | st.binary(min_size=24, max_size=_LONGEST_INPUT)
        | _changed(seeds)
    )


@define
class Driven:
    """A target while an engine drives it: it counts, and remembers what failed last."""

    check: Callable[[bytes], None]
    executions: int = 0
    failing: bytes | None = field(default=None)

    def __call__(self, data: bytes) -> None:
        self.executions += 1
        try:
            with no_longer_than(LONGEST_SECONDS):
                self.check(data)
        except BaseException:
            # Hypothesis comes back to the smallest one at last.
            self.failing = data
            raise


def drive(driven: Driven, target: Target, *, examples: int, seed_of_it: int | None = None) -> None:
    """Try so many inputs; raises the first thing that is wrong, at its smallest.

    Args:
        driven: the target's check, counted.
        target: where the inputs come from.
        examples: how many.
        seed_of_it: None: the same inputs every time.
    """
    profile = settings(
        max_examples=examples,
        derandomize=seed_of_it is None,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )

    def one(data: bytes) -> None:
        driven(data)

    test = profile(given(inputs_of(target))(one))
    (test if seed_of_it is None else seed(seed_of_it)(test))()


def drive_for(driven: Driven, target: Target, *, seconds: float, first_seed: int) -> None:
    """Try inputs for so long; the seeds of the rounds follow one another."""
    end = time.monotonic() + seconds
    number = first_seed
    while time.monotonic() < end:
        drive(driven, target, examples=_ROUND, seed_of_it=number)
        number += 1


class _Interrupted(BaseException):
    """Raised into what takes too long. A TimeoutError is an OSError, and may be taken for one."""


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, also where it waits for the system.

    Raises:
        AssertionError: if it took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        raise _Interrupted

    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, interrupt)
    # pytest's own limit runs on the same timer, and goes on after this one.
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds, _SECONDS_TO_LEAVE)
    try:
        yield
    except _Interrupted:
        raise AssertionError(f"not done after {seconds} s") from None
    finally:
        spent = time.monotonic() - began
        signal.setitimer(signal.ITIMER_REAL, max(0.01, left - spent) if left else 0)
        signal.signal(signal.SIGALRM, before)
