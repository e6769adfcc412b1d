"""Websockets over the wire: to the service's socket and to no other place.

* They carry no credentials: what is sent is a task's token, once the connection is there. There
  are no cookies and no ``.netrc`` either (`connections`).
* TLS is verified. `settings` has seen to it that a plain ``ws:`` url is for this machine, or was
  asked for.
* Redirects are not followed: the tokens are for the service that was named.
* A message has a bound, and is not packed: what is unpacked could have any size. An older aiohttp
  counts a message once it is whole: there an endless one ends with the ping that nobody answers.
* A connection that has died without a word is noticed by its missing answer to a ping.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import NoReturn

import aiohttp
from attrs import define, field

from wiro_async.connections import WIRE_ERRORS, describe_failure, make_pool
from wiro_async.errors import TransportError
from wiro_async.timeouts import Timeouts

# Of a language model's frames, each of which holds all that was said so far.
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_PING_SECONDS = 20.0
# For the goodbyes, and for all of a peer's that goes on talking meanwhile.
_CLOSING_SECONDS = 0.5


@define(eq=False)
class Sockets:
    """Opens websockets to one place; ended by `aclose`."""

    url: str
    timeouts: Timeouts
    trusts_environment: bool = False
    _pool: aiohttp.ClientSession | None = field(init=False, repr=False, default=None)

    async def dial(self) -> Socket:
        """A connection that is open.

        Raises:
            TransportError: if there is none to be had.
        """
        if self._pool is None:
            self._pool = make_pool(
                self.timeouts,
                idle_seconds=1.0,
                trusts_environment=self.trusts_environment,
                traces=(_make_trace(),),
            )
        try:
            async with asyncio.timeout(self.timeouts.connect_seconds):
                inner = await self._pool.ws_connect(
                    self.url,
                    heartbeat=_PING_SECONDS,
                    max_msg_size=_MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSING_SECONDS),
                )
        except WIRE_ERRORS as error:
            failure = TransportError(f"the socket: {describe_failure(error)}", endpoint="socket")
        else:
            return Socket(inner)
        raise failure

    async def aclose(self) -> None:
        """Close what is left of the connections; safe to call twice."""
        if self._pool is not None:
            await self._pool.close()


@define(eq=False)
class Socket:
    """One connection. It is read by one asyncio task and written to by another."""

    _inner: aiohttp.ClientWebSocketResponse = field(repr=False)

    async def send(self, text: str) -> None:
        """Send a message.

        Raises:
            TransportError: if the connection is lost.
        """
        try:
            await self._inner.send_str(text)
        except WIRE_ERRORS as error:
            failure = TransportError(f"the socket: {describe_failure(error)}", endpoint="socket")
        else:
            return
        raise failure

    async def receive(self) -> str | bytes | None:
        """The next message; None when there will be none any more, however that came."""
        message = await self._inner.receive()
        is_message = message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}
        return message.data if is_message else None

    async def close(self) -> None:
        """Say goodbye, and wait a moment for the other side's."""
        with suppress(*WIRE_ERRORS):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._inner.close()


class _RedirectedError(OSError):
    """An OSError, since those are let through by aiohttp."""


def _make_trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def on_redirect(_: aiohttp.ClientSession, __: SimpleNamespace, ___: object) -> NoReturn:
        raise _RedirectedError("it redirects to another place")

    trace.on_request_redirect.append(on_redirect)
    return trace
