"""The command line in this process: `sys.argv` in; exit code, standard output and error out."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from attrs import field, frozen

from tests.batch.source_cases import FLUX
from wiro_async.cli.app import run_app
from wiro_async.emulator import Emulator

__all__ = ["FLUX", "Deaf", "Ran", "Wiro", "emulating", "variables"]


@frozen
class Ran:
    code: int
    out: str
    err: str


class Wiro(Protocol):
    """Runs ``wiro`` with these arguments."""

    def __call__(self, *arguments: str) -> Ran: ...


@frozen
class Deaf:
    """A port that lets a connection come and answers nothing; it only tells whether one came."""

    listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"

    @property
    def was_asked(self) -> bool:
        return bool(select.select([self.listener], [], [], 0)[0])


def run_on_a_loop_of_its_own(main: Coroutine[object, object, int]) -> int:
    """What `asyncio.run` does, but for forgetting the loop that pytest-asyncio left to close."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(main)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deaf]:
    """What `WIRO_BASE_URL` points at; with a key that may be used there."""
    deaf = Deaf()
    monkeypatch.setenv("WIRO_BASE_URL", deaf.base_url)
    monkeypatch.setenv("WIRO_API_KEY", "key")
    monkeypatch.setenv("WIRO_API_SECRET", "secret")
    yield deaf
    deaf.listener.close()


@pytest.fixture
def wiro(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Wiro:
    """The command, run in an empty folder without any setting in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asyncio, "run", run_on_a_loop_of_its_own)
    for name in (
        "WIRO_API_KEY",
        "WIRO_API_SECRET",
        "WIRO_BASE_URL",
        "WIRO_SOCKET_URL",
        "WIRO_DEBUG",
    ):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["wiro", *arguments])
        code = run_app()
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@contextmanager
def emulating(**settings: object) -> Iterator[Emulator]:
    """An emulator on a loop and a thread of its own, since the command runs its own loop."""
    emulator = Emulator(**{"speed": 200.0, "picture_pixels": 0, **settings})  # type: ignore[arg-type] # handed on
    started = threading.Event()
    over: Future[None] = Future()

    async def serve() -> None:
        async with emulator:
            started.set()
            await asyncio.wrap_future(over)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield emulator
    finally:
        over.set_result(None)
        thread.join(10)


def variables(emulator: Emulator) -> dict[str, str]:
    """What points a command at the emulator."""
    return {
        "WIRO_BASE_URL": emulator.base_url,
        "WIRO_API_KEY": emulator.api_key,
        "WIRO_API_SECRET": emulator.api_secret or "",
    }


@pytest.fixture
def emulator(wiro: Wiro, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A fast emulator that the command talks to, once `wiro` has cleared the environment."""
    assert callable(wiro)
    with emulating() as one:
        for name, value in variables(one).items():
            monkeypatch.setenv(name, value)
        yield one
