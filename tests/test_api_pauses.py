from __future__ import annotations

import asyncio

import pytest

from tests.api_calls import look, run, steps
from tests.scripted_service import (
    Asked,
    ScriptedTransport,
    answered,
    make_api,
    record,
    started,
    too_fast,
)
from tests.virtual_time import now, run_virtual
from wiro_async.errors import (
    RateLimited,
    RunOutcomeUnknown,
    ServerError,
)
from wiro_async.protocol.responses import Answer
from wiro_async.protocol.retry import RetryPolicy


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
            told = r"wait of 3600 s, RetryPolicy\.max_pause_seconds is 120 s"
            with pytest.raises(RateLimited, match=told) as caught:
                await ask(make_api(transport))
            assert caught.value.retry_after_seconds == 3600
            assert now() == 0

        run_virtual(scenario())
        assert len(transport.asked) == 1

    def test_a_pause_above_the_cap_holds_the_others_for_as_long_as_the_cap(self) -> None:
        transport = ScriptedTransport(steps(too_fast("3600"), record("1", "task_start")))

        async def scenario() -> None:
            api = make_api(transport, policy=RetryPolicy(max_pause_seconds=50))
            with pytest.raises(RateLimited):
                await look(api)
            assert await look(api) == "task_start"
            assert now() == 50

        run_virtual(scenario())

    @pytest.mark.parametrize("retry_after", [None, "0", "Sun, 01 Mar 1970 00:00:00 GMT", "nan"])
    @pytest.mark.parametrize("ask", [look, run])
    def test_without_a_wait_to_come_each_429_waits_longer(
        self, ask: type, retry_after: str | None
    ) -> None:
        transport = ScriptedTransport(steps(too_fast(retry_after)))

        async def scenario() -> None:
            with pytest.raises(RateLimited):
                await ask(make_api(transport))
            assert now() > 180

        run_virtual(scenario())
        assert len(transport.asked) == RetryPolicy().max_rate_limited

    @pytest.mark.parametrize(("retry_after", "wait"), [("30", 30), ("9999", 120), ("0", 0.375)])
    def test_a_503_that_asks_for_a_wait_gets_it_for_its_own_request(
        self, retry_after: str, wait: float
    ) -> None:
        down = answered({}, http_status=503, retry_after=retry_after)
        transport = ScriptedTransport(steps(down, record("1", "task_start")))

        async def scenario() -> None:
            api = make_api(transport)
            first = asyncio.ensure_future(look(api))
            await asyncio.sleep(0.1)
            assert await look(api) == "task_start"
            assert now() == pytest.approx(0.1), "nobody else waits"
            assert await first == "task_start"
            assert now() == wait

        run_virtual(scenario())

    def test_a_503_for_ever_says_what_it_asked_for(self) -> None:
        down = answered({}, http_status=503, retry_after="7")

        async def scenario() -> None:
            with pytest.raises(ServerError, match="wait of 7 s") as caught:
                await look(make_api(ScriptedTransport(steps(down))))
            assert caught.value.retry_after_seconds == 7
            assert now() == 28

        run_virtual(scenario())

    def test_a_503_to_a_run_leaves_it_unknown(self) -> None:
        down = answered({}, http_status=503, retry_after="7")
        transport = ScriptedTransport(steps(down, started()))

        async def scenario() -> None:
            with pytest.raises(RunOutcomeUnknown, match="wait of 7 s"):
                await run(make_api(transport))

        run_virtual(scenario())
        assert len(transport.asked) == 1
