"""TLS for servers on this machine: an authority of the tests' own, and what it signed."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from functools import cache, partial

import aiohttp
import pytest
import trustme

# What a server can show: who signed it, for which host, until when.
GOOD = "good"
STRANGER = "of an unknown authority"
ELSEWHERE = "of another host"
EXPIRED = "expired"
BOTH_WAYS = "good, and it demands one of the client"


@cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=name)


@cache
def server_tls(kind: str) -> ssl.SSLContext:
    """The context of a server that shows a certificate of that kind."""
    authority = _authority("stranger" if kind == STRANGER else "known")
    host = "elsewhere.test" if kind == ELSEWHERE else "127.0.0.1"
    until = datetime.now(UTC) - timedelta(days=1) if kind == EXPIRED else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, not_after=until).configure_cert(context)
    if kind == BOTH_WAYS:
        # TLS 1.3 asks after the handshake, from the client's point of view.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@cache
def _client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _authority("known").configure_trust(context)
    return context


def trust_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pools that are made from now on trust the authority of the tests as well.

    Nothing else is changed: chain, dates and host are still checked.
    """
    trusting = partial(aiohttp.TCPConnector, ssl=_client_tls())
    monkeypatch.setattr(aiohttp, "TCPConnector", trusting)
