"""Files of requests: what each format is read as, what is counted, and that reading is lazy."""

from __future__ import annotations

import gc
import io
import itertools
import json
import tracemalloc
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

import pytest

from tests.batch.source_cases import FLUX, UNKNOWN, Write, flux, write_file
from wiro_async.batch import lines, sources
from wiro_async.batch.jsonl import read_jsonl, read_txt
from wiro_async.batch.lines import spool_stdin
from wiro_async.batch.requests import BatchRequest, SourceOptions
from wiro_async.batch.sources import check_source, read_requests
from wiro_async.batch.tables import read_csv, read_tsv
from wiro_async.errors import SourceError


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(write_file, tmp_path)


def the(path: Path, options: SourceOptions | None = None) -> BatchRequest:
    [request] = read_requests(path, options if options is not None else flux())
    return request


# --- tables -----------------------------------------------------------------------------------


def test_csv_sorts_its_columns_into_id_model_params_and_metadata(write: Write) -> None:
    path = write(
        "a.csv",
        f"custom_id,prompt,model,aspectRatio,seed,artist\nfirst,a cat,{FLUX},1:1,7,Ann\n",
    )
    assert the(path, SourceOptions()) == BatchRequest(
        custom_id="first",
        model=FLUX,
        params={"prompt": "a cat", "aspectRatio": "1:1", "seed": "7"},
        metadata={"artist": "Ann"},
    )


@pytest.mark.parametrize(
    ("header", "options", "expected"),
    [
        ("id,prompt", flux(), "x"),
        ("custom_id,prompt", flux(), "x"),
        ("Name,prompt", flux(id_column="Name"), "x"),
        ("Name,prompt", flux(columns={"custom_id": "Name"}), "x"),
        ("Name,prompt", flux(), "000001"),
    ],
)
def test_the_custom_id_column(
    write: Write, header: str, options: SourceOptions, expected: str
) -> None:
    assert the(write("a.csv", f"{header}\nx,a cat\n"), options).custom_id == expected


def test_custom_id_goes_before_id_and_the_other_is_metadata(write: Write) -> None:
    request = the(write("a.csv", "id,custom_id,prompt\n1,x,a cat\n"))
    assert (request.custom_id, request.metadata) == ("x", {"id": "1"})


@pytest.mark.parametrize("options", [flux(prompt_column="Text"), flux(columns={"prompt": "Text"})])
def test_the_prompt_column_that_was_named_wins_over_the_usual_one(
    write: Write, options: SourceOptions
) -> None:
    request = the(write("a.csv", "prompt,Text,Prompt\nold,a cat,older\n"), options)
    assert request.params == {"prompt": "a cat"}
    assert request.metadata == {"prompt": "old", "Prompt": "older"}


def test_columns_map_to_parameters_and_to_the_model(write: Write) -> None:
    path = write("a.csv", f"prompt,Ratio,Engine,aspect_ratio\na cat,1:1,{FLUX},square\n")
    request = the(path, SourceOptions(columns={"aspectRatio": "Ratio", "model": "Engine"}))
    assert request.model == FLUX
    assert request.params == {"prompt": "a cat", "aspectRatio": "1:1"}
    assert request.metadata == {"aspect_ratio": "square"}


def test_a_model_that_is_not_known_gets_only_the_prompt_and_what_is_mapped(write: Write) -> None:
    path = write("a.csv", "prompt,strength,note,callbackUrl\na cat,0.5,x,https://a.b/c\n")
    request = the(path, SourceOptions(model=UNKNOWN, columns={"power": "strength"}))
    assert request.params == {
        "prompt": "a cat",
        "power": "0.5",
        "callbackUrl": "https://a.b/c",
    }
    assert request.metadata == {"note": "x"}


def test_a_table_without_prompts_for_a_model_that_needs_none(write: Write) -> None:
    path = write("a.csv", "picture\nhttps://a.b/c.png\n")
    request = the(path, SourceOptions(model=UNKNOWN, columns={"inputImageUrl": "picture"}))
    assert request.params == {"inputImageUrl": "https://a.b/c.png"}


