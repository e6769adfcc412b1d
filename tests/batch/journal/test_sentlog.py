"""The log of what went out: believed where it is whole and of this boot, and else not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch.journal.halting import Halt, SetHook
from tests.batch.journal.stage import NAME, request
from wiro_async.batch.journal import sentlog
from wiro_async.batch.journal.sentlog import SentLog, log_path, read_log, start_log
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.writer import FileJournal, open_journal
from wiro_async.errors import JournalError

SENT = frozenset({(1, 1), (2, 1), (2, 2), (70_000, 3)})


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the system tells which boot this is."""
    path = tmp_path / "boot_id"
    path.write_text("first\n")
    monkeypatch.setattr(sentlog, "_BOOT_ID", path)
    return path


@pytest.fixture
def log(path: Path, boot: Path) -> Iterator[Path]:
    assert boot.exists()
    one = start_log(log_path(path))
    for position, attempt in sorted(SENT):
        one.add(position, attempt)
    yield log_path(path)
    one.close()


def test_what_was_noted_is_there_without_closing(log: Path) -> None:
    assert read_log(log) == SENT
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert not log.with_name(f"{log.name}.new").exists()


def test_a_new_one_takes_the_place_of_the_old(log: Path) -> None:
    log.with_name(f"{log.name}.new").write_bytes(b"left by one that died here")
    start_log(log).close()
    assert read_log(log) == frozenset()


def test_after_another_boot_it_proves_nothing(log: Path, boot: Path) -> None:
    boot.write_text("second\n")
    assert read_log(log) is None


def test_where_the_boot_has_no_name_it_proves_nothing(path: Path, boot: Path) -> None:
    boot.unlink()
    start_log(log_path(path)).close()
    assert read_log(log_path(path)) is None


def test_where_there_is_none_nothing_is_proved(path: Path, boot: Path) -> None:
    assert boot.exists()
    assert read_log(log_path(path)) is None
    log_path(path).mkdir()
    assert read_log(log_path(path)) is None


def test_a_flipped_bit_is_never_taken_for_proof(log: Path) -> None:
    whole = log.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            log.write_bytes(damaged)
            assert read_log(log) is None, place


def test_a_record_that_was_not_handed_over_to_its_end_was_not_sent(log: Path) -> None:
    whole = log.read_bytes()
    size = sentlog._RECORD.size
    for missing in range(1, size):
        log.write_bytes(whole[:-missing])
        assert read_log(log) == SENT - {(70_000, 3)}
    for length in range(len(whole) - len(SENT) * size):
        log.write_bytes(whole[:length])
        assert read_log(log) is None, "without its head it proves nothing"


def test_a_full_disk_is_told_and_what_comes_behind_proves_nothing(
    log: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    one = start_log(log_path(path))
    monkeypatch.setattr(os, "write", lambda number, content: write(number, content[:3]))
    with pytest.raises(OSError, match="full"):
        one.add(1, 1)
    monkeypatch.undo()
    monkeypatch.setattr(sentlog, "_BOOT_ID", path.with_name("boot_id"))
    one.add(2, 1)
    one.close()
    assert read_log(log) is None


def test_one_that_cannot_be_begun_leaves_nothing_open(
    path: Path, boot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert boot.exists()
    closed: list[int] = []
    close = os.close

    def count(number: int) -> None:
        closed.append(number)
        close(number)

    monkeypatch.setattr(os, "close", count)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        start_log(log_path(path))
    monkeypatch.undo()
    assert len(closed) == 1


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def die_with_two_intents(path: Path, *, noted: int) -> None:
    """Be a run that has two intents on the disk and noted that one was sent, and no more."""
    journal = await open_journal(path)
    assert await journal.left_over() == []
    for number in (1, 2):
        await journal.plan(request(number))
        await journal.write(number, State.INTENT, {"sent_at": 1.5, "attempt": 1})
    journal.note_sent(noted, 1)
    await journal.aclose()


async def states_after(path: Path) -> tuple[list[int], dict[int, State]]:
    """The positions that the next run is given as left over, and where the others stand."""
    journal = await open_journal(path)
    left = await journal.left_over()
    planned = [await journal.plan(request(number)) for number in (1, 2)]
    await journal.aclose()
    assert {entry.state for entry in left} <= {State.UNKNOWN}
    others = {entry.position: entry.state for entry in planned if entry is not None}
    return [entry.position for entry in left], others


@pytest.mark.parametrize("noted", [1, 2])
async def test_what_did_not_go_out_is_planned_again_and_what_may_have_is_looked_for(
    path: Path, noted: int
) -> None:
    await die_with_two_intents(path, noted=noted)
    assert await states_after(path) == ([noted], {3 - noted: State.PLANNED})


@pytest.mark.parametrize("damage", ["gone", "damaged"])
async def test_without_proof_everything_is_looked_for(path: Path, damage: str) -> None:
    await die_with_two_intents(path, noted=1)
    log = log_path(path)
    if damage == "gone":
        log.unlink()
    else:
        log.write_bytes(log.read_bytes()[:-1] + b"?")
    assert await states_after(path) == ([1, 2], {})


async def test_a_run_that_dies_before_it_has_looked_leaves_what_it_knew(path: Path) -> None:
    await die_with_two_intents(path, noted=1)
    journal = await open_journal(path)
    await journal.left_over()  # the log of the run before is replaced by now
    await journal.aclose()
    assert await states_after(path) == ([1], {2: State.PLANNED})


async def test_a_journal_without_doubts_leaves_no_log(path: Path) -> None:
    journal = await open_journal(path)
    await journal.left_over()
    await journal.plan(request(1))
    assert log_path(path).exists()
    await journal.aclose()
    assert sorted(one.name for one in path.parent.iterdir()) == [NAME, f"{NAME}.lock"]


async def test_who_is_cancelled_while_it_is_begun_leaves_nothing_open(
    path: Path, hook: SetHook
) -> None:
    before = count_descriptors()
    journal = await open_journal(path)
    halt = Halt("sentlog.begun")
    hook(halt)
    asking = asyncio.ensure_future(journal.left_over())
    await halt.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    halt.let_go.set()
    await journal.aclose()
    assert count_descriptors() == before


async def test_a_log_that_takes_nothing_lets_nothing_out(
    journal: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await journal.left_over()
    monkeypatch.setattr(SentLog, "add", fail)
    with pytest.raises(JournalError, match=r"batch\.sqlite\.sent: .*No space left"):
        journal.note_sent(1, 1)
