"""What a scripted fault does to an answer on its way out.

The answer is right when it comes here; which faults leave it at that, cut it, slow it down or
write something else over it is told in the table of `faults.py`.
"""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wiro_async.emulator.faults import Fault

HTML = "<!DOCTYPE html><html><body><h1>Sorry</h1><p>Back in a minute.</p></body></html>"
EXPIRED = "This url has expired."
PLAIN = "The service is not available."
_PIECES = 16

# What a record can have in place of the texts that it mostly has: each is taken in turn.
_JUNK: tuple[object, ...] = (None, 17, -1.5, True, [], {}, ["x"], {"x": None}, "", "not yet", 1e300)
# Without these nobody could tell which task it is, how it stands and where its file lies.
_KEPT = frozenset({"id", "socketaccesstoken", "status", "pexit", "outputs", "url", "name", "size"})


async def spoil(
    request: web.Request, response: web.Response, fault: Fault, closing: asyncio.Future[None]
) -> web.StreamResponse:
    """Send the response in the way in which the fault wants it to arrive.

    Whatever takes its time ends when `closing` is done.
    """
    match fault.action:
        case "drop_before" | "drop_after" | "reset_before" | "reset_after":
            return _cut(request, response, is_reset=fault.action.startswith("reset"))
        case "truncate" | "stall":
            silence = fault.seconds if fault.action == "stall" else 0.0
            return await _send_half(request, response, silence, closing)
        case "trickle":
            return await _trickle(request, response, fault.seconds, closing)
        case "delay":
            await asyncio.wait([closing], timeout=fault.seconds)
            return response
        case _:
            return _written_over(response, fault)


def strew(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Give an answer whose records have junk in every field that can be done without."""
    rows = [_strewn(row) for row in answer.get("tasklist", ())]
    return {**answer, "tasklist": rows}


def _strewn(row: Mapping[str, Any]) -> dict[str, Any]:
    spoilt = {
        name: value if name in _KEPT else _JUNK[place % len(_JUNK)]
        for place, (name, value) in enumerate(row.items())
    }
    if "outputs" in row:
        spoilt["outputs"] = [_strewn(output) for output in row["outputs"]]
    return spoilt


def _written_over(response: web.Response, fault: Fault) -> web.Response:
    match fault.action:
        case "status":
            return web.Response(status=fault.status, text=PLAIN)
        case "html":
            return web.Response(text=HTML, content_type="text/html")
        case "empty":
            return web.Response()
        case "redirect":
            return web.Response(status=302, headers={"Location": fault.location})
        case "expire":
            return web.Response(status=403, text=EXPIRED)
        case _:
            return _altered(response, fault.action)


def _altered(response: web.Response, action: str) -> web.Response:
    content = _content(response)
    match action:
        case "garbage":
            response.body = content[: len(content) // 2]
        case "mislabel":
            response.headers["Content-Type"] = "text/html; charset=utf-8"
        case "gzip":
            response.body = gzip.compress(content)
            response.headers["Content-Encoding"] = "gzip"
        case "junk":
            response.body = json.dumps(strew(json.loads(content))).encode()
        case _:
            pass
    return response


def _content(response: web.Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b""


def _cut(request: web.Request, response: web.Response, *, is_reset: bool) -> web.Response:
    """Cut the connection; the response is for form's sake, it reaches nobody."""
    if is_reset and request.transport is not None:
        wire = request.transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    request.protocol.force_close()
    return response


async def _send_half(
    request: web.Request, response: web.Response, silence: float, closing: asyncio.Future[None]
) -> web.StreamResponse:
    """Promise the whole length, send half of it, be silent, then close."""
    content = _content(response)
    half = await _begin(request, response, len(content))
    await half.write(content[: len(content) // 2])
    await asyncio.wait([closing], timeout=silence)
    request.protocol.force_close()
    return half


async def _trickle(
    request: web.Request, response: web.Response, seconds: float, closing: asyncio.Future[None]
) -> web.StreamResponse:
    content = _content(response)
    slow = await _begin(request, response, len(content))
    for piece in range(_PIECES):
        await asyncio.wait([closing], timeout=seconds / _PIECES)
        first, last = (len(content) * edge // _PIECES for edge in (piece, piece + 1))
        await slow.write(content[first:last])
    return slow


async def _begin(request: web.Request, response: web.Response, length: int) -> web.StreamResponse:
    begun = web.StreamResponse(status=response.status, headers=response.headers)
    begun.content_length = length
    await begun.prepare(request)
    return begun
