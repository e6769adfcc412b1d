"""Apps of aiohttp on a port of this machine."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def served(make_app: Callable[[str], web.Application]) -> AsyncIterator[str]:
    """The address of an app, which is told it when it is made."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    runner = web.AppRunner(make_app(address), shutdown_timeout=5.0)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield address
    finally:
        await runner.cleanup()
