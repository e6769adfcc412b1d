"""The other side of a websocket, byte by byte (RFC 6455), for servers that misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import re

from tests.loopback import Behaviour, Connection

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_FIN = 0x80
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def shake_hands(connection: Connection, *more: bytes) -> bytes:
    """Read the request for a websocket and grant it; the request."""
    request = await connection.read_request()
    found = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert found, request
    accept = base64.b64encode(hashlib.sha1(found[1] + _GUID).digest())  # noqa: S324 - the RFC's
    lines = (
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept,
        *more,
    )
    await connection.write(b"\r\n".join(lines) + b"\r\n\r\n")
    return request


def framed(payload: bytes | str, opcode: int = TEXT, *, first: int | None = None) -> bytes:
    """A frame from a server; `first` replaces its first byte."""
    payload = payload.encode() if isinstance(payload, str) else payload
    size = len(payload)
    head = bytes([_FIN | opcode if first is None else first])
    if size < 126:
        head += bytes([size])
    elif size < 1 << 16:
        head += b"\x7e" + size.to_bytes(2)
    else:
        head += b"\x7f" + size.to_bytes(8)
    return head + payload


async def read_frame(connection: Connection) -> tuple[int, bytes]:
    """A client's next frame: its opcode and what it holds."""
    first, second = await connection.reader.readexactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(await connection.reader.readexactly(2 if size == 126 else 8))
    mask = await connection.reader.readexactly(4)
    payload = await connection.reader.readexactly(size)
    return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


async def read_token(connection: Connection) -> str:
    """The token of the next registration."""
    opcode, payload = await read_frame(connection)
    assert opcode == TEXT, opcode
    frame = json.loads(payload)
    assert frame["type"] == "task_info"
    return str(frame["tasktoken"])


def saying(*parts: bytes, then_stay: bool = True) -> Behaviour:
    """Grant the websocket, read a registration, write these bytes, and stay or close."""

    async def behave(connection: Connection) -> None:
        await shake_hands(connection)
        await read_token(connection)
        for part in parts:
            await connection.write(part)
        if then_stay:
            await connection.reader.read(-1)

    return behave
