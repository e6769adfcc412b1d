"""Bytes to a value, or to the error that they mean.

Rules (wiro-api facts, "Answers and errors"):

1. The envelope is read first, the HTTP status after it: the documentation says that every
   error is HTTP 200 and then lists others, so a status alone proves little, and a task id in a
   body with a bad status is a task all the same.
2. ``result`` can be a boolean, a text, a number or missing; ``errors`` holds objects or plain
   texts, a code is a number, a text or missing. Where the code is missing the words decide.
3. Code 0 is a validation error or a server error, and only its message tells which. For a
   Run the difference is money: "refused" may be corrected and sent again, "failed" may have
   made a task. Only messages that are known to be refusals are taken for one.
4. A Run's answer with one identifier is a task, whatever else is missing. Without any it says
   nothing of what was made.
5. Answers can be wrapped in ``data``: the top level is expected, both are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from attrs import field, frozen

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
from wiro_async.protocol.converter import (
    make_converter,
    read_json,
    read_rows,
    read_seconds,
    read_text,
)
from wiro_async.task import JsonObject, Task

_CONVERTER = make_converter()
_MAX_REASON = 300

# The documented refusals of code 0; any other message may be a failure of the service.
_VALIDATION = re.compile(
    r"request (parameter|files)|parameters? (are|is) invalid|must be between\b"
    r"|\b(taskid|tasktoken|socketaccesstoken) is required\b",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(
    r"no task yet|task-not-exist|project-not-exist|tool-not-accessible"
    r"|not in a cancell?able state",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"concurrent task limit", re.IGNORECASE)
_STATED_LIMIT = re.compile(r"up to ([0-9]{1,9})\b", re.IGNORECASE)
_BALANCE = re.compile(r"insufficient balance", re.IGNORECASE)
_AUTHORIZATION = re.compile(
    r"project authorization|signature authentication|requested ip\b", re.IGNORECASE
)

# Not of the documentation: taken at their word only where they open a message without a code.
_SIGN_IN = re.compile(r"(please )?sign in\b|token (is )?(missing|invalid|expired)\b", re.IGNORECASE)
_TOO_FAST = re.compile(r"rate limit\b|too many requests\b", re.IGNORECASE)

# Statuses with which the request was certainly not carried out, even if the body is a proxy's page.
_REFUSING_STATUSES = frozenset({400, 402, 403, 405, 406, 411, 413, 414, 415, 422, 431})


@frozen(kw_only=True)
class Answer:
    """An HTTP answer that was read from the wire to its end."""

    http_status: int
    body: bytes
    retry_after: str | None = None


@frozen(kw_only=True)
class Started:
    """What a Run answers: at least one of the two names of the new task."""

    task_id: str | None
    token: str | None


@frozen(kw_only=True)
class _Envelope:
    body: JsonObject
    is_refusal: bool
    problems: tuple[tuple[str | None, str], ...] = field(default=())


def decode_run(answer: Answer, endpoint: str) -> Started:
    """The task that a Run made.

    Raises:
        ApiError: what the service refused; `ServerError` where it is not known whether a task
            was made.
    """
    envelope = _read_envelope(answer)
    if envelope is not None:
        task_id = _identifier(envelope.body.get("taskid"))
        token = _identifier(envelope.body.get("socketaccesstoken"))
        if task_id is not None or token is not None:
            return Started(task_id=task_id, token=token)
    raise _error_of(answer, envelope, endpoint)


def decode_task(
    answer: Answer, endpoint: str, *, task_id: str | None = None, token: str | None = None
) -> Task:
    """The task that a Detail was asked for by one of its names.

    Raises:
        NotFound: where the answer lists no task.
        ServerError: where it lists only other tasks than the one that was asked for.
        ApiError: what the service refused.
    """
    tasks = decode_tasks(answer, endpoint)
    if not tasks:
        raise NotFound(
            "the service has no such task; one just made can be missing for a moment",
            endpoint=endpoint,
            http_status=answer.http_status,
            reason="empty task list",
        )
    for task in tasks:
        if (task_id is not None and task.id == task_id) or (
            token is not None and task.token == token
        ):
            return task
    for task in tasks:
        # Both sides leave names out: a record is refused only where a name contradicts.
        if (task.id is None or task_id is None) and (task.token is None or token is None):
            return task
    raise ServerError(
        f"{endpoint}: the service answered about task {clean_words(tasks[0].id) or 'without id'} "
        f"when it was asked about {task_id or 'another'}",
        endpoint=endpoint,
        http_status=answer.http_status,
    )


def decode_tasks(answer: Answer, endpoint: str) -> tuple[Task, ...]:
    """The tasks of a Detail's or List's answer.

    Raises:
        ApiError: what the service refused, or `ServerError` for what cannot be read.
    """
    envelope = _read_envelope(answer)
    if envelope is None or envelope.is_refusal or not _has_task_list(envelope.body):
        raise _error_of(answer, envelope, endpoint)
    rows = read_rows(envelope.body.get("tasklist"))
    return tuple(_CONVERTER.structure(row, Task) for row in rows)


def decode_acknowledgement(answer: Answer, endpoint: str) -> None:
    """Nothing, where the service agreed: of a Kill's or Cancel's answer only ``result`` is sure.

    Raises:
        ApiError: what the service refused, or `ServerError` for what cannot be read.
    """
    envelope = _read_envelope(answer)
    if envelope is None or envelope.is_refusal:
        raise _error_of(answer, envelope, endpoint)


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """A ``Retry-After`` header as seconds from `now`: none if missing, nought if in the past."""
    if value is None:
        return None
    seconds = read_seconds(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # RFC 9110, 5.6.7: an HTTP date is in GMT, also where it does not say so.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _identifier(value: object) -> str | None:
    text = read_text(value)
    return None if text is None or text.strip() in {"", "0"} else text.strip()


def _has_task_list(body: JsonObject) -> bool:
    return isinstance(body.get("tasklist"), list | dict | str)


def _read_envelope(answer: Answer) -> _Envelope | None:
    body = read_json(answer.body)
    if not isinstance(body, Mapping):
        return None
    inner = body.get("data")
    if isinstance(inner, Mapping):
        body = {**body, **inner}
    problems = tuple(_read_problems(body.get("errors")))
    result = body.get("result")
    if isinstance(result, str):
        result = result.strip().lower() not in {"", "0", "false", "null", "none"}
    if result is None:
        is_refusal = bool(problems) or answer.http_status >= HTTPStatus.BAD_REQUEST
    else:
        is_refusal = not result
    return _Envelope(body=body, is_refusal=is_refusal, problems=problems)


def _read_problems(errors: object) -> list[tuple[str | None, str]]:
    rows = errors if isinstance(errors, list) else [errors]
    problems: list[tuple[str | None, str]] = []
    for row in rows:
        if isinstance(row, Mapping):
            code = clean_words(read_text(row.get("code"))) or None
            problems.append((code, clean_words(read_text(row.get("message")))))
        elif (text := read_text(row)) is not None:
            problems.append((None, clean_words(text)))
    return problems


def clean_words(text: str | None) -> str:
    """The service's words on one line, without control characters, at a readable length."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text or "").split())
    return words if len(words) <= _MAX_REASON else f"{words[:_MAX_REASON]}..."


