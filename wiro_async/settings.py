"""What has to be right before a session starts: credentials, the base url, numbers.

Rules: credentials come from the arguments or, where there is no key among them, from the
environment, never half from each (wiro-api facts, "Signing", for the names). The base url is
https, since the key travels in a header; plain http is for this machine only.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from wiro_async.errors import ConfigurationError, CredentialsError
from wiro_async.protocol.signing import Credentials

T = TypeVar("T")

DEFAULT_BASE_URL = "https://api.wiro.ai/v1"


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


def check_base_url(url: str) -> str:
    """The base url without a slash at its end.

    Raises:
        ConfigurationError: if it is not https, or http on this machine.
    """
    url = url.strip()
    if "@" in url:  # and not shown: what stands before it may be a password
        raise ConfigurationError(
            f"the base url must not hold a user or a password: write one such as {DEFAULT_BASE_URL}"
        )
    try:
        is_right = _is_base_url(urlsplit(url))
    except ValueError:  # half an IPv6 address, or a port that is none
        is_right = False
    if not is_right:
        raise ConfigurationError(
            f"the base url {url!r} cannot be used: it has to begin with https:// (http:// only "
            f"for this machine), such as {DEFAULT_BASE_URL}"
        )
    return url.rstrip("/")


def _is_base_url(parts: SplitResult) -> bool:
    is_local = parts.scheme == "http" and _is_this_machine(parts.hostname or "")
    is_plain = not parts.query and not parts.fragment and parts.port != 0
    return bool(parts.hostname) and is_plain and (parts.scheme == "https" or is_local)


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
