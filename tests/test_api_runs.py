from __future__ import annotations

import time

import pytest

from tests.api_calls import HTML, NOT_SENT, UNKNOWN, Step, run, steps
from tests.scripted_service import (
    FLUX,
    ScriptedTransport,
    answered,
    full,
    make_api,
    refused,
    started,
    too_fast,
)
from tests.virtual_time import now, run_virtual
from wiro_async.errors import (
    AuthenticationFailed,
    ConcurrencyLimitReached,
    InsufficientBalance,
    NotFound,
    RateLimited,
    RequestNotSent,
    RequestRefused,
    RunOutcomeUnknown,
    WiroError,
)
from wiro_async.protocol.responses import Answer
from wiro_async.protocol.retry import RetryPolicy


class TestRun:
    def outcome(self, *given: Step, policy: RetryPolicy | None = None) -> tuple[object, int]:
        """What a Run ends with, and how many attempts went out."""
        transport = ScriptedTransport(steps(*given))

        async def scenario() -> object:
            try:
                return await run(make_api(transport, policy=policy))
            except WiroError as error:
                return error

        return run_virtual(scenario()), len(transport.asked)

    def test_what_was_not_sent_is_sent_again(self) -> None:
        assert self.outcome(NOT_SENT, NOT_SENT, started()) == ("2221", 3)

    def test_it_is_given_up_when_the_service_is_never_reached(self) -> None:
        error, attempts = self.outcome(NOT_SENT)
        assert type(error) is RequestNotSent
        assert attempts == RetryPolicy().max_attempts

    @pytest.mark.parametrize(
        "step",
        [
            UNKNOWN,
            HTML,
            answered({}, http_status=500),
            answered({"result": True}, http_status=502),
            answered({"result": True, "errors": []}),
            answered("half an answer"),
            Answer(http_status=200, body=b'{"taskid": "22'),
            Answer(http_status=200, body=b""),
            Answer(http_status=307, body=b""),
            refused(0, "Something went wrong."),
            refused("0", "Rate limit of an inner service"),
        ],
        ids=str,
    )
    def test_what_may_have_made_a_task_is_sent_exactly_once(self, step: Step) -> None:
        before = time.time()
        error, attempts = self.outcome(step, started())
        assert attempts == 1
        assert isinstance(error, RunOutcomeUnknown)
        assert error.model == FLUX
        assert error.params == {"prompt": "a lighthouse", "seed": "7"}
        assert error.sent_at is not None
        assert before <= error.sent_at <= time.time()
        assert error.evidence
        assert error.endpoint
        assert "dashboard" in error.message
        assert FLUX in error.message

    def test_sent_at_is_the_time_of_the_attempt_and_not_of_the_call(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "time", lambda: 1_700_000_000 + now())
        error, _ = self.outcome(too_fast("50"), UNKNOWN)
        assert isinstance(error, RunOutcomeUnknown)
        assert error.sent_at == pytest.approx(1_700_000_050, abs=1)

    @pytest.mark.parametrize(
        ("step", "kind"),
        [
            (answered({}, http_status=401), AuthenticationFailed),
            (refused(98, "Please sign in"), AuthenticationFailed),
            (refused("99", "token invalid"), AuthenticationFailed),
            (refused(97, "Insufficient balance"), InsufficientBalance),
            (refused(0, "Request parameter [prompt] required"), RequestRefused),
            (refused(1, "tool-not-accessible"), NotFound),
            (full(5), ConcurrencyLimitReached),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_a_refusal_is_final(self, step: Step, kind: type[WiroError]) -> None:
        error, attempts = self.outcome(step, started())
        assert (type(error), attempts) == (kind, 1)

    def test_a_bad_status_with_a_task_in_it_is_a_task(self) -> None:
        body = answered({"taskid": "5", "errors": ["late"]}, http_status=500)
        assert self.outcome(body) == ("5", 1)

    def test_an_answer_that_breaks_off_behind_the_task_s_id_is_a_task(self) -> None:
        body = b'{"errors":[],"taskid":"5","socketaccesstoken":"eDc'
        assert self.outcome(Answer(http_status=200, body=body)) == ("5", 1)

    def test_too_many_429s_in_a_row_end_it(self) -> None:
        error, attempts = self.outcome(too_fast("1"), policy=RetryPolicy(max_rate_limited=4))
        assert (type(error), attempts) == (RateLimited, 4)
