"""Answers that lie about their size, their packing or their shape."""

from __future__ import annotations

import gzip
import re
import tracemalloc
import zlib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tests.loopback import JSON_ANSWER, Connection, answering, serve
from tests.wire import DETAIL, FAST, RUN, SIGNED, assert_clean, opened
from wiro_async import transport as module
from wiro_async.connections import describe_library
from wiro_async.errors import OutcomeUnknown, RunOutcomeUnknown, ServerError
from wiro_async.protocol.inflation import ENCODINGS
from wiro_async.protocol.requests import Request
from wiro_async.protocol.responses import Answer, decode_acknowledgement, decode_run
from wiro_async.protocol.salvage import salvage_run
from wiro_async.transport import Timeouts, Transport

NAMED = b'{"taskid":"2221","socketaccesstoken":"tok","result":true,"more":"'
BOTH = pytest.mark.parametrize("request_", [RUN, DETAIL], ids=["run", "read"])
MIB = 1 << 20


def answer_of(body: bytes, encoding: bytes = b"identity") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (encoding, len(body)) + body


async def failure_of(answer: bytes, request: Request) -> OutcomeUnknown:
    async with serve(answering(answer)) as server, opened(server.base_url) as transport:
        with pytest.raises(OutcomeUnknown) as caught:
            await transport.send(request, SIGNED)
    assert_clean(caught.value)
    assert not isinstance(caught.value, RunOutcomeUnknown)
    return caught.value


@BOTH
async def test_an_answer_without_end_is_left_and_its_beginning_kept(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_ANSWER_BYTES", 3 * MIB)
    wrote = 0

    async def behave(connection: Connection) -> None:
        nonlocal wrote
        await connection.read_request()
        await connection.write(b"HTTP/1.1 200 OK\r\n\r\n" + NAMED)
        while True:
            await connection.write(b"x" * 65536)
            wrote += 65536

    async with serve(behave) as server, opened(server.base_url) as transport:
        with pytest.raises(OutcomeUnknown, match="an answer of more than 3145728 bytes") as caught:
            await transport.send(request_, SIGNED)
    assert_clean(caught.value)
    assert len(caught.value.partial) == MIB
    assert salvage_run(caught.value.partial) is not None
    assert wrote < 16 * MIB  # what the system's buffers take comes on top


def test_the_bound_is_far_above_any_answer_of_the_service() -> None:
    assert module._MAX_ANSWER_BYTES == 64 * MIB


@BOTH
@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_a_bomb_takes_no_more_memory_than_an_answer_may(
    request_: Request, encoding: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_ANSWER_BYTES", 4 * MIB)
    pack = gzip.compress if encoding == b"gzip" else zlib.compress
    answer = answer_of(pack(NAMED + b" " * (200 * MIB), 9), encoding)
    tracemalloc.start()
    try:
        error = await failure_of(answer, request_)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "more than" in error.message
    assert salvage_run(error.partial) is not None
    assert peak < 16 * MIB


@BOTH
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answer_of(gzip.compress(NAMED)[:-9], b"gzip"), "stops before its end"),
        (answer_of(gzip.compress(NAMED)[:-8] + b"\0" * 8, b"gzip"), "cannot be unpacked"),
        (answer_of(zlib.compress(NAMED)[:-1], b"deflate"), "stops before its end"),
        (answer_of(NAMED, b"zstd"), "not asked for"),
        (answer_of(NAMED, b"gzip, gzip"), "not asked for"),
    ],
    ids=["cut gzip", "wrong checksum", "cut deflate", "zstd", "packed twice"],
)
async def test_what_cannot_be_unpacked_is_unknown(
    request_: Request, answer: bytes, said: str
) -> None:
    assert said in (await failure_of(answer, request_)).message