def test_one_prompt_for_all_rows(write: Write) -> None:
    path = write("a.csv", "seed\n1\n2\n")
    found = list(read_requests(path, flux(params={"prompt": "a cat"})))
    assert [request.params for request in found] == [
        {"prompt": "a cat", "seed": "1"},
        {"prompt": "a cat", "seed": "2"},
    ]


def test_a_rows_own_value_wins_and_an_empty_cell_leaves_the_default(write: Write) -> None:
    path = write("a.csv", "prompt,seed,model\na,1,\nb, ,\n")
    found = list(read_requests(path, flux(params={"seed": "9"})))
    assert [request.params["seed"] for request in found] == ["1", "9"]
    assert [request.model for request in found] == [FLUX, FLUX]


def test_blank_rows_and_columns_without_a_name_are_skipped(write: Write) -> None:
    path = write("a.csv", "\r\n, prompt ,\r\n0,a cat,\r\n\r\n,,\r\n1,a dog,x\r\n")
    found = list(read_requests(path, flux()))
    assert [(one.custom_id, one.params, one.metadata, one.origin) for one in found] == [
        ("000001", {"prompt": "a cat"}, {}, f"{path}, line 3"),
        ("000002", {"prompt": "a dog"}, {}, f"{path}, line 6"),
    ]


def test_a_quoted_cell_holds_commas_quotes_and_line_breaks(write: Write) -> None:
    path = write("a.csv", 'prompt,note\n"a ""big"", \nred\r\ncat",x\na dog,y\n')
    found = list(read_requests(path, flux()))
    assert found[0].params["prompt"] == 'a "big", \nred\r\ncat'
    assert [one.origin for one in found] == [f"{path}, line 2", f"{path}, line 5"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.jsonl"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_byte_order_marks_and_unicode_separators(
    write: Write, name: str, end: str, bom: str
) -> None:
    prompts = ["caf\u00e9\u2028line\x85and\x0bmore", "second"]
    rows = [json.dumps(one) for one in prompts] if name == "a.jsonl" else list(prompts)
    if name in ("a.csv", "a.tsv"):
        rows.insert(0, "prompt")
    found = list(read_requests(write(name, bom + end.join(rows)), flux()))
    assert [one.params["prompt"] for one in found] == prompts


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ('"G I G" painted\tx', '"G I G" painted'),
        ('say "hi"\tx', 'say "hi"'),
        ('"open\tx', '"open'),
        ('"a ""big""\tcat"\tx', 'a "big"\tcat'),
        ('"""PEACE"""\tx', '"PEACE"'),
        ('"all of it"\t"x"', "all of it"),
    ],
)
def test_quotes_in_tsv_are_quotes_only_where_the_row_is_well_formed(
    write: Write, row: str, prompt: str
) -> None:
    request = the(write("a.tsv", f"prompt\tnote\n{row}\n"))
    assert (request.params["prompt"], request.metadata) == (prompt, {"note": "x"})


# --- text and JSON Lines ----------------------------------------------------------------------


def test_txt_is_a_prompt_a_line(write: Write) -> None:
    path = write("a.TXT", '\n  a "cat", red\n \t\n{"prompt": 1}')
    found = list(read_requests(path, flux()))
    assert [(one.custom_id, one.params["prompt"], one.origin) for one in found] == [
        ("000001", '  a "cat", red', f"{path}, line 2"),
        ("000002", '{"prompt": 1}', f"{path}, line 4"),
    ]


FLAT = {"prompt": "a cat"}


