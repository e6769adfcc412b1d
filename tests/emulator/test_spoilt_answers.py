"""Answers that are altered, slow or about another part than the one that was asked for."""

import asyncio
import gzip
import json
import time

import aiohttp
import pytest

from tests.emulator.asking import FLUX, Asker, asking, headers_for
from wiro_async.emulator import Fault

PROMPT = {"prompt": "a lighthouse"}


async def finished(ask: Asker) -> tuple[str, bytes]:
    """The url of a picture, and the picture."""
    url = (await ask.finish(await ask.run()))["outputs"][0]["url"]
    return url, (await ask.get(url)).body


async def test_a_reset_is_none_of_the_polite_ends() -> None:
    async with asking(faults=[Fault(endpoint="Run", action="reset_before")]) as ask:
        reader, writer = await asyncio.open_connection("127.0.0.1", ask.emulator.port)
        head = headers_for(ask.emulator.api_key, ask.emulator.api_secret)
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        writer.write(
            f"POST /v1/{FLUX} HTTP/1.1\r\nHost: x\r\n{lines}"
            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".encode()
        )
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_silence_in_the_middle_of_an_answer() -> None:
    async with asking(faults=[Fault(action="stall", seconds=0.05)]) as ask:
        began = time.monotonic()
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(FLUX, PROMPT)
        assert time.monotonic() - began >= 0.05
        assert len(ask.emulator.books.tasks) == 1


async def test_an_answer_that_comes_in_pieces() -> None:
    async with asking(faults=[Fault(action="trickle", seconds=0.05)]) as ask:
        began = time.monotonic()
        assert (await ask(FLUX, PROMPT)).json["result"] is True
        assert time.monotonic() - began >= 0.05


async def test_closing_does_not_wait_for_a_stall_or_a_trickle() -> None:
    faults = [Fault(action="stall", seconds=60), Fault(action="trickle", seconds=60)]
    async with asking(faults=faults) as ask:
        late = [asyncio.ensure_future(ask(FLUX, PROMPT)) for _ in faults]
        while len(ask.emulator.books.tasks) < 2:  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0)
    ended = await asyncio.gather(*late, return_exceptions=True)
    assert all(isinstance(error, aiohttp.ClientError) for error in ended)


async def test_a_redirect_is_answered_and_nothing_done() -> None:
    fault = Fault(endpoint="Run", action="redirect", location="http://127.0.0.1:1/away")
    async with asking(faults=[fault]) as ask:
        reply = await ask(FLUX, PROMPT, allow_redirects=False)
        assert (reply.status, reply.headers["Location"]) == (302, "http://127.0.0.1:1/away")
        assert not ask.emulator.books.tasks


async def raw(ask: Asker, endpoint: str, fields: object) -> tuple[bytes, str, str]:
    """The body as it came, its type, and its encoding."""
    headers = headers_for(ask.emulator.api_key, ask.emulator.api_secret)
    url = f"{ask.emulator.base_url}/{endpoint}"
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.post(url, headers=headers, json=fields) as response,
    ):
        encoding = response.headers.get("Content-Encoding", "")
        return await response.read(), response.content_type, encoding


async def test_half_an_answer_that_calls_itself_whole() -> None:
    async with asking(faults=[Fault(endpoint="Run", action="garbage")]) as ask:
        body, type_, _ = await raw(ask, FLUX, PROMPT)
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
        assert body.startswith(b'{"errors"')
        assert type_ == "application/json"
        assert len(ask.emulator.books.tasks) == 1


async def test_a_right_answer_with_a_wrong_label() -> None:
    async with asking(faults=[Fault(endpoint="Run", action="mislabel")]) as ask:
        body, type_, _ = await raw(ask, FLUX, PROMPT)
        assert (json.loads(body)["result"], type_) == (True, "text/html")


async def test_an_answer_in_gzip() -> None:
    async with asking(faults=[Fault(endpoint="Run", action="gzip")]) as ask:
        body, _, encoding = await raw(ask, FLUX, PROMPT)
        assert (json.loads(gzip.decompress(body))["result"], encoding) == (True, "gzip")


async def test_a_record_full_of_junk_still_tells_where_the_picture_is() -> None:
    async with asking() as ask:
        task_id = await ask.run()
        whole = await ask.finish(task_id)
        ask.emulator.add_fault(Fault(endpoint="Task/Detail", action="junk"))
        spoilt = await ask.detail(task_id)
        assert set(spoilt) == set(whole)
        for kept in ("id", "socketaccesstoken", "status", "pexit"):
            assert spoilt[kept] == whole[kept]
        assert spoilt["outputs"][0]["url"] == whole["outputs"][0]["url"]
        odd = {name for name in whole if name != "outputs" and not isinstance(spoilt[name], str)}
        assert len(odd) > 15


async def test_an_expired_url_stays_expired_and_detail_has_a_fresh_one() -> None:
    async with asking() as ask:
        url, picture = await finished(ask)
        ask.emulator.add_fault(Fault(action="expire"))
        assert (await ask.get(url)).status == 403
        assert (await ask.get(url)).status == 403
        (task_id,) = ask.emulator.books.tasks
        fresh = (await ask.detail(task_id))["outputs"][0]["url"]
        assert fresh != url
        assert (await ask.get(fresh)).body == picture
        assert ask.emulator.books.answers["http 403"] == 1


async def test_a_part_that_is_not_the_one_that_was_asked_for() -> None:
    async with asking(faults=[Fault(action="shift_range")]) as ask:
        url, picture = await finished(ask)
        shifted = await ask.get(url, headers={"Range": "bytes=5-"})
        size = len(picture)
        assert shifted.status == 206
        assert shifted.headers["Content-Range"] == f"bytes 6-{size - 1}/{size}"
        assert shifted.body == picture[6:]


@pytest.mark.parametrize(("action", "is_changed"), [("ignore_range", False), ("change_tag", True)])
async def test_the_whole_where_a_part_was_asked_for(action: str, *, is_changed: bool) -> None:
    async with asking(faults=[Fault(action=action)]) as ask:
        url, picture = await finished(ask)
        tag = (await ask.get(url)).headers["ETag"]
        reply = await ask.get(url, headers={"Range": "bytes=5-", "If-Range": tag})
        assert (reply.status, reply.body) == (200, picture)
        assert (reply.headers["ETag"] != tag) is is_changed
