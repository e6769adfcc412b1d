"""A short run of every target: the same inputs each time, so that it says the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.engine import Driven, drive
from tests.fuzz.findings import FINDINGS
from tests.fuzz.targets import TARGETS
from wiro_async.batch.sources import read_requests
from wiro_async.errors import SourceError


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_that_is_wrong(name: str) -> None:
    target = TARGETS[name]
    driven = Driven(target.check)
    for data in target.seeds():
        driven(data)
    drive(driven, target, examples=target.examples)
    assert driven.executions >= target.examples


@pytest.mark.parametrize("what", FINDINGS)
def test_what_was_found_once_stays_mended(what: str) -> None:
    name, data = FINDINGS[what]
    Driven(TARGETS[name].check)(data)


def test_json_that_stops_with_its_line_is_wrong_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt":\n')
    with pytest.raises(SourceError) as caught:
        list(read_requests(path))
    assert (caught.value.line, caught.value.column) == (1, 11)
