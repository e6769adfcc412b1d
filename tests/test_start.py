"""What is imported when: the package without aiohttp, which comes when a session opens."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.scripted_service import KEY, SECRET
from wiro_async import SessionStateError, WiroSession

# A service of a few lines, since the emulator would bring aiohttp along.
SERVICE = """
import asyncio, json, sys
from wiro_async import WiroSession

BODY = b'{"result": true, "errors": [], "total": 0, "tasklist": []}'
HEAD = f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(BODY)}\\r\\n\\r\\n"

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(HEAD.encode() + BODY)
    await writer.drain()
    writer.close()

def network():
    names = ("aiohttp", "yarl", "multidict", "wiro_async")
    return {name for name in sys.modules if name.split(".")[0] in names}

def is_there(name):
    return name in sys.modules
"""
STAGES = """
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    session = WiroSession("key", "secret", base_url=f"http://127.0.0.1:{port}", tracking="poll")
    made = is_there("aiohttp")
    await session.open()
    opened = network()
    tasks = await session.list_tasks()
    late = network() - opened
    await session.aclose()
    server.close()
    print(json.dumps([made, "aiohttp" in opened, len(tasks), sorted(late)]))

asyncio.run(main())
"""
THREADS = """
import threading

ready = threading.Barrier(8)
repeats = []

async def open_one():
    async with WiroSession("key", "secret", base_url="http://127.0.0.1:9") as session:
        repeats.append(session.statistics.repeats)

def work():
    ready.wait()
    asyncio.run(open_one())

threads = [threading.Thread(target=work) for _ in range(8)]
assert not is_there("aiohttp")
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(repeats))
"""
COMMAND = """
import json, sys
from wiro_async.cli.app import run_app

heavy = ("aiohttp", "sqlite3", "PIL", "wiro_async.emulator", "wiro_async.cli.show")
code = run_app()
print(json.dumps([code, [name for name in heavy if name in sys.modules]]))
"""


def last_words(program: str, *arguments: str) -> list[object]:
    """What the program's last line says, in an interpreter of its own."""
    ran = subprocess.run(  # noqa: S603 - a program of our own
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        # A measured interpreter would import what the measuring needs.
        env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
    )
    assert ran.returncode == 0, ran.stderr
    words: list[object] = json.loads(ran.stdout.splitlines()[-1])
    return words


def test_opening_a_session_imports_all_that_its_first_request_needs() -> None:
    made, opened, tasks, late = last_words(SERVICE + STAGES)
    assert (made, opened, tasks, late) == (False, True, 0, [])


def test_sessions_that_are_the_first_in_many_threads_at_once_all_open() -> None:
    assert last_words(SERVICE + THREADS) == [0] * 8


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["--version"], 0), (["batch", "--help"], 0), (["batch", "--mistyped"], 2)],
)
def test_what_needs_no_service_imports_nothing_for_one(arguments: list[str], code: int) -> None:
    assert last_words(COMMAND, *arguments) == [code, []]


async def test_an_import_that_fails_leaves_the_session_to_be_opened_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = WiroSession(KEY, SECRET, base_url="http://127.0.0.1:9")
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "wiro_async.transport", None)
        with pytest.raises(ModuleNotFoundError, match=r"wiro_async\.transport"):
            await session.open()
    assert "not opened" in repr(session)
    await session.open()
    with pytest.raises(SessionStateError):
        await session.open()
    await session.aclose()
