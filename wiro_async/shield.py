"""Work that is finished whatever happens to its caller; then the caller's cancellation holds.

Two things must not be left half done: a Run that is on the wire (it may have made a task), and
a part file that a thread is writing. Two shields are needed, since neither does alone: anyio's
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


async def finish(work: Coroutine[object, object, T]) -> T:
    """The work's result; if the caller was cancelled meanwhile, its cancellation, afterwards.

    Raises:
        Exception: what the work raised, unless the caller was cancelled.
    """
    task = asyncio.ensure_future(work)
    cancelled = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    try:
        # A scope of anyio's that knocked meanwhile. Asyncio's own comes first: in exchange for
        # the scope's it would be lost, since the scope ends there and nobody takes it further.
        if cancelled is None:
            await checkpoint_if_cancelled()
    except asyncio.CancelledError as error:
        cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        _LOGGER.debug("cancelled, and ended with %s: %s", type(failure).__name__, failure)
    raise cancelled