def _error_of(answer: Answer, envelope: _Envelope | None, endpoint: str) -> ApiError:
    problems = envelope.problems if envelope is not None else ()
    code, reason = problems[0] if problems else (None, "")
    kind, advice = _classify(answer.http_status, code, reason)
    said = reason or _describe(answer, envelope)
    numbered = f" (code {code})" if code is not None else ""
    error = kind(
        f"{endpoint}: {said}{numbered}{advice}",
        endpoint=endpoint,
        code=code,
        http_status=answer.http_status,
        reason=reason,
    )
    if isinstance(error, ConcurrencyLimitReached):
        stated = _STATED_LIMIT.search(reason)
        error.limit = max(1, int(stated.group(1))) if stated else None
    return error


def _describe(answer: Answer, envelope: _Envelope | None) -> str:
    if envelope is not None:
        return f"HTTP {answer.http_status} with an answer that says nothing"
    if not answer.body.strip():
        return f"HTTP {answer.http_status} with an empty answer"
    return f"HTTP {answer.http_status} with an answer that is no JSON object"


def _classify(status: int, code: str | None, reason: str) -> tuple[type[ApiError], str]:
    """The kind of error and what to do, by code, then by HTTP status, then by the words."""
    by_code = _BY_CODE.get(code or "")
    if by_code is not None:
        return by_code
    by_status = _BY_STATUS.get(status)
    if by_status is not None:
        return by_status
    for pattern, verdict in _BY_WORDS:
        if pattern.search(reason):
            return verdict
    for pattern, verdict in _BY_WORDS_WITHOUT_CODE if code is None else ():
        if pattern.match(reason):
            return verdict
    return _REFUSED if status in _REFUSING_STATUSES else _FAILED


_STOP_AUTH = (AuthenticationFailed, "; check WIRO_API_KEY and WIRO_API_SECRET, then go on")
_STOP_BALANCE = (InsufficientBalance, "; add funds, then go on")
_WAIT_SLOT = (ConcurrencyLimitReached, "")
_WAIT_RATE = (RateLimited, "; requests come too fast")
_MISSING = (NotFound, "")
_REFUSED = (RequestRefused, "; correct the request, nothing was made")
_FAILED = (ServerError, "; the service failed")

_BY_CODE: Mapping[str, tuple[type[ApiError], str]] = {
    "1": _MISSING,
    "96": _WAIT_SLOT,
    "97": _STOP_BALANCE,
    "98": _STOP_AUTH,
    "99": _STOP_AUTH,
    "401": _STOP_AUTH,
    "404": _MISSING,
    "429": _WAIT_RATE,
}
_BY_STATUS: Mapping[int, tuple[type[ApiError], str]] = {
    401: _STOP_AUTH,
    404: _MISSING,
    429: _WAIT_RATE,
}
# Server failures have no words of their own: what no line here knows is taken for one.
_BY_WORDS: tuple[tuple[re.Pattern[str], tuple[type[ApiError], str]], ...] = (
    (_LIMIT, _WAIT_SLOT),
    (_BALANCE, _STOP_BALANCE),
    (_AUTHORIZATION, _STOP_AUTH),
    (_NOT_FOUND, _MISSING),
    (_VALIDATION, _REFUSED),
)
# Not for code 0: an inner "rate limit" would have a Run sent again that may have made a task.
_BY_WORDS_WITHOUT_CODE: tuple[tuple[re.Pattern[str], tuple[type[ApiError], str]], ...] = (
    (_SIGN_IN, _STOP_AUTH),
    (_TOO_FAST, _WAIT_RATE),
)
