"""Targets: the pure machines, driven by any sequence of events."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

from tests.fuzz.answers import noise
from tests.fuzz.draws import Draw
from tests.fuzz.laws import Target, only, require
from tests.protocol.lost_runs import NOON, lost_run
from wiro_async.errors import (
    ConfigurationError,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    TaskUnreachable,
)
from wiro_async.protocol.converter import make_converter
from wiro_async.protocol.learning import Learned
from wiro_async.protocol.limits import InFlightController, RequestPace
from wiro_async.protocol.matching import SKEW_SECONDS, LostRun, match_runs, oldest_of_interest
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryBudget, RetryPolicy
from wiro_async.protocol.status import STATUS_TABLE, outcome_of
from wiro_async.task import Outcome, Task, TaskEvent
from wiro_async.tracking.watch import Watch

_CONVERTER = make_converter()
_STATUSES = (*STATUS_TABLE, "", "task_new", "TASK_CANCEL")
_EXIT_CODES = (None, "", "0", "1", "0.0", "-0", "x", "\ud800", "NaN", "sNaN", "1e999999999")


def _is_wait(seconds: float) -> bool:
    return 0 <= seconds < math.inf


def check_polling(data: bytes) -> None:
    """A schedule that may be made gives waits that can be waited."""
    draw = Draw(data)
    numbers = [draw.number() if draw.flag() else draw.real() for _ in range(5)]
    first, growth, longest, jitter, factor = numbers
    elapsed = (0.0, 1e-9, 3.0, 3_600.0, 1e9, abs(draw.below(2**24) / 7))
    with only(ConfigurationError):
        schedule = PollSchedule(
            first_seconds=first, growth=growth, max_seconds=longest, jitter=jitter
        )
        for seconds in elapsed:
            _check_wait(schedule, seconds, draw.fraction())
            _check_wait(schedule.faster(factor), seconds, draw.fraction())


def _check_wait(schedule: PollSchedule, elapsed_seconds: float, dice: float) -> None:
    wait = schedule.wait_seconds(elapsed_seconds, dice)
    require(_is_wait(wait), f"a wait of {wait}")
    most = schedule.max_seconds * (1 + schedule.jitter)
    # The last digit of a sum of floats, or of an integer that no float holds, counts for nothing.
    require(wait <= most * (1 + 1e-9), f"a wait of {wait}, and {most} is the longest")


def check_learning(data: bytes) -> None:
    """Whatever is seen of the ends of tasks, the waits that are learned can be waited."""
    draw = Draw(data)
    learned = Learned()
    for _ in range(draw.below(64)):
        model = draw.pick(("o/m", None))
        scale = draw.pick((1.0, 1e-9, 1e9, 0.0))
        age, later = draw.below(2**16) * scale, draw.below(2**12) * scale
        match draw.below(4):
            case 0 | 1:
                learned.note(model, age, age + later)
            case 2:
                if learned.wants_fit(model):
                    learned.fit(model, [age, later, 0.0][: draw.below(4)])
            case _:
                wait = learned.wait_seconds(model, age, draw.fraction())
                require(_is_wait(wait), f"a wait of {wait}")
                require(wait > 0 or age > 0, "no wait at all")


def check_limits(data: bytes) -> None:
    """However answers come, the limit stays within 1 and its ceiling, and somebody may go on."""
    draw = Draw(data)
    controller = InFlightController(ceiling=1 + draw.below(2_000))
    now = 0.0
    for _ in range(draw.below(256)):
        now += draw.below(4_000) / 20
        match draw.below(5):
            case 0:
                controller.on_rejected(
                    stated=draw.pick((None, 0, 1, draw.below(5_000), 999_999_999)),
                    ours=draw.below(300),
                    now=now,
                    dice=draw.fraction(),
                    balance=draw.pick((None, Decimal(draw.below(400)), Decimal("1e39"))),
                )
            case 1:
                controller.on_accepted(draw.below(3_000))
            case 2:
                controller.raise_ceiling(controller.ceiling + draw.below(50))
            case 3:
                before = controller.limit
                controller.on_spent(Decimal(draw.below(10_000)) / 100)
                require(controller.limit <= before, "what is spent raises the limit")
            case _:
                controller.may_start(draw.below(3_000), now)
        require(1 <= controller.limit <= controller.ceiling, f"a limit of {controller.limit}")
        require(_is_wait(controller.wait_seconds(draw.fraction())), "a wait that is none")
        may_go = controller.may_start(0, now) or now < controller.asks_at() <= now + 15
        require(may_go, "nobody may ever go on")


def check_pace(data: bytes) -> None:
    """However 429s and successes come, every request gets a place, and the order stays."""
    draw = Draw(data)
    pace = RequestPace()
    policy = RetryPolicy()
    budget = RetryBudget(capacity=draw.below(50))
    now = last = 0.0
    for failures in range(draw.below(256)):
        now += draw.below(2_000) / 100
        match draw.below(4):
            case 0:
                asked = draw.pick((None, 0.0, draw.below(200) / 3, 1e39))
                error = RateLimited("slow")
                error.retry_after_seconds = asked
                pause = policy.pause_seconds(error, failures, draw.fraction())
                if pause is not None:
                    require(pause <= policy.max_pause_seconds, f"a pause of {pause}")
                    pace.on_limited(now, pause)
            case 1:
                pace.on_success()
                budget.refund()
            case _:
                at = pace.next_at(now)
                require(_is_wait(at - now), f"a wait of {at - now}")
                require(at >= last, "a later request goes out earlier")
                require(pace.take(at), "nobody may go when it is time")
                now = last = at
                budget.take(draw.pick((OutcomeUnknown("lost"), ServerError("failed"))))
        require(pace.rate is None or 0 < pace.rate < math.inf, f"a rate of {pace.rate}")
        require(0 <= budget.tokens <= budget.capacity, f"a budget of {budget.tokens}")


def check_status(data: bytes) -> None:
    """Whatever a status and an exit code are, they mean one of four things."""
    draw = Draw(data)
    status = draw.pick(_STATUSES) if draw.flag() else draw.text()
    code = draw.pick(_EXIT_CODES) if draw.flag() else draw.text()
    outcome = outcome_of(status, code)
    require(isinstance(outcome, Outcome), "no outcome")
    if status not in STATUS_TABLE:
        require(outcome is Outcome.RUNNING, "a status that nobody knows ends a paid task")


def check_watch(data: bytes) -> None:
    """Whatever is seen of a task, each reader is told of its changes, and of its end once."""
    draw = Draw(data)
    watch = Watch(started_at=0.0)
    called: list[int] = []
    watch.call_when_done(lambda _: called.append(1))
    readers = [watch.open_reader()]
    for number in range(draw.below(40)):
        match draw.below(8):
            case 0:
                readers.append(watch.open_reader())
            case 1:
                error = TaskUnreachable("gone", task_id="1", token=None, task=None)
                watch.give_up(error)
            case _:
                watch.see(_seen(draw), float(number))
        require(bool(watch.describe()), "a task that cannot be named")
    require(len(called) == int(watch.is_done), f"told {len(called)} times that it is done")
    for reader in readers:
        _check_reader(reader, is_done=watch.is_done)


def _seen(draw: Draw) -> Task:
    status = draw.pick(_STATUSES) if draw.byte() % 8 else draw.text()
    row = {"id": draw.pick(("1", None)), "status": status, "pexit": draw.pick(_EXIT_CODES)}
    return _CONVERTER.structure(row, Task)


def _check_reader(reader: asyncio.Queue[TaskEvent | None], *, is_done: bool) -> None:
    events: list[TaskEvent | None] = []
    while not reader.empty():
        events.append(reader.get_nowait())
    require(events.count(None) == int(is_done), f"{events.count(None)} ends of a stream")
    require(not is_done or events[-1] is None, "something comes after the end")
    told = [event for event in events if event is not None]
    require(not any(event.is_terminal for event in told[:-1]), "it goes on after its end")
    for one, other in pairwise(told):
        require((one.status, one.outcome) != (other.status, other.outcome), "told twice")


def check_matching(data: bytes) -> None:
    """Lost Runs and rows of any kind: each row is given once, to a Run that can have made it."""
    draw = Draw(data)
    lost = [_lost(draw, f"{number}") for number in range(draw.below(6))]
    rows = [_row(draw) for _ in range(draw.below(6))]
    known = frozenset(row.id for row in rows if draw.byte() % 4 == 1)

    def is_known(row: Task) -> bool:
        return row.id in known

    found = match_runs(lost, rows, is_known=is_known)
    require(oldest_of_interest(lost) == math.inf or bool(lost), "no Run is of interest")
    require(found == match_runs(lost[::-1], rows[::-1], is_known=is_known), "the order counts")
    given = [row.id or row.token for row in found.values()]
    require(len(set(given)) == len(given), "a row is given twice")
    by_key = {run.key: run for run in lost}
    for key, row in found.items():
        require(not is_known(row), "somebody else's task")
        made = row.created_at.timestamp() if row.created_at else math.inf
        require(made >= by_key[key].sent_at - SKEW_SECONDS, "a task older than its Run")


def _params(draw: Draw) -> dict[str, Any]:
    return draw.pick(({"prompt": "a fox"}, {}, {"prompt": "a fox", "seed": draw.value()}))


def _lost(draw: Draw, key: str) -> LostRun:
    model = draw.pick(("o/m", "O/M", "black-forest-labs/flux-pro-1-1-ultra"))
    return lost_run(key, sent=float(draw.below(600)), model=model, params=_params(draw))


def _row(draw: Draw) -> Task:
    good = {
        "id": draw.pick(("1", "2", "3", "10")),
        "socketaccesstoken": draw.pick(("t", "u", None)),
        "modelslugowner": draw.pick(("o", "O", None)),
        "modelslugproject": "m",
        "parameters": _params(draw),
        "createtime": str(int(NOON) + draw.below(900)),
    }
    names = ("status", "pexit", "outputs")
    return _CONVERTER.structure(draw.mutated(good, names) if draw.flag() else good, Task)


def _machine(name: str, check: Callable[[bytes], None], examples: int = 150) -> Target:
    return Target(name=name, check=check, seeds=noise, examples=examples)


MACHINES = (
    Target(
        name="polling",
        check=check_polling,
        # The largest floats as waits, and integers that are none.
        seeds=lambda: [
            *noise(),
            b"\1\0\x0e\1\2\0\2\1\0\x0e\1\0\x0b" + b"\xff" * 5,
            b"\1\0\2\1\0\2" * 3,
        ],
    ),
    _machine("learning", check_learning, 100),
    _machine("limits", check_limits, 80),
    _machine("pace", check_pace, 80),
    Target(
        name="status",
        check=check_status,
        seeds=lambda: [
            bytes((1, status, 1, code))
            for status in range(len(_STATUSES))
            for code in range(len(_EXIT_CODES))
        ],
    ),
    _machine("watch", check_watch),
    _machine("matching", check_matching),
)
