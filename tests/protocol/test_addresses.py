from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.errors import AddressRefused, TransportError
from wiro_async.protocol.addresses import (
    Place,
    check_output_url,
    is_public,
    is_this_machine,
    place_of,
    redirected,
    shown_url,
)

CDN = "https://cdn1.wiro.ai/a/0.png"

PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1"),
    *("223.255.255.255", "2606:4700::1", "2a00:1450::1", "::ffff:8.8.8.8"),
    *("64:ff9b::8.8.8.8", "2002:808:808::1"),
]
PRIVATE = {
    "this network": "0.0.0.0",
    "an address of this network": "0.1.2.3",
    "private, class A": "10.0.0.1",
    "private, class B": "172.16.0.1",
    "the last of class B": "172.31.255.255",
    "private, class C": "192.168.1.1",
    "of a carrier": "100.64.0.1",
    "the last of a carrier": "100.127.255.255",
    "loopback": "127.0.0.1",
    "another loopback": "127.8.9.1",
    "link-local, of a cloud's metadata": "169.254.169.254",
    "of protocols": "192.0.0.8",
    "of documents": "192.0.2.1",
    "relay of 6to4": "192.88.99.1",
    "of measurements": "198.18.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "nobody, IPv6": "::",
    "loopback, IPv6": "::1",
    "unique local": "fd00::1",
    "unique local, of a cloud's metadata": "fd00:ec2::254",
    "link-local, IPv6": "fe80::1",
    "link-local, with its interface": "fe80::1%eth0",
    "site-local": "fec0::1",
    "multicast, IPv6": "ff02::1",
    "of documents, IPv6": "2001:db8::1",
    "of documents, later": "3fff::1",
    "Teredo": "2001:0:1::1",
    "discarded": "100::1",
    "given out to nobody": "5f00::1",
    "a mapped loopback": "::ffff:127.0.0.1",
    "a mapped private one": "::ffff:10.0.0.1",
    "a compatible loopback": "::127.0.0.1",
    "6to4 of a loopback": "2002:7f00:1::",
    "6to4 of a private one": "2002:a00:1::",
    "NAT64 of a loopback": "64:ff9b::127.0.0.1",
    "NAT64 of a metadata service": "64:ff9b::169.254.169.254",
    "NAT64 of a network's own": "64:ff9b:1::8.8.8.8",
    "no address": "example.com",
    "nothing": "",
}


def written(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_asked(address: str) -> None:
    assert is_public(address)
    place = check_output_url(f"https://{written(address)}/0.png")
    assert place.port == 443


@pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE)
def test_no_other_address_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [one for one in PRIVATE.values() if one and one[0] in "0123456789:f" and "%" not in one],
)
def test_no_other_address_may_be_asked(address: str) -> None:
    with pytest.raises(AddressRefused, match="not asked") as caught:
        check_output_url(f"http://{written(address)}:8080/latest/meta-data")
    assert caught.value.endpoint == f"http://{written(address)}:8080/latest/meta-data"


@given(st.ip_addresses(v=6))
def test_what_is_public_is_what_python_calls_global(address: object) -> None:
    """Ours is the narrower one; nothing that Python holds for private passes."""
    inner = address.ipv4_mapped or address.sixtofour  # type: ignore[attr-defined]
    if is_public(str(address)):
        assert inner is not None or not address.is_private  # type: ignore[attr-defined]


ODD = {
    "a number": "http://2130706433/",
    "a number of eight": "http://017700000001/",
    "a number of sixteen": "http://0x7f000001/",
    "a short address": "http://127.1/",
    "an address of two parts": "http://8.1/",
    "parts of eight": "http://0177.0.0.1/",
    "parts of sixteen": "http://0x7f.1/",
    "only the last part of sixteen": "http://127.0.0.0x1/",
    "nought": "http://0/",
    "too large a part": "http://8.8.8.256/",
    "a dot at the end": "http://127.0.0.1./",
    "wide digits": "http://\uff11\uff12\uff17.0.0.1/",
    "dots of another script": "http://127\u30020\u30020\u30021/",
    "digits in a circle": "http://\u2460\u2461\u2466.0.0.1/",
    "encoded digits": "http://%31%32%37.0.0.1/",
    "the name in capitals": "http://LOCALHOST/",
    "the name with a dot": "http://localhost./",
    "a name below it": "http://a.localhost/",
    "the name in circles": "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "a mapped address": "http://[::ffff:127.0.0.1]/",
    "a mapped address in hex": "http://[::ffff:7f00:1]/",
    "the name in wide letters": "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/",
    "all groups written": "http://[0:0:0:0:0:0:0:1]/",
    "an interface": "http://[2606:4700::1%25eth0]/",
    "an address of the future": "http://[v1.a]/",
    "half an address": "http://[::1/",
}


