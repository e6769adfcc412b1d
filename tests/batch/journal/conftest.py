"""A journal that was written once, for all that damage a copy of it."""

from __future__ import annotations

import pytest

from tests.batch.journal.judging import Whole
from tests.batch.journal.stage import NAME, make_mixed, read


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    path = tmp_path_factory.mktemp("whole") / NAME
    make_mixed(path)
    content = path.read_bytes()
    return Whole(content, read(path))
