"""The receiver of callbacks: the service POSTs to a url of the task's own when the task has ended.

What it sends there is not documented and not signed (wiro-api facts, "Webhook"), so nothing of
it is believed, or even looked at. Rules:

1. A call is a hint: it brings the task's next look forward, and Task/Detail decides. A task that
   nobody calls for is looked at as if there were no receiver.
2. Every Run has a url of its own, whose last part has 256 bits of the system's randomness. It is
   found in a dictionary, by a hash of the whole of it under a key of this process: how long that
   takes tells nobody how much of a guess was right, so no comparison in constant time is needed.
3. An answer says nothing: 200 to a url of ours, 404 to any other, 405 to what is no POST, and
   never a body. It is 200 and not 204, since only a 200 is known to end the service's tries.
4. The hint is taken as soon as the head of the request is there. The body is read so that its
   sender can finish, up to a bound in size and time, and dropped.
5. A call that comes before the answer to the Run was read is kept, and its task looked at as soon
   as it has a watch.
6. A call says nothing new while the look that the last one asked for has not begun. After
   `_MOST_CALLS` of them a task does not listen any more: whoever floods a url that leaked costs
   that many looks, and the task's own looks go on.
7. A url is known as long as somebody has it: who asked for it, then its Run, then the watch of
   its task. So one that is never used, or whose Run failed, takes no memory. Of tasks that have
   ended the last ones are remembered by name, to answer 200 to a call that is late; for the
   service, which would try again, it is the first.

Only the last part of a path is read, so a receiver works under whatever prefix it is mounted.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from weakref import WeakValueDictionary

from wiro_async.catalog import is_web_url
from wiro_async.errors import ConfigurationError, InvalidRequest
from wiro_async.tracking.watch import Watch

if TYPE_CHECKING:
    from aiohttp import web

_KEY_BYTES = 32
_MOST_CALLS = 10
# The service tries three times, 2 s apart: this is a minute of a hundred tasks a second.
_MOST_ENDED = 6000
# A record of a task has about 2 kB.
_MOST_BODY_BYTES = 1 << 20
_MOST_BODY_SECONDS = 5.0

_OK, _NOT_FOUND, _WRONG_METHOD = 200, 404, 405
_ALLOWED = "POST"

# As in the specification of ASGI 3, so that any framework's own types fit.
_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]


class CallbackUrl(str):
    """The url of one task: a plain string to everybody but the session and its receiver."""

    __slots__ = (
        "__weakref__",
        "_calls",
        "_has_task",
        "_is_claimed",
        "_look_now",
        "_loop",
        "_on_end",
        "_watch",
    )

    _calls: int
    _has_task: bool
    _is_claimed: bool
    _look_now: Callable[[Watch], None]
    _loop: asyncio.AbstractEventLoop
    _on_end: Callable[[], None]
    _watch: Watch | None

    def __new__(cls, url: str, on_end: Callable[[], None]) -> Self:
        """A url, and who wants to know that its task has ended."""
        self = super().__new__(cls, url)
        self._calls = 0
        self._is_claimed = self._has_task = False
        self._watch = None
        self._on_end = on_end
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # A copy of it, in an error that is pickled for one, has no task to speak of.
        return str, (str(self),)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """For the time of a Run; it stays claimed if that made a task.

        Raises:
            InvalidRequest: if another Run has it.
        """
        if self._is_claimed:
            raise InvalidRequest(
                "this callback url is another Run's: ask the receiver's url_for() for a new one "
                "each time",
                field="callbackUrl",
            )
        self._is_claimed = True
        try:
            yield
        finally:
            self._is_claimed = self._has_task

    def follow(self, watch: Watch, look_now: Callable[[Watch], None]) -> None:
        """There is a task: what was, and will be, called is meant for it.

        Args:
            watch: the task's watch; it keeps the url alive until it is done.
            look_now: what brings its look forward, on the running event loop.
        """
        self._has_task = True
        self._look_now = look_now
        self._loop = asyncio.get_running_loop()
        self._watch = watch
        watch.call_when_done(self._end)
        if self._calls:
            self._look()

    def call(self) -> None:
        """Somebody has called; the loop may be another than the task's."""
        self._calls += 1
        if self._watch is None or self._calls > _MOST_CALLS:
            return
        if self._loop is asyncio.get_running_loop():
            self._look()
            return
        with suppress(RuntimeError):  # the task's loop is closed, and its session with it
            self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        watch = self._watch
        if watch is not None and not watch.wants_look:
            self._look_now(watch)

    def _end(self, _: Watch) -> None:
        self._watch = None
        self._on_end()