@pytest.mark.parametrize("url", ODD.values(), ids=ODD)
def test_odd_spellings_lead_nowhere(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_output_url(url)


WRONG = {
    "a file": "file:///etc/passwd",
    "ftp": "ftp://cdn1.wiro.ai/0.png",
    "data": "data:image/png;base64,AAAA",
    "no scheme": "cdn1.wiro.ai/0.png",
    "a scheme left out": "//cdn1.wiro.ai/0.png",
    "no host": "https:///0.png",
    "one slash": "https:/cdn1.wiro.ai/0.png",
    "nothing": "",
    "a user": "https://me@cdn1.wiro.ai/0.png",
    "a password": "https://me:hidden@cdn1.wiro.ai/0.png",
    "an empty user": "https://@cdn1.wiro.ai/0.png",
    "a user that looks like a host": "https://cdn1.wiro.ai@10.0.0.1/",
    "a backslash before the user": "https://cdn1.wiro.ai\\@127.0.0.1/",
    "a line break": "https://cdn1.wiro.ai/0.png\r\nX-Evil: 1",
    "a tab": "https://cdn1\t.wiro.ai/0.png",
    "a nought": "https://cdn1.wiro.ai/\x000.png",
    "a delete": "https://cdn1.wiro.ai/\x7f0.png",
    "an escape": "https://cdn1.wiro.ai/\x9b2J.png",
    "half a character": "https://cdn1.wiro.ai/\ud8000.png",
    "a blank in the host": "https://cdn1 .wiro.ai/0.png",
    "a blank as the host": "https:// /0.png",
    "port nought": "https://cdn1.wiro.ai:0/0.png",
    "too large a port": "https://cdn1.wiro.ai:65536/0.png",
    "a port with a sign": "https://cdn1.wiro.ai:+80/0.png",
    "a port that is a name": "https://cdn1.wiro.ai:http/0.png",
    "an empty label": "https://cdn1..wiro.ai/0.png",
}


@pytest.mark.parametrize("url", WRONG.values(), ids=WRONG)
def test_a_url_that_is_none_is_refused_and_shows_no_password(url: str) -> None:
    with pytest.raises(AddressRefused, match="not asked") as caught:
        check_output_url(url)
    assert "hidden" not in f"{caught.value} {vars(caught.value)}"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (CDN, Place("cdn1.wiro.ai", 443)),
        ("http://CDN1.Wiro.AI./0.png", Place("cdn1.wiro.ai", 80)),
        ("https://cdn1.wiro.ai:8443/a b.png?x=@1#c", Place("cdn1.wiro.ai", 8443)),
        ("https://b\u00fccher.example/0.png", Place("b\u00fccher.example", 443)),
        ("https://xn--bcher-kva.example/0.png", Place("xn--bcher-kva.example", 443)),
        ("https://my_bucket.example/0.png", Place("my_bucket.example", 443)),
        ("https://3com.example/0.png", Place("3com.example", 443)),
        ("https://localhost.example/0.png", Place("localhost.example", 443)),
        ("https://8.8.8.8./0.png", Place("8.8.8.8", 443)),
    ],
)
def test_urls_of_a_cdn_may_be_asked(url: str, place: Place) -> None:
    assert check_output_url(url) == place


LOCAL = ["http://localhost:9/", "http://127.0.0.1:9/", "http://127.1.2.3/", "http://[::1]:9/"]


@pytest.mark.parametrize("url", [*LOCAL, "http://[::ffff:127.0.0.1]/", "http://a.localhost./"])
def test_beside_an_emulator_this_machine_may_be_asked(url: str) -> None:
    check_output_url(url, may_be_local=True)
    with pytest.raises(AddressRefused, match="this machine"):
        check_output_url(url)


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "0.0.0.0", "[fd00::1]", "127.1"])
def test_beside_an_emulator_other_private_addresses_may_not(host: str) -> None:
    with pytest.raises(AddressRefused):
        check_output_url(f"http://{host}/", may_be_local=True)


