"""What is compared: how many tasks, how long they take, who runs them, what is told of it.

`PROMISES` is what this library is to reach; the tables are held against it.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from benchmarks.arms import ARMS
from benchmarks.figures import (
    CPU,
    CPU_RATIO,
    LAG,
    LAG_MEDIAN,
    LAG_SHARE,
    MAKESPAN,
    MEMORY,
    REQUESTS,
    SERVICE,
    TO_IDEAL,
)
from benchmarks.peers import PEERS

FLOOR = "floor"
_LOOKS, _SWEEPS, _PUSH = (
    "wiro_async, looks alone",
    "wiro_async, with sweeps",
    "wiro_async, with push",
)
_OURS = tuple(name for name in ARMS if name.startswith("wiro_async,"))
_BURDENED = ("floor, flushed", "floor, flushed, journal", "floor, duties")
_PLAIN = ("plain aiohttp, 0.5 s", "plain aiohttp, 3 s")
_SPEED = (MAKESPAN, TO_IDEAL, REQUESTS, LAG_MEDIAN, LAG, LAG_SHARE, CPU, CPU_RATIO)


@frozen(kw_only=True)
class Setting:
    """One table.

    Attributes:
        title: what it is about.
        tasks: how many.
        in_flight: how many may run at once.
        median: of their durations, in seconds.
        arms: who runs them.
        columns: the figures that are told.
        is_long: whether it is left out unless asked for.
        rounds: how many at most; as many as are asked for if None.
        limit: an arm's seconds; what is asked for if None.
        takes_file: whether its prompts come out of a file.
    """

    title: str
    tasks: int
    in_flight: int
    median: float
    arms: tuple[str, ...]
    columns: tuple[str, ...] = _SPEED
    is_long: bool = False
    rounds: int | None = None
    limit: float | None = None
    takes_file: bool = False


@frozen(kw_only=True)
class Promise:
    """A figure of one arm that is to be no more than a bound."""

    setting: str
    arm: str
    figure: str
    bound: float


_SCALE = Setting(
    title="scale",
    tasks=100_000,
    in_flight=10_000,
    median=30.0,
    arms=(FLOOR, _LOOKS, "wiro_async, auto"),
    columns=(MAKESPAN, TO_IDEAL, REQUESTS, LAG, CPU, CPU_RATIO, MEMORY, SERVICE),
    is_long=True,
    rounds=1,
    limit=1_200.0,
)

SETTINGS: Mapping[str, Setting] = {
    "short": Setting(
        title="short tasks",
        tasks=500,
        in_flight=100,
        median=2.0,
        arms=(FLOOR, "floor, duties, looks", *_PLAIN, *_OURS, *PEERS),
    ),
    "hot": Setting(
        title="every task is complete at once",
        tasks=1_000,
        in_flight=100,
        median=1e-6,
        arms=(FLOOR, *_BURDENED, _LOOKS, "wiro_async, looks, journal", *PEERS),
        columns=(MAKESPAN, REQUESTS, CPU, CPU_RATIO),
    ),
    "many": Setting(
        title="many in flight",
        tasks=5_000,
        in_flight=2_000,
        median=8.0,
        arms=(FLOOR, *_PLAIN, _LOOKS, _SWEEPS, _PUSH, "wiro_async, auto", *PEERS),
        columns=(*_SPEED[:3], LAG, LAG_SHARE, CPU, CPU_RATIO, MEMORY, SERVICE),
        rounds=1,
    ),
    "file": Setting(
        title="a file of prompts with the settings that nobody has set, and a journal",
        tasks=0,
        in_flight=100,
        median=8.0,
        arms=(FLOOR, "wiro_async as it comes", "the same, no socket"),
        rounds=1,
        limit=1_200.0,
        takes_file=True,
    ),
    "scale-1k": evolve(_SCALE, tasks=1_000, in_flight=100, median=0.3),
    "scale-10k": evolve(_SCALE, tasks=10_000, in_flight=1_000, median=3.0),
    "scale-100k": _SCALE,
}

PROMISES: tuple[Promise, ...] = (
    Promise(setting="short", arm=_LOOKS, figure=TO_IDEAL, bound=1.09),
    Promise(setting="short", arm=_SWEEPS, figure=TO_IDEAL, bound=1.03),
    Promise(setting="short", arm=_PUSH, figure=TO_IDEAL, bound=1.015),
    Promise(setting="short", arm=_LOOKS, figure=REQUESTS, bound=9.0),
    Promise(setting="short", arm=_SWEEPS, figure=REQUESTS, bound=4.0),
    Promise(setting="short", arm=_PUSH, figure=REQUESTS, bound=3.2),
    Promise(setting="short", arm=_LOOKS, figure=LAG_SHARE, bound=0.22),
    Promise(setting="short", arm=_SWEEPS, figure=LAG, bound=0.4),
    Promise(setting="short", arm=_PUSH, figure=LAG, bound=0.03),
    Promise(setting="short", arm=_LOOKS, figure=CPU_RATIO, bound=1.8),
    Promise(setting="hot", arm=_LOOKS, figure=CPU_RATIO, bound=1.4),
    Promise(setting="hot", arm="wiro_async, looks, journal", figure=CPU_RATIO, bound=2.2),
    Promise(setting="many", arm=_LOOKS, figure=TO_IDEAL, bound=1.05),
    Promise(setting="many", arm=_SWEEPS, figure=TO_IDEAL, bound=1.05),
    Promise(setting="many", arm=_PUSH, figure=TO_IDEAL, bound=1.05),
    Promise(setting="many", arm="wiro_async, auto", figure=TO_IDEAL, bound=1.05),
    Promise(setting="scale-100k", arm=_LOOKS, figure=MEMORY, bound=16.0),
    Promise(setting="scale-100k", arm="wiro_async, auto", figure=MEMORY, bound=16.0),
    Promise(setting="file", arm="wiro_async as it comes", figure=TO_IDEAL, bound=1.05),
    Promise(setting="file", arm="the same, no socket", figure=TO_IDEAL, bound=1.05),
)


def quick(setting: Setting) -> Setting:
    """Give a small one of its like, without peers and in one round."""
    return evolve(
        setting,
        tasks=60,
        in_flight=30,
        median=min(setting.median, 0.5),
        arms=tuple(name for name in setting.arms if name not in PEERS and name not in _PLAIN),
        rounds=1,
    )
