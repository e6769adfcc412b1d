"""Connections: what those to the API and those to the CDN have in common.

* TLS is verified, always: there is no setting that turns it off.
* No cookies are kept.
* No proxy settings of the environment are used, unless that was asked for; and then those
  alone: a password that a ``.netrc`` holds for a host is sent to nobody.
* An error of the library below is told in words and dropped: it knows the headers of the
  request, and so do the frames that it went through.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

import aiohttp
from aiohttp.abc import AbstractResolver

from wiro_async.timeouts import Timeouts

# ValueError: aiohttp raises it for urls and headers that it cannot send.
WIRE_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


class PlainRequest(aiohttp.ClientRequest):
    """A request with the headers that it was given, and none of a ``.netrc``."""

    def update_auth(self, *_: object, **__: object) -> None:
        """Leave ``Authorization`` alone; it is nothing that this library ever sends."""


def make_pool(
    timeouts: Timeouts,
    *,
    idle_seconds: float,
    trusts_environment: bool,
    request_class: type[aiohttp.ClientRequest] = PlainRequest,
    resolver: AbstractResolver | None = None,
    traces: tuple[aiohttp.TraceConfig, ...] = (),
) -> aiohttp.ClientSession:
    """A pool of connections, none of which is opened yet; to be entered as a context.

    It gives bodies as they travelled: an output is saved as it is named in the record, and an
    answer of the API is unpacked with an eye on its size.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_seconds, resolver=resolver),
        request_class=request_class,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": describe_library()},
        trust_env=trusts_environment,
        trace_configs=list(traces),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(
            total=None,
            sock_connect=timeouts.connect_seconds,
            sock_read=timeouts.silence_seconds,
        ),
    )


@cache
def describe_library() -> str:
    """What the library calls itself before servers: its name, and its version if it is known."""
    try:
        return f"wiro-async/{version('wiro-async')}"
    except PackageNotFoundError:  # a copy that was never installed
        return "wiro-async"


def describe_failure(error: Exception) -> str:
    """An error of the library or of the system in a few words."""
    if isinstance(error, TimeoutError):
        return f"timeout: {error}" if str(error) else "timeout"
    # aiohttp wraps the system's own words in its view of TLS; these say it plainly.
    words = getattr(error, "os_error", None) or error
    return f"{type(error).__name__}: {words}" if str(words) else type(error).__name__
