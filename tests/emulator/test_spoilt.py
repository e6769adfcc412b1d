"""Every fault action over real HTTP: what the client sees, and whether a task was made."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from tests.emulator.asking import FLUX, asking
from wiro_async.emulator import Fault

PROMPT = {"prompt": "a lighthouse"}
CUT = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


async def until_cut(response: aiohttp.ClientResponse) -> bytes:
    got = b""
    try:
        async for chunk in response.content.iter_any():
            got += chunk
    except aiohttp.ClientPayloadError:
        return got
    pytest.fail("the whole body came")


@pytest.mark.parametrize(
    ("action", "made"),
    [("drop_before", 0), ("drop_after", 1), ("reset_before", 0), ("reset_after", 1)],
)
async def test_cut_connections(action: str, made: int) -> None:
    async with asking(faults=[Fault(endpoint="Run", action=action)]) as ask:
        with pytest.raises(CUT):
            await ask(FLUX, PROMPT)
        assert len(ask.emulator.books.tasks) == made
        assert ask.emulator.books.answers == {f"fault {action}": 1}
        # Only once: the next one gets through.
        assert (await ask(FLUX, PROMPT)).json["result"] is True


async def test_half_an_answer() -> None:
    async with asking(faults=[Fault(endpoint="Run", action="truncate")]) as ask:
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(FLUX, PROMPT)
        assert len(ask.emulator.books.tasks) == 1


async def test_half_a_file_and_then_its_rest() -> None:
    async with asking(faults=[Fault(endpoint="cdn", action="truncate", times=2)]) as ask:
        url = (await ask.finish(await ask.run()))["outputs"][0]["url"]
        async with ask.http.get(url) as response:
            length = int(response.headers["Content-Length"])
            got = await until_cut(response)
        assert len(got) == length // 2
        async with ask.http.get(url, headers={"Range": f"bytes={len(got)}-"}) as response:
            assert response.status == 206
            got += await until_cut(response)
        assert length // 2 < len(got) < length
        rest = await ask.get(url, headers={"Range": f"bytes={len(got)}-"})
        assert got + rest.body == (await ask.get(url)).body


@pytest.mark.parametrize("task_made", [False, True])
@pytest.mark.parametrize(
    ("action", "status", "type_"),
    [
        ("status", 502, "text/plain"),
        ("html", 200, "text/html"),
        ("empty", 200, ""),
    ],
)
async def test_answers_that_are_none(
    action: str, status: int, type_: str, *, task_made: bool
) -> None:
    fault = Fault(endpoint="Run", action=action, status=502, task_made=task_made)
    async with asking(faults=[fault]) as ask:
        reply = await ask(FLUX, PROMPT)
        assert reply.status == status
        assert reply.headers.get("Content-Type", "").startswith(type_)
        assert len(ask.emulator.books.tasks) == task_made


async def test_a_late_answer() -> None:
    async with asking(faults=[Fault(action="delay", seconds=0.05)]) as ask:
        began = time.monotonic()
        assert (await ask(FLUX, PROMPT)).json["result"] is True
        assert time.monotonic() - began >= 0.05


async def test_closing_does_not_wait_for_a_late_answer() -> None:
    async with asking(faults=[Fault(action="delay", seconds=60)]) as ask:
        late = asyncio.ensure_future(ask(FLUX, PROMPT))
        while not ask.emulator.books.tasks:  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0)
    with pytest.raises(aiohttp.ClientError):
        await late


@pytest.mark.parametrize(
    ("action", "settings", "status", "code", "message"),
    [
        ("rate_limit", {}, 429, 0, "Too many requests."),
        ("limit", {}, 200, 96, "With your current balance of $1000.00, you can run up to 100"),
        ("no_balance", {}, 200, 97, "Insufficient balance"),
        ("unauthorized", {}, 401, 0, "Project authorization is not valid."),
    ],
)
async def test_refusals_out_of_the_blue(
    action: str, settings: dict[str, Any], status: int, code: int, message: str
) -> None:
    async with asking(faults=[Fault(endpoint="Run", action=action, **settings)]) as ask:
        reply = await ask(FLUX, PROMPT)
        assert (reply.status, reply.error[0]) == (status, code)
        assert message in reply.error[1]
        assert not ask.emulator.books.tasks


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "0.2"), (30, "30"), (None, None)])
async def test_retry_after(seconds: float | None, header: str | None) -> None:
    async with asking(faults=[Fault(action="rate_limit", retry_after=seconds)]) as ask:
        assert (await ask(FLUX, PROMPT)).headers.get("Retry-After") == header


async def test_a_task_just_made_that_is_not_found() -> None:
    async with asking(faults=[Fault(action="not_found")]) as ask:
        task_id = await ask.run()
        reply = await ask("Task/Detail", {"taskid": task_id})
        assert reply.error == (1, "There is no task yet.")
        assert (await ask.detail(task_id))["id"] == task_id


@pytest.mark.parametrize(
    ("action", "status"), [("fail_task", "task_postprocess_end"), ("error_task", "task_error")]
)
async def test_tasks_that_are_bound_to_fail(action: str, status: str) -> None:
    async with asking(faults=[Fault(action=action, match="doomed")]) as ask:
        fine, doomed = await ask.run("fine"), await ask.run("doomed")
        task = await ask.finish(doomed)
        assert (task["status"], task["pexit"]) == (status, "1")
        assert (await ask.finish(fine))["pexit"] == "0"


async def test_a_fault_for_one_prompt_follows_its_task_everywhere() -> None:
    fault = Fault(action="status", match="fox", times=None, skip=1)
    async with asking(faults=[fault]) as ask:
        fox, lynx = await ask.run("a fox"), await ask.run("a lynx")
        assert (await ask("Task/Detail", {"taskid": fox})).status == 503
        assert (await ask("Task/Kill", {"taskid": fox})).status == 503
        url = (await ask.finish(lynx))["outputs"][0]["url"]
        assert (await ask.get(url)).status == 200


async def test_a_fault_can_be_added_on_the_way() -> None:
    async with asking() as ask:
        url = (await ask.finish(await ask.run()))["outputs"][0]["url"]
        ask.emulator.add_fault(Fault(endpoint="cdn", action="html"))
        assert (await ask.get(url)).body.startswith(b"<!DOCTYPE html>")
        assert (await ask.get(url)).body.startswith(b"\x89PNG")


async def test_closing_leaves_nothing_running_for_clients_that_have_left() -> None:
    async with asking(faults=[Fault(action="delay", seconds=60, times=None)]) as ask:
        late = [asyncio.ensure_future(ask(FLUX, PROMPT)) for _ in range(20)]
        while len(ask.emulator.books.tasks) < 20:  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0)
        for request in late[::2]:
            request.cancel()
    ended = await asyncio.gather(*late, return_exceptions=True)
    assert all(isinstance(error, BaseException) for error in ended)
    assert asyncio.all_tasks() == {asyncio.current_task()}