async def test_a_packed_answer_that_breaks_off_still_names_its_task() -> None:
    packed = gzip.compress(NAMED + bytes(range(256)) * 99)
    error = await failure_of(answer_of(packed[: len(packed) // 2], b"gzip"), RUN)
    assert salvage_run(error.partial) is not None


GARBAGE = {
    "a status that is none": b"HTTP/1.1 OK\r\n\r\n",
    "a status of five digits": b"HTTP/1.1 20000 OK\r\n\r\n",
    "the version of another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a version that is none": b"HTTP/one 200 OK\r\n\r\n",
    "a length below nought": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nhello\r\n\r\n",
    "a first line without end": b"HTTP/1.1 200 " + b"x" * 100_000,
    "a chunk with a size below nought": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n"
    ),
    "a chunk longer than it says": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"
    ),
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "bytes of nothing": bytes(range(256)),
}


@BOTH
@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_no_answer_is_unknown(request_: Request, answer: bytes) -> None:
    error = await failure_of(answer, request_)
    assert "may have been processed" in error.message
    assert error.message.isprintable()


async def test_a_head_of_hints_without_end_is_left() -> None:
    async def behave(connection: Connection) -> None:
        await connection.read_request()
        while True:
            await connection.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    async with serve(behave) as server, opened(server.base_url, FAST) as transport:
        with pytest.raises(OutcomeUnknown, match="timeout"):
            await transport.send(DETAIL, SIGNED)


@pytest.mark.parametrize("body", [b"", b"  ", b"<html>", b"[]", b"null", b"\xff\xfe", b"{" * 9999])
@pytest.mark.parametrize("kind", [b"text/html", b"image/png", b"application/json; charset=utf-7"])
async def test_what_is_an_answer_but_no_json_is_the_services_failure(
    body: bytes, kind: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
    async with serve(answering(head + body)) as server, opened(server.base_url) as transport:
        answer = await transport.send(RUN, SIGNED)
    assert answer.body == body
    with pytest.raises(ServerError):
        decode_run(answer, RUN.path)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_the_api_says_where_it_points_and_what_to_check(status: int) -> None:
    async with serve(answering(JSON_ANSWER)) as other:
        moved = f"HTTP/1.1 {status} M\r\nLocation: http://me:hidden@127.0.0.1:{other.port}/v1/x"
        answer = f"{moved}?key=hidden#hidden\r\nContent-Length: 0\r\n\r\n".encode()
        async with serve(answering(answer)) as server, opened(server.base_url) as transport:
            said = await transport.send(DETAIL, SIGNED)
    assert other.connections == []
    with pytest.raises(ServerError) as caught:
        decode_acknowledgement(said, "/Task/Kill")
    assert caught.value.message == (
        f"/Task/Kill: HTTP {status}, the service redirects to http://127.0.0.1:{other.port}/v1/x: "
        "is base_url right?"
    )


@pytest.mark.parametrize("location", [None, "", "?x", "\x1b[2J"])
def test_a_redirect_that_says_nothing_is_told_as_well(location: str | None) -> None:
    answer = Answer(http_status=302, body=b"<html>", location=location)
    with pytest.raises(ServerError, match="is base_url right") as caught:
        decode_run(answer, RUN.path)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("trusts_environment", [False, True])
async def test_headers_are_those_that_were_meant_and_none_of_a_netrc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, trusts_environment: bool
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hidden\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("no_proxy", "*")
    async with serve(answering(JSON_ANSWER)) as server:
        transport = Transport(
            base_url=server.base_url, timeouts=Timeouts(), trusts_environment=trusts_environment
        )
        await transport.open()
        await transport.send(RUN, SIGNED)
        await transport.aclose()
    lines = server.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
    assert set(headers) == {
        *(b"host", b"user-agent", b"accept", b"accept-encoding", b"content-type"),
        *(b"content-length", b"x-api-key", b"x-nonce", b"x-signature"),
    }
    assert headers[b"user-agent"].startswith(b"wiro-async/")
    assert b"aiohttp" not in headers[b"user-agent"]


async def test_only_what_can_be_unpacked_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ENCODINGS == "gzip, deflate"
    monkeypatch.setattr(module, "ENCODINGS", "gzip;q=0.5")
    async with serve(answering(JSON_ANSWER)) as server, opened(server.base_url) as transport:
        await transport.send(RUN, SIGNED)
    assert b"accept-encoding: gzip;q=0.5\r\n" in server.requests[0].lower()


def test_a_copy_that_was_never_installed_says_its_name_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(name: str) -> str:
        raise PackageNotFoundError(name)

    assert re.fullmatch(r"wiro-async/[0-9][0-9a-z.]*", describe_library())
    monkeypatch.setattr("wiro_async.connections.version", fail)
    describe_library.cache_clear()
    try:
        assert describe_library() == "wiro-async"
    finally:
        describe_library.cache_clear()
