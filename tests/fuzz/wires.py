"""Targets: headers and bodies of the CDN."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

from tests.fuzz.answers import noise
from tests.fuzz.draws import Draw
from tests.fuzz.laws import Target, require
from wiro_async.protocol.filetypes import corrected_extension, find_page, found_type
from wiro_async.protocol.inflation import Body
from wiro_async.protocol.ranges import GoOn, Held, Source, judge, range_headers, read_length

_FIRST: dict[str, object] = {"Content-Length": "100", "ETag": '"a"'}
_DATES = {
    "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT",
    "Date": "Wed, 21 Oct 2026 07:28:09 GMT",
}
_HEADER_TEXTS = (
    *("bytes 10-99/100", "bytes 10-99/*", "bytes 0-9/10", "bytes 99-10/100", "bytes 10-100/100"),
    *(
        '"a"',
        '"b"',
        'W/"a"',
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "90",
        "100",
        "-1",
        "x",
        "bytes */100",
    ),
    *("bytes 10-" + "9" * 18 + "/*", "bytes 10-99/" + "9" * 5_000, "9" * 5_000, "21 Oct 99999"),
)
_PART = re.compile(r"bytes (\d+)-(\d+)/", re.IGNORECASE)


def check_ranges(data: bytes) -> None:
    """Whatever an answer says of a part, what is held is only gone on with where it fits."""
    draw = Draw(data)
    first = judge(200, _headers(draw, draw.pick((_FIRST, _DATES))), Held())
    source = getattr(first, "source", Source())
    held = Held(size_bytes=draw.pick((10, 0, draw.below(2**16))), source=source)
    headers = _headers(draw, {**_FIRST, "Content-Range": "bytes 10-99/100"})
    length = read_length(headers)
    require(length is None or 0 <= length < 10**18, f"a length of {length}")
    asked = range_headers(held)
    require(("Range" in asked) == ("If-Range" in asked), "half a question")
    for status in (200, 206, 416):
        verdict = judge(status, headers, held)
        if isinstance(verdict, GoOn):
            require(status == 206 and bool(asked), "a part nobody asked for")
            _check_part(verdict, headers, held)


def _check_part(part: GoOn, headers: dict[str, str], held: Held) -> None:
    said = _PART.match(headers["Content-Range"].strip())
    require(said is not None and int(said[1]) == held.size_bytes, "another part")
    require(part.stop > held.size_bytes, "a part that is none")
    total = part.source.total_bytes
    require(total is None or part.stop <= total, "a part beyond the end")
    tag = held.source.etag
    require(tag is None or headers.get("ETag", "").strip() == tag, "a part of another file")


def _headers(draw: Draw, good: Mapping[str, object]) -> dict[str, str]:
    """Good headers, with a few of them missing or saying something else."""
    headers = {name: str(value) for name, value in good.items()}
    for _ in range(draw.below(4)):
        name = draw.pick((*good, "Content-Range", "ETag", "Content-Length", "Date"))
        headers[name] = draw.pick(_HEADER_TEXTS) if draw.byte() % 4 else draw.text()
        if draw.byte() % 8 == 1:
            del headers[name]
    return headers


def check_filetypes(data: bytes) -> None:
    """Whatever a file begins with, it is of one type or of none, and may be named after it."""
    draw = Draw(data)
    types = ("image/png", "text/html; x", "image/svg+xml", "", None, "text/plain")
    answered, expected = draw.pick(types), draw.pick(types)
    extension = draw.pick((".png", ".PNG", ".bin", "", ".svg", ".html", ".txt", ".mp4"))
    head = draw.rest()
    found = found_type(head)
    better = corrected_extension(extension, head)
    require(better is None or better is found, "it is to be named after what it is not")
    page = find_page(head, answered_type=answered, expected_type=expected, extension=extension)
    require(page is None or (found is None and bool(page)), "a picture is taken for a page")


def check_inflation(data: bytes) -> None:
    """A packed body, in pieces of any size: unpacked to the same, or refused; never too much."""
    draw = Draw(data)
    encoding = draw.pick((None, "gzip", "deflate", "GZIP ", "br", draw.text()))
    most, step = draw.pick((10, 1_000, 100_000)), 1 + draw.below(20)
    body = draw.rest()
    if draw.byte() == 0 and body:
        body = zlib.compress(body * body[0], wbits=31 if encoding == "gzip" else 15)
    whole = _unpacked(encoding, most, [body])
    parts = _unpacked(encoding, most, [body[at : at + step] for at in range(0, len(body), step)])
    require(whole == parts, "in pieces, it is another")
    require(whole is None or len(whole) <= most, "more than was asked for")


def _unpacked(encoding: str | None, most: int, pieces: list[bytes]) -> bytes | None:
    try:
        body = Body(encoding=encoding, max_bytes=most, pieces=[])
        for piece in pieces:
            body.take(piece)
        return body.end()
    except ValueError:
        return None


def _part_seeds() -> list[bytes]:
    """Good answers but for their ``Content-Range``, which is each of the texts in turn."""
    texts = range(len(_HEADER_TEXTS))
    return [*noise(), *(bytes((0, 0, 0, 0, 0, 1, 2, 1, text, 0)) for text in texts)]


def _head_seeds() -> list[bytes]:
    heads = (
        *(
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"RIFF\0\0\0\0WEBP",
            b"\0\0\0\x20ftypavif",
            b"OggS\0",
        ),
        *(
            b"<!DOCTYPE html><html>",
            b"<svg xmlns=",
            b"<?xml " + b"<" * 2_000,
            b"<!--" * 500,
            b'{"a":1}',
        ),
        *(
            b"\x1a\x45\xdf\xa3" + b"\x42\x82" * 40,
            b"\xef\xbb\xbf <html",
            b" " * 2_000 + b"<b>",
            b"ID3\x03",
        ),
    )
    return [bytes((first, 0, 0)) + head for head in heads for first in range(3)]


WIRES = (
    Target(name="ranges", check=check_ranges, seeds=_part_seeds),
    Target(name="filetypes", check=check_filetypes, seeds=_head_seeds),
    Target(name="inflation", check=check_inflation, seeds=noise),
)
