"""HTTP as bytes: what a client says on a connection, and what is said to it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping

from attrs import define, evolve, field, frozen

CDN = "cdn"
Headers = tuple[tuple[bytes, bytes], ...]


@frozen(kw_only=True, repr=False)
class Heard:
    """One whole request.

    Attributes:
        head: up to and with the blank line.
        body: what its Content-Length promised.
    """

    head: bytes
    body: bytes

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    @property
    def endpoint(self) -> str:
        """`Run`, `Task/Detail`, ..., `cdn`."""
        path = self.target.removeprefix("/v1").strip("/")
        first = path.partition("/")[0]
        return first if first in {"Run", CDN} else path

    @property
    def fields(self) -> Mapping[str, object]:
        """The JSON of the body."""
        fields = json.loads(self.body) if self.body else {}
        assert isinstance(fields, dict)
        return fields

    def header(self, name: bytes) -> bytes | None:
        return find_header(parse_headers(self.head), name)


@frozen(kw_only=True)
class Reply:
    """An answer that has not been written yet."""

    status: int = 200
    headers: Headers = ((b"Content-Type", b"application/json"),)
    body: bytes = b""

    def with_header(self, name: bytes, value: bytes) -> Reply:
        """The same with this header in the place of what it had under the name."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return evolve(self, headers=(*kept, (name, value)))

    def without(self, name: bytes) -> Reply:
        return evolve(self, headers=tuple(p for p in self.headers if p[0].lower() != name.lower()))

    @property
    def head(self) -> bytes:
        """The head, with the body's own length where the headers name no other framing."""
        headers = self.headers
        if not any(
            name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in headers
        ):
            headers = (*headers, (b"Content-Length", b"%d" % len(self.body)))
        lines = [b"HTTP/1.1 %d Told" % self.status, *(b": ".join(pair) for pair in headers)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def render(self) -> bytes:
        return self.head + self.body


def parse_headers(head: bytes) -> Headers:
    lines = head.split(b"\r\n")[1:]
    pairs = [line.partition(b":") for line in lines if line]
    return tuple((name, value.strip()) for name, _, value in pairs)


def find_header(headers: Headers, name: bytes) -> bytes | None:
    return next((value for one, value in headers if one.lower() == name.lower()), None)


def as_json(value: object) -> Reply:
    return Reply(body=json.dumps(value).encode())


def page(status: int, *headers: tuple[bytes, bytes], body: bytes = b"Something is wrong.") -> Reply:
    """An answer in words, as a proxy gives it."""
    return Reply(status=status, headers=((b"Content-Type", b"text/plain"), *headers), body=body)


@define(eq=False, repr=False)
class Line:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: bytearray = field(factory=bytearray)

    async def hear(self) -> Heard | None:
        """The next whole request; None where the client says no more."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            self.heard += head
            length = int(find_header(parse_headers(head), b"content-length") or 0)
            body = await self.reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            self.heard += error.partial
            return None
        self.heard += body
        return Heard(head=head, body=body)

    async def say(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    def reset(self) -> None:
        """End it with RST."""
        linger = struct.pack("ii", 1, 0)
        handle = self.writer.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


async def ask(host: str, port: int, heard: Heard) -> Reply:
    """Hand a request on and give the whole answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        first, _, rest = heard.head.partition(b"\r\n")
        kept = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        writer.write(first + b"\r\nConnection: close\r\n" + b"\r\n".join(kept) + heard.body)
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    framing = {b"content-length", b"connection", b"server", b"date"}
    headers = tuple(pair for pair in parse_headers(head) if pair[0].lower() not in framing)
    return Reply(status=int(head.split(b" ", 2)[1]), headers=headers, body=body)
