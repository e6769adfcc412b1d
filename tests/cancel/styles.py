"""Every way to cancel that asyncio and anyio have, for a strike that comes at any time.

Each fails if the cancellation is swallowed: if what was cancelled returns, or raises something
else, or if the count of `asyncio.Task.cancelling` is not what it was before.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import anyio
import pytest
from attrs import frozen

from tests.cancel.stepping import FAR_SECONDS, AimedLoop, Arm, Strike, Style, Use


async def by_cancel(use: Use, arm: Arm) -> bool:
    return await _cancel_natively(use, arm, [1])


async def by_cancel_twice_at_once(use: Use, arm: Arm) -> bool:
    return await _cancel_natively(use, arm, [2])


async def by_cancel_again_and_again(use: Use, arm: Arm) -> bool:
    return await _cancel_natively(use, arm, itertools.repeat(1))


async def by_cancel_later_again(use: Use, arm: Arm) -> bool:
    """The second one comes while the first is being seen to."""
    return await _cancel_natively(use, arm, [1, 0, 0, 1])


async def by_timeout(use: Use, arm: Arm) -> bool:
    deadline = asyncio.timeout(None)
    with _unchanged():
        try:
            async with deadline:
                with arm(_once(lambda: deadline.reschedule(_now()))):
                    await _observed(use)
        except TimeoutError:
            assert deadline.expired()
        else:
            assert not deadline.expired()
    return deadline.expired()


async def by_wait_for(use: Use, arm: Arm) -> bool:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, AimedLoop)
    with _unchanged(), arm(_once(loop.end_the_far_wait)):
        try:
            await asyncio.wait_for(_observed(use), FAR_SECONDS)
        except TimeoutError:
            return True
    return False


async def by_task_group(use: Use, arm: Arm) -> bool:
    """A sibling fails."""
    sign: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def fail() -> None:
        await sign
        raise ZeroDivisionError

    async def use_and_end() -> None:
        await _observed(use)
        tasks[0].cancel()

    def have_it_fail() -> None:
        if not sign.done():
            sign.set_result(None)

    tasks: list[asyncio.Task[None]] = []
    try:
        with _unchanged(), arm(_once(have_it_fail)):
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(fail()), group.create_task(use_and_end())]
    except* ZeroDivisionError:
        pass
    return tasks[1].cancelled()


async def by_move_on_after(use: Use, arm: Arm) -> bool:
    with _unchanged(), anyio.move_on_after(math.inf) as scope:
        await _use_within(scope, use, arm)
    return scope.cancelled_caught


async def by_fail_after(use: Use, arm: Arm) -> bool:
    scope: anyio.CancelScope | None = None
    is_late = False
    with _unchanged():
        try:
            with anyio.fail_after(FAR_SECONDS * 2) as scope:
                await _use_within(scope, use, arm)
        except TimeoutError:
            is_late = True
    assert scope is not None
    assert scope.cancelled_caught == is_late
    return is_late


async def by_anyio_task_group(use: Use, arm: Arm) -> bool:
    """The scope is another task's."""
    ended: list[bool] = []

    async def use_and_end() -> None:
        await _observed(use)
        ended.append(True)

    with _unchanged():
        async with anyio.create_task_group() as group:
            with arm(_once(group.cancel_scope.cancel)):
                async with anyio.create_task_group() as inner:
                    inner.start_soon(use_and_end)
    return not ended


async def by_scope_and_cancel_at_once(use: Use, arm: Arm) -> bool:
    return await _cancel_in_both_ways(use, arm, ["scope task"])


async def by_scope_then_cancel(use: Use, arm: Arm) -> bool:
    return await _cancel_in_both_ways(use, arm, ["scope", "task"])


async def by_cancel_then_scope(use: Use, arm: Arm) -> bool:
    return await _cancel_in_both_ways(use, arm, ["task", "scope"])


STYLES: list[Style] = [
    by_cancel,
    by_cancel_twice_at_once,
    by_cancel_again_and_again,
    by_cancel_later_again,
    by_timeout,
    by_wait_for,
    by_task_group,
    by_move_on_after,
    by_fail_after,
    by_anyio_task_group,
    by_scope_and_cancel_at_once,
    by_scope_then_cancel,
    by_cancel_then_scope,
]
every_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
# For what takes long, or is like something else: each step in three of the styles.
in_turn = pytest.mark.parametrize(
    "styles", [STYLES[first:] + STYLES[:first] for first in (0, 4, 9)], ids=["0", "4", "9"]
)


@frozen
class Counted:
    """What is used where asyncio's count of cancellations has to be right, to the letter.

    Not so for a batch: where task groups are nested over several tasks, anyio (4.16) takes back
    one count too many. Then it may also take a cancellation of asyncio's for its own.
    """

    use: Use

    async def __call__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        try:
            await self.use()
        except asyncio.CancelledError:
            assert task.cancelling() > before
            raise


async def _observed(use: Use) -> None:
    """Fail, in the very task, if it goes on after it was cancelled."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        await use()
    except asyncio.CancelledError:
        raise
    except BaseException:
        assert task.cancelling() == before, "another error came in the cancellation's place"
        raise
    assert task.cancelling() == before, "the cancellation was swallowed"


async def _cancel_natively(use: Use, arm: Arm, times: Iterable[int]) -> bool:
    """Cancel so many times at one step, so many at the next, and so on."""
    task = asyncio.ensure_future(_observed(use))
    left = iter(times)
    count = 0

    def strike() -> bool:
        nonlocal count
        for _ in range(next(left, 0)):
            count += task.cancel()
        return not task.done()

    with arm(strike):
        await asyncio.wait([task])
    assert task.cancelled() == (count > 0), f"{count} cancellations, and it ends as {task}"
    assert task.cancelling() == count or (
        task.cancelling() < count and not isinstance(use, Counted)
    )
    if not count:
        task.result()
    return count > 0


async def _use_within(scope: anyio.CancelScope, use: Use, arm: Arm) -> None:
    def end_it() -> None:
        scope.deadline = _now()

    with arm(_once(end_it)):
        await _observed(use)


async def _cancel_in_both_ways(use: Use, arm: Arm, order: list[str]) -> bool:
    """Cancel the scope and the task natively; what stands in one word comes in one step."""
    scope = anyio.CancelScope()
    left = list(order)
    is_asked = False

    async def use_within() -> None:
        with scope:
            await _observed(use)

    def strike() -> bool:
        nonlocal is_asked
        for way in left.pop(0).split():
            if way == "scope":
                scope.cancel()
            else:
                is_asked |= task.cancel()
        return bool(left)

    task = asyncio.ensure_future(use_within())
    with arm(strike):
        await asyncio.wait([task])
    if is_asked:
        # An old anyio takes one that comes right with its own, or after it, for its own.
        is_first = isinstance(use, Counted) and order[0] == "task"
        assert task.cancelled() or (scope.cancelled_caught and not is_first)
    else:
        assert not task.cancelled()
        task.result()
    return task.cancelled() or scope.cancelled_caught


def _once(call: Callable[[], object]) -> Strike:
    def strike() -> bool:
        call()
        return False

    return strike


@contextmanager
def _unchanged() -> Iterator[None]:
    """Whoever cancels takes it back when it is through."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    yield
    assert task.cancelling() == before


def _now() -> float:
    return asyncio.get_running_loop().time()
