"""A disk that fails, at every single call that a batch makes of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attrs import define, field, frozen

from tests.batch import faulty_disk
from tests.batch.faulty_disk import FaultyDisk, Moment, Watch
from tests.batch.journal.stage import NAME
from tests.batch.source_cases import FLUX
from wiro_async.batch.opening import open_store
from wiro_async.batch.states import State
from wiro_async.emulator import Emulator
from wiro_async.errors import DownloadError, JournalError, OutputDirectoryError, WiroError
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession

PROMPTS = 3
SPEED = 400.0
AT_ONCE = 12


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    return faulty_disk.install(monkeypatch)


@define
class Ending:
    """How a run of a batch ended."""

    errors: list[WiroError] = field(factory=list)
    ok: bool = False


@frozen
class Scene:
    """One batch, in a directory of its own, with prompts of its own."""

    emulator: Emulator
    out: Path

    @property
    def prompts(self) -> list[str]:
        return [f"{self.out.name}, picture {number}" for number in range(PROMPTS)]

    @property
    def tasks(self) -> dict[str, int]:
        books = self.emulator.books
        return {prompt: len(books.tasks_by_prompt.get(prompt, ())) for prompt in self.prompts}

    async def run(self, session: WiroSession) -> Ending:
        ending = Ending()
        try:
            async with session.batch(
                self.prompts, output_dir=self.out, model=FLUX, journal=self.out / NAME
            ) as batch:
                ending.errors += [item.error async for item in batch if item.error is not None]
        except OutputDirectoryError as error:
            ending.errors.append(error)
            return ending
        if batch.summary.stopped_by is not None:
            ending.errors.append(batch.summary.stopped_by)
        ending.ok = batch.summary.ok
        return ending

    def lines(self, name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]


def complaints_of_a_failed_run(scene: Scene, ending: Ending) -> Iterator[str]:
    """What no failure of the disk may do, seen before the batch is started again."""
    if not (ending.ok or ending.errors):
        yield "it failed without a word"
    for error in ending.errors:
        if not isinstance(error, OutputDirectoryError | DownloadError):
            yield f"it ended with {error!r}"
        elif str(scene.out) not in error.message and ".png" not in error.message:
            yield f"no place is named: {error.message}"
    yield from complaints_of_names(scene)
    if not (scene.out / NAME).exists():
        if any(scene.tasks.values()):
            yield "tasks without a journal"
        return
    store = open_store(scene.out / NAME)
    try:
        unsent = {entry.request.params["prompt"] for entry in store.entries(State.PLANNED)}
        known = {entry.request.params["prompt"] for entry in store.entries(*State)}
    finally:
        store.close()
    for prompt, count in scene.tasks.items():
        if count and (prompt in unsent or prompt not in known):
            yield f"{prompt}: sent without an intent"
        if count > 1:
            yield f"{prompt}: paid twice"


def complaints_of_the_end(scene: Scene, ending: Ending) -> Iterator[str]:
    """What has to be true when the same batch was started again on a healthy disk."""
    if ending.errors or not ending.ok:
        yield f"started again it ends with {ending.errors}"
        return
    yield from (f"{prompt}: {count} tasks" for prompt, count in scene.tasks.items() if count != 1)
    lines = scene.lines("results.jsonl")
    if Counter(line["custom_id"] for line in lines) != {f"00000{n + 1}": 1 for n in range(PROMPTS)}:
        yield f"results.jsonl has {lines}"
    if scene.lines("errors.jsonl"):
        yield "errors.jsonl is not empty"
    listed = {file["path"] for line in lines for file in line["files"]}  # type: ignore[attr-defined]
    if not all((scene.out / path).is_file() for path in listed):
        yield f"a file is missing of {listed}"
    odd = [path.name for path in scene.out.iterdir() if path.suffix in {".part", ".new"}]
    if odd:
        yield f"left behind: {odd}"
    yield from complaints_of_names(scene)


def complaints_of_names(scene: Scene) -> Iterator[str]:
    whole = digests(scene.emulator)
    for path in scene.out.glob("*.png") if scene.out.exists() else ():
        if hashlib.sha256(path.read_bytes()).hexdigest() not in whole:
            yield f"{path.name} is not whole"


def digests(emulator: Emulator) -> set[str]:
    return {file.sha256 for task in emulator.books.tasks.values() for file in task.outputs}


class Place:
    """One emulator and one session for all scenes of a test."""

    def __init__(self, folder: Path, disk: FaultyDisk) -> None:
        self.folder = folder
        self.disk = disk
        self.emulator = Emulator(speed=SPEED, picture_pixels=0, balance=100_000)

    async def __aenter__(self) -> Place:
        await self.emulator.start()
        self.before, self.after = self._session(), self._session()
        await self.before.open()
        await self.after.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.before.aclose()
        await self.after.aclose()
        await self.emulator.aclose()

    def _session(self) -> WiroSession:
        return WiroSession(
            self.emulator.api_key,
            self.emulator.api_secret,
            base_url=self.emulator.base_url,
            poll_schedule=PollSchedule().faster(SPEED),
            retry_policy=RetryPolicy(base_seconds=0.02, cap_seconds=0.1),
            max_looks_per_second=10_000.0,
            settle_seconds=0.2,
        )

    def scene(self, name: str) -> Scene:
        return Scene(self.emulator, self.folder / name)

    async def count_calls(self, moment: Moment, *, is_again: bool) -> int:
        """How often an undisturbed batch asks the disk for something."""
        scene = self.scene("undisturbed")
        watch = self.disk.watch(Watch(scene.out, moment=moment))
        if is_again:
            await self.run_before(scene, watch)
        assert (await scene.run(self.before)).ok
        return len(watch.calls)

    async def run_before(self, scene: Scene, watch: Watch) -> None:
        """Leave a batch that is through, but for a file that is gone and half of another."""
        watch.is_healthy = True
        assert (await scene.run(self.before)).ok
        scene.out.joinpath("000002.png").unlink()
        scene.out.joinpath(f".000003.png.{'0' * 8}.part").write_bytes(b"half")
        watch.is_healthy = False

    async def disturb(self, moment: Moment, number: int, *, is_again: bool) -> list[str]:
        """Run a batch on a failing disk and again on a healthy one; what is wrong with either."""
        scene = self.scene(f"{moment.name} {number}")
        watch = self.disk.watch(Watch(scene.out, number, moment))
        try:
            if is_again:
                await self.run_before(scene, watch)
            ending = await scene.run(self.before)
            watch.is_healthy = True
            found = [*complaints_of_a_failed_run(scene, ending)]
            found += complaints_of_the_end(scene, await scene.run(self.after))
        except Exception as error:  # noqa: BLE001 - it is the finding
            found = [f"{type(error).__name__}: {error}"]
        failed = watch.calls[number - 1 : number]
        return [f"{moment.name} {number} {failed}: {what}" for what in found]


@pytest.mark.parametrize("is_again", [False, True], ids=["begun", "gone on with"])
@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name)
async def test_whichever_call_fails_nothing_is_lost_or_paid_twice(
    tmp_path: Path, disk: FaultyDisk, moment: Moment, *, is_again: bool
) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    async with Place(tmp_path, disk) as at:

        async def one(number: int) -> list[str]:
            async with places:
                return await at.disturb(moment, number, is_again=is_again)

        calls = await at.count_calls(moment, is_again=is_again)
        found = await asyncio.gather(*(one(number + 1) for number in range(calls)))
    assert calls > 20
    assert [what for some in found for what in some] == []
