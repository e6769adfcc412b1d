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
from typing import TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

T = TypeVar("T")

_LOGGER = logging.getLogger("wiro_async")


async def finish(
    work: Coroutine[object, object, T] | asyncio.Future[T],
    begun: asyncio.Future[None] | None = None,
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
    try:
        await _end_of(task)
    except asyncio.CancelledError as error:
        if begun is not None and not begun.done():
            task.cancel()
        cancelled = await _outlast(task, error)
    # A scope of anyio's that knocked meanwhile. Asyncio's own comes first: in exchange for the
    # scope's it would be lost, since the scope ends there and nobody takes it further.
    cancelled = cancelled or await _knocked()
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        _LOGGER.debug("cancelled, and ended with %s: %s", type(failure).__name__, failure)
    raise cancelled


async def _outlast(
    work: asyncio.Future[T], cancelled: asyncio.CancelledError
) -> asyncio.CancelledError:
    """Wait for the work's end against all that knocks; the cancellation that holds then."""
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await _end_of(work)
            except asyncio.CancelledError as error:
                cancelled = error
    return cancelled


async def _end_of(work: asyncio.Future[T]) -> None:
    """Wait for the work's end, as `asyncio.wait` does, for one and at a third of the price."""
    if work.done():
        return
    over = work.get_loop().create_future()

    def tell(_: asyncio.Future[T]) -> None:
        if not over.done():
            over.set_result(None)

    work.add_done_callback(tell)
    try:
        await over
    finally:
        work.remove_done_callback(tell)


async def _knocked() -> asyncio.CancelledError | None:
    try:
        await checkpoint_if_cancelled()
    except asyncio.CancelledError as error:
        return error
    return None
