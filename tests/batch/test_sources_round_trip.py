"""Whatever is written with the csv and json modules comes back as it was."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.batch.source_cases import UNKNOWN, write_file
from wiro_async.batch.requests import SourceOptions
from wiro_async.batch.sources import read_requests
from wiro_async.catalog import RUN_PARAMETERS

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
OPTIONS = SourceOptions(model=UNKNOWN)

# A file has no NUL and no half characters.
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
ONE_LINE = st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"])


def prompts(characters: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.text(characters | st.sampled_from('",\t \u2028'), min_size=1).filter(str.strip)


@SAME_FOLDER
@given(
    rows=st.lists(st.tuples(prompts(CHARACTERS), st.text(CHARACTERS)), min_size=1),
    quote_all=st.booleans(),
)
def test_csv(tmp_path: Path, rows: list[tuple[str, str]], *, quote_all: bool) -> None:
    text = io.StringIO(newline="")
    # With LF alone as its line end, the module leaves a CR unquoted, which no reader can mend.
    writer = (
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        if quote_all
        else csv.writer(text)
    )
    writer.writerows([("prompt", "note"), *rows])
    found = list(read_requests(write_file(tmp_path, "a.csv", text.getvalue()), OPTIONS))
    assert [one.params["prompt"] for one in found] == [prompt for prompt, _ in rows]
    assert [one.metadata for one in found] == [
        {"note": note} if note.strip() else {} for _, note in rows
    ]


@SAME_FOLDER
@given(rows=st.lists(st.tuples(prompts(ONE_LINE), st.text(ONE_LINE)), min_size=1))
def test_tsv_as_spreadsheets_write_it(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, dialect="excel-tab").writerows([("prompt", "note"), *rows])
    found = list(read_requests(write_file(tmp_path, "a.tsv", text.getvalue()), OPTIONS))
    assert [one.params["prompt"] for one in found] == [prompt for prompt, _ in rows]


@SAME_FOLDER
@given(lines=st.lists(prompts(ONE_LINE), min_size=1))
def test_txt(tmp_path: Path, lines: list[str]) -> None:
    path = write_file(tmp_path, "a.txt", "\ufeff" + "\n".join(lines))
    assert [one.params["prompt"] for one in read_requests(path, OPTIONS)] == lines


# Of any name but those of every Run, which have values of their own.
NAMES = st.text(CHARACTERS, min_size=1).filter(lambda name: name not in RUN_PARAMETERS)
VALUES = (
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | (st.text(CHARACTERS))
)


@pytest.mark.parametrize("ensure_ascii", [True, False])
@SAME_FOLDER
@given(
    params=st.dictionaries(NAMES, VALUES),
    metadata=st.dictionaries(st.text(CHARACTERS), VALUES | st.lists(VALUES)),
    prompt=prompts(CHARACTERS),
)
def test_jsonl(
    tmp_path: Path,
    params: dict[str, object],
    metadata: dict[str, object],
    prompt: str,
    *,
    ensure_ascii: bool,
) -> None:
    params["prompt"] = prompt
    line = json.dumps({"params": params, "metadata": metadata}, ensure_ascii=ensure_ascii)
    path = write_file(tmp_path, "a.jsonl", f"{line}\n")
    [request] = read_requests(path, OPTIONS)
    assert (request.params, request.metadata) == (params, metadata)
