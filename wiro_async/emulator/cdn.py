"""The CDN: outputs and uploads as files over HTTP, resumable and without credentials.

It answers Range and If-Range itself rather than through aiohttp's `FileResponse`, which
knows If-Range only with a date: with an ETag it would go on with the rest of a file that
has changed in between, and a client's care not to join two different files could not be
tested. One range is served; several at once, or none that can be read, get the whole file,
as RFC 9110 (section 14.2) allows.
"""

import re
from email.utils import formatdate

import attrs
from aiohttp import web

from wiro_async.emulator.faults import Fault
from wiro_async.emulator.shelf import Item

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@attrs.frozen
class Span:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int


def span_of(text: str, size: int) -> Span | None:
    """Read a Range header against a file of `size` bytes.

    Returns:
        the bytes asked for; an empty span if there are none of them (HTTP 416); `None` if
        the header is missing or is not one range of bytes, which means the whole file.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return Span(max(0, size - int(last)), size)
    stop = min(size, int(last) + 1) if last else size
    return Span(min(int(first), stop), stop)


def serve(request: web.Request, item: Item, fault: Fault | None = None) -> web.Response:
    """Give the answer to a GET of one file: 200, 206 or 416; as a fault wants it, if it does."""
    action = None if fault is None else fault.action
    content = item.path.read_bytes()
    size = len(content)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": '"changed"' if action == "change_tag" else item.etag,
        "Last-Modified": formatdate(item.path.stat().st_mtime, usegmt=True),
        "Content-Type": item.content_type,
    }
    condition = request.headers.get("If-Range")
    # Compared as text: a tag has to be the same tag, a date the very date that was sent.
    unchanged = condition in (None, headers["ETag"], headers["Last-Modified"])
    is_whole = action == "ignore_range" or not unchanged
    span = None if is_whole else span_of(request.headers.get("Range", ""), size)
    if span is None:
        return web.Response(body=content, headers=headers)
    if span.start >= span.stop:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    if action == "shift_range":
        span = Span(min(span.start + 1, size - 1), size)
    headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    return web.Response(status=206, body=content[span.start : span.stop], headers=headers)
