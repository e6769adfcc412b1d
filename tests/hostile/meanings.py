"""What a fault amounts to, and what has to come of it: the specification, as pure functions.

Whatever a server does to one request, the client can know one of a few things afterwards. What
it has to do follows from that, and from whether the request can cost money.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from attrs import frozen

from tests.hostile.middleman import Phase
from tests.hostile.wire import CDN
from wiro_async.batch.results import ItemStatus
from wiro_async.errors import (
    AuthenticationFailed,
    ConcurrencyLimitReached,
    DownloadError,
    InsufficientBalance,
    NotFound,
    OutcomeUnknown,
    OutputUnavailable,
    RateLimited,
    RequestNotSent,
    RequestRefused,
    RunOutcomeUnknown,
    ServerError,
    TaskUnreachable,
    WiroError,
)

BATCHED = ("Run", "Task/Detail", "Task/List", CDN)
VERBS = ("Task/Kill", "Task/Cancel", "Tool/Detail")
API = ("Run", "Task/Detail", "Task/List", *VERBS)


class Meaning(StrEnum):
    """What a struck request amounts to."""

    UNSENT = "certainly not sent"
    LOST = "no answer, nothing done"
    LOST_DONE = "no answer, but it was done"
    NAMED = "half an answer that names the task"
    SILLY = "an answer that says nothing"
    SILLY_DONE = "an answer that says nothing, but it was done"
    REFUSED = "refused"
    MISSING = "not there"
    LOCKED_OUT = "credentials refused"
    BROKE = "no balance"
    FULL = "account full"
    HURRIED = "too fast, wait"
    HURRIED_LONG = "too fast, wait longer than is borne"
    HARMLESS = "odd, but readable"
    BROKEN = "not the file"
    GONE = "the url is dead"
    FORBIDDEN = "a url that must not be asked"
    FINE = "odd, but the file is whole"


# Of requests of the API: the same request may go well next time.
TRANSIENT = frozenset(
    {
        Meaning.UNSENT,
        Meaning.LOST,
        Meaning.LOST_DONE,
        Meaning.NAMED,
        Meaning.SILLY,
        Meaning.SILLY_DONE,
        Meaning.HURRIED,
    }
)
_DONE = frozenset({Meaning.LOST_DONE, Meaning.NAMED, Meaning.SILLY_DONE, Meaning.HARMLESS})

GOOD = ItemStatus.SUCCEEDED


@frozen(kw_only=True)
class Expected:
    """What has to come of a struck item.

    Attributes:
        status: how the item ends.
        error: the kind of its error; None for none.
        made: tasks of its prompt.
        stops: whether the batch may submit nothing more, so that the other item can be left.
        again: how it ends when the same batch is started again without the fault; None where
            that is not tried, since it ended well.
    """

    status: ItemStatus = GOOD
    error: type[WiroError] | None = None
    made: int = 1
    stops: bool = False
    again: ItemStatus | None = None


def _ends(
    status: ItemStatus, error: type[WiroError], made: int, again: ItemStatus | None = GOOD
) -> Expected:
    return Expected(status=status, error=error, made=made, again=again)


def _stops(status: ItemStatus, error: type[WiroError], made: int) -> Expected:
    return Expected(status=status, error=error, made=made, again=GOOD, stops=True)


_WELL = Expected()
_UNKNOWN = _ends(ItemStatus.UNKNOWN, RunOutcomeUnknown, 0, ItemStatus.UNKNOWN)
_UNREACHABLE = _ends(ItemStatus.UNFINISHED, TaskUnreachable, 1)
_NOT_FOUND_AGAIN = _ends(ItemStatus.UNKNOWN, RunOutcomeUnknown, 1)


_OF_A_RUN: Mapping[Meaning, Expected] = {
    Meaning.LOST: _UNKNOWN,
    Meaning.SILLY: _UNKNOWN,
    Meaning.HURRIED_LONG: _ends(ItemStatus.REFUSED, RateLimited, 0),
    Meaning.REFUSED: _ends(ItemStatus.REFUSED, RequestRefused, 0, ItemStatus.REFUSED),
    Meaning.MISSING: _ends(ItemStatus.REFUSED, NotFound, 0, ItemStatus.REFUSED),
    Meaning.LOCKED_OUT: _stops(ItemStatus.REFUSED, AuthenticationFailed, 0),
    Meaning.BROKE: _stops(ItemStatus.REFUSED, InsufficientBalance, 0),
}
_OF_EVERY_RUN: Mapping[Meaning, Expected] = {
    **_OF_A_RUN,
    Meaning.UNSENT: _stops(ItemStatus.REFUSED, RequestNotSent, 0),
    Meaning.HURRIED: _ends(ItemStatus.REFUSED, RateLimited, 0),
}


def _of_run(meaning: Meaning, phase: Phase) -> Expected:
    return (_OF_EVERY_RUN if phase is Phase.EVER else _OF_A_RUN).get(meaning, _WELL)


def _of_detail(meaning: Meaning, phase: Phase) -> Expected:
    match meaning:
        case Meaning.LOCKED_OUT:
            return _stops(ItemStatus.UNFINISHED, AuthenticationFailed, 1)
        case Meaning.HURRIED_LONG:
            return _UNREACHABLE
        case Meaning.HARMLESS:
            return _WELL
        case _:
            return _UNREACHABLE if phase is Phase.EVER else _WELL


def _of_list(meaning: Meaning, phase: Phase) -> Expected:
    if phase is not Phase.EVER or meaning is Meaning.HARMLESS:
        return _WELL
    if meaning in {Meaning.LOCKED_OUT, Meaning.BROKE, Meaning.UNSENT}:
        return _stops(ItemStatus.UNKNOWN, RunOutcomeUnknown, 1)
    return _NOT_FOUND_AGAIN


def _of_cdn(meaning: Meaning, phase: Phase) -> Expected:
    unsaved = ItemStatus.UNSAVED
    match meaning:
        case Meaning.FORBIDDEN:
            return _ends(unsaved, DownloadError, 1)
        case Meaning.GONE if phase is Phase.EVER:
            return _ends(unsaved, OutputUnavailable, 1)
        case Meaning.GONE | Meaning.FINE | Meaning.HARMLESS:
            return _WELL
        case _:
            return _ends(unsaved, DownloadError, 1) if phase is Phase.EVER else _WELL


_OF: Mapping[str, Callable[[Meaning, Phase], Expected]] = {
    "Run": _of_run,
    "Task/Detail": _of_detail,
    "Task/List": _of_list,
    CDN: _of_cdn,
}

_OF_VERB: Mapping[Meaning, type[WiroError]] = {
    Meaning.UNSENT: RequestNotSent,
    Meaning.LOST: OutcomeUnknown,
    Meaning.LOST_DONE: OutcomeUnknown,
    Meaning.NAMED: OutcomeUnknown,
    Meaning.SILLY: ServerError,
    Meaning.SILLY_DONE: ServerError,
    Meaning.REFUSED: RequestRefused,
    Meaning.MISSING: NotFound,
    Meaning.LOCKED_OUT: AuthenticationFailed,
    Meaning.BROKE: InsufficientBalance,
    Meaning.FULL: ConcurrencyLimitReached,
    Meaning.HURRIED: RateLimited,
    Meaning.HURRIED_LONG: RateLimited,
}


def expected_of(endpoint: str, meaning: Meaning, phase: Phase) -> Expected:
    """What has to come of an item of a batch."""
    return _OF[endpoint](meaning, phase)


def verb_errors(endpoint: str, meaning: Meaning, phase: Phase) -> frozenset[type[WiroError] | None]:
    """How a direct call may end: None for well."""
    is_once = phase is not Phase.EVER
    error = None if is_once and meaning in TRANSIENT else _OF_VERB.get(meaning)
    allowed = {error}
    if meaning in {Meaning.LOST_DONE, Meaning.NAMED, Meaning.SILLY_DONE} and endpoint in VERBS[:2]:
        # The first one stopped it, so that the second one finds nothing to stop.
        allowed.add(NotFound)
    return frozenset(allowed)


def is_done(meaning: Meaning) -> bool:
    """Whether the service carries the struck request out."""
    return meaning in _DONE
