"""How long to wait for the wire; apart from what uses it, which brings aiohttp along."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Timeouts:
    """How long to wait for what, in seconds.

    Attributes:
        request_seconds: for one attempt of an API request, from connecting to the last byte,
            but for the time that `before_sending` takes.
        silence_seconds: without a single byte while an output is downloaded.
        connect_seconds: for a connection, its TLS handshake included.
    """

    request_seconds: float = 60.0
    silence_seconds: float = 30.0
    connect_seconds: float = 15.0
