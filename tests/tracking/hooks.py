"""Callers of a receiver, without a wire: an ASGI server by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

from wiro_async.tracking.webhook import WebhookReceiver

BASE = "https://my.app/hooks"
Message = MutableMapping[str, Any]


@define
class Server:
    """One connection of an ASGI server.

    Attributes:
        incoming: what `receive` gives; when it is used up nothing comes any more.
        sent: what the app has sent.
        reads: how many messages the app has taken.
    """

    incoming: Iterable[Message] = ()
    sent: list[Message] = field(factory=list)
    reads: int = 0

    async def serve(self, receiver: WebhookReceiver, **scope: object) -> None:
        messages = iter(self.incoming)

        async def receive() -> Message:
            for message in messages:
                self.reads += 1
                return message
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return] # never

        async def send(message: Message) -> None:
            self.sent.append(message)

        await receiver.asgi(scope, receive, send)

    async def post(self, receiver: WebhookReceiver, path: str, method: str = "POST") -> int | None:
        """The status that was answered; None for no answer."""
        await self.serve(receiver, type="http", method=method, path=path, headers=[])
        if not self.sent:
            return None
        start, body = self.sent
        assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
        assert (b"content-length", b"0") in start["headers"]
        assert not body.get("body")
        return int(start["status"])


def part(body: bytes = b"{}", *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def call(receiver: WebhookReceiver, url: str, method: str = "POST") -> int | None:
    """Call a url as the service would."""
    return await Server([part()]).post(receiver, urlsplit(url).path, method)
