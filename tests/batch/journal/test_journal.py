"""The journal on its thread: answered when it is on the disk, in order, and to everybody."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.batch.journal.halting import Halt, SetHook
from tests.batch.journal.stage import NAME, WAYS, facts_at, opened, request
from tests.batch.source_cases import FLUX
from tests.batch.test_engine_emulator import place
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.store import Store
from wiro_async.batch.journal.writer import FileJournal, open_journal
from wiro_async.errors import InvalidRequest, JournalError


async def plan(journal: FileJournal, numbers: range) -> None:
    await asyncio.gather(*(journal.plan(request(number)) for number in numbers))


def events(path: Path, tmp_path: Path) -> list[tuple[int, str]]:
    """What another reader finds in the file as it is now, and not in anybody's memory."""
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in (path.name, f"{path.name}-journal"):
        if path.with_name(name).exists():
            shutil.copyfile(path.with_name(name), folder / name)
    with closing(sqlite3.connect(f"file:{folder / path.name}?mode=ro", uri=True)) as reader:
        return reader.execute("SELECT position, state FROM events ORDER BY seq").fetchall()


async def test_many_that_write_at_once_share_a_flush(journal: FileJournal, hook: SetHook) -> None:
    seen: Counter[str] = Counter()
    hook(lambda label: seen.update([label]))
    await plan(journal, range(200))
    for state in WAYS[State.SAVED]:
        await asyncio.gather(
            *(journal.write(number + 1, state, facts_at(state, number)) for number in range(200))
        )
    assert seen["journal.wrote"] == 800
    assert 1 <= seen["store.after_commit"] <= 50, "1000 changes in a few transactions"


async def test_what_was_asked_meanwhile_is_one_transaction(
    journal: FileJournal, hook: SetHook
) -> None:
    halt = Halt("store.before_commit")
    commits: Counter[str] = Counter()

    def see(label: str) -> None:
        commits[label] += 1
        halt(label)

    hook(see)
    first = asyncio.ensure_future(journal.plan(request(0)))
    await halt.wait()
    others = asyncio.gather(*(journal.plan(request(number)) for number in range(1, 100)))
    await asyncio.sleep(0)
    halt.let_go.set()
    await first
    await others
    assert commits["store.after_commit"] == 2


async def test_a_change_is_in_the_file_when_it_is_answered(
    path: Path, tmp_path: Path, journal: FileJournal
) -> None:
    await journal.plan(request(1))
    assert events(path, tmp_path) == [(1, "planned")]
    for number, state in enumerate(WAYS[State.SAVED], start=2):
        await journal.write(1, state, facts_at(state, 1))
        found = events(path, tmp_path)
        assert len(found) == number
        assert found[-1] == (1, state)


async def test_it_is_not_answered_before(
    path: Path,
    tmp_path: Path,
    journal: FileJournal,
    hook: SetHook,
) -> None:
    halt = Halt("store.before_commit")
    hook(halt)
    planning = asyncio.ensure_future(journal.plan(request(1)))
    await halt.wait()
    await asyncio.sleep(0)
    assert events(path, tmp_path) == []
    assert not planning.done()
    halt.let_go.set()
    await planning
    assert events(path, tmp_path) == [(1, "planned")]


async def test_it_survives_a_loss_of_power_as_far_as_sqlite_says(journal: FileJournal) -> None:
    def settings(store: Store) -> dict[str, object]:
        names = ("synchronous", "journal_mode", "locking_mode")
        asked = {name: store._connection.execute(f"PRAGMA {name}").fetchone() for name in names}
        return {name: row[0] for name, row in asked.items()}

    extra = 3
    assert await journal.use(settings) == {
        "synchronous": extra,
        "journal_mode": "delete",
        "locking_mode": "exclusive",
    }


async def test_changes_keep_the_order_in_which_they_were_asked_for(
    path: Path, tmp_path: Path, journal: FileJournal
) -> None:
    asked = [journal.plan(request(number)) for number in range(20)]
    asked_for = [(number + 1, "planned") for number in range(20)]
    writing = []
    for state in WAYS[State.TERMINAL]:
        for number in (7, 3, 11, 0):
            writing.append(journal.write(number + 1, state, facts_at(state, number)))
            asked_for.append((number + 1, state))
    await asyncio.gather(*asked, *writing)
    assert events(path, tmp_path) == asked_for


async def test_who_is_cancelled_while_it_waits_has_it_written_all_the_same(
    path: Path, hook: SetHook
) -> None:
    journal = await open_journal(path)
    await journal.plan(request(1))
    halt = Halt("store.before_commit")
    hook(halt)
    other = asyncio.ensure_future(journal.plan(request(2)))  # occupies the thread
    await halt.wait()
    writing = asyncio.ensure_future(journal.write(1, State.INTENT, {"sent_at": 1.5}))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    halt.let_go.set()
    await other
    await journal.aclose()
    with opened(path) as store:
        (entry,) = store.entries(State.INTENT)
        assert entry.facts == {"sent_at": 1.5}


async def test_closing_writes_what_was_asked_for_before(path: Path) -> None:
    journal = await open_journal(path)
    asked = [asyncio.ensure_future(journal.plan(request(number))) for number in range(50)]
    await asyncio.sleep(0)
    await journal.aclose()
    assert [one.done() for one in asked] == [True] * 50
    with opened(path) as store:
        assert len(list(store.entries(State.PLANNED))) == 50


