"""How these tests talk to an emulator: plain aiohttp, signed by hand, none of our client."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs

from wiro_async.emulator import Emulator

FLUX = "Run/black-forest-labs/flux-pro-1-1-ultra"
ECHO = "Run/wiro-emulator/echo-llm"
REPAINT = "Run/wiro-emulator/repaint"


def headers_for(key: str, secret: str | None, nonce: str = "1734513807") -> dict[str, str]:
    if secret is None:
        return {"x-api-key": key}
    signature = hmac.new(key.encode(), (secret + nonce).encode(), hashlib.sha256).hexdigest()
    return {"x-api-key": key, "x-nonce": nonce, "x-signature": signature}


@attrs.frozen
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    @property
    def error(self) -> tuple[int, str]:
        (error,) = self.json["errors"]
        return error["code"], error["message"]

    @property
    def task(self) -> dict[str, Any]:
        (task,) = self.json["tasklist"]
        return dict(task)


@attrs.frozen
class Asker:
    emulator: Emulator
    http: aiohttp.ClientSession

    async def __call__(self, endpoint: str, fields: object = None, **request: Any) -> Reply:  # noqa: ANN401 (aiohttp's options)
        """POST to an endpoint, signed, with `fields` as JSON unless other data is given."""
        headers = headers_for(self.emulator.api_key, self.emulator.api_secret)
        headers.update(request.pop("headers", {}))
        if "data" not in request:
            request["json"] = {} if fields is None else fields
        url = f"{self.emulator.base_url}/{endpoint}"
        async with self.http.post(url, headers=headers, **request) as response:
            return await _read(response)

    async def get(self, url: str, **request: Any) -> Reply:  # noqa: ANN401 (the same)
        async with self.http.get(url, **request) as response:
            return await _read(response)

    async def detail(self, task_id: str) -> dict[str, Any]:
        return (await self("Task/Detail", {"taskid": task_id})).task

    async def finish(self, task_id: str) -> dict[str, Any]:
        """Ask until the task is terminal; the emulator's speed makes that soon."""
        while True:
            task = await self.detail(task_id)
            if task["status"] in {"task_postprocess_end", "task_cancel", "task_error"}:
                return task

    async def run(self, prompt: str = "a lighthouse", **fields: object) -> str:
        reply = await self(FLUX, {"prompt": prompt, **fields})
        return str(reply.json["taskid"])


async def _read(response: aiohttp.ClientResponse) -> Reply:
    body = await response.read()
    is_json = response.content_type == "application/json"
    return Reply(
        response.status, response.headers, body, await response.json() if is_json else None
    )


@asynccontextmanager
async def asking(**settings: Any) -> AsyncIterator[Asker]:  # noqa: ANN401 (Emulator's)
    """Open a fast emulator that does not draw, unless told otherwise, and ask it."""
    settings = {"speed": 1000.0, "picture_pixels": 0, **settings}
    async with Emulator(**settings) as emulator, aiohttp.ClientSession() as http:
        yield Asker(emulator, http)
