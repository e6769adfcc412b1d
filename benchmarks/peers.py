"""Other services' clients, as their own pages tell to use them.

Only addresses and credentials are set. Each has its own service (`benchmarks/peer_service.py`)
with the same tasks; the file is fetched with httpx, which all of them bring along.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from benchmarks.jobs import Arm, Job, Leave, crowd


async def _fetch(http: Any, url: str, job: Job, number: int) -> None:  # noqa: ANN401 - httpx's
    response = await http.get(url)
    response.raise_for_status()
    (job.out / f"{number}.png").write_bytes(response.content)


async def run_fal(job: Job) -> None:
    """Run with fal_client's `subscribe`.

    It writes ``https://`` before whatever host it is told by `FAL_QUEUE_RUN_HOST`. That one
    constant is changed; all else is its own.
    """
    client: Any = import_module("fal_client.client")
    client.QUEUE_URL_FORMAT = f"{job.base_url}/"
    fal = client.AsyncClient(key="key")
    async with import_module("httpx").AsyncClient() as http:

        async def one(number: int, prompt: str, params: Mapping[str, str], _: Leave) -> str:
            result = await fal.subscribe("fal/model", {"prompt": prompt, **params})
            await _fetch(http, result["images"][0]["url"], job, number)
            return str(result["task"])

        await crowd(job, one)


async def run_replicate(job: Job, *, is_held: bool) -> None:
    """Run with replicate's predictions: the request is held until the end, or it polls."""
    client = import_module("replicate.client").Client(api_token="token", base_url=job.base_url)  # noqa: S106
    async with import_module("httpx").AsyncClient() as http:

        async def one(number: int, prompt: str, params: Mapping[str, str], _: Leave) -> str:
            prediction = await client.predictions.async_create(
                version="5c7d5dc6", input={"prompt": prompt, **params}, wait=is_held
            )
            await prediction.async_wait()
            await _fetch(http, prediction.output[0], job, number)
            return str(prediction.id)

        await crowd(job, one)


async def run_runway(job: Job) -> None:
    """Run with runwayml's `wait_for_task_output`."""
    runway = import_module("runwayml").AsyncRunwayML
    async with (
        runway(api_key="key", base_url=job.base_url) as client,
        import_module("httpx").AsyncClient() as http,
    ):

        async def one(number: int, prompt: str, _: Mapping[str, str], __: Leave) -> str:
            task = await client.text_to_image.create(
                model="gen4_image", prompt_text=prompt, ratio="1024:1024"
            )
            done = await task.wait_for_task_output()
            await _fetch(http, done.output[0], job, number)
            return str(task.id)

        await crowd(job, one)


PEERS: Mapping[str, Arm] = {
    "fal-client": Arm(
        run=run_fal, package="fal-client", modules=("fal_client.client", "httpx"), is_peer=True
    ),
    "replicate, held request": Arm(
        run=lambda job: run_replicate(job, is_held=True),
        package="replicate",
        modules=("replicate.client", "httpx"),
        is_peer=True,
    ),
    "replicate, polling": Arm(
        run=lambda job: run_replicate(job, is_held=False),
        package="replicate",
        modules=("replicate.client", "httpx"),
        is_peer=True,
    ),
    "runwayml": Arm(
        run=run_runway,
        package="runwayml",
        modules=("runwayml", "runwayml.types", "httpx"),
        is_peer=True,
    ),
}
