"""Sweeps the whole way to the emulator on this machine."""

from __future__ import annotations

import asyncio

from tests.scripted_service import FLUX
from wiro_async.emulator import Emulator
from wiro_async.session import WiroSession


async def test_forty_tasks_are_swept_over_real_sockets() -> None:
    async with (
        Emulator(picture_pixels=0, median_seconds=1.0, sigma=0.2) as emulator,
        WiroSession(
            emulator.api_key,
            emulator.api_secret,
            base_url=emulator.base_url,
            tracking="sweep",
        ) as session,
    ):
        handles = await asyncio.gather(
            *(session.run(FLUX, {"prompt": str(number)}) for number in range(40))
        )
        tasks = await asyncio.gather(*handles)
        assert all(task.succeeded for task in tasks)
        assert session._sweeps is not None
        assert session._sweeps.trust.is_proven
        assert emulator.books.requests["Task/List"] >= 2
        assert emulator.books.violations == []
