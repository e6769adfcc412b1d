"""A transport that is open, a signed request for it, and the look for secrets in errors."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wiro_async.protocol.requests import Request
from wiro_async.protocol.signing import Credentials, sign_attempt
from wiro_async.transport import Timeouts, Transport

RUN = Request(path="/Run/o/m", body=b'{"prompt":"a lighthouse"}', is_billable=True)
DETAIL = Request(path="/Task/Detail", body=b'{"taskid":"1"}')
SIGNED = sign_attempt(Credentials(api_key="hidden-key", api_secret="hidden-secret"), 1)
FAST = Timeouts(request_seconds=0.25, silence_seconds=0.25, connect_seconds=0.2)


@asynccontextmanager
async def opened(
    base_url: str, timeouts: Timeouts | None = None, *, trusts_environment: bool = False
) -> AsyncIterator[Transport]:
    transport = Transport(
        base_url=base_url,
        timeouts=timeouts or Timeouts(),
        trusts_environment=trusts_environment,
    )
    await transport.open()
    try:
        yield transport
    finally:
        await transport.aclose()


def assert_clean(error: BaseException) -> None:
    """Nothing secret in an error, nor in anything that hangs on it."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = f"{error!r} {error} {vars(error)} {''.join(traceback.format_exception(error))}"
    assert "hidden" not in shown
