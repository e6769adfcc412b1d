"""Cancelled at any step of a download: no half file, no place lost, and the next one is whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TypeVar
from unittest import mock

import pytest

from tests.cancel.stepping import AimedLoop, AtLabel, Cut, Style, play, sweep
from tests.cancel.styles import Counted, every_style, in_turn
from tests.cancel.threads import DISK, open_files, threads_in_virtual_time
from tests.loopback import Connection
from tests.scripted_service import ScriptedTransport
from tests.test_downloads import BIG, POLICY, desk, http
from wiro_async.crashpoints import passing
from wiro_async.downloads import Downloader, fetching
from wiro_async.errors import TransportError
from wiro_async.task import Output, Task
from wiro_async.transport import Stream

T = TypeVar("T")

CONNECTING, BETWEEN_CHUNKS = 1.0, 0.5
CHUNKS = [b"a lighthouse", b" at ", b"dusk, by the sea"]
BODY = b"".join(CHUNKS)
FEWEST_STEPS = 12


class Cdn(ScriptedTransport):
    """Sends three chunks; the first so many times it breaks after two.

    Where it has a tag, it goes on behind what it has sent.
    """

    def __init__(self, breaks: int = 0, tag: str | None = None) -> None:
        super().__init__(mock.AsyncMock())
        self.breaks = breaks
        self.tag = tag
        self.open_streams = 0

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        assert url
        start = int(headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        asked = {"Range": f"bytes={start}-", "If-Range": self.tag} if start else {}
        assert headers == {"Accept-Encoding": "identity", **asked}
        await asyncio.sleep(CONNECTING)
        self.open_streams += 1
        try:
            said = {"Content-Length": str(len(BODY) - start)}
            said |= {} if self.tag is None else {"ETag": self.tag}
            said |= {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"} if start else {}
            status = 206 if start else 200
            yield Stream(http_status=status, headers=said, chunks=self._chunks(start))
        finally:
            self.open_streams -= 1

    async def _chunks(self, start: int) -> AsyncIterator[bytes]:
        sent = 0
        for number, chunk in enumerate(CHUNKS):
            sent += len(chunk)
            if sent <= start:
                continue
            await asyncio.sleep(BETWEEN_CHUNKS)
            if self.breaks and number == len(CHUNKS) - 1:
                self.breaks -= 1
                raise TransportError("cut off", endpoint="the CDN")
            yield chunk


@contextmanager
def small_blocks() -> Iterator[None]:
    """The first chunk fills a block, which is written while the others are on their way."""
    with threads_in_virtual_time(), mock.patch.object(fetching, "_BLOCK_BYTES", len(CHUNKS[0])):
        yield


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def save(downloader: Downloader, directory: Path, stem: str = "fox") -> Path:
    output = Output(name="0.png", url="https://cdn.nowhere.test/0.png", size_bytes=len(BODY))
    (saved,) = await downloader.save_all(Task(id="1", outputs=(output,)), directory, stem)
    assert saved.sha256 == hashlib.sha256(BODY).hexdigest()
    return saved.path


# What is there before, how many times the connection breaks, and whether it can be gone on with.
BEFORE: Mapping[str, tuple[dict[str, bytes], int, str | None]] = MappingProxyType(
    {
        "nothing is there": ({}, 0, None),
        "the file is there": ({"fox.png": BODY}, 0, None),
        "another file is there": ({"fox.png": b"of somebody else"}, 0, None),
        "it breaks at first": ({}, 2, None),
        "it breaks and goes on": ({}, 2, '"v1"'),
    }
)


async def saving(cut: Cut, story: str) -> None:
    before, breaks, tag = BEFORE[story]
    with TemporaryDirectory() as name:
        directory, cdn = Path(name), Cdn(breaks, tag)
        for path, content in before.items():
            (directory / path).write_bytes(content)
        was_open = open_files()
        downloader = Downloader(cdn, POLICY, max_downloads=1, dice=lambda: 0.5)
        await cut(Counted(lambda: save(downloader, directory)))
        assert cut.seconds <= DISK
        for _ in range(2):
            now = contents(directory)
            assert before.items() <= now.items()
            assert set(now.values()) <= {*before.values(), BODY}
            assert cdn.open_streams == 0
            assert open_files() == was_open
            await asyncio.sleep(10)  # what a thread does behind the caller's back
        saved = await save(downloader, directory)
        assert contents(directory)[saved.name] == BODY
        assert len(contents(directory)) == len({*before.values(), BODY})


async def saving_between(cut: Cut) -> None:
    with TemporaryDirectory() as name:
        directory, cdn = Path(name), Cdn()
        downloader = Downloader(cdn, POLICY, max_downloads=1, dice=lambda: 0.5)

        async def save_later() -> None:
            await asyncio.sleep(0.1)
            await save(downloader, directory, "behind")

        first = asyncio.ensure_future(save(downloader, directory, "first"))
        await asyncio.sleep(0.1)
        behind = asyncio.ensure_future(save_later())
        await cut(Counted(lambda: save(downloader, directory, "second")))
        assert cut.seconds <= DISK
        await asyncio.gather(first, behind)
        await save(downloader, directory, "next")
        files = contents(directory)
        assert {"first.png", "behind.png", "next.png"} == files.keys() - {"second.png"}
        assert set(files.values()) == {BODY}


@every_style
def test_at_every_step_there_is_the_whole_file_or_nothing(style: Style) -> None:
    with small_blocks():
        assert sweep(lambda cut: saving(cut, "nothing is there"), style) >= FEWEST_STEPS


@in_turn
@pytest.mark.parametrize("story", list(BEFORE)[1:])
def test_so_it_is_whatever_is_there_before(story: str, styles: list[Style]) -> None:
    with small_blocks():
        assert sweep(lambda cut: saving(cut, story), *styles) >= FEWEST_STEPS


@in_turn
def test_at_every_step_of_waiting_for_a_place_the_next_one_gets_it(styles: list[Style]) -> None:
    with small_blocks():
        assert sweep(saving_between, *styles) >= FEWEST_STEPS


INSTANTS = [
    "cdn.asked",
    "cdn.half",
    "download.begun",
    "download.written",
    "download.flushed",
    "download.named",
    "download.in_place",
]


async def send_in_halves(connection: Connection) -> None:
    await connection.read_request()
    passing("cdn.asked")
    await asyncio.sleep(0.001)
    answer = http(BIG)
    await connection.write(answer[: len(answer) // 2])
    passing("cdn.half")
    await asyncio.sleep(0.001)
    await connection.write(answer[len(answer) // 2 :])


@every_style
@pytest.mark.parametrize("label", INSTANTS)
def test_over_real_sockets_and_with_real_threads_at_every_instant(
    label: str, style: Style, tmp_path: Path
) -> None:
    arm = AtLabel(label)

    async def scenario(cut: Cut) -> None:
        async with desk(tmp_path, send_in_halves, max_downloads=1) as at:
            await cut(Counted(at.save))
            assert cut.was_called_for
            assert set(contents(tmp_path).values()) <= {BIG}
            await at.save()
            assert contents(tmp_path) == {"fox.png": BIG}

    before = open_files()
    play(scenario, Cut(style, arm), AimedLoop)
    assert open_files() == before
    assert arm.passed[label]