def test_the_place_of_the_base_url_may_be_asked_and_no_other_port_of_it() -> None:
    own = place_of("http://10.0.0.7:8080/v1")
    assert check_output_url("http://10.0.0.7:8080/cdn/0.png", own_place=own) == own
    for url in ("http://10.0.0.7:6379/", "http://10.0.0.8:8080/", "ftp://10.0.0.7:8080/"):
        with pytest.raises(AddressRefused):
            check_output_url(url, own_place=own)


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        *(("localhost", True), ("LocalHost.", True), ("a.b.localhost", True)),
        *(("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.9", True)),
        *(("notlocalhost", False), ("localhost.test", False), ("10.0.0.1", False), ("", False)),
        *(("::ffff:10.0.0.1", False), ("0.0.0.0", False), ("127.0.0.1.test", False)),
    ],
)
def test_this_machine_is_known_by_its_names(host: str, is_it: bool) -> None:  # noqa: FBT001
    assert is_this_machine(host) is is_it


class TestRedirects:
    @pytest.mark.parametrize(
        ("location", "target"),
        [
            ("/b/1.png", "https://cdn1.wiro.ai/b/1.png"),
            ("1.png?x=1", "https://cdn1.wiro.ai/a/1.png?x=1"),
            ("//cdn2.wiro.ai/1.png", "https://cdn2.wiro.ai/1.png"),
            ("https://other.test/1.png", "https://other.test/1.png"),
            (" https://other.test/1.png ", "https://other.test/1.png"),
        ],
    )
    def test_they_lead_where_they_say(self, location: str, target: str) -> None:
        assert redirected(CDN, location) == target

    @pytest.mark.parametrize("location", [None, "", " ", "http://[::1/"])
    def test_one_that_does_not_say_where_is_a_broken_answer(self, location: str | None) -> None:
        with pytest.raises(TransportError, match="does not say where") as caught:
            redirected(CDN, location)
        assert caught.value.__context__ is None

    @pytest.mark.parametrize(
        "location",
        [
            *(
                "http://127.0.0.1/",
                "https://169.254.169.254/",
                "//localhost/",
                "file:///etc/passwd",
            ),
            *("https://me:hidden@other.test/", "javascript:alert(1)", "https://a.test/\r\nX: 1"),
        ],
    )
    def test_they_must_lead_where_one_may_ask(self, location: str) -> None:
        with pytest.raises(AddressRefused) as caught:
            redirected(CDN, location)
        assert "hidden" not in str(caught.value)

    def test_none_leads_from_https_to_http_but_to_this_machine_or_the_base_url(self) -> None:
        with pytest.raises(AddressRefused, match="plain http"):
            redirected(CDN, "http://cdn1.wiro.ai/a/0.png")
        assert redirected("http://cdn1.wiro.ai/", "http://cdn2.wiro.ai/")
        local = "http://127.0.0.1:9/"
        assert redirected("https://localhost/", local, may_be_local=True) == local
        own = "http://emulator:80/x"
        assert redirected("https://emulator/", own, own_place=place_of(own)) == own


class TestShowing:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            (CDN, CDN),
            ("https://me:hidden@host/a?b@c", "https://host/a?b@c"),
            ("https://me:hid@den@host", "https://host"),
            ("http:me:hidden@host/", "host/"),
            ("me:hidden@host", "host"),
            ("//me:hidden@host/x", "//host/x"),
            ("https://host/a@b", "https://host/a@b"),
            ("https://host/\x1b[2J\r\n", "https://host/?[2J??"),
        ],
    )
    def test_a_url_is_shown_without_its_user(self, url: str, shown: str) -> None:
        assert shown_url(url) == shown

    def test_a_long_one_is_cut(self) -> None:
        assert len(shown_url("https://host/" + "a" * 10_000)) < 400

    @given(st.text())
    def test_any_text_can_be_shown_and_checked(self, text: str) -> None:
        assert shown_url(text).isprintable()
        try:
            check_output_url(text)
        except AddressRefused as error:
            assert str(error).isprintable()  # noqa: PT017 - that it raises is not the point
