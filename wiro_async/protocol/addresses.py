"""Which urls may be asked for an output, and where a redirect leads.

An output's url is the service's word, and so is each redirect of its CDN: words that could send
a request to the machine that this runs on, to a network that only it reaches, or to the one
address from which clouds tell a machine its secrets.

Rules:

1. Only http and https, with a host, without a user or a password, without control characters.
   A host is a name or an address in its one usual spelling: systems read ``127.1``,
   ``0x7f.1`` and ``2130706433`` as addresses too, so a number in another spelling is refused.
2. No address but public ones (`is_public`): none of the special registries of RFC 6890, and no
   IPv6 address that leads to such an IPv4 one.
3. Where the session's own base url is on this machine, addresses of this machine may be asked
   too: that is an emulator. Other private ones may not, then either.
4. The host and port of the base url itself may always be asked: a person put them there, and
   the key travels to them anyway.
5. A redirect from https to http is refused, but for rules 3 and 4.

A name tells nothing of the addresses that it stands for. Whoever connects has to hold them
against `is_public` too, after they were looked up and without looking them up again.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from attrs import frozen

from wiro_async.errors import AddressRefused, TransportError

_PORTS = {"http": 80, "https": 443}
_MAX_SHOWN = 300

# Some dots of other scripts mean a dot too: UTS #46.
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_HOST_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?")
# As the URL standard has it: a host that ends in a number is an address, or nothing.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")

_USER = re.compile(r"\A([^/?#]*//)?[^/?#]*@")

# Not `is_global`: what that says differs from one Python to the next.
_SPECIAL_V4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
# Of 2000::/3, which alone is given out (RFC 4291, 2.4). Teredo lies in the first.
_SPECIAL_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_GIVEN_OUT_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, 2.1


@frozen
class Place:
    """The host and port of a url."""

    host: str
    port: int


def place_of(url: str) -> Place:
    """The host, in small letters and without a dot at its end, and the port, given or usual.

    Raises:
        ValueError: if the url has no host or no possible port, or a part that cannot be read.
    """
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if not parts.hostname or not port or parts.port == 0:
        raise ValueError("it has no host and port")
    host = unicodedata.normalize("NFKC", parts.hostname.translate(_DOTS)).lower()
    return Place(host.removesuffix("."), port)


def check_output_url(
    url: str, *, may_be_local: bool = False, own_place: Place | None = None
) -> Place:
    """Where an output's url leads, if it may be asked; by the module's rules 1 to 4.

    Args:
        url: the url as it will be asked.
        may_be_local: whether the session's base url is on this machine.
        own_place: the host and port of the base url.

    Raises:
        AddressRefused: if it must not be asked; says why, and shows no password.
    """
    place = _read_place(url)
    if place == own_place:
        return place
    if is_this_machine(place.host):
        if not may_be_local:
            raise _refused(url, "it leads to this machine")
        return place
    address = _read_address(place.host)
    if address is None and _is_number(place.host):
        raise _refused(url, "its host is a number in an unusual spelling")
    if address is not None and not is_public(address):
        raise _refused(url, "its address is not a public one")
    return place


def redirected(
    url: str, location: str | None, *, may_be_local: bool = False, own_place: Place | None = None
) -> str:
    """Where a redirect of an output's url leads; checked by the module's rules.

    Args:
        url: what was asked.
        location: the answer's ``Location``, which can be relative.
        may_be_local: as for `check_output_url`.
        own_place: as for `check_output_url`.

    Raises:
        AddressRefused: if it must not be followed.
        TransportError: if there is no location, or none that can be read.
    """
    location = (location or "").strip(" ")
    try:
        target = urljoin(url, location) if location else ""
    except ValueError:
        target = ""
    if not target:
        shown = shown_url(url)
        raise TransportError(f"{shown}: it redirects, and does not say where to", endpoint=shown)
    if _CONTROL.search(location):  # joining drops some
        raise _refused(location, "it has control characters or a backslash")
    place = check_output_url(target, may_be_local=may_be_local, own_place=own_place)
    is_trusted = place == own_place or is_this_machine(place.host)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https" and not is_trusted:
        raise _refused(target, "it is plain http, and what redirected there was not")
    return target


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet's; False for what is no address."""
    one = _read_address(address) if isinstance(address, str) else address
    if isinstance(one, IPv6Address):
        inner = _embedded(one)
        if inner is None:
            return one in _GIVEN_OUT_V6 and not any(one in special for special in _SPECIAL_V6)
        one = inner
    return one is not None and not any(one in special for special in _SPECIAL_V4)


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine: its name (RFC 6761, 6.3) or an address of the loopback."""
    host = host.lower().removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _read_address(host)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return address is not None and address.is_loopback


def shown_url(url: str) -> str:
    """A url as it may be printed: without user and password, on one line, not endless."""
    text = _USER.sub(r"\1", url)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _read_place(url: str) -> Place:
    """The place of a url that is well formed: rule 1."""
    if _CONTROL.search(url):
        raise _refused(url, "it has control characters or a backslash")
    place = None
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise _refused(url, "it is neither http nor https")
        place = place_of(url)
    if place is None:
        raise _refused(url, "it has no host, or a port that is none")
    if "@" in parts.netloc:
        raise _refused(url, "it has a user or a password in it")
    if not _is_host(parts, place.host):
        raise _refused(url, "its host is not one")
    return place


def _is_host(parts: SplitResult, host: str) -> bool:
    if "[" in parts.netloc:
        return "%" not in host and isinstance(_read_address(host), IPv6Address)
    return _HOST_NAME.fullmatch(host) is not None


def _is_number(host: str) -> bool:
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that one of IPv6 leads to (RFC 4291 2.5.5.2, RFC 3056, RFC 6052)."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _refused(url: str, reason: str) -> AddressRefused:
    shown = shown_url(url)
    return AddressRefused(f"{shown}: not asked, {reason}", endpoint=shown, evidence=reason)
