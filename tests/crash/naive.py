"""The client that people write: a semaphore, three tries of everything, a file of results.

It is here to be caught. It means well: it waits for its tasks, it tries again what fails, it
goes on after a crash with what its results lack. And it pays twice, since a Run that fails on
the way is a Run that may have been processed, and one that was answered is remembered only when
its picture is there.

    python -m tests.crash.victim time:1 -- naive prompts.csv out
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

_MODEL = "black-forest-labs/flux-pro-1-1-ultra"
_TRIES = 3
_TASKS_AT_ONCE = 20
_SECONDS_BETWEEN_LOOKS = 0.05
_SERVER_ERROR = 500


class Unlucky(Exception):
    """Raised when the service says no."""


@define
class Naive:
    http: aiohttp.ClientSession
    out: Path
    places: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(_TASKS_AT_ONCE))

    async def one(self, row: Mapping[str, str]) -> bool:
        """Run a row, and tell whether its picture is there."""
        async with self.places:
            try:
                await self._one(row)
            except Exception as error:  # noqa: BLE001 - so do its kind
                sys.stderr.write(f"{row['custom_id']}: {error!r}\n")
                return False
        return True

    async def _one(self, row: Mapping[str, str]) -> None:
        params = {name: value for name, value in row.items() if name != "custom_id"}
        started = await self._post(f"/Run/{_MODEL}", params)
        task: dict[str, Any] = {"status": ""}
        while task["status"] != "task_postprocess_end":
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            answer = await self._post("/Task/Detail", {"taskid": started["taskid"]})
            task = answer["tasklist"][0]
            if task["status"] == "task_error":
                raise Unlucky(task["debugerror"])
        output = task["outputs"][0]
        picture = await self._get(output["url"])
        path = self.out / f"{row['custom_id']}.{output['name'].rpartition('.')[2]}"
        path.write_bytes(picture)
        digest = hashlib.sha256(picture).hexdigest()
        line = {
            "custom_id": row["custom_id"],
            "status": "succeeded",
            "task_id": started["taskid"],
            "params": params,
            "files": [{"path": path.name, "size_bytes": len(picture), "sha256": digest}],
        }
        with (self.out / "results.jsonl").open("a") as results:
            results.write(json.dumps(line) + "\n")

    async def _post(self, path: str, body: Mapping[str, str]) -> dict[str, Any]:
        for attempt in range(_TRIES):
            try:
                return await self._ask(path, body)
            except Exception:
                if attempt == _TRIES - 1:
                    raise
                await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        raise AssertionError

    async def _ask(self, path: str, body: Mapping[str, str]) -> dict[str, Any]:
        key, secret = os.environ["WIRO_API_KEY"], os.environ["WIRO_API_SECRET"]
        nonce = str(time.time_ns())
        signature = hmac.new(key.encode(), f"{secret}{nonce}".encode(), hashlib.sha256).hexdigest()
        headers = {"x-api-key": key, "x-nonce": nonce, "x-signature": signature}
        url = os.environ["WIRO_BASE_URL"] + path
        async with self.http.post(url, json=body, headers=headers) as response:
            if response.status >= _SERVER_ERROR:
                raise Unlucky(f"HTTP {response.status}")
            answer: dict[str, Any] = await response.json()
        if not answer["result"]:
            raise Unlucky(str(answer["errors"]))
        return answer

    async def _get(self, url: str) -> bytes:
        for attempt in range(_TRIES):
            try:
                async with self.http.get(url) as response:
                    response.raise_for_status()
                    return await response.read()
            except aiohttp.ClientError:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError


def remaining(rows: list[dict[str, str]], results: Path) -> list[dict[str, str]]:
    """Leave out what the results have already."""
    if not results.exists():
        return rows
    done = {json.loads(line)["custom_id"] for line in results.read_text().splitlines()}
    return [row for row in rows if row["custom_id"] not in done]


async def run(rows: list[dict[str, str]], out: Path) -> bool:
    async with aiohttp.ClientSession() as http:
        client = Naive(http, out)
        return all(await asyncio.gather(*map(client.one, rows)))


def main(arguments: Sequence[str]) -> int:
    """Run what is left of the prompts; 0 if all pictures are there then, else 1."""
    prompts, out = map(Path, arguments)
    out.mkdir(exist_ok=True)
    with prompts.open(newline="") as file:
        rows = remaining(list(csv.DictReader(file)), out / "results.jsonl")
    return 0 if asyncio.run(run(rows, out)) else 1
