"""Going on with a file: what is asked for, and which answers fit what is held."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.ranges import (
    Begin,
    GoOn,
    Held,
    Source,
    StartAgain,
    judge,
    range_headers,
    read_length,
)

TAG = '"v1"'
OLD, NOW = "Tue, 15 Nov 1994 12:45:26 GMT", "Tue, 15 Nov 1994 12:45:27 GMT"
UNZONED = "Tue, 15 Nov 1994 12:45:26 -0000"
SOURCE = Source(etag=TAG, validator=TAG, total_bytes=1000)
HELD = Held(size_bytes=400, source=SOURCE)
DATED = Held(size_bytes=400, source=Source(validator=OLD, total_bytes=1000))
REST = {"Content-Range": "bytes 400-999/1000", "ETag": TAG}


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": TAG}, TAG),
        ({"ETag": f" {TAG} ", "Last-Modified": OLD, "Date": NOW}, TAG),
        ({"ETag": '""'}, '""'),
        ({"ETag": f"W/{TAG}", "Last-Modified": OLD, "Date": NOW}, None),
        ({"ETag": "v1"}, None),
        ({"ETag": '"v"1"'}, None),
        ({"ETag": '"v\n1"'}, None),
        ({"Last-Modified": OLD, "Date": NOW}, OLD),
        ({"Last-Modified": OLD, "Date": OLD}, None),
        ({"Last-Modified": NOW, "Date": OLD}, None),
        ({"Last-Modified": OLD}, None),
        ({"Last-Modified": "yesterday", "Date": NOW}, None),
        ({"Last-Modified": "Tue, 15 Nov 99999 12:45:26 GMT", "Date": NOW}, None),
        ({"Last-Modified": UNZONED, "Date": NOW}, UNZONED),
        ({}, None),
    ],
)
def test_only_what_tells_each_state_of_a_file_from_every_other_goes_into_if_range(
    headers: Mapping[str, str], validator: str | None
) -> None:
    verdict = judge(200, headers, Held())
    assert isinstance(verdict, Begin)
    assert verdict.source.validator == validator
    asked = range_headers(Held(size_bytes=7, source=verdict.source))
    assert asked == ({} if validator is None else {"Range": "bytes=7-", "If-Range": validator})


@pytest.mark.parametrize(
    ("held", "is_asked"),
    [
        (HELD, True),
        (DATED, True),
        (Held(size_bytes=1, source=Source(validator=TAG)), True),
        (Held(), False),
        (Held(size_bytes=0, source=SOURCE), False),
        (Held(size_bytes=400), False),
        (Held(size_bytes=400, source=Source(total_bytes=1000)), False),
        (Held(size_bytes=1000, source=SOURCE), False),
        (Held(size_bytes=1001, source=SOURCE), False),
    ],
)
def test_a_range_is_asked_for_where_something_is_held_and_something_is_missing(
    held: Held, *, is_asked: bool
) -> None:
    asked = range_headers(held)
    assert (asked.get("Range") == f"bytes={held.size_bytes}-") == is_asked
    assert asked.keys() == ({"Range", "If-Range"} if is_asked else set())


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"Content-Length": "0"}, 0),
        ({"Content-Length": " 12 "}, 12),
        ({}, None),
        ({"Content-Length": ""}, None),
        ({"Content-Length": "-1"}, None),
        ({"Content-Length": "1.0"}, None),
        ({"Content-Length": "²"}, None),
        ({"Content-Length": "9" * 5000}, None),
    ],
)
def test_a_length_is_read_or_not_there(headers: Mapping[str, str], length: int | None) -> None:
    assert read_length(headers) == length


@pytest.mark.parametrize("held", [Held(), HELD, DATED])
def test_a_whole_file_is_one_whatever_is_held(held: Held) -> None:
    verdict = judge(200, {"ETag": '"v2"', "Content-Length": "5"}, held)
    assert verdict == Begin(source=Source(etag='"v2"', validator='"v2"', total_bytes=5))


@pytest.mark.parametrize(
    ("held", "headers", "stop"),
    [
        (HELD, REST, 1000),
        (HELD, {**REST, "Content-Range": "bytes 400-999/*"}, 1000),
        (HELD, {**REST, "Content-Range": "Bytes 400-400/1000"}, 401),
        (DATED, {"Content-Range": "bytes 400-999/1000"}, 1000),
        (DATED, {"Content-Range": "bytes 400-999/1000", "Last-Modified": OLD}, 1000),
        (DATED, {**REST, "Last-Modified": OLD}, 1000),
    ],
)
def test_the_rest_of_the_same_file_goes_on(
    held: Held, headers: Mapping[str, str], stop: int
) -> None:
    assert judge(206, headers, held) == GoOn(source=held.source, stop=stop)


def test_a_total_that_was_not_known_is_learned() -> None:
    held = Held(size_bytes=400, source=Source(etag=TAG, validator=TAG))
    assert judge(206, REST, held) == GoOn(source=SOURCE, stop=1000)
    unsaid = {**REST, "Content-Range": "bytes 400-999/*"}
    assert judge(206, unsaid, held) == GoOn(source=held.source, stop=1000)


@pytest.mark.parametrize(
    ("held", "status", "headers", "reason"),
    [
        (HELD, 206, {**REST, "Content-Range": "bytes 399-999/1000"}, "from 399 came"),
        (HELD, 206, {**REST, "Content-Range": "bytes 401-999/1000"}, "from 401 came"),
        (HELD, 206, {**REST, "Content-Range": "bytes 0-999/1000"}, "from 0 came"),
        (HELD, 206, {**REST, "Content-Range": "bytes 400-1000/1001"}, "now it has 1001"),
        (HELD, 206, {**REST, "Content-Range": "bytes 400-1000/1000"}, "400 to 1000 of 1000"),
        (HELD, 206, {**REST, "Content-Range": "bytes 400-1000/*"}, "400 to 1000 of 1000"),
        (HELD, 206, {**REST, "Content-Range": "bytes 400-399/1000"}, "400 to 399 of 1000"),
        (HELD, 206, {**REST, "Content-Range": "bytes 400-/1000"}, "does not say which part"),
        (HELD, 206, {**REST, "Content-Range": "lines 400-999/1000"}, "does not say which part"),
        (HELD, 206, {**REST, "Content-Range": f"bytes 400-{'9' * 5000}/*"}, "does not say which"),
        (HELD, 206, {"ETag": TAG}, "does not say which part"),
        (HELD, 206, {**REST, "ETag": '"v2"'}, "has changed"),
        (HELD, 206, {**REST, "ETag": f"W/{TAG}"}, "has changed"),
        (HELD, 206, {"Content-Range": REST["Content-Range"]}, "has changed"),
        (DATED, 206, {**REST, "Last-Modified": NOW}, "has changed"),
        (Held(), 206, {**REST, "Content-Range": "bytes 0-999/1000"}, "not asked for"),
        (Held(size_bytes=400), 206, REST, "not asked for"),
        (HELD, 416, {"Content-Range": "bytes */300"}, "HTTP 416"),
        (Held(), 416, {}, "HTTP 416"),
    ],
)
def test_what_does_not_fit_starts_again(
    held: Held, status: int, headers: Mapping[str, str], reason: str
) -> None:
    verdict = judge(status, headers, held)
    assert isinstance(verdict, StartAgain)
    assert reason in verdict.reason


@given(
    size=st.integers(1, 2000),
    total=st.none() | st.integers(1, 2000),
    said=st.text("bytes 0123456789-/*", max_size=24) | st.from_regex(r"bytes \d+-\d+/\d+"),
    tag=st.sampled_from([TAG, '"v2"', "", "W/"]),
)
def test_whatever_a_206_says_it_goes_on_at_the_held_end_or_not_at_all(
    size: int, total: int | None, said: str, tag: str
) -> None:
    held = Held(size_bytes=size, source=Source(etag=TAG, validator=TAG, total_bytes=total))
    verdict = judge(206, {"Content-Range": said, "ETag": tag}, held)
    if isinstance(verdict, GoOn):
        assert int(said.removeprefix("bytes ").partition("-")[0]) == size
        assert tag == TAG
        assert size < verdict.stop
        assert verdict.source.total_bytes is None or verdict.stop <= verdict.source.total_bytes
        assert total in {None, verdict.source.total_bytes}
    else:
        assert isinstance(verdict, StartAgain)
