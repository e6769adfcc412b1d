"""A download that broke off goes on where it was, and never with the rest of another file."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.loopback import Behaviour, Connection
from tests.test_downloads import BIG, BODY, POLICY, desk, http, one_after_another
from wiro_async.errors import DownloadError

TAG = '"v1"'
CUT = len(BODY) // 3


def part(start: int, stop: int, body: bytes = BODY, total: object = None, **headers: str) -> bytes:
    """A 206 with some of the bytes."""
    said = f"bytes {start}-{stop - 1}/{len(body) if total is None else total}"
    given = {"Content_Range": said, "ETag": TAG, **headers}
    return http(body[start:stop], "206 Partial Content", **given)


def cut(answer: bytes, size: int = CUT) -> bytes:
    """An answer that ends after so many bytes of its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + body[:size]


def one_at_a_time(*answers: bytes) -> Behaviour:
    """An answer for each connection, which then ends."""

    def saying(answer: bytes) -> Behaviour:
        async def behave(connection: Connection) -> None:
            await connection.read_request()
            await connection.write(answer)

        return behave

    return one_after_another(*[saying(answer) for answer in answers])


def ranges(requests: list[bytes]) -> list[str | None]:
    """What each request asked for, and on which condition."""
    found: list[str | None] = []
    for request in requests:
        lines = dict(line.split(": ", 1) for line in request.decode().splitlines()[1:] if line)
        named = {name.lower(): value for name, value in lines.items()}
        assert ("range" in named) == ("if-range" in named)
        found.append(f"{named['range']} if {named['if-range']}" if "range" in named else None)
    return found


REST = f"bytes={CUT}- if {TAG}"


async def test_it_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    behave = one_at_a_time(cut(http(ETag=TAG)), part(CUT, len(BODY)))
    async with desk(tmp_path, behave) as at:
        (saved,) = await at.save(at.output(size=len(BODY)))
        assert saved.path.read_bytes() == BODY
        assert saved.sha256 == hashlib.sha256(BODY).hexdigest()
        assert saved.size_bytes == len(BODY)
        assert ranges(at.cdn.requests) == [None, REST]
        assert at.names() == ["fox.png"]


async def test_a_big_file_goes_on_in_the_middle_of_its_blocks(tmp_path: Path) -> None:
    first, second = len(BIG) // 2 + 7, len(BIG) - 11
    behave = one_at_a_time(
        cut(http(BIG, ETag=TAG), first),
        cut(part(first, len(BIG), BIG), second - first),
        part(second, len(BIG), BIG),
    )
    async with desk(tmp_path, behave) as at:
        (saved,) = await at.save(at.output(size=len(BIG)))
        assert saved.path.read_bytes() == BIG
        assert saved.sha256 == hashlib.sha256(BIG).hexdigest()
        *_, last = ranges(at.cdn.requests)
        assert last == f"bytes={second}- if {TAG}"


async def test_a_big_file_that_has_to_begin_again_is_not_longer_for_it(tmp_path: Path) -> None:
    longer, shorter = BIG + BIG, BIG[::-1]
    behave = one_at_a_time(cut(http(longer, ETag=TAG), len(longer) - 1), http(shorter))
    async with desk(tmp_path, behave) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == shorter
        assert saved.sha256 == hashlib.sha256(shorter).hexdigest()


