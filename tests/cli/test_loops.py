"""The loop that a command runs on."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

import pytest

from wiro_async.cli.loops import run_on_loop
from wiro_async.errors import ConfigurationError


class OwnLoop(asyncio.SelectorEventLoop):
    pass


async def running_loop() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


def test_uvloop_s_loop_is_used_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("uvloop")
    monkeypatch.setattr(stand_in, "new_event_loop", OwnLoop, raising=False)
    monkeypatch.setitem(sys.modules, "uvloop", stand_in)
    assert run_on_loop(running_loop(), uvloop=True) is OwnLoop
    assert run_on_loop(running_loop(), uvloop=False) is not OwnLoop


def test_where_it_is_not_installed_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # an import of it fails
    with pytest.raises(ConfigurationError, match=r"pip install 'wiro-async\[uvloop\]'"):
        run_on_loop(running_loop(), uvloop=True)
