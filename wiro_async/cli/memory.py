"""Python's garbage collector while a batch runs.

It looks through all that is in memory again and again, and a batch keeps some tens of objects for
each task in flight; none of what is imported is ever garbage. How often it looks is a program's own
choice, so a session leaves it alone, and this program makes it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# What this saves is in docs/performance.md; what may lie about until the next search is a megabyte
# or two.
_SELDOM = (10_000, 20, 50)


@contextmanager
def seldom_searched() -> Iterator[None]:
    """Let what is there now be, and look through what comes less often."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
