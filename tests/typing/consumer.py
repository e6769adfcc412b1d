"""A program of somebody who uses the package: type-checked against the wheel, never run."""

# ruff: noqa: T201, C901 - a user's program prints, and catches everything once

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, assert_never, assert_type

from aiohttp import web

from wiro_async import (
    ApiError,
    Batch,
    BatchItem,
    BatchRequest,
    BatchSummary,
    DownloadError,
    InvalidRequest,
    ItemStatus,
    Outcome,
    Output,
    PollSchedule,
    Progress,
    RateLimited,
    RetryPolicy,
    RunOutcomeUnknown,
    SavedFile,
    SourceError,
    SourceOptions,
    Statistics,
    Task,
    TaskCancelled,
    TaskError,
    TaskEvent,
    TaskFailed,
    TaskHandle,
    TaskStatus,
    WebhookReceiver,
    WiroError,
    WiroSession,
    __version__,
    as_completed,
    check_source,
    read_requests,
)

MODEL = "black-forest-labs/flux-pro-1-1-ultra"


Message: TypeAlias = MutableMapping[str, Any]
AsgiApp: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


class Row(TypedDict):
    prompt: str
    seed: int


async def one(wiro: WiroSession) -> None:
    handle = await wiro.run(
        MODEL, {"prompt": "a lighthouse", "seed": 42, "promptUpsampling": False}
    )
    assert_type(handle, TaskHandle)
    assert_type(handle.task_id, str | None)
    assert_type(handle.task, Task | None)
    async for event in handle.stream():
        assert_type(event, TaskEvent)
        assert_type(event.status, str)
        assert_type(event.progress, Progress | None)
        assert_type(event.log, str | None)
        if event.status == TaskStatus.START:
            print(event.elapsed_seconds)
    task = await handle
    assert_type(task, Task)
    assert_type(await handle.wait(timeout_seconds=10), Task)
    assert_type(await handle.stop(), Task)
    assert_type(await handle.download("out"), list[Path])
    assert_type(await handle.download(Path("out")), list[Path])
    assert_type(await handle.save_outputs(Path("out"), stem="fox"), tuple[SavedFile, ...])
    await handle.cancel()
    await handle.kill()
    await handle.delete_files()
    assert_type(wiro.task(token="t"), TaskHandle)
    assert_type(await wiro.list_tasks(limit=5, model=MODEL), tuple[Task, ...])
    assert_type(wiro.statistics, Statistics)


def look_at(task: Task) -> str:
    assert_type(task.outputs, tuple[Output, ...])
    assert_type(task.total_cost, Decimal | None)
    assert_type(task.ended_at, datetime | None)
    assert_type(task.elapsed_seconds, float | None)
    assert_type(task.text, str | None)
    raw: Mapping[str, object] = task.raw
    print(raw)
    match task.outcome:
        case Outcome.RUNNING | Outcome.SUCCEEDED:
            return "well"
        case Outcome.FAILED | Outcome.CANCELLED:
            return "not well"
        case _:
            assert_never(task.outcome)


async def several(wiro: WiroSession) -> None:
    handles = [await wiro.run(MODEL, {"prompt": prompt}) for prompt in ("a fox", "a hen")]
    async for handle in as_completed(handles):
        assert_type(handle, TaskHandle)
        print(handle.status)


def prompts() -> Iterator[str]:
    yield "a fox"


async def requests() -> AsyncIterator[BatchRequest]:
    yield BatchRequest(custom_id="fox", params={"prompt": "a fox"}, metadata={"artist": "Ann"})


