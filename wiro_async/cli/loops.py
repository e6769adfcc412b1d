"""Which event loop a command runs on: asyncio's own, or uvloop where a person wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from importlib import import_module
from typing import TypeVar

from wiro_async.errors import ConfigurationError

T = TypeVar("T")


def run_on_loop(work: Coroutine[object, object, T], *, uvloop: bool) -> T:
    """Run to the end, as `asyncio.run` does.

    Args:
        work: what is run.
        uvloop: whether on uvloop, which is an extra of the project.

    Raises:
        ConfigurationError: if uvloop is not installed.
    """
    factory = None
    if uvloop:
        try:
            factory = import_module("uvloop").new_event_loop
        except ImportError:
            work.close()
            raise ConfigurationError(
                "--uvloop needs its extra; install it with: "
                "pip install 'wiro-async[uvloop]' (there is none for Windows)"
            ) from None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)
