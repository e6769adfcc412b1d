"""What has to be right before a session starts: credentials, the base url, numbers.

Rules: credentials come from the arguments or, where there is no key among them, from the
environment, never half from each (wiro-api facts, "Signing", for the names). The base url is
https, since the key travels in a header; plain http is for this machine, and for another only
where that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

from attrs import frozen

from wiro_async.errors import ConfigurationError, CredentialsError
from wiro_async.protocol.addresses import Place, is_this_machine, place_of
from wiro_async.protocol.signing import Credentials

T = TypeVar("T")

DEFAULT_BASE_URL = "https://api.wiro.ai/v1"
DEFAULT_SOCKET_URL = "wss://socket.wiro.ai/v1"
# The documentation names no limit. It has each task looked at every 3 s, at first: three thousand
# tasks come to this.
DEFAULT_LOOKS_PER_SECOND = 1_000.0

Tracking: TypeAlias = Literal["auto", "poll", "sweep", "socket"]


@frozen(kw_only=True)
class Service:
    """Where the service is, and what signs the requests to it."""

    base_url: str
    credentials: Credentials


def find_service(
    api_key: str | None,
    api_secret: str | None,
    base_url: str | None,
    environment: Mapping[str, str],
    *,
    allow_http: bool = False,
) -> Service | ConfigurationError:
    """The service of the arguments; what is not among them, of the environment.

    What is wrong is given back, not raised: an error shows the variables of the frames that it
    goes through to whoever reports it, and here they are secrets. Who calls this drops its own
    first, and raises then.
    """
    try:
        return Service(
            credentials=find_credentials(api_key, api_secret, environment),
            base_url=check_base_url(
                str(base_url or environment.get("WIRO_BASE_URL") or DEFAULT_BASE_URL),
                allow_http=allow_http,
            ),
        )
    except ConfigurationError as error:
        return error.with_traceback(None)


def find_credentials(
    api_key: str | None, api_secret: str | None, environment: Mapping[str, str]
) -> Credentials:
    """The credentials of the arguments; where there is no key among them, of the environment.

    Raises:
        CredentialsError: if there is no key, or a secret without a key.
    """
    where = "among the arguments"
    if not api_key and not api_secret:
        where = "in the environment"
        api_key = environment.get("WIRO_API_KEY", "").strip()
        api_secret = environment.get("WIRO_API_SECRET", "").strip()
    if api_key:
        return Credentials(api_key=api_key, api_secret=api_secret or None)
    if api_secret:
        raise CredentialsError(
            f"there is a secret without a key {where}: set WIRO_API_KEY beside WIRO_API_SECRET, "
            "or pass api_key= and api_secret= together"
        )
    raise CredentialsError(
        "there is no API key: set WIRO_API_KEY (and WIRO_API_SECRET, if the project has one), or "
        "pass api_key= and api_secret=. Keys are made in the dashboard, on the project's page"
    )


def check_base_url(url: str, *, allow_http: bool = False) -> str:
    """The base url without a slash at its end.

    Args:
        url: the url as a person gave it.
        allow_http: whether it may be plain http to another machine too.

    Raises:
        ConfigurationError: if it is not https, or http where that is allowed.
    """
    url = url.strip()
    if "@" in url:  # and not shown: what stands before it may be a password
        raise ConfigurationError(
            f"the base url must not hold a user or a password: write one such as {DEFAULT_BASE_URL}"
        )
    try:
        place = place_of(url)
        parts = urlsplit(url)
    except ValueError:  # half an IPv6 address, no host, or a port that is none
        parts, place = urlsplit(""), Place("", 0)
    if parts.query or parts.fragment or parts.scheme not in {"http", "https"}:
        place = Place("", 0)
    if not place.host or not url.isprintable():
        raise ConfigurationError(
            f"the base url {url!r} cannot be used: it has to begin with https:// (http:// only "
            f"for this machine), such as {DEFAULT_BASE_URL}"
        )
    if parts.scheme == "http" and not allow_http and not is_this_machine(place.host):
        raise ConfigurationError(
            f"the base url {url!r} cannot be used: it has to begin with https://, since plain "
            "http shows the key to everybody on the way. For this machine http:// will do; for "
            "another, such as an emulator in a container of its own, only with allow_http=True or "
            "--allow-http"
        )
    return url.rstrip("/")


def find_socket_url(
    socket_url: str | None,
    base_url: str,
    environment: Mapping[str, str],
    *,
    allow_http: bool = False,
) -> str | None:
    """Where the service's socket is: as the argument says, the environment, or the base url.

    Returns:
        The address; None where the base url is not the official one and nothing was said: of
        another service it is not known that it has one.

    Raises:
        ConfigurationError: if it is not wss, or ws where plain http would be allowed.
    """
    said = (socket_url or environment.get("WIRO_SOCKET_URL") or "").strip()
    if not said:
        return DEFAULT_SOCKET_URL if base_url == DEFAULT_BASE_URL else None
    scheme, colon, rest = said.partition(":")
    as_http = {"wss": "https", "ws": "http"}.get(scheme.lower())
    if as_http is None:
        shown = "" if "@" in said else f" {said!r}"
        raise ConfigurationError(
            f"the socket url{shown} cannot be used: it has to begin with wss:// (ws:// only for "
            f"this machine), such as {DEFAULT_SOCKET_URL}"
        )
    checked = check_base_url(f"{as_http}{colon}{rest}", allow_http=allow_http)
    return f"ws{checked.removeprefix('http')}"


def check_positive(name: str, value: float | Decimal) -> None:
    """Raise a `ConfigurationError` for a number that is not finite or not above nought."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigurationError(f"{name} is {value}: it has to be a number above 0")


def check_choice(name: str, value: str, allowed: tuple[T, ...]) -> T:
    """The value, if it is one of those that are allowed.

    Raises:
        ConfigurationError: if it is not.
    """
    for one in allowed:
        if one == value:
            return one
    names = ", ".join(map(str, allowed))
    raise ConfigurationError(f"{name} is {value!r}: it is one of {names}")
