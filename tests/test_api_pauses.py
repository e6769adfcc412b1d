from __future__ import annotations

import asyncio

import pytest

from tests.api_calls import look, run, steps
from tests.scripted_service import (
    Asked,
    ScriptedTransport,
    make_api,
    record,
    too_fast,
)
from tests.virtual_time import now, run_virtual
from wiro_async.errors import (
    RateLimited,
)
from wiro_async.protocol.responses import Answer


class TestPauses:
    def test_a_429_stops_every_request_of_the_session(self) -> None:
        async def script(asked: Asked) -> Answer:
            return too_fast("60") if asked.at < 1 else record("1", "task_start")

        transport = ScriptedTransport(script)

        async def scenario() -> None:
            api = make_api(transport)
            first = asyncio.ensure_future(look(api))
            await asyncio.sleep(2)
            await asyncio.gather(first, *[look(api) for _ in range(20)])
            assert api.repeats == 1

        run_virtual(scenario())
        assert transport.times("/Task/Detail")[0] == 0
        assert len(transport.asked) == 22
        assert all(at >= 60 for at in transport.times("/Task/Detail")[1:])

    def test_a_second_429_during_the_wait_holds_too(self) -> None:
        async def script(asked: Asked) -> Answer:
            await asyncio.sleep(1)
            if asked.at == 0:
                first = asked is transport.asked[0]
                return too_fast("10") if first else await self.later()
            return record("1", "task_start")

        transport = ScriptedTransport(script)

        async def scenario() -> None:
            api = make_api(transport)
            early = [asyncio.ensure_future(look(api)) for _ in range(2)]
            await asyncio.sleep(2)
            await asyncio.gather(*early, look(api))

        run_virtual(scenario())
        assert all(at >= 25 for at in transport.times("/Task/Detail")[2:])

    async def later(self) -> Answer:
        await asyncio.sleep(4)
        return too_fast("20")

    @pytest.mark.parametrize("ask", [look, run])
    def test_a_pause_above_the_cap_is_told_at_once(self, ask: type) -> None:
        transport = ScriptedTransport(steps(too_fast("3600")))

        async def scenario() -> None:
            with pytest.raises(RateLimited, match="3600 s") as caught:
                await ask(make_api(transport))
            assert caught.value.retry_after_seconds == 3600
            assert now() == 0

        run_virtual(scenario())
        assert len(transport.asked) == 1
