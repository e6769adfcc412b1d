"""Targets: urls that may be asked, and words that may be shown."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urljoin, urlsplit

import yarl

from tests.fuzz.answers import noise
from tests.fuzz.draws import TEXTS, Draw
from tests.fuzz.laws import Target, check_words, require
from wiro_async.errors import AddressRefused, TransportError
from wiro_async.protocol.addresses import Place, check_output_url, redirected, shown_url
from wiro_async.protocol.wording import clean_words, one_line, visible_text

_OWN = Place("127.0.0.1", 8080)
_NAT64 = IPv6Network("64:ff9b::/96")
_PASSWORD = "hunter2"
_URLS = (
    *("https://cdn1.wiro.ai/a/0.png", "http://cdn1.wiro.ai:80/0.png?a=b#c", "//cdn1.wiro.ai/0.png"),
    *("http://127.0.0.1/", "http://127.1/", "http://0x7f.1/", "http://2130706433/", "http://0/"),
    *("http://0177.0.0.1/", "http://127.0.0.1.:80/", "http://①②⑦.0.0.1/", "http://127。0。0。1/"),
    *(
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[fe80::1]/",
    ),
    *("http://[::127.0.0.1]/", "http://[2002:7f00:1::]/", "http://[::1%25lo]/", "http://[v1.x]/"),
    *(
        "http://169.254.169.254/latest",
        "http://10.0.0.1:65536/",
        "http://localhost./",
        "http://a@b/",
    ),
    *(
        f"https://u:{_PASSWORD}@cdn1.wiro.ai/",
        "https://cdn1.wiro.ai\\@127.0.0.1/",
        "file:///etc/passwd",
    ),
    *(
        "http://127.0.0.1:8080/own",
        "https:/x",
        "https://",
        "http://[",
        "HTTP://EXAMPLE.COM:443",
        "..",
    ),
    *("https://a.example\t/", "https://ex\u00adample.com/", "https://xn--a/", "https://a..b/"),
    *("https://💩.example/", "https://a.example/\u202e", "https://%31%32%37.0.0.1/"),
)


def check_addresses(data: bytes) -> None:
    """A url is refused, or leads to the public internet, for whoever reads it."""
    draw = Draw(data)
    local, own = draw.flag(), draw.pick((None, _OWN))
    allow = partial(check_output_url, may_be_local=local, own_place=own)
    url = draw.text() if draw.flag() else draw.piece(255).decode(errors="surrogateescape")
    location = draw.text() if draw.flag() else draw.rest().decode(errors="surrogateescape")
    for one in (url, location):
        shown = shown_url(one)
        require(shown.isprintable() and len(shown) < 400, "a url that cannot be shown")
        with suppress(AddressRefused):
            _check_place(one, allow(one), is_trusted=local or own is not None)
    try:
        target = redirected(url, location, may_be_local=local, own_place=own)
    except TransportError as error:
        check_words(error)
        require(error.message.isprintable(), "an error that a terminal obeys")
        require(not _tells(error.message, url, location), "an error that tells a password")
        return
    _check_place(target, allow(target), is_trusted=local or own is not None)
    is_worse = urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http"
    require(local or own is not None or not is_worse, "from https to http")


def _tells(message: str, url: str, location: str) -> bool:
    """Whether a password is told that stands in the one place for passwords, and nowhere else."""
    with suppress(ValueError):
        parts = urlsplit(urljoin(url, location.strip(" ")))
        user, _, host = parts.netloc.rpartition("@")
        elsewhere = (host, parts.path, parts.query, parts.fragment, url)
        if _PASSWORD in user and not any(_PASSWORD in part for part in elsewhere):
            return _PASSWORD in message
    return False


def _check_place(url: str, place: Place, *, is_trusted: bool) -> None:
    require(urlsplit(url).scheme in {"http", "https"}, "neither http nor https")
    require(0 < place.port < 2**16, f"port {place.port}")
    hosts = {place.host}
    # What the HTTP library would connect to, should it read the url otherwise.
    with suppress(ValueError):
        hosts.add(yarl.URL(url).host or "")
    for host in hosts:
        require(is_trusted or not _is_inside(host), f"{url!r} leads to {host}")


def _is_inside(host: str) -> bool:
    """Whether a host is, in any system's spelling, an address that is not the internet's."""
    if host.rstrip(".").lower() in {"", "localhost"}:
        return True
    one: IPv4Address | IPv6Address
    try:
        one = ip_address(host)
    except ValueError:
        try:  # as the C library reads it: 127.1, 0x7f.1
            one = IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
    if one in _NAT64:
        one = IPv4Address(int(one) & 0xFFFF_FFFF)
    if isinstance(one, IPv6Address):
        one = one.ipv4_mapped or one.sixtofour or one
    odd = one.is_loopback or one.is_link_local or one.is_multicast or one.is_unspecified
    return odd or one.is_private or one.is_reserved


def check_wording(data: bytes) -> None:
    """No text that is shown tells a terminal what to do, and cleaned twice it is the same."""
    draw = Draw(data)
    text = draw.text() if draw.flag() else draw.rest().decode(errors="surrogateescape")
    shown = visible_text(text)
    require("\x1b" not in shown, "an escape is left")
    require(
        all(c.isprintable() or c in "\n\t\u200c\u200d" or ord(c) > 0x9F for c in shown),
        "a control is left",
    )
    require(
        not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\r"),
        "it turns around",
    )
    require(visible_text(shown) == shown, "cleaned twice, it is another")
    require(one_line(text).isprintable(), "a line that is more than one")
    require(one_line(one_line(text)) == one_line(text), "made one line twice, it is another")
    words = clean_words(text)
    require(words.isprintable() and len(words) <= 303, "words that are too many")


def _address_seeds() -> list[bytes]:
    first = b"\0\0\0"
    plain = [first + bytes([len(url.encode()) % 256]) + url.encode() for url in _URLS]
    led = [first + bytes([29]) + b"https://cdn1.wiro.ai/a/0.png?\0" + url.encode() for url in _URLS]
    return [*noise(), *plain, *led]


def _word_seeds() -> list[bytes]:
    texts = (
        *(
            "\x1b]0;title\x07words",
            "\x9b31mred",
            "\x1bP" * 2_000,
            "\x1b[" * 2_000,
            "\u200d" * 2_000,
        ),
        *(
            "a\rb\r\nc",
            "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
            "\x1b" * 2_000 + "\\",
            "\N{CAT}\u200d",
        ),
        *TEXTS,
    )
    return [b"\0" + text.encode(errors="surrogatepass") for text in texts]


URLS = (
    Target(name="addresses", check=check_addresses, seeds=_address_seeds),
    Target(name="wording", check=check_wording, seeds=_word_seeds),
)
