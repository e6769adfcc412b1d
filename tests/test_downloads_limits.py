"""How long a server may keep a download waiting, and how much it may send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.loopback import Connection, answering
from tests.test_downloads import BODY, POLICY, desk, endless, http, one_after_another
from wiro_async.errors import DownloadError
from wiro_async.transport import Stream, Timeouts, Transport


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_a_server_that_asks_for_a_wait_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float, *_: object) -> None:
        waits.append(seconds)
        await sleep(0)

    busy = answering(http(b"", status, Retry_After="7"))
    again = answering(http(b"", status, Retry_After="0"))
    async with desk(tmp_path, one_after_another(busy, again, answering(http()))) as at:
        monkeypatch.setattr("wiro_async.downloads.downloader.asyncio.sleep", note)
        (saved,) = await at.save()
        monkeypatch.undo()
        assert saved.path.read_bytes() == BODY
        assert [wait for wait in waits if wait] == [7.0, POLICY.base_seconds * 0.75]


async def test_a_wait_that_is_too_long_is_told_and_that_of_a_failing_server_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"Retry_After": "3600"}
    async with desk(tmp_path, answering(http(b"", "429 Too Many Requests", **asked))) as at:
        with pytest.raises(
            DownloadError,
            match=r"HTTP 429, and a wait of 3600 s is asked for; .*max_pause_seconds is 120",
        ):
            await at.save()
        assert len(at.cdn.requests) == 1
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float, *_: object) -> None:
        waits.append(seconds)
        await sleep(0)

    busy = answering(http(b"", "503 Service Unavailable", **asked))
    async with desk(tmp_path, one_after_another(busy, answering(http()))) as at:
        monkeypatch.setattr("wiro_async.downloads.downloader.asyncio.sleep", note)
        await at.save()
        monkeypatch.undo()
    assert [wait for wait in waits if wait] == [120.0]


@pytest.mark.parametrize("kind", ["listed", "announced", "as they come"])
async def test_a_file_that_is_too_large_is_not_taken(tmp_path: Path, kind: str) -> None:
    answer = {
        "listed": http(),
        "announced": http(),
        "as they come": endless(),
    }[kind]
    async with desk(tmp_path, answering(answer), max_bytes=len(BODY) - 1) as at:
        output = at.output(size=len(BODY) if kind == "listed" else None)
        with pytest.raises(
            DownloadError, match=r"raise max_output_bytes \(--max-output-bytes\)"
        ) as it:
            await at.save(output)
        assert f"{len(BODY) - 1} are the most" in it.value.message
        assert len(at.cdn.requests) == (0 if kind == "listed" else 1)
        assert at.names() == []


async def test_a_file_that_is_just_as_large_as_may_be_is_taken(tmp_path: Path) -> None:
    for number, answer in enumerate([http(), endless()]):
        async with desk(tmp_path / str(number), answering(answer), max_bytes=len(BODY)) as at:
            (saved,) = await at.save(at.output(size=len(BODY)))
            assert saved.size_bytes == len(BODY)


async def test_a_body_without_an_end_is_left_where_the_record_says_that_it_ends(
    tmp_path: Path,
) -> None:
    async def behave(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            await connection.write(BODY)

    async with desk(tmp_path, behave) as at:
        with pytest.raises(DownloadError, match="bytes came, the task's record says 2000"):
            await at.save(at.output(size=2000))
        assert len(at.cdn.requests) == POLICY.max_download_attempts


async def test_a_file_that_is_announced_as_too_large_is_not_waited_for(tmp_path: Path) -> None:
    async def behave(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        await asyncio.Event().wait()

    async with desk(tmp_path, behave, silence=60.0) as at:
        with pytest.raises(DownloadError, match="it has 1000000000000 bytes or more, and 10737418"):
            await at.save()
        assert len(at.cdn.requests) == 1


async def test_a_body_that_is_not_read_to_its_end_is_closed_at_once(tmp_path: Path) -> None:
    closed = []

    class Endless(Transport):
        @asynccontextmanager
        async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
            async def chunks() -> AsyncIterator[bytes]:
                try:
                    while True:
                        yield f"{url}, {len(headers)}".encode()
                finally:
                    closed.append(url)

            yield Stream(http_status=200, headers={}, chunks=chunks())

    async with desk(tmp_path, answering(http()), max_bytes=1000) as at:
        at.downloader.transport = Endless(base_url="http://127.0.0.1:1/v1", timeouts=Timeouts())
        with pytest.raises(DownloadError, match="max_output_bytes"):
            await at.save()
        assert closed == [at.output().url]
