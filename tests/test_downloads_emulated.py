"""Downloads by way of a handle, which asks for its record again; the emulator is the CDN."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import evolve, frozen

from tests.scripted_service import FLUX
from wiro_async.emulator import Emulator, Fault
from wiro_async.errors import DownloadError, OutputUnavailable
from wiro_async.handle import TaskHandle
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession

SPEED = 200
CUT = Fault(endpoint="cdn", action="truncate")


@frozen
class Scene:
    """A task that has succeeded, at a CDN with faults."""

    emulator: Emulator
    session: WiroSession
    handle: TaskHandle

    def is_whole(self, path: Path) -> bool:
        (booked,) = self.emulator.books.tasks.values()
        return hashlib.sha256(path.read_bytes()).hexdigest() == booked.outputs[0].sha256


@asynccontextmanager
async def scene(faults: Sequence[Fault]) -> AsyncIterator[Scene]:
    async with (
        Emulator(speed=SPEED, picture_pixels=64, faults=faults) as emulator,
        WiroSession(
            emulator.api_key,
            emulator.api_secret,
            base_url=emulator.base_url,
            max_looks_per_second=2000,
            poll_schedule=PollSchedule().faster(SPEED),
            retry_policy=RetryPolicy(
                max_attempts=3, max_download_attempts=3, base_seconds=0.001, cap_seconds=0.001
            ),
            silence_timeout_seconds=0.2,
        ) as session,
    ):
        handle = await session.run(FLUX, {"prompt": "a lighthouse"})
        await handle
        yield Scene(emulator, session, handle)


def at_cdn(action: str, **more: object) -> Fault:
    return Fault(endpoint="cdn", action=action, **more)  # type: ignore[arg-type] # by their names


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


ONCE = {
    "reset before": [at_cdn("reset_before", times=2)],
    "reset after": [at_cdn("reset_after", times=2)],
    "stall": [at_cdn("stall", seconds=1.0)],
    "cut": [CUT],
    "cut, the range ignored": [CUT, at_cdn("ignore_range")],
    "cut, the range shifted": [CUT, at_cdn("shift_range")],
    "cut, the tag changed": [CUT, at_cdn("change_tag")],
    "cut, then expired": [CUT, at_cdn("expire")],
    "expired": [at_cdn("expire")],
    "forbidden": [at_cdn("status", status=403)],
    "missing": [at_cdn("status", status=404, times=2)],
    "busy": [at_cdn("status", status=503, times=2)],
    "too fast": [at_cdn("rate_limit", retry_after=0.0)],
    "a page": [at_cdn("html")],
    "nothing": [at_cdn("empty")],
    "encoded": [at_cdn("gzip")],
    "called a page": [at_cdn("mislabel", times=None)],
    "late": [at_cdn("delay")],
    "drop by drop": [at_cdn("trickle", seconds=0.3)],
}


@pytest.mark.parametrize("faults", ONCE.values(), ids=ONCE)
async def test_what_goes_wrong_for_a_moment_is_made_good(
    tmp_path: Path, faults: list[Fault]
) -> None:
    async with scene(faults) as at:
        (path,) = await at.handle.download(tmp_path)
        assert at.is_whole(path)
        assert names_in(tmp_path) == [path.name]


FOR_EVER = {
    "expired": ([at_cdn("expire", times=None)], OutputUnavailable, "HTTP 403, also under"),
    "gone": ([at_cdn("status", status=410, times=None)], OutputUnavailable, "HTTP 410"),
    "busy": ([at_cdn("status", status=500, times=None)], DownloadError, "HTTP 500"),
    "reset": ([at_cdn("reset_after", times=None)], DownloadError, "reset by peer|Disconnected"),
    "a page": ([at_cdn("html", times=None)], DownloadError, "a page of HTML came"),
    "nothing": ([at_cdn("empty", times=None)], DownloadError, "0 bytes are announced|nothing came"),
    "elsewhere": (
        [at_cdn("redirect", location="http://10.0.0.1/0.png")],
        DownloadError,
        "10.0.0.1",
    ),
}


@pytest.mark.parametrize(("faults", "kind", "reason"), FOR_EVER.values(), ids=FOR_EVER)
async def test_what_goes_wrong_for_ever_is_told_with_all_names(
    tmp_path: Path, faults: list[Fault], kind: type[DownloadError], reason: str
) -> None:
    async with scene(faults) as at:
        with pytest.raises(kind, match=reason) as caught:
            await at.handle.download(tmp_path)
        error = caught.value
        assert type(error) is kind
        assert (error.task_id, error.token) == (at.handle.task_id, at.handle.token)
        assert error.url
        for name in (error.url, str(error.task_id), str(error.token)):
            assert name in error.message
        assert names_in(tmp_path) == []


async def test_the_record_is_asked_for_by_the_names_that_are_known(tmp_path: Path) -> None:
    async with scene([at_cdn("expire")]) as at:
        before = dict(at.session.statistics.requests)
        handle = at.session.task(token=at.handle.token)
        (path,) = await handle.download(tmp_path)
        assert at.is_whole(path)
        asked = at.session.statistics.requests["/Task/Detail"] - before["/Task/Detail"]
        assert asked == handle.looks + 1


async def test_a_record_that_cannot_be_asked_for_is_named_beside_the_first_reason(
    tmp_path: Path,
) -> None:
    async with scene([at_cdn("expire")]) as at:
        at.emulator.add_fault(Fault(endpoint="Task/Detail", action="unauthorized", times=None))
        with pytest.raises(DownloadError, match=r"HTTP 403; a fresh url could not be had: ") as it:
            await at.handle.download(tmp_path)
        assert type(it.value) is DownloadError
        assert "/Task/Detail" in it.value.message


async def test_the_session_s_largest_output_is_heeded(tmp_path: Path) -> None:
    async with scene([]) as at:
        at.session._downloader.max_bytes = 10
        with pytest.raises(DownloadError, match="10 are the most"):
            await at.handle.download(tmp_path)


async def test_a_success_that_lists_nothing_is_asked_for_once_more(tmp_path: Path) -> None:
    async with scene([]) as here:
        here.handle._watch.task = evolve(await here.handle, outputs=())
        asked = here.emulator.books.requests["Task/Detail"]
        (path,) = await here.handle.download(tmp_path)
        assert here.is_whole(path)
        assert here.emulator.books.requests["Task/Detail"] == asked + 1


async def test_a_success_that_has_nothing_is_believed_then(tmp_path: Path) -> None:
    async with scene([]) as here:
        here.handle._watch.task = evolve(await here.handle, outputs=())
        (task,) = here.emulator.books.tasks.values()
        task.deleted = True
        assert await here.handle.download(tmp_path) == []


async def test_a_success_whose_record_cannot_be_had_again_is_believed_too(tmp_path: Path) -> None:
    async with scene([]) as here:
        here.handle._watch.task = evolve(await here.handle, outputs=())
        here.emulator.add_fault(Fault(endpoint="Task/Detail", action="status", times=None))
        assert await here.handle.download(tmp_path) == []


async def test_an_emulator_at_every_address_gives_out_files_that_may_be_asked_for(
    tmp_path: Path,
) -> None:
    async with (
        Emulator(host="0.0.0.0", speed=SPEED, picture_pixels=0) as emulator,
        WiroSession(
            emulator.api_key,
            emulator.api_secret,
            base_url=emulator.base_url,
            poll_schedule=PollSchedule().faster(SPEED),
        ) as session,
    ):
        handle = await session.run(FLUX, {"prompt": "a lighthouse"})
        await handle
        (saved,) = await handle.save_outputs(tmp_path)
        (booked,) = emulator.books.tasks.values()
        assert hashlib.sha256(saved.path.read_bytes()).hexdigest() == booked.outputs[0].sha256
