"""What the tests of the journal share: a place for one, one that is open, and a whole one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.batch.journal.halting import SetHook
from tests.batch.journal.judging import Whole
from tests.batch.journal.stage import NAME, make_mixed, read
from wiro_async import crashpoints
from wiro_async.batch.journal.writer import FileJournal, open_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[FileJournal]:
    one = await open_journal(path)
    yield one
    await one.aclose()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> SetHook:
    """Sets what is called at the named instants."""
    return lambda one: monkeypatch.setattr(crashpoints, "hook", one)


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Written once, for all that damage a copy of it."""
    path = tmp_path_factory.mktemp("whole") / NAME
    make_mixed(path)
    content = path.read_bytes()
    return Whole(content, read(path))
