"""Each public verb, before the session is opened, after it was closed, and on another loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.keepers import Notebook
from tests.scripted_service import FLUX, ScriptedTransport, record, started
from tests.virtual_session import make_session
from wiro_async.batch.engine import Batch
from wiro_async.errors import SessionStateError
from wiro_async.handle import TaskHandle
from wiro_async.protocol.matching import LostRun
from wiro_async.session import WiroSession

LOST = LostRun(key="", model=FLUX, params={}, sent_at=0.0)


async def at_once(value: object) -> object:
    return value


async def enter(batch: Batch) -> None:
    async with batch:
        pass


async def follow(handle: TaskHandle) -> None:
    async for _ in handle.stream():
        pass


VERBS: dict[str, Callable[[WiroSession], Awaitable[object]]] = {
    "run": lambda wiro: wiro.run(FLUX, {"prompt": "x"}),
    "start": lambda wiro: wiro.start(FLUX, {"prompt": "x"}, Notebook()),
    "adopt": lambda wiro: wiro.adopt(FLUX, task_id="1"),
    "find": lambda wiro: wiro.find(LOST),
    "price": lambda wiro: wiro.price(FLUX, {}),
    "task": lambda wiro: at_once(wiro.task(task_id="1")),
    "list_tasks": lambda wiro: wiro.list_tasks(),
    "batch": lambda wiro: at_once(wiro.batch([], output_dir="never")),
    "statistics": lambda wiro: at_once(wiro.statistics),
}
OF_A_HANDLE: dict[str, Callable[[TaskHandle], Awaitable[object]]] = {
    "await": lambda handle: handle,
    "wait": lambda handle: handle.wait(),
    "stream": follow,
    "cancel": lambda handle: handle.cancel(),
    "kill": lambda handle: handle.kill(),
    "stop": lambda handle: handle.stop(),
    "download": lambda handle: handle.download("never"),
    "save_outputs": lambda handle: handle.save_outputs(Path("never")),
    "delete_files": lambda handle: handle.delete_files(),
}


def silent() -> ScriptedTransport:
    """Starts tasks that run for ever."""

    async def say(asked: object) -> object:
        endpoint = asked.endpoint  # type: ignore[attr-defined] # of the scripted service
        return started() if endpoint == "/Run" else record("2221", "task_start")

    return ScriptedTransport(say)  # type: ignore[arg-type] # as above


async def opened(monkeypatch: pytest.MonkeyPatch) -> WiroSession:
    monkeypatch.setattr("wiro_async.transport.Transport", lambda **_: silent())
    session = make_session()
    await session.open()
    return session


def on_another_loop(ask: Callable[[], Awaitable[object]]) -> None:
    async def go() -> None:
        await ask()

    asyncio.run(go())


def test_every_public_verb_is_in_the_tables() -> None:
    """But for those that only look, and those that open and close."""
    verbs = {name for name in vars(WiroSession) if not name.startswith("_")}
    assert verbs - {"open", "aclose"} == set(VERBS)
    looks = {"model", "task_id", "token", "task", "status", "is_done", "looks"}
    of_a_handle = {name for name in vars(TaskHandle) if not name.startswith("_")}
    assert of_a_handle - looks == set(OF_A_HANDLE) - {"await"}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
async def test_before_it_is_opened_a_session_says_so(
    verb: Callable[[WiroSession], Awaitable[object]],
) -> None:
    with pytest.raises(SessionStateError, match="is not open: use it inside"):
        await verb(make_session())


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
async def test_after_it_was_closed_a_session_says_so(
    verb: Callable[[WiroSession], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(monkeypatch)
    await session.aclose()
    with pytest.raises(SessionStateError, match="is closed; open a new one"):
        await verb(session)
    never_opened = make_session()
    await never_opened.aclose()
    with pytest.raises(SessionStateError, match="is closed; open a new one"):
        await verb(never_opened)


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
async def test_on_another_loop_a_session_says_so(
    verb: Callable[[WiroSession], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(monkeypatch)
    with pytest.raises(SessionStateError, match="belongs to another event loop"):
        await asyncio.to_thread(on_another_loop, lambda: verb(session))
    await session.aclose()


async def test_closing_from_another_loop_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    session = await opened(monkeypatch)
    with pytest.raises(SessionStateError, match="belongs to another event loop"):
        await asyncio.to_thread(on_another_loop, session.aclose)
    await session.aclose()


@pytest.mark.parametrize("verb", OF_A_HANDLE.values(), ids=OF_A_HANDLE)
async def test_a_handle_of_a_closed_session_says_so(
    verb: Callable[[TaskHandle], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(monkeypatch)
    handle = await session.run(FLUX, {"prompt": "x"})
    await session.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(SessionStateError, match="closed"):
            await verb(handle)


@pytest.mark.parametrize("verb", OF_A_HANDLE.values(), ids=OF_A_HANDLE)
async def test_a_handle_on_another_loop_says_so(
    verb: Callable[[TaskHandle], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(monkeypatch)
    handle = await session.run(FLUX, {"prompt": "x"})
    with pytest.raises(SessionStateError, match="belongs to another event loop"):
        await asyncio.to_thread(on_another_loop, lambda: verb(handle))
    await session.aclose()


async def test_a_batch_says_so_as_its_session_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    session = await opened(monkeypatch)
    batch = session.batch([], output_dir=tmp_path / "out")
    with pytest.raises(SessionStateError, match="a batch runs inside"):
        await anext(batch)
    with pytest.raises(SessionStateError, match="a batch runs inside"):
        await batch.wait()
    with pytest.raises(SessionStateError, match="belongs to another event loop"):
        await asyncio.to_thread(on_another_loop, lambda: enter(batch))
    await session.aclose()
    with pytest.raises(SessionStateError, match="is closed; open a new one"):
        await enter(batch)
    assert not (tmp_path / "out").exists()


async def test_a_batch_is_entered_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session = await opened(monkeypatch)
    batch = session.batch([], output_dir=tmp_path)
    await enter(batch)
    with pytest.raises(SessionStateError, match="was started before"):
        await enter(batch)
    with pytest.raises(SessionStateError, match="a batch runs inside"):
        await anext(batch)
    await session.aclose()
