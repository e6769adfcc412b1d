"""Opening a journal: made where there is none, refused where it cannot be, held by one."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batch.journal.halting import Halt, SetHook
from tests.batch.journal.stage import NAME, request
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.writer import FileJournal, open_journal
from wiro_async.errors import JournalError


async def test_its_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / NAME
    await (await open_journal(path)).aclose()
    assert path.is_file()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
async def test_a_directory_that_takes_nothing_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(JournalError) as caught:
        await open_journal(path)
    monkeypatch.undo()
    for part in (str(path), os.strerror(number), "Nothing was submitted", "start the same batch"):
        assert part in caught.value.message
    assert list(path.parent.iterdir()) == []
    await (await open_journal(path)).aclose()


async def test_a_file_where_its_directory_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(JournalError, match="cannot be opened or written"):
        await open_journal(tmp_path / "out" / NAME)
    assert (tmp_path / "out").read_bytes() == b"mine"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
async def test_a_folder_or_a_pipe_under_its_name_is_left_alone(
    path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    before = os.lstat(path)
    with pytest.raises(JournalError, match="is no file"):
        await open_journal(path)
    assert os.lstat(path) == before


async def test_a_name_that_no_file_can_have_is_told() -> None:
    with pytest.raises(JournalError, match="null"):
        await open_journal(Path("nul\0", NAME))


async def test_a_link_in_place_of_the_lock_is_refused(path: Path) -> None:
    precious = path.with_name("precious")
    precious.write_bytes(b"mine")
    path.with_name(f"{NAME}.lock").symlink_to(precious)
    with pytest.raises(JournalError, match=r"batch\.sqlite\.lock"):
        await open_journal(path)
    assert precious.read_bytes() == b"mine"
    assert path not in list(path.parent.iterdir())


async def test_two_on_one_loop_are_one_too_many(path: Path, journal: FileJournal) -> None:
    with pytest.raises(JournalError, match=rf"in use by process {os.getpid()} "):
        await open_journal(path)
    await journal.plan(request(1))
    await journal.aclose()
    other = await open_journal(path)
    assert other.totals.counts == {State.PLANNED: 1}
    await other.aclose()


@pytest.mark.parametrize("label", ["journal.locked", "store.filled", "journal.opened"])
async def test_who_is_cancelled_while_it_opens_holds_nothing(
    path: Path, hook: SetHook, label: str
) -> None:
    halt = Halt(label)
    hook(halt)
    opening = asyncio.ensure_future(open_journal(path))
    await halt.wait()
    opening.cancel()
    await asyncio.sleep(0)
    halt.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await (await open_journal(path)).aclose()