async def test_a_silent_server_is_left_and_the_rest_asked_for(tmp_path: Path) -> None:
    async def stall(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(cut(http(ETag=TAG)))
        await asyncio.Event().wait()

    behave = one_after_another(stall, one_at_a_time(part(CUT, len(BODY))))
    async with desk(tmp_path, behave, silence=0.1) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert ranges(at.cdn.requests) == [None, REST]


async def test_a_server_that_gives_less_than_was_asked_for_is_asked_for_the_rest(
    tmp_path: Path,
) -> None:
    behave = one_at_a_time(
        cut(http(ETag=TAG)), part(CUT, 2 * CUT), part(2 * CUT, len(BODY), total="*")
    )
    async with desk(tmp_path, behave) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert ranges(at.cdn.requests) == [None, REST, f"bytes={2 * CUT}- if {TAG}"]


DATES = {
    "Last_Modified": "Tue, 15 Nov 1994 12:45:26 GMT",
    "Date": "Tue, 15 Nov 1994 12:45:30 GMT",
}


async def test_without_an_etag_the_date_of_the_last_change_has_to_do(tmp_path: Path) -> None:
    behave = one_at_a_time(cut(http(BODY, **DATES)), part(CUT, len(BODY)))
    async with desk(tmp_path, behave) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert ranges(at.cdn.requests) == [None, f"bytes={CUT}- if {DATES['Last_Modified']}"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"ETag": f"W/{TAG}"}, {"ETag": "v1"}, {**DATES, "Date": DATES["Last_Modified"]}],
    ids=["none", "a weak tag", "no tag", "a date of this very second"],
)
async def test_what_says_too_little_is_asked_for_from_the_start(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with desk(
        tmp_path, one_at_a_time(cut(http(BODY, **headers)), http(BODY, **headers))
    ) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert ranges(at.cdn.requests) == [None, None]


OTHER = BODY[::-1]
UNFIT = {
    "shifted": part(CUT - 1, len(BODY)),
    "shifted the other way": part(CUT + 1, len(BODY)),
    "of a longer file": part(CUT, len(BODY) + 1, BODY + b"!"),
    "of a changed file": part(CUT, len(BODY), OTHER, ETag='"v2"'),
    "of a file without a tag": http(
        BODY[CUT:], "206 Partial Content", Content_Range=f"bytes {CUT}-{len(BODY) - 1}/{len(BODY)}"
    ),
    "without a range": http(BODY[CUT:], "206 Partial Content", ETag=TAG),
    "in many parts": http(
        BODY, "206 Partial Content", Content_Type="multipart/byteranges; boundary=x"
    ),
    "encoded": part(CUT, len(BODY), Content_Encoding="gzip"),
    "not satisfiable": http(b"", "416 Range Not Satisfiable", Content_Range="bytes */7"),
    "more than it says": part(CUT, len(BODY), total=CUT),
}


@pytest.mark.parametrize("answer", UNFIT.values(), ids=UNFIT)
async def test_a_part_that_does_not_fit_is_thrown_away_with_what_is_there(
    tmp_path: Path, answer: bytes
) -> None:
    async with desk(tmp_path, one_at_a_time(cut(http(ETag=TAG)), answer, http(OTHER))) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == OTHER
        assert ranges(at.cdn.requests) == [None, REST, None]
        assert at.names() == ["fox.png"]


async def test_the_whole_file_in_place_of_a_part_is_taken_as_it_is(tmp_path: Path) -> None:
    async with desk(tmp_path, one_at_a_time(cut(http(ETag=TAG)), http(OTHER))) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == OTHER
        assert ranges(at.cdn.requests) == [None, REST]


async def test_a_bad_moment_of_the_server_costs_nothing_that_is_there(tmp_path: Path) -> None:
    busy = http(b"", "503 Service Unavailable")
    behave = one_at_a_time(cut(http(ETag=TAG)), busy, part(CUT, len(BODY)))
    async with desk(tmp_path, behave) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert ranges(at.cdn.requests) == [None, REST, REST]


async def test_tries_that_bring_something_new_are_not_counted(tmp_path: Path) -> None:
    steps = [*range(0, len(BODY), 100), len(BODY)]
    answers = [cut(http(ETag=TAG), 100)]
    answers += [cut(part(start, len(BODY)), 100) for start in steps[1:-1]]
    assert len(answers) > 2 * POLICY.max_download_attempts
    async with desk(tmp_path, one_at_a_time(*answers)) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == BODY
        assert len(at.cdn.requests) == len(answers)


async def test_a_server_that_gives_a_byte_a_try_is_not_followed_for_ever(tmp_path: Path) -> None:
    answers = [cut(http(ETag=TAG), 1), *[cut(part(n, len(BODY)), 1) for n in range(1, 300)]]
    async with desk(tmp_path, one_at_a_time(*answers)) as at:
        with pytest.raises(DownloadError, match="paid but not saved"):
            await at.save()
        assert len(at.cdn.requests) == 100
        assert at.names() == []


async def test_tries_that_come_no_further_are_counted(tmp_path: Path) -> None:
    half = cut(http(ETag=TAG))
    answers = [half, cut(part(CUT, len(BODY)), 0), cut(http(ETag=TAG), CUT - 1), half]
    async with desk(tmp_path, one_at_a_time(*answers)) as at:
        with pytest.raises(DownloadError):
            await at.save()
        assert len(at.cdn.requests) == POLICY.max_download_attempts