async def test_who_is_cancelled_while_it_closes_has_it_closed(path: Path, hook: SetHook) -> None:
    journal = await open_journal(path)
    halt = Halt("store.before_commit")
    hook(halt)
    asked = asyncio.ensure_future(journal.plan(request(1)))
    await halt.wait()
    closing_it = asyncio.ensure_future(journal.aclose())
    for _ in range(3):
        await asyncio.sleep(0)
        closing_it.cancel()
    halt.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await closing_it
    assert asked.done()
    with opened(path) as store:
        assert len(list(store.entries(State.PLANNED))) == 1


async def test_after_closing_it_says_so(path: Path) -> None:
    journal = await open_journal(path)
    await journal.plan(request(1))
    await journal.aclose()
    await journal.aclose()
    for ask in (
        lambda: journal.plan(request(2)),
        lambda: journal.write(1, State.INTENT, {}),
        journal.left_over,
        lambda: journal.knows(frozenset({"1"})),
        lambda: journal.use(lambda store: store.totals),
    ):
        with pytest.raises(JournalError, match=r"batch\.sqlite is closed"):
            await ask()


async def test_what_is_asked_for_while_it_closes_is_answered(path: Path, hook: SetHook) -> None:
    journal = await open_journal(path)
    halt = Halt("store.before_commit")
    hook(halt)
    first = asyncio.ensure_future(journal.plan(request(1)))
    await halt.wait()
    closing_it = asyncio.ensure_future(journal.aclose())
    await asyncio.sleep(0)
    late = asyncio.ensure_future(journal.plan(request(2)))
    await asyncio.sleep(0)
    halt.let_go.set()
    await closing_it
    assert await first is not None
    with pytest.raises(JournalError, match="is closed"):
        await late


def test_a_loop_that_is_closed_early_leaves_nothing_unwritten(path: Path, hook: SetHook) -> None:
    halt = Halt("store.before_commit")
    loop = asyncio.new_event_loop()
    journal = loop.run_until_complete(open_journal(path))
    hook(halt)
    loop.run_until_complete(asyncio.wait([loop.create_task(_ask_twice(journal, halt))]))
    loop.close()
    halt.let_go.set()
    thread = journal._thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    with opened(path) as store:
        assert len(list(store.entries(State.PLANNED))) == 2


async def _ask_twice(journal: FileJournal, halt: Halt) -> None:
    journal._ask(lambda store: store.plan(request(1)))
    await halt.wait()
    journal._ask(lambda store: store.plan(request(2)))


async def test_after_a_failed_flush_it_takes_nothing_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Store) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    journal = await open_journal(path)
    await journal.plan(request(1))
    monkeypatch.setattr(Store, "commit", fail)
    results = await asyncio.gather(
        *(journal.plan(request(number)) for number in range(2, 6)), return_exceptions=True
    )
    monkeypatch.undo()
    for result in (*results, *await asyncio.gather(journal.left_over(), return_exceptions=True)):
        assert isinstance(result, JournalError)
        for part in (str(path), "database or disk is full", "goes on where it was"):
            assert part in result.message
    await journal.aclose()
    with pytest.raises(JournalError, match="database or disk is full"):
        await journal.plan(request(9))
    with opened(path) as store:
        assert [entry.request for entry in store.entries(*State)] == [request(1)]


async def test_what_nobody_foresaw_is_told_as_well(path: Path) -> None:
    journal = await open_journal(path)
    with pytest.raises(JournalError, match=r"cannot be written \(division by zero\)"):
        await journal.use(lambda _: 1 / 0)
    with pytest.raises(JournalError, match="division by zero"):
        await journal.plan(request(1))
    await journal.aclose()


async def test_one_that_asks_for_what_cannot_be_is_refused_alone(
    journal: FileJournal, path: Path, hook: SetHook
) -> None:
    halt = Halt("store.before_commit")
    hook(halt)
    first = asyncio.ensure_future(journal.plan(request(1)))
    await halt.wait()
    results = asyncio.gather(
        journal.plan(request(2)),
        journal.plan(request(1)),
        journal.write(77, State.INTENT, {}),
        journal.plan(request(3)),
        return_exceptions=True,
    )
    await asyncio.sleep(0)
    halt.let_go.set()
    await first
    second, again, nowhere, third = await results
    assert isinstance(again, InvalidRequest)
    assert isinstance(nowhere, JournalError)
    assert not isinstance(second, BaseException)
    assert not isinstance(third, BaseException)
    await journal.aclose()
    with opened(path) as store:
        assert [entry.request for entry in store.entries(*State)] == [*map(request, (1, 2, 3))]


async def test_no_key_is_in_what_a_batch_writes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with place(out) as at:
        secrets = [at.emulator.api_key.encode(), str(at.emulator.api_secret).encode()]
        written: dict[str, bytes] = {}
        async with at.session.batch(
            ["a fox", "a crow"], output_dir=out, model=FLUX, journal=out / NAME
        ) as batch:
            async for item in batch:
                assert item.ok
                written |= {f"then {path.name}": path.read_bytes() for path in out.iterdir()}
        written |= {path.name: path.read_bytes() for path in out.iterdir()}
    assert {f"then {NAME}-journal", f"then {NAME}.lock", NAME, "results.jsonl"} <= written.keys()
    for name, content in written.items():
        assert not any(secret in content for secret in secrets), name
        assert b"accesskey" not in content, name
