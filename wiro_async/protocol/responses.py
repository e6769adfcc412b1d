"""Bytes to a value, or to the error that they mean.

Rules (wiro-api facts, "Answers and errors"):

1. The envelope is read first, the HTTP status after it: the documentation says that every
   error is HTTP 200 and then lists others, so a status alone proves little, and a task id in a
   body with a bad status is a task all the same.
2. ``result`` can be a boolean, a text, a number or missing; ``errors`` holds objects or plain
   texts, a code is a number, a text or missing. Which error they mean: `protocol.refusals`.
3. Answers can be wrapped in ``data``: the top level is expected, both are read.
4. A Run's answer with one identifier is a task, whatever else is missing. Without any it says
   nothing of what was made.
5. A Detail's record without a status, of another task, or that is no record is a failure of the
   service: taken for a running task, it would be looked at for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from attrs import field, frozen

from wiro_async.errors import (
    ApiError,
    ConcurrencyLimitReached,
    NotFound,
    ServerError,
)
from wiro_async.protocol.addresses import shown_url
from wiro_async.protocol.converter import (
    is_empty_list,
    make_converter,
    read_json,
    read_rows,
    read_text,
)
from wiro_async.protocol.refusals import classify, stated_limit
from wiro_async.protocol.wording import clean_words
from wiro_async.task import JsonObject, Task

_CONVERTER = make_converter()

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Longer ones than any date or any wait that somebody means.
_LONGEST_HEADER = 100
_SECONDS = re.compile(r"[ \t]*([0-9]{1,15}(?:\.[0-9]{1,15})?)[ \t]*")


@frozen(kw_only=True)
class Answer:
    """An HTTP answer that was read from the wire to its end."""

    http_status: int
    body: bytes
    retry_after: str | None = None
    location: str | None = None


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
        ServerError: where it lists only what is no record of that task: no objects, other tasks,
            or none that has a status.
        ApiError: what the service refused.
    """
    rows = _read_task_list(answer, endpoint)
    tasks = [_CONVERTER.structure(row, Task) for row in read_rows(rows)]
    if is_empty_list(rows):
        raise NotFound(
            "the service has no such task; one just made can be missing for a moment",
            endpoint=endpoint,
            http_status=answer.http_status,
            reason="empty task list",
        )
    task = _find_task(tasks, task_id, token)
    if task is not None and task.status:
        return task
    # A record without a status would have its task watched for ever.
    other = clean_words(tasks[0].id) if tasks and task is None else ""
    said = f"about task {other}" if other else "with nothing that tells how it stands"
    raise ServerError(
        f"{endpoint}: the service answered {said} when it was asked about task "
        f"{clean_words(task_id or token)}",
        endpoint=endpoint,
        http_status=answer.http_status,
    )


def _find_task(tasks: list[Task], task_id: str | None, token: str | None) -> Task | None:
    for task in tasks:
        if (task_id is not None and task.id == task_id) or (
            token is not None and task.token == token
        ):
            return task
    for task in tasks:
        # Both sides leave names out: a record is refused only where a name contradicts.
        if (task.id is None or task_id is None) and (task.token is None or token is None):
            return task
    return None


def decode_tasks(answer: Answer, endpoint: str) -> tuple[Task, ...]:
    """The tasks of a Detail's or List's answer.

    Raises:
        ApiError: what the service refused, or `ServerError` for what cannot be read.
    """
    return tuple(_CONVERTER.structure(row, Task) for row in decode_records(answer, endpoint))


def decode_records(
    answer: Answer, endpoint: str, *, read: Callable[[bytes], object] | None = None
) -> list[JsonObject]:
    """The tasks of a Detail's or List's answer, as they came.

    Args:
        answer: the answer.
        endpoint: whose it is.
        read: what a JSON text holds, None if it is not one; as `read_json` if it is left out.

    Raises:
        ApiError: what the service refused, or `ServerError` for what cannot be read.
    """
    return read_rows(_read_task_list(answer, endpoint, read))


def decode_acknowledgement(answer: Answer, endpoint: str) -> None:
    """Nothing, where the service agreed: of a Kill's or Cancel's answer only ``result`` is sure.

    Raises:
        ApiError: what the service refused, or `ServerError` for what cannot be read.
    """
    envelope = _read_envelope(answer)
    if envelope is None or envelope.is_refusal:
        raise _error_of(answer, envelope, endpoint)


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """A ``Retry-After`` header as seconds from `now`: none if missing, nought if in the past.

    RFC 9110, 10.2.3: seconds or an HTTP date. Of several numbers, which headers that were joined
    hold, the largest counts. What is neither is as if it were missing.
    """
    if value is None or len(value) > _LONGEST_HEADER:
        return None
    numbers = [_SECONDS.fullmatch(part) for part in value.split(",")]
    if all(numbers):
        return max(float(number[1]) for number in numbers if number)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # RFC 9110, 5.6.7: an HTTP date is in GMT, also where it does not say so.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _identifier(value: object) -> str | None:
    text = (read_text(value) or "").strip()
    # U+FFFD stands for what could not be read: such a name is another one.
    return None if text in {"", "0"} or "\ufffd" in text else text


def _read_task_list(
    answer: Answer, endpoint: str, read: Callable[[bytes], object] | None = None
) -> object:
    envelope = _read_envelope(answer, read)
    rows = None if envelope is None else envelope.body.get("tasklist")
    if envelope is None or envelope.is_refusal or not isinstance(rows, list | dict | str):
        raise _error_of(answer, envelope, endpoint)
    return rows


def _read_envelope(
    answer: Answer, read: Callable[[bytes], object] | None = None
) -> _Envelope | None:
    body = (read or read_json)(answer.body)
    if not isinstance(body, dict):
        return None
    inner = body.get("data")
    if isinstance(inner, dict):
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
        if isinstance(row, dict):
            code = clean_words(read_text(row.get("code"))) or None
            problems.append((code, clean_words(read_text(row.get("message")))))
        elif (text := read_text(row)) is not None:
            problems.append((None, clean_words(text)))
    return problems


def _error_of(answer: Answer, envelope: _Envelope | None, endpoint: str) -> ApiError:
    problems = envelope.problems if envelope is not None else ()
    code, reason = problems[0] if problems else (None, "")
    kind, advice = classify(answer.http_status, code, reason)
    said = reason or _describe(answer, envelope)
    if not reason and answer.http_status in _REDIRECTS:
        advice = ": is base_url right?"
    numbered = f" (code {code})" if code is not None else ""
    error = kind(
        f"{endpoint}: {said}{numbered}{advice}",
        endpoint=endpoint,
        code=code,
        http_status=answer.http_status,
        reason=reason,
    )
    if isinstance(error, ConcurrencyLimitReached):
        error.limit = stated_limit(reason)
    return error


def _describe(answer: Answer, envelope: _Envelope | None) -> str:
    if answer.http_status in _REDIRECTS:
        # Without its query, which can hold anything; and never followed: the key is for one host.
        target = shown_url(re.split(r"[?#]", answer.location or "")[0]) or "nowhere"
        return f"HTTP {answer.http_status}, the service redirects to {target}"
    if envelope is not None:
        return f"HTTP {answer.http_status} with an answer that says nothing"
    if not answer.body.strip():
        return f"HTTP {answer.http_status} with an empty answer"
    return f"HTTP {answer.http_status} with an answer that is no JSON object"
