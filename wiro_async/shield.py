"""Work that is finished whatever happens to its caller; then the caller's cancellation holds.

Two things must not be left half done: a Run that is on the wire (it may have made a task), and
a part file that a thread is writing. A Run that still waits for its connection is not on the
wire: it goes with its caller. Two shields are needed, since neither does alone: anyio's
keeps its cancel scopes from knocking all the while, the loop keeps out asyncio's own
``task.cancel()``. The work must be bounded in time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

T = TypeVar("T")

_LOGGER = logging.getLogger("wiro_async")


async def finish(
    work: Coroutine[object, object, T], begun: asyncio.Future[None] | None = None
) -> T:
    """The work's result; if the caller was cancelled meanwhile, its cancellation, afterwards.

    Args:
        work: what is to be finished.
        begun: until this is done there is nothing to finish: the work is cancelled with its caller.

    Raises:
        Exception: what the work raised, unless the caller was cancelled.
    """
    task = asyncio.ensure_future(work)
    cancelled = None
    if begun is not None:
        cancelled = await _wait_until(begun, task)
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    # A scope of anyio's that knocked meanwhile. Asyncio's own comes first: in exchange for the
    # scope's it would be lost, since the scope ends there and nobody takes it further.
    cancelled = cancelled or await _knocked()
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        _LOGGER.debug("cancelled, and ended with %s: %s", type(failure).__name__, failure)
    raise cancelled


async def _wait_until(
    begun: asyncio.Future[None], task: asyncio.Task[T]
) -> asyncio.CancelledError | None:
    """Wait until the work has begun or is over; who is cancelled before takes it along."""
    waiting: list[asyncio.Future[Any]] = [task, begun]  # Any: one of T, one of nothing
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError as error:
        if not begun.done():
            task.cancel()
        return error
    return None


async def _knocked() -> asyncio.CancelledError | None:
    try:
        await checkpoint_if_cancelled()
    except asyncio.CancelledError as error:
        return error
    return None