async def many(wiro: WiroSession) -> None:
    async with wiro.batch(requests(), output_dir="out", model=MODEL, max_in_flight=50) as batch:
        assert_type(batch, Batch)
        async for item in batch:
            assert_type(item, BatchItem)
            assert_type(item.custom_id, str)
            assert_type(item.paths, tuple[Path, ...])
            assert_type(item.status, ItemStatus)
            assert_type(item.cost, Decimal | None)
            assert_type(item.error, WiroError | None)
            if item.status is ItemStatus.UNKNOWN:
                batch.stop(item.error)
    assert_type(batch.summary, BatchSummary)
    assert_type(batch.summary.cost, Decimal)
    assert_type(batch.summary.stopped_by, WiroError | None)
    rows: list[BatchRequest | str | dict[str, str]] = [{"prompt": "a fox"}, "a hen"]
    for source in (prompts(), ["a fox"], read_requests("prompts.csv"), rows):
        async with wiro.batch(
            source,
            output_dir=Path("out"),
            journal="out/batch.sqlite",
            on_unknown="skip",
            retry_failed=True,
            max_cost=Decimal("12.50"),
        ) as other:
            assert_type(await other.wait(), BatchSummary)


def files() -> None:
    options = SourceOptions(format="csv", columns={"seed": "number"}, model=MODEL)
    assert_type(check_source("prompts.csv", options).requests, int)
    assert_type(read_requests(Path("prompts.csv"), options), Iterator[BatchRequest])


async def called_back(wiro: WiroSession) -> web.Application:
    receiver = WebhookReceiver("https://my.app/hooks")
    assert_type(receiver.url_for(), str)
    await wiro.run(MODEL, {"prompt": "a fox"}, callback_url=receiver.url_for())
    await wiro.run(MODEL, {"prompt": "a fox"}, callback_url="https://my.app/elsewhere")
    async with wiro.batch(["a fox"], output_dir="out", callback_url=receiver.url_for) as batch:
        assert_type(await batch.wait(), BatchSummary)
    # As the frameworks of ASGI 3 have it.
    asgi: AsgiApp = receiver.asgi
    print(asgi)
    app = web.Application()
    app.add_subapp("/hooks", receiver.aiohttp_app())
    # One url is one task's; a batch has many.
    wiro.batch(["a fox"], output_dir="out", callback_url=receiver.url_for())  # type: ignore[arg-type]
    await wiro.run(MODEL, {"prompt": "a fox"}, callback_url=receiver.url_for)  # type: ignore[arg-type]
    WebhookReceiver()  # type: ignore[call-arg]
    return app


async def what_goes_wrong(wiro: WiroSession) -> str | None:
    try:
        await (await wiro.run(MODEL))
    except RunOutcomeUnknown as error:
        assert_type(await error.find(), TaskHandle | None)
        assert_type(error.sent_at, float | None)
    except RateLimited as error:
        assert_type(error.retry_after_seconds, float | None)
    except ApiError as error:
        assert_type(error.code, str | None)
        assert_type(error.http_status, int | None)
    except (TaskFailed, TaskCancelled) as error:
        assert_type(error.task, Task | None)
    except TaskError as error:
        return error.token
    except DownloadError as error:
        return error.url
    except SourceError as error:
        assert_type(error.line, int | None)
    except InvalidRequest as error:
        return error.field
    except WiroError as error:
        return f"{error.kind}: {error.message}"
    return None


async def main() -> None:
    row: Row = {"prompt": "a fox", "seed": 1}
    assert_type(__version__, str)
    async with WiroSession(
        max_in_flight=200,
        poll_schedule=PollSchedule(first_seconds=2),
        retry_policy=RetryPolicy(max_attempts=3),
        task_timeout_seconds=None,
    ) as wiro:
        assert_type(wiro, WiroSession)
        # A mapping of the caller's own kind is as good as a dict.
        await wiro.run(MODEL, {"prompt": row["prompt"], "seed": row["seed"], "tags": ["a", "b"]})
        await one(wiro)
        # What is not a slug, a mapping or a number of seconds is refused by the checker.
        await wiro.run(5, {})  # type: ignore[arg-type]
        await wiro.run(MODEL, "a fox")  # type: ignore[arg-type]
        await wiro.run(MODEL, {"prompt": object()})  # type: ignore[dict-item]
        wiro.batch(5, output_dir="out")  # type: ignore[arg-type]
        wiro.batch(["a fox"])  # type: ignore[call-arg]
        wiro.batch(["a fox"], output_dir="out", on_unknown="guess")  # type: ignore[arg-type]
