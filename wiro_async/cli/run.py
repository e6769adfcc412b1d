"""``wiro run``: one task, its status on the way, its files at the end."""

from __future__ import annotations

import sys
from pathlib import Path

from wiro_async.batch.record import check_directory
from wiro_async.batch.results import format_cost
from wiro_async.cli.exits import EXIT_WELL
from wiro_async.cli.service import ServiceOptions, open_session
from wiro_async.cli.show import make_console, plain
from wiro_async.task import JsonObject


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
        console.print(plain(f"task {handle.task_id} (token {handle.token})"), soft_wrap=True)
        async for event in handle.stream():
            console.print(plain(f"{event.elapsed_seconds:6.1f} s  {event.status}"))
        task = await handle
        for path in await handle.download(out):
            sys.stdout.write(f"{path}\n")
        if task.text is not None:
            sys.stdout.write(f"{task.text}\n")
        if not task.outputs:
            console.print(plain("the task succeeded without any output"))
        if task.total_cost is not None:
            console.print(plain(f"cost {format_cost(task.total_cost)}"))
    return EXIT_WELL
