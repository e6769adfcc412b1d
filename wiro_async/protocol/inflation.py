"""A body as it travelled to the body that was meant, and never more of it than was asked for.

A hundred bytes of gzip can mean a hundred thousand, and a few of those more than a machine has.
So a body is unpacked in small steps, and the count is kept of what came out, not of what went
in. Here rather than in the HTTP library, some versions of which unpack whatever has come at
once.

RFC 9110, 8.4.1 has the encodings. Of ``deflate`` it says that some send it without the zlib
header: both are read. What follows the end of the packed data is not looked at.
"""

from __future__ import annotations

import zlib

from attrs import define, field

# What the client asks for; any other encoding of an answer cannot be read.
ENCODINGS = "gzip, deflate"

_STEP_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS  # zlib's own numbers: with a gzip header, a zlib one, none
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


@define
class Body:
    """A body that is being read.

    Attributes:
        encoding: the answer's ``Content-Encoding``, if there is one.
        max_bytes: how large it may become, unpacked.
        pieces: what came of it so far, also where `take` or `end` raised.
    """

    encoding: str | None
    max_bytes: int
    pieces: list[bytes]
    _size: int = field(init=False, default=0)
    _unpacker: zlib._Decompress | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.encoding = (self.encoding or "identity").strip().lower()
        if self.encoding not in {"identity", "gzip", "x-gzip", "deflate"}:
            raise ValueError(f"an answer packed as {self.encoding[:40]!r}, which was not asked for")

    def take(self, packed: bytes) -> None:
        """Take what came next.

        Raises:
            ValueError: if it cannot be unpacked, or the body becomes too large.
        """
        if self.encoding == "identity":
            self._keep(packed)
            return
        if self._unpacker is None and packed:
            self._unpacker = zlib.decompressobj(self._window(packed[0]))
        while packed and self._unpacker is not None and not self._unpacker.eof:
            self._keep(self._unpack(packed))
            packed = self._unpacker.unconsumed_tail

    def end(self) -> bytes:
        """The whole body, once all of it was taken.

        Raises:
            ValueError: if the packed data stops before its end.
        """
        if self._unpacker is not None and not self._unpacker.eof:
            raise ValueError(f"the {self.encoding} of the answer stops before its end")
        return b"".join(self.pieces)

    def _unpack(self, packed: bytes) -> bytes:
        assert self._unpacker is not None  # noqa: S101 - `take` made it
        try:
            return self._unpacker.decompress(packed, _STEP_BYTES)
        except zlib.error:
            raise ValueError(f"the {self.encoding} of the answer cannot be unpacked") from None

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self.max_bytes:
            raise ValueError(f"an answer of more than {self.max_bytes} bytes")
        self.pieces.append(piece)

    def _window(self, first: int) -> int:
        if self.encoding != "deflate":
            return _GZIP
        # RFC 1950, 2.2: the low half of the first byte of a zlib stream is 8.
        return _ZLIB if first & 0x0F == zlib.DEFLATED else _RAW
