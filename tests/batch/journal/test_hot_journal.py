"""A process that died within a transaction: SQLite undoes it, or the file is refused."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.batch.journal.hot import die_while_writing
from tests.batch.journal.judging import Whole, files, judge, refusal
from tests.batch.journal.stage import MIXED_ITEMS, NAME, opened, read, request
from wiro_async.batch.journal.states import State

UNDO = f"{NAME}-journal"
MAGIC = bytes.fromhex("d9d505f920a163d7")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory, whole: Whole) -> dict[str, bytes]:
    """What a process leaves that died just before its commit, half of it in the file."""
    path = tmp_path_factory.mktemp("left") / NAME
    path.write_bytes(whole.content)
    found = die_while_writing(path, "store.before_commit")
    assert found[UNDO].startswith(MAGIC)
    assert found[NAME] != whole.content, "there is something to undo"
    return found


@pytest.fixture
def path(tmp_path: Path, left: dict[str, bytes]) -> Path:
    put_back(tmp_path, left)
    return tmp_path / NAME


def put_back(folder: Path, found: dict[str, bytes]) -> None:
    for name, content in found.items():
        (folder / name).write_bytes(content)


def test_what_was_not_committed_is_undone(path: Path, whole: Whole) -> None:
    assert judge(path, whole.held) == "the same"


def test_what_was_committed_stays(tmp_path: Path, whole: Whole) -> None:
    path = tmp_path / NAME
    path.write_bytes(whole.content)
    die_while_writing(path, "store.after_commit")
    held = read(path)
    assert len(held.entries) == 2 * MIXED_ITEMS
    assert held.counts[State.PLANNED] == MIXED_ITEMS
    assert State.INTENT not in held.counts


def test_a_flipped_bit_in_what_is_to_be_undone_is_found_or_means_nothing(
    path: Path, left: dict[str, bytes], whole: Whole
) -> None:
    outcomes: Counter[str] = Counter()
    places = [*range(32), *range(512, 520), *range(600, len(left[UNDO]), 211)]
    for place in places:
        damaged = bytearray(left[UNDO])
        damaged[place] ^= 1 << random.Random(place).randrange(8)  # noqa: S311 - no secret
        put_back(path.parent, {**left, UNDO: bytes(damaged)})
        outcomes[judge(path, whole.held)] += 1
    assert outcomes["refused"] > 100
    assert outcomes["the same"] > 10, "bytes that are nothing's"


def test_what_is_to_be_undone_cut_off_is_found(
    path: Path, left: dict[str, bytes], whole: Whole
) -> None:
    size = len(left[UNDO])
    record = 4 + 4096 + 4
    lengths = [0, 1, 7, 8, 27, 28, 511, 512, *range(512, size, record), size // 3, size - 1]
    outcomes: Counter[str] = Counter()
    for length in lengths:
        put_back(path.parent, {**left, UNDO: left[UNDO][:length]})
        outcomes[judge(path, whole.held)] += 1
    assert outcomes["refused"] > 10
    path.write_bytes(left[NAME])
    path.with_name(UNDO).unlink(missing_ok=True)
    assert refusal(path) is not None, "and where it is gone altogether"


def test_without_room_for_a_copy_it_is_undone_all_the_same(
    path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", fail)
    assert judge(path, whole.held) == "the same"


def test_a_journal_that_is_gone_is_not_begun_afresh_beside_what_belongs_to_it(path: Path) -> None:
    path.unlink()
    message = refusal(path)
    assert message is not None
    assert "it is gone, and batch.sqlite-journal" in message
    assert refusal(path) == message, "the second time as well"


@pytest.mark.parametrize("new", [b"", b"half", bytes(5000), None])
def test_what_a_beginning_that_died_has_left_is_in_nobody_s_way(
    tmp_path: Path, left: dict[str, bytes], new: bytes | None
) -> None:
    path = tmp_path / NAME
    content = left[NAME] if new is None else new
    put_back(tmp_path, {f"{NAME}.new": content, f"{NAME}.new-journal": left[UNDO]})
    with opened(path) as store:
        assert list(store.entries(*State)) == []
        store.begin()
        store.plan(request(1))
        store.commit()
    with opened(path) as store:
        assert [entry.request for entry in store.entries(*State)] == [request(1)]
    assert files(tmp_path).keys() == {NAME}
