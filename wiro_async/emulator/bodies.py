"""How a request's body becomes fields and files, whatever its content type claims.

The service has to be told less than the truth and still understand: its own shell recipe
says `multipart/form-data` without a boundary and sends JSON, and curl's `-d` says
`application/x-www-form-urlencoded` and sends JSON. So only a body that says where its parts
end is read as parts; every other one is JSON, and has to be an object.
"""

import asyncio
import hashlib
import json
from typing import Any

import attrs
from aiohttp import BodyPartReader, web

from wiro_async.emulator.books import BookedFile
from wiro_async.emulator.refusals import BODY_INVALID, FILE_TOO_LARGE, Refusal
from wiro_async.emulator.shelf import Shelf

MOST_BYTES_OF_A_FILE = 100 * 1024 * 1024  # documented for File/Upload


@attrs.frozen
class Body:
    """What a request brought along."""

    fields: dict[str, Any] = attrs.field(factory=dict)
    """A field that was repeated holds a list."""
    uploads: dict[str, list[BookedFile]] = attrs.field(factory=dict)


async def read_body(request: web.Request, shelf: Shelf) -> Body | Refusal:
    """Read the whole body; files go to the shelf as they come in."""
    if "boundary=" in request.headers.get("Content-Type", ""):
        try:
            return await _read_parts(request, shelf)
        except ValueError:
            return BODY_INVALID
    try:
        fields = json.loads(await request.read())
    except (ValueError, RecursionError):
        return BODY_INVALID
    return Body(fields) if isinstance(fields, dict) else BODY_INVALID


async def _read_parts(request: web.Request, shelf: Shelf) -> Body | Refusal:
    body = Body()
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            return BODY_INVALID
        # A browser sends a file part without a name for a file input that was left empty.
        if part.filename:
            file = await _receive(part, shelf)
            if file is None:
                return FILE_TOO_LARGE
            body.uploads.setdefault(part.name, []).append(file)
        else:
            _add(body.fields, part.name, await part.text())
    return body


async def _receive(part: BodyPartReader, shelf: Shelf) -> BookedFile | None:
    """Store one file; `None` for one that is too large, of which nothing is kept."""
    path, file = shelf.receive()
    digest = hashlib.sha256()
    with file:
        while chunk := await part.read_chunk(1 << 16):
            digest.update(chunk)
            if file.tell() + len(chunk) > MOST_BYTES_OF_A_FILE:
                return None
            await asyncio.to_thread(file.write, chunk)
    content_type = part.headers.get("Content-Type", "application/octet-stream")
    return shelf.keep(path, part.filename or "", content_type, digest.hexdigest())


def _add(fields: dict[str, Any], name: str, value: str) -> None:
    if name in fields:
        earlier = fields[name]
        fields[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
    else:
        fields[name] = value