class WebhookReceiver:
    """Takes the service's callbacks, in your app, for tasks of any session of this process.

    A call only ever means "look now": the receiver needs no secret and believes nobody, and where
    no call comes, a task is looked at as without it.

    ``receiver = WebhookReceiver("https://my.app/hooks")``, mounted in the app that answers there
    (`aiohttp_app` or `asgi`), and for each Run a url of its own:
    ``wiro.run(model, params, callback_url=receiver.url_for())``.

    Args:
        base_url: where the service reaches this very process, with the prefix under which the
            receiver is mounted.

    Raises:
        ConfigurationError: if that is no http or https url, or more than an address and a path.
    """

    def __init__(self, base_url: str) -> None:
        # Not shown: it can hold a password or a token of the caller's.
        if not is_web_url(base_url) or any(mark in base_url for mark in "?#@"):
            raise ConfigurationError(
                "the base url of a receiver cannot be used: it is where the service reaches your "
                "app and where the receiver is mounted in it, such as https://my.app/hooks, "
                "without a user, a query or a fragment"
            )
        self._base_url = base_url.rstrip("/")
        self._urls: WeakValueDictionary[str, CallbackUrl] = WeakValueDictionary()
        self._ended: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<WebhookReceiver of {len(self._urls)} urls>"

    def url_for(self) -> str:
        """A url for one Run, to be given to `WiroSession.run` as it is.

        One and the same is not taken for a second task. A text made of it (by ``str()``, an
        f-string, JSON) is not known here: hold on to what this gives until the Run has it.
        """
        key = secrets.token_urlsafe(_KEY_BYTES)
        url = CallbackUrl(f"{self._base_url}/{key}", lambda: self._forget(key))
        self._urls[key] = url
        return url

    def aiohttp_app(self) -> web.Application:
        """A new application, for ``app.add_subapp("/hooks", receiver.aiohttp_app())``."""
        from aiohttp import web  # noqa: PLC0415 - most who have a session serve nothing

        async def take(request: web.Request) -> web.Response:
            status = self._take(request.method, request.path)
            if status == _OK and not request.content.is_eof():
                # Who is slow, gone, or sends no valid body has been heard all the same; the first
                # is an OSError too.
                with suppress(OSError, web.RequestPayloadError):
                    await _hear_out(request)
            headers = {"Allow": _ALLOWED} if status == _WRONG_METHOD else None
            return web.Response(status=status, headers=headers)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", take)
        return app

    @property
    def asgi(self) -> Callable[[_Message, _Receive, _Send], Awaitable[None]]:
        """An ASGI 3 application, for ``app.mount("/hooks", receiver.asgi)``.

        To a kind of connection that it does not know it raises a `ValueError`, as ASGI asks for.
        """

        # Not a bound method: uvicorn takes what is no plain function for an ASGI 2 application.
        async def app(scope: _Message, receive: _Receive, send: _Send) -> None:
            await self._serve(scope, receive, send)

        return app

    async def _serve(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        elif scope["type"] == "lifespan":
            kind = ""
            while kind != "lifespan.shutdown":
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
        else:
            raise ValueError(f"a receiver of callbacks does not serve {scope['type']!r}")

    async def _answer(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        status = self._take(scope["method"], scope["path"])
        if status == _OK and not await _is_still_there(receive):
            return
        headers = [(b"content-length", b"0")]
        if status == _WRONG_METHOD:
            headers.append((b"allow", _ALLOWED.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body"})

    def _take(self, method: str, path: str) -> int:
        """Take the hint that is in a request; the status to answer with."""
        if method != _ALLOWED:
            return _WRONG_METHOD
        key = path.rpartition("/")[2]
        url = self._urls.get(key)
        if url is not None:
            url.call()
        return _OK if url is not None or key in self._ended else _NOT_FOUND

    def _forget(self, key: str) -> None:
        self._ended[key] = None
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]


async def _hear_out(request: web.Request) -> None:
    """Read what is sent, to its end or the bound."""
    size = 0
    async with asyncio.timeout(_MOST_BODY_SECONDS):
        while size <= _MOST_BODY_BYTES and not request.content.at_eof():
            size += len(await request.content.readany())


async def _is_still_there(receive: _Receive) -> bool:
    """Read what is sent, to its end or the bound; whether anybody waits for an answer."""
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_MOST_BODY_SECONDS):
            while size <= _MOST_BODY_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return False
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    break
    return True
