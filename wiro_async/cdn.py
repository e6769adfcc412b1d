"""Outputs over the wire: connections that carry no credentials, to places that may be asked.

The urls are the service's word (`protocol.addresses` has the rules), and each is held against
them three times: as it came, as aiohttp understands it, and once its host was looked up, by the
addresses. The connection goes to those very addresses: a name that is looked up once more can
mean another one by then. Redirects are followed here, by hand, so that each passes the same.

With a proxy of the environment it is the proxy that looks names up: there, the first two hold,
and the third does not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from urllib.request import getproxies

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import define, field, frozen
from yarl import URL

from wiro_async.connections import WIRE_ERRORS, describe_failure, make_pool
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
from wiro_async.timeouts import Timeouts

_IDLE_SECONDS = 15.0
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)


@frozen(kw_only=True)
class Stream:
    """An output that is being read: its status, headers and bytes."""

    http_status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


@define
class Cdn:
    """The connections to where outputs lie; opened by `open`, ended by `aclose`."""

    base_url: str
    timeouts: Timeouts
    trusts_environment: bool = False
    _stack: AsyncExitStack = field(init=False, repr=False, factory=AsyncExitStack)
    _pool: aiohttp.ClientSession = field(init=False, repr=False)
    _own_place: Place = field(init=False, repr=False)
    _may_be_local: bool = field(init=False, repr=False)

    async def open(self) -> None:
        """Make the connection pool; no connection is opened yet."""
        self._own_place = place_of(self.base_url)
        self._may_be_local = is_this_machine(self._own_place.host)
        resolver = _CarefulResolver(
            own_place=self._own_place,
            may_be_local=self._may_be_local,
            trusts_environment=self.trusts_environment,
            inner=aiohttp.DefaultResolver(),
        )
        self._stack.push_async_callback(resolver.close)
        self._pool = await self._stack.enter_async_context(
            make_pool(
                self.timeouts,
                idle_seconds=_IDLE_SECONDS,
                trusts_environment=self.trusts_environment,
                resolver=resolver,
            )
        )

    async def aclose(self) -> None:
        """Close every connection; safe to call twice."""
        await self._stack.aclose()

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        """Read an output's url; the body comes in chunks while the context is open.

        Up to five redirects are followed, with the same headers; none of their bodies is read.

        Raises:
            AddressRefused: if the url, or one that it redirects to, must not be asked.
            TransportError: if the connection failed, or was silent for too long; also from
                within the iteration of the chunks. What the body of the context raises passes.
        """
        response = await self._open(url, headers)
        try:
            yield Stream(
                http_status=response.status,
                headers=response.headers,
                chunks=_read_chunks(response, url),
            )
        finally:
            response.close()

    async def _open(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        at = url
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._ask(at, headers)
            if response.status not in _REDIRECTS:
                return response
            location = response.headers.get("Location")
            response.close()
            at = redirected(
                at, location, may_be_local=self._may_be_local, own_place=self._own_place
            )
        shown = shown_url(url)
        raise TransportError(f"{shown}: more than {_MAX_REDIRECTS} redirects", endpoint=shown)

    async def _ask(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            target = self._read(url)
            # aiohttp's own timeouts do not count what trickles in before the body.
            async with asyncio.timeout(
                self.timeouts.connect_seconds + self.timeouts.silence_seconds
            ):
                return await self._pool.get(target, headers=headers, allow_redirects=False)
        except WIRE_ERRORS as error:
            failure = _failure(url, error)
        raise failure

    def _read(self, url: str) -> URL:
        """The url as aiohttp understands it, if it may be asked in both readings."""
        check_output_url(url, may_be_local=self._may_be_local, own_place=self._own_place)
        target = URL(url)
        if str(target) != url:
            check_output_url(
                str(target), may_be_local=self._may_be_local, own_place=self._own_place
            )
        return target


class _NotPublicError(OSError):
    """A name has no address that may be asked; an OSError, since aiohttp lets those through."""


@define
class _CarefulResolver(AbstractResolver):
    """Looks a name up, and gives only those of its addresses that may be asked."""

    own_place: Place
    may_be_local: bool
    trusts_environment: bool
    inner: AbstractResolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self.inner.resolve(host, port, family=family)
        kept = [one for one in found if self._may_ask(one["host"])]
        if len(kept) < len(found) and self._is_trusted(Place(host.lower().rstrip("."), port)):
            return found
        if not kept:
            raise _NotPublicError(f"{host} has no public address")
        return kept

    async def close(self) -> None:
        await self.inner.close()

    def _may_ask(self, address: str) -> bool:
        return is_public(address) or (self.may_be_local and is_this_machine(address))

    def _is_trusted(self, place: Place) -> bool:
        """Whether a person put this place there: the base url's, or a proxy's."""
        if place == self.own_place:
            return True
        return self.trusts_environment and place in _places_of_proxies()


def _places_of_proxies() -> list[Place]:
    places = []
    for url in getproxies().values():
        try:
            places.append(place_of(url))
        except ValueError:
            continue
    return places


async def _read_chunks(response: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    try:
        while chunk := await response.content.readany():
            yield chunk
    except WIRE_ERRORS as error:
        failure = _failure(url, error)
        # What came right before an error lies behind it, and aiohttp has no public way to it:
        # should this one go, a download goes on from a little further back.
        left = getattr(response.content, "_read_nowait", lambda _: b"")(-1)
    else:
        return
    if left:
        yield left
    raise failure


def _failure(url: str, error: Exception) -> TransportError:
    shown = shown_url(url)
    if isinstance(getattr(error, "os_error", None), _NotPublicError):
        return AddressRefused(f"{shown}: not asked, its host has no public address", endpoint=shown)
    return TransportError(f"{shown}: {describe_failure(error)}", endpoint=shown)
