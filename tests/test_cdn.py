"""Outputs are read from where one may ask, over real sockets, whatever way leads there."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from yarl import URL

from tests.certificates import ELSEWHERE, EXPIRED, GOOD, STRANGER, server_tls, trust_the_tests
from tests.dialling import Directory, dialled, resolve_as
from tests.loopback import Connection, answering, serve
from tests.wire import FAST, assert_clean
from wiro_async.cdn import Cdn
from wiro_async.errors import AddressRefused, TransportError
from wiro_async.session import WiroSession
from wiro_async.timeouts import Timeouts

__all__ = ["dialled", "resolve_as"]

BASE = "http://127.0.0.1:1/v1"
OFFICIAL = "https://api.wiro.ai/v1"
PICTURE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"

Install = Callable[..., Directory]


def moved(location: str, status: int = 302) -> bytes:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    return head.encode()


@asynccontextmanager
async def opened(
    base_url: str = BASE, timeouts: Timeouts | None = None, *, trusts_environment: bool = False
) -> AsyncIterator[Cdn]:
    cdn = Cdn(base_url, timeouts or Timeouts(), trusts_environment)
    await cdn.open()
    try:
        yield cdn
    finally:
        await cdn.aclose()


async def read(cdn: Cdn, url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    async with cdn.stream(url, headers or {}) as stream:
        return stream.http_status, b"".join([chunk async for chunk in stream.chunks])


async def failure_of(cdn: Cdn, url: str) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await read(cdn, url)
    assert_clean(caught.value)
    return caught.value


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_each_kind_is_followed_with_the_same_headers(self, status: int) -> None:
        headers = {"Range": "bytes=1-", "If-Range": '"x"', "Accept-Encoding": "identity"}
        async with serve(answering(PICTURE)) as other:
            there = f"{other.base_url}/there.png?a=b"
            async with serve(answering(moved(there, status))) as server, opened() as cdn:
                assert await read(cdn, f"{server.base_url}/0.png", headers) == (200, b"abc")
        (request,) = other.requests
        assert request.startswith(b"GET /v1/there.png?a=b HTTP/1.1\r\n")
        lines = request.lower().split(b"\r\n")[1:-2]
        assert {b"range: bytes=1-", b'if-range: "x"', b"accept-encoding: identity"} < set(lines)
        assert {line.partition(b":")[0] for line in lines} == {
            *(b"host", b"range", b"if-range", b"accept", b"accept-encoding", b"user-agent")
        }

    @pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
    async def test_other_statuses_are_answers(self, status: int) -> None:
        async with serve(answering(moved("/x", status))) as server, opened() as cdn:
            assert (await read(cdn, f"{server.base_url}/0.png"))[0] == status

    async def test_their_own_body_is_not_read(self) -> None:
        async def behave(connection: Connection) -> None:
            await connection.read_request()
            if connection.number == 0:
                await connection.write(
                    b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 9999999\r\n\r\nendless"
                )
                await asyncio.Event().wait()
            await connection.write(PICTURE)

        async with serve(behave) as server, opened() as cdn, asyncio.timeout(5):
            assert await read(cdn, f"{server.base_url}/0.png") == (200, b"abc")
        assert len(server.connections) == 2

    @pytest.mark.parametrize("hops", [5, 6, 100])
    async def test_more_than_five_are_not_followed(self, hops: int) -> None:
        async def turn(connection: Connection) -> None:
            request = await connection.read_request()
            at = int(request.split(b" ")[1].rpartition(b"/")[2])
            await connection.write(moved(f"/{at - 1}") if at else PICTURE)

        async with serve(turn) as server, opened() as cdn:
            url = f"{server.base_url}/{hops}"
            if hops > 5:
                assert "more than 5 redirects" in (await failure_of(cdn, url)).message
            else:
                assert await read(cdn, url) == (200, b"abc")
        assert len(server.requests) == 6

    @pytest.mark.parametrize(
        "answer",
        [b"HTTP/1.1 302 F\r\nContent-Length: 0\r\n\r\n", moved(""), moved("http://[::1/")],
    )
    async def test_one_that_says_nowhere_is_a_broken_answer(self, answer: bytes) -> None:
        async with serve(answering(answer)) as server, opened() as cdn:
            error = await failure_of(cdn, f"{server.base_url}/0.png")
        assert type(error) is TransportError
        assert "does not say where" in error.message

    @pytest.mark.parametrize(
        "location",
        [
            *("http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[fd00::1]/"),
            *("http://2130706433/", "http://0/", "file:///etc/passwd", "//127.1/"),
            *("https://me:hidden@cdn1.wiro.ai/", "http://intern.test/"),
        ],
    )
    async def test_where_one_must_not_ask_they_are_not_followed(
        self, location: str, dialled: list[str], resolve_as: Install
    ) -> None:
        resolve_as(intern=["10.0.0.1"])
        async with serve(answering(moved(location))) as server, opened() as cdn:
            error = await failure_of(cdn, f"{server.base_url}/0.png")
        assert type(error) is AddressRefused
        assert dialled == ["127.0.0.1"]


class TestNames:
    async def test_a_name_is_looked_up_once_and_its_addresses_dialled(
        self, resolve_as: Install, dialled: list[str]
    ) -> None:
        directory = resolve_as(cdn1=["8.8.8.8", "8.8.4.4"])
        async with opened(OFFICIAL) as cdn:
            error = await failure_of(cdn, "https://cdn1.wiro.ai/0.png")
        assert type(error) is TransportError
        assert set(dialled) == {"8.8.8.8", "8.8.4.4"}
        assert directory.asked == ["cdn1.wiro.ai"]
        assert directory.is_closed

    @pytest.mark.parametrize(
        "addresses",
        [
            *(["127.0.0.1"], ["10.0.0.1", "192.168.0.1"], ["169.254.169.254"], ["::1"]),
            *(["::ffff:127.0.0.1"], ["fe80::1%1"], ["fd00::1"], ["0.0.0.0"], ["100.64.0.1"]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("url", ["https://cdn1.wiro.ai/", "http://CDN1.WIRO.AI./0.png"])
    async def test_a_name_that_leads_inwards_is_refused(
        self, addresses: list[str], url: str, resolve_as: Install, dialled: list[str]
    ) -> None:
        resolve_as(cdn1=addresses)
        async with opened(OFFICIAL) as cdn:
            error = await failure_of(cdn, url)
        assert type(error) is AddressRefused
        assert "no public address" in error.message
        assert dialled == []

    async def test_of_several_addresses_the_public_ones_are_dialled(
        self, resolve_as: Install, dialled: list[str]
    ) -> None:
        resolve_as(cdn1=["127.0.0.1", "8.8.8.8", "10.0.0.1"])
        async with opened(OFFICIAL) as cdn:
            assert type(await failure_of(cdn, "http://cdn1.wiro.ai/")) is TransportError
        assert dialled == ["8.8.8.8"]

    async def test_a_name_without_an_address_is_no_refusal(self, resolve_as: Install) -> None:
        resolve_as(cdn1=["8.8.8.8"])
        async with opened(OFFICIAL) as cdn:
            error = await failure_of(cdn, "http://unknown.test/")
        assert type(error) is TransportError
        assert "Name or service not known" in error.message

    @pytest.mark.parametrize(
        "host",
        [
            *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]"),
            *("127.0.0.1.", "LOCALHOST", "localhost.", "\uff11\uff12\uff17.0.0.1", "[::1]"),
            *("127\u30020\u30020\u30021", "\u24db\u24de\u24d2\u24d0lhost", "%6cocalhost", "0"),
        ],
    )
    async def test_no_spelling_leads_to_this_machine(self, host: str, dialled: list[str]) -> None:
        async with serve(answering(PICTURE)) as server, opened(OFFICIAL) as cdn:
            error = await failure_of(cdn, f"http://{host}:{server.port}/0.png")
        assert type(error) is AddressRefused
        assert dialled == []

    async def test_what_aiohttp_would_leave_out_is_refused_all_the_same(
        self, resolve_as: Install, dialled: list[str]
    ) -> None:
        resolve_as(cdn1=["8.8.8.8"])
        async with opened(OFFICIAL) as cdn:
            for url in ("http://cdn1.wiro.ai/\r\nX: 1", "http://@cdn1.wiro.ai/"):
                assert type(await failure_of(cdn, url)) is AddressRefused
        assert dialled == []

    async def test_what_aiohttp_would_understand_is_what_counts(
        self, monkeypatch: pytest.MonkeyPatch, dialled: list[str]
    ) -> None:
        monkeypatch.setattr("wiro_async.cdn.URL", lambda _: URL("http://10.0.0.1/"))
        async with opened(OFFICIAL) as cdn:
            assert type(await failure_of(cdn, "http://8.8.8.8/")) is AddressRefused
        assert dialled == []

    async def test_beside_an_emulator_a_name_may_lead_to_this_machine_only(
        self, resolve_as: Install
    ) -> None:
        resolve_as(here=["127.0.0.1"], there=["10.0.0.1"])
        async with serve(answering(PICTURE)) as server, opened() as cdn:
            assert await read(cdn, f"http://here.test:{server.port}/0.png") == (200, b"abc")
            error = await failure_of(cdn, f"http://there.test:{server.port}/0.png")
        assert type(error) is AddressRefused

    async def test_the_base_url_itself_may_lie_anywhere_but_no_other_port_of_it(
        self, resolve_as: Install
    ) -> None:
        resolve_as(emulator=["127.0.0.1"])
        async with (
            serve(answering(PICTURE)) as other,
            serve(answering(PICTURE)) as server,
            opened(f"http://Emulator.test:{server.port}/v1") as cdn,
        ):
            url = f"http://emulator.test.:{server.port}/cdn/0.png"
            assert await read(cdn, url) == (200, b"abc")
            error = await failure_of(cdn, f"http://emulator.test:{other.port}/0.png")
        assert type(error) is AddressRefused
        assert other.connections == []


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def _bare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    async def test_a_proxy_may_lie_anywhere_but_urls_are_checked_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch, resolve_as: Install
    ) -> None:
        resolve_as(proxy=["127.0.0.1"])
        async with serve(answering(PICTURE)) as proxy:
            monkeypatch.setenv("http_proxy", f"http://proxy.test:{proxy.port}")
            monkeypatch.setenv("ftp_proxy", "no url")
            async with opened(OFFICIAL, trusts_environment=True) as cdn:
                assert await read(cdn, "http://cdn1.wiro.ai/0.png") == (200, b"abc")
                assert type(await failure_of(cdn, "http://10.0.0.1/")) is AddressRefused
        assert proxy.requests[0].startswith(b"GET http://cdn1.wiro.ai/0.png HTTP/1.1\r\n")
        assert len(proxy.requests) == 1

    async def test_without_trust_the_place_of_a_proxy_is_as_any_other(
        self, monkeypatch: pytest.MonkeyPatch, resolve_as: Install
    ) -> None:
        resolve_as(proxy=["127.0.0.1"])
        async with serve(answering(PICTURE)) as proxy, opened(OFFICIAL) as cdn:
            monkeypatch.setenv("http_proxy", f"http://proxy.test:{proxy.port}")
            error = await failure_of(cdn, f"http://proxy.test:{proxy.port}/")
        assert type(error) is AddressRefused

    @pytest.mark.parametrize("trusts_environment", [False, True])
    async def test_a_password_of_netrc_is_never_sent(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, trusts_environment: bool
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password hidden\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        async with (
            serve(answering(moved("/1.png"), PICTURE)) as server,
            opened(trusts_environment=trusts_environment) as cdn,
        ):
            await read(cdn, f"{server.base_url}/0.png")
        assert len(server.requests) >= 1
        assert b"authorization" not in b"".join(server.requests).lower()


class TestTls:
    async def test_a_good_certificate_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trust_the_tests(monkeypatch)
        async with serve(answering(PICTURE), server_tls(GOOD)) as server, opened() as cdn:
            assert await read(cdn, f"{server.base_url}/0.png") == (200, b"abc")

    @pytest.mark.parametrize("kind", [STRANGER, ELSEWHERE, EXPIRED])
    async def test_another_is_not(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        trust_the_tests(monkeypatch)
        async with serve(answering(PICTURE), server_tls(kind)) as server, opened() as cdn:
            error = await failure_of(cdn, f"{server.base_url}/0.png")
        assert "certificate verify failed" in error.message
        assert server.requests == []

    async def test_nor_one_that_only_the_server_knows(self) -> None:
        async with serve(answering(PICTURE), server_tls(GOOD)) as server, opened() as cdn:
            error = await failure_of(cdn, f"{server.base_url}/0.png")
        assert "certificate verify failed" in error.message

    def test_there_is_no_argument_that_turns_it_off(self) -> None:
        names = " ".join(inspect.signature(WiroSession).parameters)
        assert not [word for word in ("ssl", "tls", "verif", "insecure", "cert") if word in names]


async def test_no_cookie_comes_back() -> None:
    cookie = b"\r\nSet-Cookie: a=b; Path=/\r\n\r\n"
    answers = [one.replace(b"\r\n\r\n", cookie, 1) for one in (moved("/1"), PICTURE, PICTURE)]

    async def behave(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(answers[min(connection.number, 2)])

    async with serve(behave) as server, opened() as cdn:
        origin = f"http://localhost:{server.port}"
        await read(cdn, f"{origin}/0.png")
        await read(cdn, f"{origin}/0.png")
    assert len(server.requests) == 3
    assert b"cookie" not in b"".join(server.requests).lower()


@pytest.mark.parametrize(
    "piece", [b"X", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["head", "hints"]
)
async def test_a_head_that_trickles_for_ever_is_left(piece: bytes) -> None:
    async def behave(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(b"" if piece.startswith(b"HTTP") else b"HTTP/1.1 200 ")
        while True:
            await connection.write(piece)
            await asyncio.sleep(0.02)  # real time: silence is what aiohttp counts

    async with serve(behave) as server, opened(timeouts=FAST) as cdn, asyncio.timeout(5):
        error = await failure_of(cdn, f"{server.base_url}/0.png")
    assert "timeout" in error.message
