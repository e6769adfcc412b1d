"""Targets: a batch's journal, opened on whatever stands there, and told whatever there is."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from tests.batch.journal.stage import MIXED_ITEMS, NAME, Held, make_mixed, read
from tests.batch.source_cases import FLUX
from tests.fuzz.answers import noise
from tests.fuzz.draws import TEXTS, Draw
from tests.fuzz.laws import Target, check_words, memory_place, require
from wiro_async.batch.journal.entries import Entry
from wiro_async.batch.journal.opening import open_store
from wiro_async.batch.journal.sentlog import log_path, read_log, start_log
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.writer import open_journal
from wiro_async.batch.requests import BatchRequest
from wiro_async.errors import InvalidRequest, JournalError

_FOLDER = TemporaryDirectory(prefix="fuzz-", dir=memory_place())
# All the names that a journal has anything to do with.
_NAMES = (
    *(NAME, f"{NAME}.lock", f"{NAME}.sent", f"{NAME}-journal"),
    *(f"{NAME}.new", f"{NAME}.sent.new", f"{NAME}-wal"),
)
_FILE = 6  # of what `_put` puts
_MAGIC = b"SQLite format 3\0"


@cache
def _whole() -> tuple[bytes, Held]:
    path = Path(_FOLDER.name, "whole", NAME)
    path.parent.mkdir()
    make_mixed(path)
    return path.read_bytes(), read(path)


@cache
def _log() -> bytes:
    path = log_path(Path(_FOLDER.name, "log"))
    log = start_log(path)
    for position in range(1, MIXED_ITEMS):
        log.add(position, 1)
    log.close()
    return path.read_bytes()


def _fresh() -> Path:
    """A folder of its own for each input: nothing of the one before may help or hurt."""
    shutil.rmtree(Path(_FOLDER.name, "out"), ignore_errors=True)
    path = Path(_FOLDER.name, "out", NAME)
    path.parent.mkdir()
    return path


async def _use(path: Path) -> str:
    """Open a journal as a batch does, begin its run and close it; what came of it."""
    try:
        journal = await open_journal(path)
    except JournalError as error:
        check_words(error)
        return "refused"
    try:
        await journal.left_over()
    except JournalError as error:
        check_words(error)
        return "refused later"
    finally:
        await journal.aclose()
    return "open"


def check_bytes(data: bytes) -> None:
    """Any bytes under a journal's name: refused, and left as they are."""
    path = _fresh()
    path.write_bytes(data)
    require(asyncio.run(_use(path)) == "refused", "a file that no batch wrote is taken for one")
    require(path.read_bytes() == data, "a file that was refused is changed")


def check_edited(data: bytes) -> None:
    """A real journal with bytes flipped, cut, doubled: refused as it is, or the same."""
    draw = Draw(data)
    content, truth = _whole()
    path = _fresh()
    path.write_bytes(_spoilt(draw, content))
    if draw.byte() % 4 == 1:
        path.with_name(f"{NAME}-journal").write_bytes(_undo(draw, content))
    before = _files(path.parent)
    try:
        held = read(path)
    except JournalError as error:
        check_words(error)
        require(_files(path.parent) == before, "a journal that was refused is changed")
        return
    require(held == truth, "a damaged journal says something else")


def _spoilt(draw: Draw, content: bytes) -> bytes:
    spoilt = bytearray(content)
    for _ in range(1 + draw.below(3)):
        at = draw.below(len(content))
        match draw.below(6):
            case 0 | 1 | 2:
                spoilt[at : at + 1] = bytes([draw.byte()])
            case 3:
                del spoilt[at : at + draw.below(5_000)]
            case 4:
                spoilt[at:at] = draw.piece()
            case _:
                other = draw.below(len(content))
                spoilt[at : at + 64] = content[other : other + 64]
    return bytes(spoilt)


