"""A batch over real sockets, with its real threads, cancelled at each of the named instants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest

from tests.cancel.stage import entries, open_batch
from tests.cancel.stepping import AimedLoop, AtLabel, Cut, play
from tests.cancel.styles import STYLES
from tests.cancel.threads import journal_threads, open_files
from wiro_async.batch.engine import Batch
from wiro_async.batch.journal.states import State
from wiro_async.batch.record import ResultFiles
from wiro_async.crashpoints import passing
from wiro_async.downloads import remove_parts
from wiro_async.emulator import Emulator, Fault
from wiro_async.emulator.books import Books, Fate
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession

PROMPTS = ["one", "lost", "fails"]
REQUEST_TIMEOUT = 2.0
_MOST_LIVES = 4
_OPEN = (State.INTENT, State.UNKNOWN)


def make_faults() -> list[Fault]:
    return [
        Fault(endpoint="Run", action="drop_after", match="lost", times=1),
        Fault(endpoint="Run", action="fail_task", match="fails", times=1),
    ]


def open_session(emulator: Emulator) -> WiroSession:
    return WiroSession(
        emulator.api_key,
        emulator.api_secret,
        base_url=emulator.base_url,
        poll_schedule=PollSchedule().faster(100),
        retry_policy=RetryPolicy(base_seconds=0.01, cap_seconds=0.02),
        request_timeout_seconds=REQUEST_TIMEOUT,
        settle_seconds=0.04,
    )


async def live(emulator: Emulator, directory: Path, *, most: int = len(PROMPTS)) -> None:
    """Open a session and a batch, and take so many items."""
    async with (
        open_session(emulator) as session,
        open_batch(session, directory, PROMPTS, retry_failed=True) as batch,
    ):
        await take(batch, most)


async def take(batch: Batch, most: int) -> None:
    taken = 0
    async for _ in batch:
        taken += 1
        if taken == most:
            batch.stop(drain=False)


@contextmanager
def more_instants() -> Iterator[set[str]]:
    """Two more, where a thread begins to work in the directory; gives what goes on there now."""
    at_work: set[str] = set()

    def noted(name: str, work: Callable[..., None]) -> Callable[..., None]:
        def do(*args: object) -> None:
            at_work.add(name)
            passing(f"test.{name}")
            work(*args)
            at_work.discard(name)

        return do

    with (
        mock.patch.object(ResultFiles, "open", noted("opening", ResultFiles.open)),
        mock.patch("wiro_async.batch.papers.remove_parts", noted("removing", remove_parts)),
    ):
        yield at_work


async def cut_short(cut: Cut, *, is_first: bool) -> None:
    with TemporaryDirectory() as name, more_instants() as at_work:
        directory = Path(name)
        async with Emulator(
            median_seconds=0.03, sigma=0.0, picture_pixels=0, faults=make_faults()
        ) as emulator:
            if not is_first:
                await live(emulator, directory, most=1)
                for picture in directory.glob("*.png"):  # noqa: ASYNC240 - a moment
                    picture.unlink()
            await cut(lambda: live(emulator, directory))
            assert cut.seconds < REQUEST_TIMEOUT + 1
            assert journal_threads() == set()
            assert at_work == set()
            check_kept(directory, emulator.books)
            for _ in range(_MOST_LIVES):
                await live(emulator, directory)
                if {one.state for one in entries(directory).values()} == {State.SAVED}:
                    break
            check_complete(directory, emulator.books)


def check_kept(directory: Path, books: Books) -> None:
    known = entries(directory)
    for task in books.tasks.values():
        if task.fate is Fate.SUCCEED:
            one = known[task.prompt]
            assert one.facts.get("task_id") == task.id or one.state in _OPEN


def check_complete(directory: Path, books: Books) -> None:
    paid = Counter(task.prompt for task in books.tasks.values() if task.cost)
    assert paid == Counter(PROMPTS)
    assert books.violations == []
    assert {path.suffix for path in directory.iterdir()} <= {
        *(".png", ".jsonl", ".sqlite", ".lock", ".sent")
    }
    assert len((directory / "results.jsonl").read_text().splitlines()) == len(PROMPTS)
    assert len(list(directory.glob("*.png"))) == len(PROMPTS)


@pytest.mark.parametrize("is_first", [True, False], ids=["a fresh batch", "one that goes on"])
def test_at_every_instant_it_goes_on_where_it_was(*, is_first: bool) -> None:
    """Each instant that such a run passes has its turn, in another style each."""
    seen = AtLabel("")
    play(lambda cut: cut_short(cut, is_first=is_first), Cut(STYLES[0], seen), AimedLoop)
    assert len(seen.passed) > 25
    before = open_files()
    for place, label in enumerate(sorted(seen.passed)):
        style = STYLES[place % len(STYLES)]
        cut = Cut(style, AtLabel(label))
        try:
            play(lambda cut: cut_short(cut, is_first=is_first), cut, AimedLoop)
            assert open_files() == before
        except BaseException as error:
            error.add_note(f"cancelled at {label}, {style.__name__}")
            raise
