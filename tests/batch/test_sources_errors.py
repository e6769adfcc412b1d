"""What is wrong with a file, where, and what to do: the text of every error is tested."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.batch.source_cases import FLUX, UNKNOWN, Write, flux, write_file
from wiro_async.batch import tables
from wiro_async.batch.requests import Format, SourceOptions
from wiro_async.batch.sources import check_source, read_requests
from wiro_async.errors import SourceError


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(write_file, tmp_path)


def refusal(path: Path | str, options: SourceOptions | None = None) -> SourceError:
    """Give the error of a file; reading and checking have to agree on it."""
    options = options if options is not None else flux()
    with pytest.raises(SourceError) as checked:
        check_source(path, options)
    with pytest.raises(SourceError) as read:
        list(read_requests(path, options))
    assert read.value.message == checked.value.message
    assert (read.value.file, read.value.line, read.value.column, read.value.field) == (
        checked.value.file,
        checked.value.line,
        checked.value.column,
        checked.value.field,
    )
    return checked.value


PROMPT = "--prompt-column (prompt_column= in Python)"
ID = "--id-column (id_column= in Python)"
COLUMN = "--column (columns= in Python)"
FORMAT = "--format (format= in Python)"
MODEL = "--model (model= in Python)"

# name, content, options, line, column, field, parts of the text
CASES: list[
    tuple[str, str | bytes, SourceOptions, int | None, int | None, str | None, tuple[str, ...]]
] = [
    # --- the whole file
    ("a.csv", "", flux(), None, None, None, ("there are no requests", "empty")),
    ("a.csv", "prompt\n\n", flux(), None, None, None, ("there are no requests", "header")),
    ("a.txt", "\n \n", flux(), None, None, None, ("there are no requests", "blanks")),
    (
        *("a.json", "{}", flux(), None, None, "format"),
        ("the ending '.json'", ".csv, .tsv, .tab, .txt, .jsonl, .ndjson", FORMAT),
    ),
    ("a", "{}", flux(), None, None, "format", ("the ending ''", "csv, tsv, txt, jsonl", FORMAT)),
    (
        *("a.txt", "a", SourceOptions(format="xls"), None, None, "format"),  # type: ignore[arg-type]
        ("'xls' is no format", "csv, tsv, txt, jsonl", FORMAT),
    ),
    # --- not text
    ("a.txt", b"a\nb \xe9 c", flux(), 2, 3, None, ("not UTF-8 text", "iconv", "save")),
    ("a.txt", b"\xff\xfea\x00", flux(), 1, 1, None, ("not UTF-8 text", "UTF-16")),
    ("a.txt", "a".encode("utf-16-le"), flux(), 1, 2, None, ("not UTF-8 text",)),
    ("a.csv", b"prompt\na\n\xed\xa0\x80\n", flux(), 3, 1, None, ("not UTF-8 text",)),
    ("a.jsonl", b'"a"\n"\xf0\x9f"', flux(), 2, 2, None, ("not UTF-8 text",)),
    # --- the header
    (
        *("a.csv", "\nPrompt,x\na,b\n", flux(), 2, None, "prompt"),
        ("no column is named 'prompt'", "'Prompt', 'x'", PROMPT, "as in --prompt-column 'Prompt'"),
    ),
    (
        *("a.csv", "caption,x\na,b\n", flux(), 1, None, "prompt"),
        ("the columns are 'caption', 'x'. Name the one that holds the prompt", PROMPT),
    ),
    (
        *("a.csv", f"{','.join(f'c{n}' for n in range(22))},{'x' * 50}\n", flux()),
        *(1, None, "prompt", ("'c19' and 3 more",)),
    ),
    ("a.csv", f"{'x' * 50}\n", flux(), 1, None, "prompt", (f"'{'x' * 40}...'",)),
    (
        *("a.csv", "prompt;seed\na;1\n", flux(), 1, None, "prompt"),
        ("separated by semicolons", "save the table with commas"),
    ),
    ("a.csv", "prompt\tseed\n", flux(), 1, None, "prompt", ("by tabs", "as tsv with", FORMAT)),
    ("a.tsv", "prompt,seed\n", flux(), 1, None, "prompt", ("by commas", "as csv with", FORMAT)),
    ("a.tsv", "caption\n", flux(), 1, None, "prompt", ("the columns are 'caption'",)),
    (
        *("a.csv", "prompt,seed, seed\na,1,2\n", flux(), 1, None, "seed"),
        ("the column 'seed' twice", "rename or remove one"),
    ),
    (
        *("a.csv", "prompt,Text\na,b\n", flux(prompt_column="text"), 1, None, "text"),
        ("no column 'text' (did you mean 'Text'?)", "'prompt', 'Text'", PROMPT),
    ),
    (
        *("a.csv", "prompt,Text\na,b\n", flux(id_column="zzz"), 1, None, "zzz"),
        ("no column 'zzz'; the columns are 'prompt', 'Text'", ID),
    ),
    (
        *("a.csv", "prompt\na\n", flux(columns={"seed": "n"}), 1, None, "n"),
        ("no column 'n'", COLUMN),
    ),
    (
        *("a.csv", "prompt\na\n", flux(columns={"model": "m"}), 1, None, "m"),
        ("no column 'm'", COLUMN),
    ),
    (
        *("a.csv", "text\na\n", flux(columns={"seed": "text"}), 1, None, "prompt"),
        ("no column is named 'prompt'",),
    ),
    # --- a row of a table
    (
        *("a.csv", "prompt,x\na,b\nc,d,e\n", flux(), 3, None, None),
        ("this row has 3 cells and the header has 2", "within double quotes"),
    ),
    ("a.csv", 'prompt,x\n"a\nb",c\nd\n', flux(), 4, None, None, ("1 cells", "has 2")),
    (
        *("a.tsv", "prompt\tx\n\na\n", flux(), 3, None, None),
        ("this row has 1 cells and the header has 2", "cannot hold a tab or a line break"),
    ),
    ("a.csv", "prompt,x\n ,b\n", flux(), 2, None, "prompt", ("the prompt is empty", "write")),
    (
        *("a.csv", 'prompt,x\na,b\n"c""d,e\nf,g\n', flux(), 3, None, None),
        ("never closed", "written twice"),
    ),
    (
        *("a.csv", 'prompt,x\n"a\n"b" c",d\n', flux(), 3, None, None),
        ("goes on after its closing double quote", "written twice"),
    ),
    (
        *("a.csv", "prompt\na\n", SourceOptions(), 2, None, "model"),
        ("no model is named", MODEL, "'model'"),
    ),
    (
        *("a.csv", "prompt,model\na,flux\n", flux(), 2, None, "model"),
        ("'flux' is not a model", "owner/model"),
    ),
    (
        *("a.csv", "prompt,aspectRatio\na,17:9\n", flux(), 2, None, "aspectRatio"),
        ("aspectRatio cannot be '17:9'", "allowed: 1:1,"),
    ),
    (
        *("a.csv", "prompt,Aspect Ratio\na,1:1\n", flux(), 2, None, "Aspect Ratio"),
        ("'Aspect Ratio' would not be sent", "'aspectRatio'", COLUMN, "aspectRatio=Aspect Ratio"),
    ),
    (
        *("a.csv", "prompt,seed,n\na,1,2\n", flux(columns={"seed": "n"}), 2, None, "seed"),
        ("'seed' has a field of its own", "'n'", "drop the mapping"),
    ),
    # --- options against the format
    (
        *("a.txt", "a\n", flux(prompt_column="x"), None, None, None),
        ("plain prompts have no columns", "CSV or JSON Lines"),
    ),
    # --- JSON Lines
    (
        *("a.jsonl", '"a"\n\n{"prompt": }\n', flux(), 3, 12, None),
        ("this is not JSON (Expecting value)", '{"prompt": "a cat"}', FORMAT),
    ),
    ("a.jsonl", "[1]\n", flux(), 1, None, None, ("this line is a list", '{"prompt": "a cat"}')),
    ("a.jsonl", "7\n", flux(), 1, None, None, ("this line is a number",)),
    ("a.jsonl", "true\n", flux(), 1, None, None, ("this line is true or false",)),
    ("a.jsonl", "null\n", flux(), 1, None, None, ("this line is a NoneType",)),
    ("a.jsonl", "[" * 100_000, flux(), 1, None, None, ("no JSON that can be used",)),
    ("a.jsonl", "1" * 5000, flux(), 1, None, None, ("no JSON that can be used", "digits")),
    *(
        ("a.jsonl", f'{{"prompt": "a", "x": {number}}}', flux(), 1, None, None, (number, "finite"))
        for number in ("NaN", "Infinity", "-Infinity", "1e999")
    ),
    (
        *("a.jsonl", '{"prompt": "a", "x": {"y": 1, "y": 2}}', flux(), 1, None, "y"),
        ("the key 'y' stands twice", "keep one"),
    ),
    ("a.jsonl", '"\\ud800"', flux(), 1, None, "params", ("half of a character", "write")),
    (
        *("a.jsonl", '{"prompt": "a", "x": "\\udc00"}', flux(), 1, None, "metadata"),
        ("metadata holds half of a character",),
    ),
    (
        *("a.jsonl", '{"prompt": "a", "custom_id": "\\udc00"}', flux(), 1, None, "custom_id"),
        ("custom_id holds half of a character",),
    ),
    *(
        (
            *("a.jsonl", f'{{"prompt": "a", "custom_id": {value}}}', flux(), 1, None),
            *("custom_id", (f"custom_id is {kind}", "a text or a whole number")),
        )
        for value, kind in (
            ("1.5", "a number"),
            ("true", "true or false"),
            ("[]", "a list"),
            ("{}", "an object"),
        )
    ),
    (
        *("a.jsonl", '{"prompt": "a", "custom_id": " "}', flux(), 1, None, "custom_id"),
        ("custom_id is empty", "leave it out"),
    ),
    (
        *("a.jsonl", '{"prompt": "a", "model": 1}', flux(), 1, None, "model"),
        ("model is a number", "owner/model"),
    ),
    (
        *("a.jsonl", '{"prompt": "a", "params": "x"}', flux(), 1, None, "params"),
        ("'params' is a text: it has to be an object",),
    ),
    (
        *("a.jsonl", '{"prompt": "a", "metadata": []}', flux(), 1, None, "metadata"),
        ("'metadata' is a list: it has to be an object",),
    ),
    (
        *("a.jsonl", '{"body": "a"}', flux(), 1, None, "body"),
        ("'body' is a text: it has to be an object",),
    ),
    (
        *("a.jsonl", '{"prompt": "a", "params": {"prompt": "b"}}', flux(), 1, None, "prompt"),
        ("'prompt' is given twice, in 'params' and beside it",),
    ),
    (
        *("a.jsonl", '{"prompt": "a", "x": 1, "metadata": {"x": 2}}', flux(), 1, None, "x"),
        ("'x' is given twice, in 'metadata' and beside it",),
    ),
    (
        *("a.jsonl", '{"body": {"prompt": "a", "t": "b"}}', flux(prompt_column="t"), 1, None),
        *("prompt", ("'prompt' is given twice",)),
    ),
    ("a.jsonl", '{"prompt": null}', flux(), 1, None, "prompt", ("the prompt is empty",)),
    ("a.jsonl", '{"body": {"prompt": null}}', flux(), 1, None, "prompt", ("the prompt is null",)),
    ("a.jsonl", '""', flux(), 1, None, "prompt", ("the prompt is empty",)),
    (
        *("a.jsonl", '{"text": "a"}', flux(), 1, None, "prompt"),
        ("no key is named 'prompt'; the keys are 'text'", PROMPT),
    ),
    (
        *("a.jsonl", '{"Prompt": "a"}', SourceOptions(model=UNKNOWN), 1, None, "prompt"),
        ("as in --prompt-column 'Prompt'",),
    ),
    (
        *("a.jsonl", "{}", SourceOptions(model=UNKNOWN), 1, None, "prompt"),
        ("no key is named 'prompt'; the keys are none",),
    ),
    (
        *("a.jsonl", '{"body": {"text": "a"}}', flux(), 1, None, "prompt"),
        ("no key is named 'prompt'; the keys are 'text'",),
    ),
    (
        *("a.jsonl", '{"text": "a"}', flux(prompt_column="txt"), 1, None, "txt"),
        ("no key 'txt' (did you mean 'text'?)", PROMPT, "null leaves a value out"),
    ),
    (
        *("a.jsonl", '{"prompt": "a"}', flux(columns={"seed": "n"}), 1, None, "n"),
        ("no key 'n'", COLUMN),
    ),
    (
        *("a.jsonl", '{"prompt": "a", "aspect_ratio": "1:1"}', flux(), 1, None, "aspect_ratio"),
        ("'aspect_ratio' would not be sent", "'aspectRatio'"),
    ),
    (
        *("a.csv", "prompt,aspectRation\na,1:1\n", flux(), 2, None, "aspectRation"),
        ("'aspectRation' would not be sent", "'aspectRatio'"),
    ),
    (
        *("a.jsonl", '{"body": {"prompt": "a", "size": "1"}}', flux(), 1, None, "size"),
        ("no parameter 'size'", "aspectRatio"),
    ),
    (
        *("a.jsonl", '{"prompt": "a", "params": {"x": 1}}', flux(), 1, None, "x"),
        ("no parameter 'x'",),
    ),
    ("a.jsonl", '{"prompt": "a"}', SourceOptions(), 1, None, "model", ("no model is named", MODEL)),
]


@pytest.mark.parametrize(("name", "content", "options", "line", "column", "field", "parts"), CASES)
def test_what_is_wrong_where_and_what_to_do(  # noqa: PLR0917, a table of cases
    write: Write,
    name: str,
    content: str | bytes,
    options: SourceOptions,
    line: int | None,
    column: int | None,
    field: str | None,
    parts: tuple[str, ...],
) -> None:
    path = write(name, content)
    error = refusal(path, options)
    place = (
        str(path) + (f", line {line}" if line else "") + (f", column {column}" if column else "")
    )
    assert error.message.startswith(f"{place}: ")
    assert (error.file, error.line, error.column) == (str(path), line, column)
    assert error.field == field
    for part in parts:
        assert part in error.message
    assert "\n" not in error.message


# --- no file to read --------------------------------------------------------------------------


def test_a_file_that_is_not_there(write: Write, tmp_path: Path) -> None:
    write("prompts.csv", "prompt\n")
    error = refusal(tmp_path / "Promts.csv")
    assert "there is no such file (did you mean 'prompts.csv'?): check the name" in error.message
    assert "did you mean" not in refusal(tmp_path / "zzz").message
    assert "there is no such file: " in refusal(tmp_path / "none" / "prompts.csv").message
    assert "there is no such file: " in refusal("a\0/b.csv").message


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path).message == f"{tmp_path}: this is a folder: name a file in it"


def test_a_pipe_can_be_read_only_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert "no regular file, and a source is read twice" in refusal(tmp_path / "pipe.csv").message


def test_standard_input_needs_to_be_kept_first() -> None:
    message = refusal("-").message
    assert message.startswith("standard input: it can be read only once")
    assert "spool_stdin" in message


def test_a_file_that_cannot_be_opened(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.txt", "a")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path).message == f"{path}: it cannot be read: Permission denied"


# --- limits -----------------------------------------------------------------------------------


def test_a_line_without_an_end_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.write(b"a cat\n")
        for _ in range(200):
            file.write(b"x" * 1_000_000)
    tracemalloc.start()
    try:
        error = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "line 2: this line is longer than 16,777,216 characters" in error.message
    assert peak < 100_000_000


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_cell_above_the_csv_modules_own_limit_is_read(write: Write, name: str) -> None:
    prompt = "x" * 200_000
    path = write(name, f'prompt\n"{prompt}"\n')
    [request] = read_requests(path, flux())
    assert request.params["prompt"] == prompt


def test_a_cell_above_the_limit_names_the_row_where_it_begins(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = csv.field_size_limit(100)
    monkeypatch.setattr(tables, "LONGEST_LINE", 200)
    try:
        error = refusal(write("a.csv", 'prompt\na\n"' + "b\n" * 300 + '"\n'))
    finally:
        csv.field_size_limit(before)
    assert error.line == 3
    assert "a cell is longer than 200 characters" in error.message
    assert "never closed" in error.message


# --- many problems ----------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_at_once(write: Write) -> None:
    path = write("a.csv", "prompt,seed\na,x\nb,1\n,2\nc\nd,x\n")
    with pytest.raises(SourceError) as caught:
        check_source(path, flux())
    first, *rest = caught.value.message.split("\n  ")
    assert first == f"{path} has 3 problems:"
    assert rest[0].startswith(f"{path}, line 2: seed cannot be 'x'")
    assert rest[0].endswith("(and 1 more lines like it)")
    assert rest[1].startswith(f"{path}, line 4: the prompt is empty")
    assert rest[2].startswith(f"{path}, line 5: this row has 1 cells")
    assert len(rest) == 3
    assert (caught.value.file, caught.value.line, caught.value.field) == (str(path), 2, "seed")


def test_after_ten_problems_the_rest_is_not_read(write: Write) -> None:
    rows = "".join(f"a,x{number}\n" for number in range(12))
    with pytest.raises(SourceError) as caught:
        check_source(write("a.csv", f"prompt,seed\n{rows}"), flux())
    assert "has at least 10 problems:" in caught.value.message
    assert len(caught.value.message.split("\n")) == 11


def test_a_problem_that_ends_the_file_is_told_with_the_others(write: Write) -> None:
    path = write("a.csv", 'prompt,seed\na,x\n"b\n')
    with pytest.raises(SourceError, match=r"2 problems(.|\n)*line 2: seed(.|\n)*line 3: a cell"):
        check_source(path, flux())


@pytest.mark.parametrize(
    ("content", "duplicate", "line", "first"),
    [
        ("id,prompt\nx,a\ny,b\nx,c\n", "x", 4, 2),
        ("id,prompt\n000002,a\n,b\n", "000002", 3, 2),
    ],
)
def test_an_id_that_stands_twice_names_both_lines(
    write: Write, content: str, duplicate: str, line: int, first: int
) -> None:
    path = write("a.csv", content)
    with pytest.raises(SourceError) as caught:
        check_source(path, flux())
    assert caught.value.message.startswith(
        f"{path}, line {line}: the custom_id {duplicate!r} is already that of line {first}: "
        "give each request its own"
    )
    assert (caught.value.line, caught.value.field) == (line, "custom_id")


# --- anything ---------------------------------------------------------------------------------

FORMATS: tuple[Format, ...] = ("csv", "tsv", "txt", "jsonl")
ANY_FILE = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300
)
SYNTAX = [*(bytes([byte]) for byte in b',\t\n\r"{}[:a1\xe9\x00 '), b"prompt", b"id", b"null"]
NEARLY = st.lists(
    st.sampled_from([*SYNTAX, b'"prompt":', b'"body":', b"\xef\xbb\xbf", b"\\ud800"])
).map(b"".join)


@ANY_FILE
@given(content=st.binary() | NEARLY, format_=st.sampled_from(FORMATS))
def test_any_bytes_are_requests_or_a_source_error(
    tmp_path: Path, content: bytes, format_: Format
) -> None:
    path = write_file(tmp_path, "any", content)
    try:
        count = check_source(path, flux(format=format_))
    except SourceError as error:
        assert error.message.startswith(str(path))  # noqa: PT017, either outcome is right
    else:
        assert len(list(read_requests(path, flux(format=format_)))) == count.requests


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prompt", "params", "metadata", "body", "custom_id", "id", "model"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
)


@ANY_FILE
@given(value=JSON, model=st.sampled_from([FLUX, UNKNOWN, None]))
def test_any_json_is_a_request_or_a_source_error(
    tmp_path: Path, value: object, model: str | None
) -> None:
    path = write_file(tmp_path, "any.jsonl", json.dumps(value))
    options = SourceOptions(model=model)
    try:
        [request] = read_requests(path, options)
    except SourceError as error:
        assert error.message.startswith(str(path))  # noqa: PT017, either outcome is right
    else:
        json.dumps([request.params, request.metadata], allow_nan=False).encode()
        assert request.custom_id