def _undo(draw: Draw, content: bytes) -> bytes:
    """What SQLite leaves of a transaction that was not finished, nearly."""
    magic = bytes.fromhex("d9d505f920a163d7") if draw.flag() else draw.piece()
    head = magic + draw.piece(24).ljust(20, b"\0")
    page = draw.below(len(content) // 4096) * 4096
    return head.ljust(512, b"\0") + draw.piece(8) + content[page : page + 4096] + draw.piece(8)


def check_sent(data: bytes) -> None:
    """Any log of what was sent: what it says is what was written, or it says nothing."""
    draw = Draw(data)
    path = log_path(_fresh())
    log = _log()
    head = log.index(b"\n") + 1
    spoilt = draw.rest() if draw.flag() else _spoilt(draw, log)
    path.write_bytes(log[:head] + spoilt if draw.flag() else spoilt)
    told = read_log(path)
    # Of what a log says no attempt is made up: a checksum stands behind each.
    for position, attempt in told or ():
        require(attempt == 1 and 0 < position < MIXED_ITEMS, f"{position}, {attempt} is made up")


def check_folder(data: bytes) -> None:
    """Folders, links, pipes and sockets where files are expected: an answer, and nothing lost."""
    draw = Draw(data)
    path = _fresh()
    outside = Path(mkdtemp(dir=_FOLDER.name))
    treasure = outside / "treasure"
    treasure.write_bytes(b"somebody else's")
    try:
        for _ in range(1 + draw.below(3)):
            _put(draw, path.with_name(draw.pick(_NAMES)), treasure)
        before = _stands(path)
        came = asyncio.run(_use(path))
        require(came in {"open", "refused", "refused later"}, came)
        if came == "refused":
            require(_stands(path) == before, f"what stood there is gone: {before}")
        require(treasure.read_bytes() == b"somebody else's", "a file behind a link is changed")
        require(len(list(outside.iterdir())) == 1, "a file is made behind a link")
        if before != "nothing":
            require(came != "open" or before == "a journal", f"begun afresh in place of {before}")
    finally:
        shutil.rmtree(outside)


def _put(draw: Draw, place: Path, treasure: Path) -> None:
    """Let something stand in a place, where nothing stands yet."""
    kind = draw.below(8)
    if place.exists() or place.is_symlink():
        return
    content = (_whole()[0] if draw.flag() else draw.piece()) if kind == _FILE else b""
    ways: tuple[Callable[[], object], ...] = (
        place.mkdir,
        partial(os.mkfifo, place),
        partial(place.symlink_to, treasure),
        partial(place.symlink_to, treasure.with_name("nothing")),
        partial(place.symlink_to, place),
        partial(place.symlink_to, treasure.parent),
        partial(place.write_bytes, content),
        place.touch,
    )
    ways[kind]()


def _stands(path: Path) -> str:
    """What stands under the journal's own name."""
    if not path.is_symlink() and not path.exists():
        return "nothing"
    if path.is_file() and not path.is_symlink() and path.read_bytes()[:16] == _MAGIC:
        return "a journal"
    mode = path.lstat().st_mode
    return f"{stat.filemode(mode)} {path.readlink() if path.is_symlink() else ''}"


def check_facts(data: bytes) -> None:
    """Whatever a person asks and the service answers can be written down, and read back."""
    draw = Draw(data)
    path = _fresh()
    store = open_store(path)
    try:
        store.begin()
        written = [entry for _ in range(1 + draw.below(3)) if (entry := _write(draw, store.plan))]
        for entry in written:
            for state in (State.INTENT, State.SUBMITTED, State.TERMINAL, State.SAVED):
                store.change(entry.position, state, _facts(draw))
        store.commit()
    finally:
        store.close()
    again = open_store(path)
    try:
        require(len(list(again.entries(*State))) == len(written), "an item is gone")
        again.begin()
        again.left_over(frozenset())
        names = frozenset(_name(draw) for _ in range(3))
        require(again.knows(names) <= names, "it knows what nobody asked")
        for entry in written:
            require(again.peek(entry.request.custom_id or "") is not None, "an id is gone")
            require(again.plan(entry.request) is not None, "a request is not found again")
        again.commit()
    finally:
        again.close()


def _write(draw: Draw, plan: Callable[[BatchRequest], Entry | None]) -> Entry | None:
    one = BatchRequest(
        custom_id=draw.text(),
        model=draw.pick((FLUX, draw.text())),
        params=draw.mapping(),  # type: ignore[arg-type] # any value
        metadata=draw.mapping(),  # type: ignore[arg-type]
    )
    try:
        return plan(one)
    except InvalidRequest as error:
        check_words(error)
        return None


def _name(draw: Draw) -> str:
    """A name of a task: what holds half a character is none (target ``task-record``)."""
    return draw.text().encode(errors="replace").decode()


def _facts(draw: Draw) -> dict[str, Any]:
    """What is known of an item; the names and the record are the service's own words."""
    names = {"task_id": draw.pick(("7", _name(draw))), "token": draw.pick((None, _name(draw)))}
    record = {"id": draw.text(), "totalcost": draw.pick((None, "0.0035")), "outputs": draw.value()}
    return {"sent_at": draw.below(2**16) / 7, **names, "record": record}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _content_seeds() -> list[bytes]:
    content, _ = _whole()
    texts = [text.encode(errors="surrogatepass") for text in TEXTS]
    heads = [content[:100], content[:4096], _MAGIC, content[:5000]]
    return [b"\n", *texts, *heads, content[:-1], b"x" + content]


JOURNALS = (
    Target(name="journal-bytes", check=check_bytes, seeds=_content_seeds, examples=80),
    Target(name="journal-edited", check=check_edited, seeds=noise, examples=120),
    Target(name="journal-sent", check=check_sent, seeds=noise, examples=100),
    Target(name="journal-folder", check=check_folder, seeds=noise, examples=80),
    Target(name="journal-facts", check=check_facts, seeds=noise, examples=60),
)
