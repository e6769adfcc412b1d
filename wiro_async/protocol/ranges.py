"""Going on with a file that broke off: what to ask for, and whether an answer fits what is held.

Rules (RFC 9110):

1. A range is asked for only together with ``If-Range``, so that a file which has changed comes
   whole and not as the rest of another one (13.1.5). Its validator is the strong ETag of the
   answer that the first bytes came from. Without an ETag it is the ``Last-Modified``, if that is
   a second older than the answer's ``Date``: a younger one may have changed within the same
   second (8.8.2.2). A weak ETag promises the same meaning, not the same bytes (8.8.1): there the
   file is asked for from its beginning.
2. ``206`` fits only if it was asked for, if its ``Content-Range`` begins exactly where the held
   bytes end (14.4), and if its total and its validator are those of the held bytes. A server
   repeats the ETag of a 200 in each 206 (15.3.7), so that one without it does not fit either.
3. ``200`` in answer to a range is the whole file, from its beginning (14.2).
4. ``416`` says that the held bytes are no beginning of what is there now (15.5.17).

Whatever does not fit costs the held bytes, never more than that: two files are not mixed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeAlias

from attrs import evolve, frozen

_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
# Nobody's file has more digits; a longer number is not read at all.
_NUMBER = r"[0-9]{1,18}"
_LENGTH = re.compile(_NUMBER)
_CONTENT_RANGE = re.compile(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER}|\*)", re.IGNORECASE)
_DATE_RESOLUTION = timedelta(seconds=1)


@frozen(kw_only=True)
class Source:
    """What an answer said of the file that its bytes belong to.

    Attributes:
        etag: the entity tag, if it is a strong one.
        validator: what may stand in ``If-Range``; None if the file cannot be gone on with.
        total_bytes: the length of the whole file; None if it was not said.
    """

    etag: str | None = None
    validator: str | None = None
    total_bytes: int | None = None


@frozen(kw_only=True)
class Held:
    """The bytes that are there already, from the file's beginning on."""

    size_bytes: int = 0
    source: Source = Source()


@frozen(kw_only=True)
class Begin:
    """The answer's body is the file from its first byte on."""

    source: Source


@frozen(kw_only=True)
class GoOn:
    """The answer's body goes on where the held bytes end, and reaches to byte `stop`, excluded."""

    source: Source
    stop: int


@frozen(kw_only=True)
class StartAgain:
    """The answer fits nothing: what is held is thrown away, and the file asked for anew."""

    reason: str


Verdict: TypeAlias = Begin | GoOn | StartAgain


def range_headers(held: Held) -> dict[str, str]:
    """The headers that ask for the rest of a file; none where it has to come from its beginning."""
    if not _can_go_on(held):
        return {}
    return {"Range": f"bytes={held.size_bytes}-", "If-Range": held.source.validator or ""}


def judge(http_status: int, headers: Mapping[str, str], held: Held) -> Verdict:
    """What an answer of 200, 206 or 416 is to the bytes that are held.

    Args:
        http_status: one of the three.
        headers: of the answer, found in any case of their letters.
        held: what `range_headers` was given for the request.
    """
    match http_status:
        case HTTPStatus.OK:
            return Begin(source=_read_source(headers))
        case HTTPStatus.PARTIAL_CONTENT if _can_go_on(held):
            return _judge_part(headers, held)
        case HTTPStatus.PARTIAL_CONTENT:
            return StartAgain(reason="HTTP 206, a part that was not asked for")
        case _:
            return StartAgain(
                reason=f"HTTP {http_status}, the part that was asked for is not there"
            )


def read_length(headers: Mapping[str, str]) -> int | None:
    """The bytes that ``Content-Length`` announces; None if it does not say."""
    text = headers.get("Content-Length", "").strip()
    return int(text) if _LENGTH.fullmatch(text) else None


def _can_go_on(held: Held) -> bool:
    total = held.source.total_bytes
    # Nothing can be missing of a whole file: it is at fault otherwise, and begun anew.
    is_short = total is None or held.size_bytes < total
    return bool(held.size_bytes and held.source.validator and is_short)


def _judge_part(headers: Mapping[str, str], held: Held) -> Verdict:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None:
        return StartAgain(reason="HTTP 206 that does not say which part it is")
    first, last, total = int(found[1]), int(found[2]), found[3]
    known = held.source.total_bytes
    total_bytes = known if total == "*" else int(total)
    if first != held.size_bytes:
        return StartAgain(reason=f"bytes from {held.size_bytes} were asked for, from {first} came")
    if known not in {None, total_bytes}:
        return StartAgain(reason=f"the file had {known} bytes, now it has {total_bytes}")
    if last < first or (total_bytes is not None and last >= total_bytes):
        return StartAgain(reason=f"HTTP 206 of bytes {first} to {last} of {total_bytes}")
    if not _is_same(headers, held.source):
        return StartAgain(reason="the file has changed in between")
    return GoOn(source=evolve(held.source, total_bytes=total_bytes), stop=last + 1)


def _is_same(headers: Mapping[str, str], source: Source) -> bool:
    if source.etag is not None:
        return headers.get("ETag", "").strip() == source.etag
    # A 206 need not repeat the date of the last change; where it does, it is the same one.
    return headers.get("Last-Modified", source.validator) == source.validator


def _read_source(headers: Mapping[str, str]) -> Source:
    tag = headers.get("ETag", "").strip()
    etag = tag if _ETAG.fullmatch(tag) else None
    return Source(
        etag=etag,
        validator=etag if tag else _strong_date(headers),
        total_bytes=read_length(headers),
    )


def _strong_date(headers: Mapping[str, str]) -> str | None:
    """The ``Last-Modified``, where it tells one state of the file from every other."""
    modified = headers.get("Last-Modified")
    changed, sent = _read_date(modified), _read_date(headers.get("Date"))
    if changed is None or sent is None or sent - changed < _DATE_RESOLUTION:
        return None
    return modified


def _read_date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
