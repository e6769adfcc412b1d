"""A runner that has its tasks called for hands everything else on as it came."""

from __future__ import annotations

from unittest import mock

from tests.batch.source_cases import FLUX
from tests.keepers import Notebook
from tests.virtual_time import run_virtual
from wiro_async.batch.callbacks import CallingRunner
from wiro_async.batch.runner import Runner
from wiro_async.protocol.matching import LostRun

LOST = LostRun(key="1", model=FLUX, params={}, sent_at=0.0)


def test_only_a_run_is_given_a_url() -> None:
    inner = mock.AsyncMock(spec=Runner)
    urls = iter(["https://my.app/1", "https://my.app/2"])
    runner = CallingRunner(inner, lambda: next(urls))
    keeper, prompt = Notebook(), {"prompt": "a fox"}

    async def scene() -> None:
        for number in (1, 2):
            await runner.start(FLUX, prompt, keeper)
            sent = {**prompt, "callbackUrl": f"https://my.app/{number}"}
            inner.start.assert_awaited_with(FLUX, sent, keeper)
        assert await runner.adopt(FLUX, task_id="1", token="t") is inner.adopt.return_value
        inner.adopt.assert_awaited_with(FLUX, task_id="1", token="t")
        assert await runner.find(LOST) is inner.find.return_value
        inner.find.assert_awaited_with(LOST, None)
        assert await runner.price(FLUX, prompt) is inner.price.return_value
        inner.price.assert_awaited_with(FLUX, prompt)
        assert runner.statistics is inner.statistics

    run_virtual(scene())
    assert prompt == {"prompt": "a fox"}
