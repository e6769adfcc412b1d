"""``wiro run``: one task, its status on the way, its files at the end."""

from __future__ import annotations

from pathlib import Path

from wiro_async.batch.record import check_directory
from wiro_async.batch.results import format_cost
from wiro_async.cli.exits import EXIT_WELL
from wiro_async.cli.service import ServiceOptions, open_session
from wiro_async.cli.show import make_console, plain
from wiro_async.cli.streams import give_out
from wiro_async.errors import DownloadError
from wiro_async.protocol.wording import one_line
from wiro_async.task import JsonObject, Task, TaskEvent


async def run_one(options: ServiceOptions, model: str, params: JsonObject, out: Path) -> int:
    """Run the model; the paths of its files, or its text, go to standard output.

    Raises:
        OutputDirectoryError: if files cannot be written to `out`.
        WiroError: whatever the task ends with.
    """
    check_directory(out)
    console = make_console()
    async with open_session(options) as session:
        handle = await session.run(model, params)
        names = one_line(f"task {handle.task_id} (token {handle.token})")
        console.print(plain(names), soft_wrap=True)
        async for event in handle.stream():
            words = f"{event.elapsed_seconds:6.1f} s  {describe_event(event)}"
            console.print(plain(words), soft_wrap=True)
        task = await handle
        _give_out(task, await handle.download(out), names)
        if not task.outputs:
            console.print(plain("the task succeeded without any output"))
        if task.total_cost is not None:
            console.print(plain(f"cost {format_cost(task.total_cost)}"))
    return EXIT_WELL


def describe_event(event: TaskEvent) -> str:
    """A status, and the news that came with it, on one line."""
    news, progress = event.log, event.progress
    if progress is not None and progress.percentage is not None:
        news = f"{progress.percentage:.0f} %"
    elif progress is not None and progress.step is not None and progress.steps is not None:
        news = f"step {progress.step} of {progress.steps}"
    elif event.text is not None:
        news = f"{len(event.text)} characters so far"
    elif event.thinking is not None:
        news = "thinking"
    return one_line(event.status) if news is None else f"{one_line(event.status)}  {one_line(news)}"


def _give_out(task: Task, paths: list[Path], names: str) -> None:
    try:
        for path in paths:
            give_out(path)
        if task.text is not None:
            give_out(task.text)
    except OSError as error:
        raise DownloadError(
            f"standard output cannot be written: {error.strerror or error}. {names} has succeeded "
            "and is paid: its files are on disk, its text can be asked for again by these names",
            path="standard output",
            task_id=task.id,
            token=task.token,
        ) from None
