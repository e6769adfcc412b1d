"""A session in virtual time, joined to the emulator's world or to a script instead of a wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import mock

from tests.scripted_service import KEY, SECRET, ScriptedTransport, WorldTransport
from wiro_async.emulator.world import Terms
from wiro_async.protocol.polling import PollSchedule
from wiro_async.session import WiroSession


@asynccontextmanager
async def joined(transport: ScriptedTransport, **options: object) -> AsyncIterator[WiroSession]:
    """An open session whose requests go to `transport`."""
    session = make_session(**options)
    with mock.patch("wiro_async.transport.Transport", return_value=transport):
        await session.open()
    try:
        yield session
    finally:
        await session.aclose()


def make_session(**options: object) -> WiroSession:
    options.setdefault("tracking", "poll")  # nothing else is joined to the other side
    return WiroSession(KEY, SECRET, **options)  # type: ignore[arg-type] # handed on as they came


EVEN = PollSchedule(jitter=0.0)
PROMPT = {"prompt": "a lighthouse"}


def slow_world(**terms: object) -> WorldTransport:
    """Every task takes a hundred seconds: one percent of its life is a second."""
    return WorldTransport(Terms(**{"median_seconds": 100.0, "sigma": 0.0, **terms}))  # type: ignore[arg-type] # handed on
