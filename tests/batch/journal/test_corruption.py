"""A damaged journal is refused, with the ways out; it is never read as another, or begun anew.

For every damage one of two things has to come of it: a `JournalError` that leaves every byte
where it was, or exactly what was written.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.batch.journal.edits import EDITS, edit
from tests.batch.journal.judging import Whole, files, judge, refusal
from tests.batch.journal.stage import (
    MIXED_ITEMS,
    NAME,
    bring_to,
    opened,
    read,
)
from tests.batch.source_cases import FLUX
from tests.batch.test_engine_emulator import place
from wiro_async.batch.journal.chain import request_digest
from wiro_async.batch.journal.opening import open_store
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.writer import open_journal
from wiro_async.errors import JournalError

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path, whole: Whole) -> Path:
    path = tmp_path / NAME
    path.write_bytes(whole.content)
    return path


def test_undamaged_it_is_what_was_written(path: Path, whole: Whole) -> None:
    assert len(whole.content) > 10 * PAGE
    assert len(whole.held.entries) == MIXED_ITEMS
    assert judge(path, whole.held) == "the same"


def test_a_flipped_bit_is_found_or_means_nothing(path: Path, whole: Whole) -> None:
    outcomes: Counter[str] = Counter()
    for place_of_it in range(len(whole.content)):
        if place_of_it % PAGE >= 100 and place_of_it % 97:
            continue
        damaged = bytearray(whole.content)
        damaged[place_of_it] ^= 1 << random.Random(place_of_it).randrange(8)  # noqa: S311
        path.write_bytes(damaged)
        outcomes[judge(path, whole.held)] += 1
    assert outcomes["refused"] > 500
    assert outcomes["the same"] > 200, "a page's unused bytes"


def test_a_file_cut_off_is_found_at_every_length(path: Path, whole: Whole) -> None:
    size = len(whole.content)
    pages = range(0, size, PAGE)
    lengths = {*pages, *(page - 1 for page in pages[1:]), *(page + 1 for page in pages)}
    lengths |= {15, 16, 99, 100, 101, 511, 512, size - 1, size - 17, size // 2 + 333}
    for length in sorted(lengths):
        path.write_bytes(whole.content[:length])
        assert refusal(path) is not None, length


def test_bytes_behind_its_end_mean_nothing(path: Path, whole: Whole) -> None:
    for more in (b"\0", b"x" * PAGE, whole.content):
        path.write_bytes(whole.content + more)
        judge(path, whole.held)


def _other_database(path: Path, *, log: bool) -> None:
    path.unlink()
    edit(path, f"PRAGMA journal_mode = {'WAL' if log else 'DELETE'}", "CREATE TABLE items (a)")


def _other_pages(path: Path) -> None:
    half = path.stat().st_size // 2
    content = path.read_bytes()
    path.write_bytes(content[half:] + content[:half])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"\n"), "no journal of this program"),
        (lambda path: path.write_bytes(random.Random(1).randbytes(50_000)), "no journal of"),  # noqa: S311
        (lambda path: path.write_bytes(bytes(50_000)), "no journal of this program"),
        (lambda path: path.write_text("prompt\na fox\n" * 1000), "no journal of this program"),
        (lambda path: _other_database(path, log=False), "no journal of this program"),
        (lambda path: _other_database(path, log=True), "no journal of this program"),
        (_other_pages, "no journal of this program"),
        (lambda path: edit(path, "PRAGMA user_version = 2"), r"format 2, this one knows 1"),
        (lambda path: edit(path, "PRAGMA user_version = 0"), r"format 0, this one knows 1"),
        (lambda path: edit(path, "PRAGMA application_id = 1"), "no journal of this program"),
        (lambda path: edit(path, "PRAGMA journal_mode = WAL"), "its head is not what was written"),
    ],
)
def test_another_file_under_its_name_is_refused(
    path: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(path)
    message = refusal(path)
    assert message is not None
    assert says in message
    assert refusal(path) == message, "the second time as well"


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_row_is_found(path: Path, what: str) -> None:
    edit(path, *EDITS[what])
    assert refusal(path) is not None


def test_a_request_that_brings_its_own_digest_is_found(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (row,) = connection.execute(
            "SELECT custom_id, model, params, metadata, digest FROM items WHERE position = 6"
        )
        *columns, digest = row
        assert request_digest(*columns) == digest
        columns[2] = columns[2].replace("fox", "box")
        connection.execute(
            "UPDATE items SET params = ?, digest = ? WHERE position = 6",
            (columns[2], request_digest(*columns)),
        )
    assert refusal(path) is not None


async def test_a_refused_batch_sends_nothing_and_touches_nothing(
    tmp_path: Path, whole: Whole
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / NAME).write_bytes(whole.content[:-PAGE])
    (out / "results.jsonl").write_bytes(b'{"custom_id": "000001"}\n')
    (out / "000001.png").write_bytes(b"a picture")
    (out / f".000002.png.{'0' * 8}.part").write_bytes(b"half a picture")
    before = files(out)
    async with place(out) as at:
        batch = at.session.batch(["a fox"], output_dir=out, model=FLUX, journal=out / NAME)
        with pytest.raises(JournalError, match="is damaged"):
            await batch.__aenter__()
        assert sum(at.emulator.books.requests.values()) == 0
    assert files(out) == before | {f"{NAME}.lock": b""}


def test_an_older_copy_that_is_whole_cannot_be_told_from_the_truth(
    path: Path, whole: Whole
) -> None:
    with opened(path) as store:
        store.begin()
        bring_to(store, MIXED_ITEMS, State.SAVED)
        store.commit()
    assert len(read(path).entries) == MIXED_ITEMS + 1
    path.write_bytes(whole.content)
    assert read(path) == whole.held, "only results.jsonl and the pictures know better"


def test_a_disk_that_cannot_be_read_is_no_damage(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            open_store(path)
    assert len(read(path).entries) == MIXED_ITEMS


async def test_the_same_is_told_with_what_to_do(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match=r"\(database is locked\).*start the same batch"):
            await open_journal(path)
