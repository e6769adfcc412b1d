"""The error table: codes, HTTP statuses and sentences of the service to the exact class."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.page import answer
from wiro_async.errors import (
    ApiError,
    AuthenticationFailed,
    ConcurrencyLimitReached,
    InsufficientBalance,
    NotFound,
    RateLimited,
    RequestRefused,
    ServerError,
)
from wiro_async.protocol.responses import (
    Answer,
    decode_acknowledgement,
    decode_run,
    decode_task,
    decode_tasks,
)

DECODERS = [decode_run, decode_task, decode_tasks, decode_acknowledgement]
LIMIT = (
    "You have reached your concurrent task limit. With your current balance of $50.00, you can "
    "run up to 5 tasks at the same time. Add funds to increase your limit."
)
# The documented sentences: each means its class with its code, and without.
SENTENCES: list[tuple[int, str, type[ApiError]]] = [
    (0, "Request parameter [prompt] required", RequestRefused),
    (0, "Request parameter [steps] must be between 1 and 50", RequestRefused),
    (0, "Request parameter [steps] must be integer or float", RequestRefused),
    (0, "Request files [inputImage] required", RequestRefused),
    (0, "Request parameters are invalid.", RequestRefused),
    (1, "There is no task yet.", NotFound),
    (1, "task-not-exist", NotFound),
    (1, "Task is not in a cancellable state.", NotFound),
    (1, "slug-owner-project-not-exist", NotFound),
    (1, "tool-not-accessible", NotFound),
    (96, LIMIT, ConcurrencyLimitReached),
    (97, "Insufficient balance", InsufficientBalance),
    (98, "Sign in", AuthenticationFailed),
    (99, "Token missing", AuthenticationFailed),
    (99, "Token is invalid", AuthenticationFailed),
    (99, "token expired", AuthenticationFailed),
]
UNAUTHORISED = [
    "Project authorization is not founded.",
    "Project authorization is not valid.",
    "Project requires signature authentication. x-signature and x-nonce headers are required.",
    "Requested ip 10.0.0.1 is not allowed.",
]
# Sentences that nobody has documented as a refusal: what they mean for a Run is not known.
FAILURES = [
    "Internal error",
    "Error while assigning a worker",
    "Upstream provider: rate limit exceeded, too many requests",
    "Worker not found",
    "The provider's answer is not valid",
    "A restart of the worker is required",
    "values must be a list",
    "",
]


def refusal(errors: object, http_status: int = 200, **envelope: object) -> Answer:
    return answer({"errors": errors, "result": False, **envelope}, http_status)


def raised_by(given_answer: Answer, decode: Any = decode_run) -> ApiError:  # noqa: ANN401 (any decoder)
    with pytest.raises(ApiError) as caught:
        decode(given_answer, "/Run/o/m")
    return caught.value


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(("code", "message", "kind"), SENTENCES)
def test_a_documented_refusal(
    code: int, message: str, kind: type[ApiError], decode: object
) -> None:
    for errors in (
        [{"code": code, "message": message}],
        [{"code": str(code), "message": message}],
        {"code": code, "message": message},
    ):
        error = raised_by(refusal(errors), decode)
        assert type(error) is kind
        assert (error.code, error.reason) == (str(code), message)
        assert (error.http_status, error.endpoint) == (200, "/Run/o/m")
        assert message in str(error)
        assert f"code {code}" in str(error)
    for errors_without_code in ([{"message": message}], [message], message, [None, message]):
        error = raised_by(refusal(errors_without_code), decode)
        assert type(error) is kind
        assert (error.code, error.reason) == (None, message)


@pytest.mark.parametrize("message", UNAUTHORISED)
def test_a_refused_key_is_known_by_status_and_by_words(message: str) -> None:
    for errors in ([{"code": 0, "message": message}], [{"message": message}], [message]):
        for http_status in (200, 401):
            error = raised_by(refusal(errors, http_status))
            assert type(error) is AuthenticationFailed
            assert (error.http_status, error.reason) == (http_status, message)
            assert "WIRO_API_KEY" in str(error)


@pytest.mark.parametrize("code", [1, 96, 97, 98, 99])
def test_a_code_decides_without_words_and_against_the_status(code: int) -> None:
    kind = next(kind for known, _, kind in SENTENCES if known == code)
    for http_status in (200, 401, 403, 404, 429, 500):
        error = raised_by(refusal([{"code": code}], http_status))
        assert type(error) is kind
        assert (error.code, error.reason, error.http_status) == (str(code), "", http_status)


@pytest.mark.parametrize(
    ("http_status", "kind"),
    [
        (200, ServerError),
        (401, AuthenticationFailed),
        (403, RequestRefused),
        (404, NotFound),
        (413, RequestRefused),
        (429, RateLimited),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
        (302, ServerError),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b" ", b"<html>Bad Gateway</html>", b'{"taskid": "22', b"[]", b"{}", b'"no"']
)
def test_a_status_decides_where_the_body_does_not(
    http_status: int, kind: type[ApiError], body: bytes
) -> None:
    error = raised_by(answer(body, http_status))
    assert type(error) is kind
    assert (error.code, error.http_status, error.reason) == (None, http_status, "")
    assert f"HTTP {http_status}" in str(error)


@pytest.mark.parametrize("result", [False, "false", "False", " 0 ", 0, None, "", "null", []])
def test_a_refusal_says_so_in_many_ways(result: object) -> None:
    errors = [{"code": 97, "message": "Insufficient balance"}]
    for decode in DECODERS:
        said = answer({"result": result, "errors": errors, "tasklist": []})
        assert type(raised_by(said, decode)) is InsufficientBalance
    assert type(raised_by(answer({"errors": errors}))) is InsufficientBalance
    assert type(raised_by(answer({"data": {"errors": errors}}))) is InsufficientBalance


@pytest.mark.parametrize("result", [False, "false", 0, "0"])
def test_a_refusal_without_errors_is_a_failure(result: object) -> None:
    for decode in DECODERS:
        said = answer({"result": result, "tasklist": []})
        assert type(raised_by(said, decode)) is ServerError


@pytest.mark.parametrize("http_status", [200, 500])
@pytest.mark.parametrize("code", [0, "0", 5])
@pytest.mark.parametrize("message", FAILURES)
def test_a_run_that_failed_in_other_words_is_not_refused(
    message: str, code: object, http_status: int
) -> None:
    error = raised_by(refusal([{"code": code, "message": message}], http_status))
    assert type(error) is ServerError
    assert (error.code, error.reason) == (str(code), message)


@pytest.mark.parametrize("message", FAILURES)
def test_a_run_that_failed_in_other_words_without_code_is_not_refused(message: str) -> None:
    assert type(raised_by(refusal([message]))) is ServerError


@pytest.mark.parametrize("message", ["Too many requests.", "Rate limit exceeded"])
def test_too_many_requests_by_status_code_or_opening_words(message: str) -> None:
    for said in (
        refusal([{"code": 0, "message": message}], 429),
        refusal([{"code": 429, "message": message}]),
        refusal([message]),
    ):
        assert type(raised_by(said)) is RateLimited
    assert type(raised_by(refusal([{"code": 0, "message": message}]))) is ServerError


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (LIMIT, 5),
        (LIMIT.replace("5 tasks", "1 task"), 1),
        (LIMIT.replace("5 tasks", "25 tasks"), 25),
        (LIMIT.replace("5 tasks", "0 tasks"), 1),
        ("You have reached your concurrent task limit.", None),
        (LIMIT.replace("5 tasks", "9999999999 tasks"), None),
        ("", None),
    ],
)
def test_the_limit_that_the_service_states(message: str, limit: int | None) -> None:
    error = raised_by(refusal([{"code": 96, "message": message}]))
    assert isinstance(error, ConcurrencyLimitReached)
    assert error.limit == limit


def test_the_first_error_that_says_something_counts() -> None:
    error = raised_by(refusal([None, [], {"code": "97", "message": "Insufficient balance"}, "x"]))
    assert type(error) is InsufficientBalance


EVIL = "\x1b[31mred\x1b[0m\r\n\x00\x9b2J\u202egnp.exe\u2028\ud83d\x7f"


@pytest.mark.parametrize(
    "errors", [[EVIL], [{"code": 0, "message": EVIL}], [{"code": EVIL, "message": "x"}]]
)
def test_control_characters_of_the_service_do_not_come_out(errors: object) -> None:
    error = raised_by(refusal(errors))
    assert str(error).isprintable()
    assert error.reason.isprintable()
    assert (error.code or "").isprintable()
    assert "gnp.exe" in str(error)


@given(st.text(), st.text())
def test_no_text_of_the_service_leaves_its_line(code: str, message: str) -> None:
    assert str(raised_by(refusal([{"code": code, "message": message}]))).isprintable()


def test_a_message_that_is_too_long_is_shortened() -> None:
    error = raised_by(refusal([{"code": "7" * 10_000, "message": "word " * 10_000}]))
    assert error.reason.startswith("word word")
    assert error.reason.endswith("...")
    assert len(str(error)) < 1000
    just_fits = "x" * 300
    assert raised_by(refusal([just_fits])).reason == just_fits