@pytest.mark.parametrize(
    ("item", "options", "expected"),
    [
        ("a cat", flux(), BatchRequest(params=FLAT)),
        (FLAT, flux(), BatchRequest(params=FLAT)),
        (
            {"prompt": "a cat", "seed": 7, "note": [1], "custom_id": 5},
            flux(),
            BatchRequest(
                custom_id="5", params={"prompt": "a cat", "seed": 7}, metadata={"note": [1]}
            ),
        ),
        (
            {"id": "x", "params": {"prompt": "a cat", "seed": 7}, "metadata": {"seed": 1}},
            flux(),
            BatchRequest(
                custom_id="x", params={"prompt": "a cat", "seed": 7}, metadata={"seed": 1}
            ),
        ),
        (
            {"prompt": "a cat", "seed": None, "model": None, "params": None, "custom_id": None},
            flux(params={"seed": 3}),
            BatchRequest(params={"prompt": "a cat", "seed": 3}),
        ),
        (
            {"caption": "a cat", "prompt": "old", "Prompt": "older"},
            flux(prompt_column="caption"),
            BatchRequest(params=FLAT, metadata={"prompt": "old", "Prompt": "older"}),
        ),
        (
            {"prompt": "a cat", "ratio": "1:1"},
            flux(columns={"aspectRatio": "ratio"}),
            BatchRequest(params={"prompt": "a cat", "aspectRatio": "1:1"}),
        ),
        (
            {"prompt": "a cat", "": 1},
            flux(),
            BatchRequest(params=FLAT, metadata={"": 1}),
        ),
        (
            {"custom_id": "x", "method": "POST", "url": "/v1", "body": FLAT, "note": 1},
            flux(),
            BatchRequest(custom_id="x", params=FLAT, metadata={"note": 1}),
        ),
        (
            {"body": {"prompt": "a cat", "seed": None}, "metadata": {"note": 1}, "model": FLUX},
            SourceOptions(),
            BatchRequest(params=FLAT, metadata={"note": 1}),
        ),
        (
            {"body": {"text": "a cat", "ratio": "1:1", "model": FLUX}, "name": "x"},
            SourceOptions(
                prompt_column="text",
                columns={"aspectRatio": "ratio", "custom_id": "name"},
                model=UNKNOWN,
            ),
            BatchRequest(custom_id="x", params={"prompt": "a cat", "aspectRatio": "1:1"}),
        ),
    ],
)
def test_json_lines(
    write: Write, item: object, options: SourceOptions, expected: BatchRequest
) -> None:
    request = the(write("a.ndjson", f"\n{json.dumps(item)}\n  \n"), options)
    assert request.model == FLUX
    assert request.params == expected.params
    assert request.metadata == expected.metadata
    assert request.custom_id == (expected.custom_id or "000001")


@pytest.mark.parametrize(
    "item",
    [
        {"prompt": "a cat", "strength": 0.5, "flags": [True]},
        {"inputImageUrl": "https://a.b/c.png"},
        {"body": {"inputImageUrl": "https://a.b/c.png"}},
    ],
)
def test_a_model_that_is_not_known_takes_every_key(write: Write, item: dict[str, object]) -> None:
    request = the(write("a.jsonl", json.dumps(item)), SourceOptions(model=UNKNOWN))
    assert request.params == item.get("body", item)
    assert request.metadata == {}


def test_a_prompt_for_all_lines_stands_in_for_their_own(write: Write) -> None:
    request = the(write("a.jsonl", '{"seed": 1}'), flux(params={"prompt": "a cat"}))
    assert request.params == {"prompt": "a cat", "seed": 1}


# --- the whole file ---------------------------------------------------------------------------


def test_the_count_of_a_source(write: Write) -> None:
    path = write(
        "a.jsonl",
        f'{{"prompt": "a", "note": 1}}\n{{"prompt": "b", "model": "{UNKNOWN}", "x": 1}}\n"c"\n',
    )
    count = check_source(str(path), flux())
    assert count.requests == 3
    assert count.models == {FLUX: 2, UNKNOWN: 1}
    assert (count.parameters, count.metadata) == (("prompt", "x"), ("note",))


def test_the_format_can_be_given_and_a_source_read_again(write: Write) -> None:
    path = write("prompts", '"a cat"\n')
    options = flux(format="jsonl")
    assert list(read_requests(path, options)) == list(read_requests(str(path), options))


