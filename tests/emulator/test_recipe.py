"""The model page's shell recipe, run by a shell, against the emulator."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from wiro_async.emulator import Emulator

SCRIPT = Path(__file__).with_name("official_recipe.sh")


async def test_the_official_recipe_works() -> None:
    missing = [tool for tool in ("sh", "curl", "openssl", "sed") if shutil.which(tool) is None]
    if missing:
        pytest.fail(f"the recipe needs {', '.join(missing)} on the PATH: install and run again")
    # The middle of the recipe's own values of a model that takes a while.
    async with Emulator(median_seconds=1000.0, picture_pixels=0) as emulator:
        process = await asyncio.create_subprocess_exec(
            "sh",
            str(SCRIPT),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "YOUR_API_KEY": emulator.api_key,
                "YOUR_API_SECRET": emulator.api_secret or "",
                "BASE_URL": emulator.base_url,
                "no_proxy": "127.0.0.1",
            },
        )
        output, complaint = await process.communicate()
        assert process.returncode == 0, complaint.decode()
        run, by_id, by_token = map(json.loads, output.decode().splitlines())
        (booked,) = emulator.books.tasks.values()
        assert run == {
            "errors": [],
            "taskid": booked.id,
            "socketaccesstoken": booked.token,
            "result": True,
        }
        assert by_id == by_token
        (task,) = by_id["tasklist"]
        assert task["status"] == "task_queue"
        assert task["callbackurl"].startswith("You can provide a callback URL;")
        assert task["parameters"]["seed"] == "42"
        assert booked.prompt.startswith("A quiet, sun-drenched Los Angeles street")
        assert booked.prompt.endswith("high detail, 8K.")
        assert emulator.books.answers == {"ok": 3}
