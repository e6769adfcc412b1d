"""Named instants at which a process may die: what the proof of "nothing is lost" aims at.

A batch has to go on where it was, whichever instruction its process was killed at. The places
where that is hardest are named here, by a call where they are; a program that kills itself at
one of them sets `hook` before it starts the batch. Without a hook a call does nothing.
"""

from __future__ import annotations

from collections.abc import Callable

hook: Callable[[str], None] | None = None


def passing(label: str) -> None:
    """Tell the hook, if there is one, that this instant is reached."""
    if hook is not None:
        hook(label)
