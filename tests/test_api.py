from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from itertools import pairwise

import pytest

from tests.api_calls import HTML, NOT_SENT, UNKNOWN, Step, look, run, steps
from tests.keepers import Notebook
from tests.scripted_service import (
    FLUX,
    KEY,
    SECRET,
    Asked,
    ScriptedTransport,
    answered,
    make_api,
    record,
    refused,
    started,
    too_fast,
)
from tests.virtual_time import now, run_virtual
from wiro_async.api import Api
from wiro_async.errors import (
    NotFound,
    OutcomeUnknown,
    ServerError,
    SessionStateError,
)
from wiro_async.protocol.responses import Answer
from wiro_async.protocol.retry import RetryPolicy


class TestSigning:
    def check(self, asked: Asked) -> int:
        nonce = asked.headers["x-nonce"]
        message = (SECRET + nonce).encode()
        assert asked.headers["x-api-key"] == KEY
        expected = hmac.new(KEY.encode(), message, hashlib.sha256).hexdigest()
        assert asked.headers["x-signature"] == expected
        assert set(asked.headers) == {"x-api-key", "x-nonce", "x-signature"}
        return int(nonce)

    def test_every_attempt_of_every_session_has_a_nonce_of_its_own(self) -> None:
        failures = (too_fast("1"), too_fast(None), NOT_SENT, NOT_SENT)
        transports = [ScriptedTransport(steps(*failures, started())) for _ in range(3)]

        async def scenario() -> None:
            await asyncio.gather(*[run(make_api(transport)) for transport in transports])

        run_virtual(scenario())
        nonces = [self.check(asked) for one in transports for asked in one.asked]
        assert len(nonces) == len(set(nonces)) == 15
        assert all(nonce > 1_600_000_000_000_000 for nonce in nonces)

    def test_a_project_without_a_secret_sends_its_key_alone(self) -> None:
        transport = ScriptedTransport(steps(started()))

        async def scenario() -> None:
            await run(make_api(transport, secret=None))

        run_virtual(scenario())
        assert [asked.headers for asked in transport.asked] == [{"x-api-key": KEY}]


class TestReads:
    @pytest.mark.parametrize("step", [UNKNOWN, NOT_SENT, HTML, answered({}, http_status=503)])
    def test_they_are_repeated_with_growing_waits(self, step: Step) -> None:
        transport = ScriptedTransport(steps(step, step, step, record("1", "task_start")))

        async def scenario() -> str:
            return await look(make_api(transport))

        assert run_virtual(scenario()) == "task_start"
        waits = [later - earlier for earlier, later in pairwise(transport.times("/Task/Detail"))]
        assert waits == pytest.approx([0.375, 0.75, 1.5])

    def test_they_end_with_the_last_failure(self) -> None:
        transport = ScriptedTransport(steps(UNKNOWN, HTML))

        async def scenario() -> None:
            with pytest.raises(ServerError):
                await look(make_api(transport))

        run_virtual(scenario())
        assert len(transport.asked) == RetryPolicy().max_attempts

    def test_an_outage_costs_the_budget_and_no_more(self) -> None:
        transport = ScriptedTransport(steps(UNKNOWN))

        async def scenario() -> None:
            api = make_api(transport, policy=RetryPolicy(budget=200))
            looks = [look(api) for _ in range(100)]
            results = await asyncio.gather(*looks, return_exceptions=True)
            assert all(type(result) is OutcomeUnknown for result in results)
            assert api.repeats == 20
            assert api.requests == {"/Task/Detail": 120}

        run_virtual(scenario())
        assert len(transport.asked) == 120

    def test_an_outage_ends_with_the_first_answer_and_says_so(self) -> None:
        failures = [UNKNOWN] * 10
        transport = ScriptedTransport(steps(*failures, refused(1, "tool-not-accessible")))
        told: list[float] = []

        async def scenario() -> None:
            api = make_api(transport, policy=RetryPolicy(max_attempts=1))
            api.on_recovered = lambda: told.append(now())
            for _ in failures:
                assert not api.patience.outage.is_on
                with pytest.raises(OutcomeUnknown):
                    await look(api)
            assert api.patience.outage.is_on
            for _ in range(2):
                with pytest.raises(NotFound):
                    await look(api)
            assert not api.patience.outage.is_on

        run_virtual(scenario())
        assert len(told) == 1

    def test_successes_fill_the_budget_again(self) -> None:
        good = record("1", "task_start")
        transport = ScriptedTransport(steps(UNKNOWN, *[good] * 10, UNKNOWN, good, UNKNOWN, UNKNOWN))

        async def scenario() -> None:
            api = make_api(transport, policy=RetryPolicy(budget=10))
            for _ in range(11):
                await look(api)
            with pytest.raises(OutcomeUnknown):
                await look(api)

        run_virtual(scenario())
        assert len(transport.asked) == 14


class TestClosed:
    def test_nothing_goes_out_any_more(self) -> None:
        transport = ScriptedTransport(steps(started()))

        async def scenario() -> None:
            api = make_api(transport)
            await api.aclose()
            with pytest.raises(SessionStateError, match="not sent"):
                await run(api)
            with pytest.raises(SessionStateError, match="not sent"):
                await look(api)

        run_virtual(scenario())
        assert transport.asked == []

    def test_it_waits_for_the_runs_on_the_wire(self) -> None:
        async def script(_: Asked) -> Answer:
            await asyncio.sleep(7)
            return started()

        async def scenario() -> None:
            api = make_api(ScriptedTransport(script))
            running = asyncio.ensure_future(run(api))
            await asyncio.sleep(1)
            await api.aclose()
            assert now() == 7
            assert await running == "2221"

        run_virtual(scenario())

    def test_on_another_loop_it_says_so(self) -> None:
        transport = ScriptedTransport(steps(started()))

        async def make() -> Api:
            return make_api(transport)

        api = run_virtual(make())

        async def scenario() -> None:
            with pytest.raises(SessionStateError, match="another event loop"):
                await run(api)

        run_virtual(scenario())
        with pytest.raises(SessionStateError, match="another event loop"):
            api.require_loop()
        assert transport.asked == []


def test_a_cancelled_run_that_failed_is_told_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeper = Notebook()

    async def script(_: Asked) -> Answer:
        await asyncio.sleep(5)
        raise UNKNOWN

    async def scenario() -> None:
        api = make_api(ScriptedTransport(script))
        running = asyncio.ensure_future(api.run(FLUX, {}, keeper))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (now(), keeper.told) == (5, ["before sending", "before body", "unknown"])

    with caplog.at_level(logging.DEBUG, logger="wiro_async"):
        run_virtual(scenario())
    assert "OutcomeUnknown" in caplog.text
    assert KEY not in caplog.text