# --- standard input ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "ending", "prompt"),
    [
        (b'{"prompt": "a cat"}', ".jsonl", "a cat"),
        (b'\xef\xbb\xbf\n "a cat"', ".jsonl", "a cat"),
        (b"a cat", ".txt", "a cat"),
        (b"\n" * 200_000 + b'"a cat"', ".jsonl", "a cat"),
    ],
)
def test_standard_input_is_kept_in_a_file_that_says_what_it_looks_like(
    data: bytes, ending: str, prompt: str
) -> None:
    with spool_stdin(io.BytesIO(data)) as path:
        assert path.suffix == ending
        assert check_source(path, flux()).requests == 1
        assert the(path).params["prompt"] == prompt
        assert (the(path).origin or "").startswith("standard input, line ")
    assert not path.parent.exists()


def test_an_empty_standard_input_is_named_so() -> None:
    with (
        spool_stdin(io.BytesIO(b"")) as path,
        pytest.raises(SourceError, match=r"^standard input: there are no requests"),
    ):
        check_source(path, flux())


def test_standard_input_that_cannot_be_kept() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(28, f"No space left on device, {size}")

    with (
        pytest.raises(SourceError, match=r"^standard input: it cannot be kept in .*TMPDIR"),
        spool_stdin(Broken()),
    ):
        raise AssertionError


# --- laziness ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "header", "row"),
    [
        (read_csv, 1, "prompt\n"),
        (read_tsv, 1, "prompt\n"),
        (read_txt, 0, "a cat\n"),
        (read_jsonl, 0, '"a cat"\n'),
    ],
)
def test_no_line_is_read_before_it_is_asked_for(
    read: Callable[[Iterator[str], SourceOptions], Iterator[object]], header: int, row: str
) -> None:
    given = 0

    def counted() -> Iterator[str]:
        nonlocal given
        while True:
            given += 1
            yield row

    rows = read(counted(), flux())
    assert given == 0
    for position in range(1, 4):
        next(rows)
        assert given == position + header


@pytest.mark.parametrize("name", ["many.txt", "many.csv"])
def test_200_000_rows_are_read_in_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("w", newline="") as file:
        file.write("prompt,note\n")
        file.writelines(f"a cat number {number},{'x' * 40}\n" for number in range(200_000))
    options = SourceOptions(model=UNKNOWN)
    # The caches that the first row fills are no part of the measure.
    next(read_requests(path, options))
    tracemalloc.start()
    try:
        # Enough to see a file read at once, and a few bytes kept of each row. To trace all of it
        # takes minutes on a slow machine.
        found = read_requests(path, options)
        last = deque(itertools.islice(found, 10_000), maxlen=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last[0].custom_id == "010000"
    assert peak < 300_000 < path.stat().st_size / 10
    assert sum(1 for _ in found) == 190_000 + (name == "many.txt")


@pytest.mark.parametrize("read", [check_source, lambda *given: list(read_requests(*given))])
def test_the_file_is_closed_when_it_is_refused(
    write: Write, read: Callable[[Path, SourceOptions], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[TextIO] = []
    original = lines.read_lines

    def remember(stream: TextIO) -> Iterator[str]:
        opened.append(stream)
        return original(stream)

    monkeypatch.setattr(sources, "read_lines", remember)
    bad_rows = "".join(f"a,{number}x\n" for number in range(20))
    with pytest.raises(SourceError) as kept:  # its traceback holds the frames
        read(write("a.csv", f"prompt,seed\n{bad_rows}a,1\n"), flux())
    assert [stream.closed for stream in opened] == [True]
    assert kept.value.line is not None


def test_the_file_is_closed_when_reading_stops_early(write: Write) -> None:
    found = read_requests(write("a.txt", "a\nb\n"), flux())
    assert next(found).params == {"prompt": "a"}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")  # a file left open is told of by a ResourceWarning
        del found
        gc.collect()
    assert told == []


def test_read_lines_takes_a_line_as_long_as_allowed() -> None:
    assert list(lines.read_lines(io.StringIO("1234\n12"), longest=5)) == ["1234\n", "12"]


def test_names_that_are_only_like_a_parameter_are_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,prompt_id,seeds\na cat,7,1\n")
    [request] = read_requests(path, SourceOptions(model=FLUX))
    assert request.metadata == {"prompt_id": "7", "seeds": "1"}
