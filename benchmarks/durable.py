"""The floor, with what it takes to lose nothing: how much of a client's CPU is the disk's.

Still it foresees each end and cares for no fault. But its files are flushed, and named without
overwriting another, as this library does it; and with a journal each step is on the disk before
the next one begins. Less than this no client can do that loses nothing when the power goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks.arms import Arm, Job, Keeper, run_floor
from benchmarks.peer_service import MODEL
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.writer import FileJournal, open_journal
from wiro_async.batch.requests import BatchRequest
from wiro_async.downloads.flushing import Flusher
from wiro_async.downloads.partfile import PartFile
from wiro_async.protocol.ranges import Source

# What this library keeps of a record, as far as there is something in it here.
_KEPT = ("id", "socketaccesstoken", "status", "pexit", "totalcost", "elapsedseconds", "outputs")


@define
class _Durable(Keeper):
    """Flushes what it keeps."""

    journal: FileJournal | None = None
    _flusher: Flusher = field(init=False, factory=Flusher)
    _positions: dict[int, int] = field(init=False, factory=dict)
    _facts: dict[int, dict[str, Any]] = field(init=False, factory=dict)

    async def note(self, number: int, state: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Have it in the journal before this returns."""
        if self.journal is None:
            return
        if state == State.INTENT:
            entry = await self.journal.plan(
                BatchRequest(custom_id=str(number), model=MODEL, params={"prompt": facts["prompt"]})
            )
            assert entry is not None  # noqa: S101 - the journal is a new one
            self._positions[number], self._facts[number] = entry.position, {"attempt": 1}
        elif state == State.TERMINAL:
            record = facts["record"]
            self._facts[number]["record"] = {name: record[name] for name in _KEPT}
        else:
            self._facts[number].update(facts)
        await self.journal.write(self._positions[number], State(state), self._facts[number])
        if state == State.INTENT:
            self.journal.note_sent(self._positions[number], 1)
        elif state == State.SAVED:
            del self._positions[number], self._facts[number]

    async def keep(self, picture: bytes, path: Path) -> None:
        """Have it on the disk before this returns."""
        part = PartFile(path)
        part.begin(Source())
        part.take(picture)
        await self._flusher.put_in_place(part, path)


async def run_durable(job: Job, *, has_journal: bool) -> None:
    """Run the floor's tasks so that nothing of them can be lost."""
    if not has_journal:
        await run_floor(job, _Durable())
        return
    journal = await open_journal(job.out / "batch.sqlite")
    try:
        await journal.left_over()
        await run_floor(job, _Durable(journal))
    finally:
        await journal.aclose()


DURABLE: Mapping[str, Arm] = {
    "floor, flushed": Arm(
        run=partial(run_durable, has_journal=False), package="wiro-async", modules=("wiro_async",)
    ),
    "floor, flushed, journal": Arm(
        run=partial(run_durable, has_journal=True), package="wiro-async", modules=("wiro_async",)
    ),
}
