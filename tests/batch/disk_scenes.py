"""A batch on a disk that fails, started again on one that does not; and what may not be seen."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

from tests.batch.faulty_disk import FaultyDisk, Moment, Watch
from tests.batch.journal.stage import NAME, opened
from tests.batch.source_cases import FLUX
from wiro_async.batch.journal.states import State
from wiro_async.emulator import Emulator
from wiro_async.errors import DownloadError, OutputDirectoryError, WiroError
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession

PROMPTS = 3
_SPEED = 400.0


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
                self.prompts,
                output_dir=self.out,
                model=FLUX,
                journal=self.out / NAME,
                disk_patience_seconds=0.05,
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
    sent = {prompt: count for prompt, count in scene.tasks.items() if count}
    yield from (f"{prompt}: paid twice" for prompt, count in sent.items() if count > 1)
    yield from (f"{prompt}: sent without an intent" for prompt in sent.keys() - may_be_sent(scene))


def may_be_sent(scene: Scene) -> set[object]:
    """The prompts of which the journal says that they are at the service, or may be."""
    if not (scene.out / NAME).exists():
        return set()
    with opened(scene.out / NAME) as store:
        states = [state for state in State if state is not State.PLANNED]
        return {entry.request.params["prompt"] for entry in store.entries(*states)}


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
        self.failed = 0
        self.emulator = Emulator(speed=_SPEED, picture_pixels=0, balance=100_000)

    async def __aenter__(self) -> Self:
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
            poll_schedule=PollSchedule().faster(_SPEED),
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
            self.failed += not ending.ok
            found = [*complaints_of_a_failed_run(scene, ending)]
            found += complaints_of_the_end(scene, await scene.run(self.after))
        except Exception as error:  # noqa: BLE001 - it is the finding
            found = [f"{type(error).__name__}: {error}"]
        failed = watch.calls[number - 1 : number]
        return [f"{moment.name} {number} {failed}: {what}" for what in found]
