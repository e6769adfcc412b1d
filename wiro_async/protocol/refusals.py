"""Which error an answer means: by its code, then by its HTTP status, then by its words.

Rules (wiro-api facts, "Answers and errors"):

1. A code that is documented is taken at its word. Code 0 is none of them: it is a validation
   error or a server error, and only its message tells which. For a Run the difference is money:
   "refused" may be corrected and sent again, "failed" may have made a task. Only messages that
   are known to be refusals are taken for one.
2. Where the code is missing the words decide more, but only where they open the message.
3. What no line here knows is a failure of the service, which has no words of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
_BALANCE = re.compile(r"insufficient balance", re.IGNORECASE)
_AUTHORIZATION = re.compile(
    r"project authorization|signature authentication|requested ip\b", re.IGNORECASE
)

# Not of the documentation: taken at their word only where they open a message without a code.
_SIGN_IN = re.compile(r"(please )?sign in\b|token (is )?(missing|invalid|expired)\b", re.IGNORECASE)
_TOO_FAST = re.compile(r"rate limit\b|too many requests\b", re.IGNORECASE)

# Statuses with which the request was certainly not carried out, even if the body is a proxy's page.
_REFUSING_STATUSES = frozenset({400, 402, 403, 405, 406, 411, 413, 414, 415, 422, 431})
_STATED_LIMIT = re.compile(r"up to ([0-9]{1,9})\b", re.IGNORECASE)

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


def classify(status: int, code: str | None, reason: str) -> tuple[type[ApiError], str]:
    """The kind of error and what to do, from its code, its HTTP status and its words."""
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


def stated_limit(reason: str) -> int | None:
    """The number of tasks that code 96 says may run at once."""
    stated = _STATED_LIMIT.search(reason)
    return max(1, int(stated.group(1))) if stated else None
