from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.inflation import Body

TEXT = b'{"result":true}' * 100


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


PACKERS: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    " GZIP ": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    None: bytes,
    "": bytes,
}


def unpack(encoding: str | None, packed: bytes, step: int = 7, max_bytes: int = 1 << 20) -> bytes:
    body = Body(encoding, max_bytes, [])
    for at in range(0, len(packed), step):
        body.take(packed[at : at + step])
    return body.end()


@pytest.mark.parametrize("encoding", PACKERS)
@given(content=st.binary(), step=st.integers(1, 50))
def test_what_was_packed_comes_out(encoding: str | None, content: bytes, step: int) -> None:
    assert unpack(encoding, PACKERS[encoding](content), step) == content


@given(content=st.binary(min_size=1), step=st.integers(1, 50))
def test_deflate_without_its_header_is_read_as_well(content: bytes, step: int) -> None:
    packed = raw_deflate(content)
    if packed[0] & 0x0F != zlib.DEFLATED:
        assert unpack("deflate", packed, step) == content


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_empty_is_empty_in_any_encoding(encoding: str) -> None:
    assert unpack(encoding, b"") == b""


def test_what_follows_the_end_is_not_looked_at() -> None:
    assert unpack("gzip", gzip.compress(TEXT) + b"\n\njunk", 9) == TEXT
    assert unpack("gzip", gzip.compress(TEXT) + b"\n\njunk", 10_000) == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "x" * 1000])
def test_an_encoding_that_was_not_asked_for_is_named(encoding: str) -> None:
    with pytest.raises(ValueError, match="not asked for") as caught:
        Body(encoding, 10, [])
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_half_of_it_leaves_its_beginning(encoding: str) -> None:
    content = bytes(range(256)) * 40
    packed = PACKERS[encoding](content)
    pieces: list[bytes] = []
    body = Body(encoding, 1 << 20, pieces)
    body.take(packed[: len(packed) // 2])
    with pytest.raises(ValueError, match="stops before its end"):
        body.end()
    assert len(b"".join(pieces)) > 100
    assert content.startswith(b"".join(pieces))


def test_a_damage_on_the_way_is_told_and_what_came_before_it_kept() -> None:
    packed = bytearray(gzip.compress(bytes(range(256)) * 40))
    packed[-8:] = b"\0" * 8  # the checksum
    pieces: list[bytes] = []
    body = Body("gzip", 1 << 20, pieces)
    body.take(bytes(packed[:-8]))
    with pytest.raises(ValueError, match="cannot be unpacked") as caught:
        body.take(bytes(packed[-8:]))
    assert caught.value.__suppress_context__
    assert b"".join(pieces) == bytes(range(256)) * 40


@pytest.mark.parametrize("encoding", PACKERS)
def test_it_is_as_large_as_it_may_be_and_no_larger(encoding: str | None) -> None:
    packed = PACKERS[encoding](TEXT)
    assert unpack(encoding, packed, max_bytes=len(TEXT)) == TEXT
    with pytest.raises(ValueError, match="more than 1499 bytes"):
        unpack(encoding, packed, max_bytes=len(TEXT) - 1)


def test_a_bomb_takes_no_more_memory_than_the_body_may_have() -> None:
    packed = gzip.compress(bytes(200 << 20), 9)
    assert len(packed) < 256 << 10
    body = Body("gzip", 4 << 20, [])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than"):
            body.take(packed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20


def test_what_follows_the_end_is_not_kept_either() -> None:
    body = Body("gzip", 1 << 20, [])
    body.take(gzip.compress(TEXT))
    tracemalloc.start()
    try:
        for _ in range(100):
            body.take(b"x" * 65536)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert body.end() == TEXT
