"""A disk that fails, at every single call that a batch makes of it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.batch import faulty_disk
from tests.batch.disk_scenes import Place, digests
from tests.batch.faulty_disk import FaultyDisk, Moment

AT_ONCE = 12


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    return faulty_disk.install(monkeypatch)


@pytest.mark.parametrize("is_again", [False, True], ids=["begun", "gone on with"])
@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name)
async def test_whichever_call_fails_nothing_is_lost_or_paid_twice(
    tmp_path: Path, disk: FaultyDisk, moment: Moment, *, is_again: bool
) -> None:
    named: set[str] = set()
    disk.when_named = lambda content: named.add(hashlib.sha256(content).hexdigest())
    places = asyncio.Semaphore(AT_ONCE)
    async with Place(tmp_path, disk) as at:

        async def one(number: int) -> list[str]:
            async with places:
                return await at.disturb(moment, number, is_again=is_again)

        calls = await at.count_calls(moment, is_again=is_again)
        found = await asyncio.gather(*(one(number + 1) for number in range(calls)))
        whole = digests(at.emulator)
    assert calls > 20
    assert at.failed > calls / 2, "most failures are felt"
    assert named
    assert named <= whole, "no name was given to half a picture"
    assert [what for some in found for what in some] == []
