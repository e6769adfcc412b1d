"""No test leaves anything running behind: neither asyncio tasks nor sessions of aiohttp."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.virtual_time import settle


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            # First in the row, so that it is torn down after every other fixture.
            item.fixturenames.insert(0, "_no_tasks_left")


@pytest.fixture
async def _no_tasks_left() -> AsyncIterator[None]:
    yield
    await settle()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"left running: {left}"


@pytest.fixture(autouse=True)
def _no_client_sessions_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[aiohttp.ClientSession] = []
    original = aiohttp.ClientSession.__init__

    def remember(self: aiohttp.ClientSession, *args: object, **options: object) -> None:
        original(self, *args, **options)  # type: ignore[arg-type] # handed on as it came
        made.append(self)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", remember)
    yield
    assert all(session.closed for session in made), "an aiohttp.ClientSession was not closed"
