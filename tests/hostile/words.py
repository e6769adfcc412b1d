"""What a person is told of a fault: what the library does, what one sees, what one can do.

Most of it follows from what the fault amounts to and from where it strikes: only a Run costs
money, only a look is about a task that runs, only a file is a file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import frozen

from tests.hostile.meanings import VERBS, Meaning
from tests.hostile.wire import CDN

_GO_ON = "start the same batch again"


@frozen
class Advice:
    """Three answers to one fault."""

    does: str
    sees: str
    can: str


@frozen(kw_only=True)
class _Passing:
    """A fault of the moment, after which a request that costs nothing is sent again.

    Attributes:
        run_does: what the library does about a Run.
        run_sees: what becomes of it.
        call_error: what a direct call raises if the fault stays.
        can: what to do about it.
    """

    run_does: str
    run_sees: str
    call_error: str
    can: str = f"{_GO_ON}: a task that is known is followed"


_LOOKED_FOR = "does not send a Run again, and looks for its task in the list"
_FOUND = "does not send a Run again, and finds its task in the list"
_HELD = f"{_GO_ON}: it looks again, and `--on-unknown` decides about a Run that is never found"
_NOTHING = "nothing, it is paid once"

_PASSING: Mapping[Meaning, _Passing] = {
    Meaning.UNSENT: _Passing(
        run_does="sends a Run again: nothing of it went out",
        run_sees="nothing; for ever: `RequestNotSent`, and the batch stops",
        call_error="RequestNotSent",
        can=f"see that the service can be reached, then {_GO_ON}",
    ),
    Meaning.LOST: _Passing(
        run_does=_LOOKED_FOR,
        run_sees="`unknown` (`RunOutcomeUnknown`), since there is none",
        call_error="OutcomeUnknown",
        can=_HELD,
    ),
    Meaning.LOST_DONE: _Passing(run_does=_FOUND, run_sees=_NOTHING, call_error="OutcomeUnknown"),
    Meaning.NAMED: _Passing(
        run_does="reads the name of a Run's task out of the half answer, and follows it",
        run_sees=_NOTHING,
        call_error="OutcomeUnknown",
    ),
    Meaning.SILLY: _Passing(
        run_does=_LOOKED_FOR,
        run_sees="`unknown` (`RunOutcomeUnknown`), since there is none",
        call_error="ServerError",
        can=_HELD,
    ),
    Meaning.SILLY_DONE: _Passing(run_does=_FOUND, run_sees=_NOTHING, call_error="ServerError"),
    Meaning.HURRIED: _Passing(
        run_does="lets the whole session pause as long as was asked, then sends a Run again",
        run_sees="nothing; for ever: `refused` (`RateLimited`)",
        call_error="RateLimited",
        can=f"wait, then {_GO_ON}",
    ),
}

_LASTING: Mapping[Meaning, Advice] = {
    Meaning.REFUSED: Advice(
        "takes no for an answer of a Run or a call; looks again at a task, which is paid",
        "a Run: `refused` (`RequestRefused`); a call: the same error; a look for ever: "
        "`unfinished` (`TaskUnreachable`)",
        "correct the request, then start it with `--retry-failed`",
    ),
    Meaning.MISSING: Advice(
        "takes it for an answer of a Run or a call; looks again at a task just made",
        "a Run: `refused` (`NotFound`); a call: the same error; a look for ever: `unfinished` "
        "(`TaskUnreachable`)",
        "see that the model's name and the base url are right",
    ),
    Meaning.LOCKED_OUT: Advice(
        "stops the batch: nothing more is submitted",
        "`AuthenticationFailed`; tasks that run are `unfinished`, and are not lost",
        f"mend the key or the list of addresses, then {_GO_ON}",
    ),
    Meaning.BROKE: Advice(
        "stops the batch where a Run is answered so; looks again at a task",
        "`InsufficientBalance`; a look for ever: `unfinished` (`TaskUnreachable`)",
        f"add funds, then {_GO_ON}",
    ),
    Meaning.FULL: Advice(
        "waits for a slot, since no task was made, then sends the Run again",
        "nothing",
        "nothing, or end what else the account runs",
    ),
    Meaning.HURRIED_LONG: Advice(
        "does not wait longer than `max_pause_seconds`, and says at once how long was asked for",
        "a Run or a call: `RateLimited`; a look: `unfinished` (`TaskUnreachable`)",
        f"wait as long as it says, then {_GO_ON}",
    ),
    Meaning.HARMLESS: Advice("reads it all the same", "nothing", "nothing"),
    Meaning.BROKEN: Advice(
        "takes it for no file, and fetches it again",
        "nothing; for ever: `unsaved` (`DownloadError`), and nothing under the file's name",
        f"{_GO_ON}: the task is paid, its file is fetched",
    ),
    Meaning.GONE: Advice(
        "asks Task/Detail once for a fresh record, and fetches its url, be it the same",
        "nothing; for ever: `unsaved` (`OutputUnavailable`)",
        f"{_GO_ON} soon: files are kept for a limited time",
    ),
    Meaning.FORBIDDEN: Advice(
        "never connects there, and does not try again",
        "`unsaved` (`DownloadError`), with the address and why it is refused",
        "ask the service what the url is; the task's id and token are in the error",
    ),
    Meaning.FINE: Advice("saves the whole file", "nothing", "nothing"),
}


def advice_for(meaning: Meaning, endpoints: Collection[str], *, is_ever: bool) -> Advice:
    """The three answers to a fault that amounts to this and strikes there, for ever too or not."""
    passing = _PASSING.get(meaning)
    if passing is None:
        return _LASTING[meaning]
    others = [endpoint for endpoint in endpoints if endpoint != "Run"]
    if "Run" not in endpoints:
        can = f"{_GO_ON}: it goes on where it was" if is_ever else "nothing"
        return Advice("asks again", _seen(passing, others, is_ever=is_ever), can)
    if not others:
        return Advice(passing.run_does, passing.run_sees, passing.can)
    return Advice(
        f"{passing.run_does}; asks anything else again",
        f"a Run: {passing.run_sees}. Anything else: {_seen(passing, others, is_ever=is_ever)}",
        passing.can,
    )


def _seen(passing: _Passing, endpoints: Collection[str], *, is_ever: bool) -> str:
    """What becomes of requests that cost nothing."""
    lasting = {
        "a look: `unfinished` (`TaskUnreachable`)": "Task/Detail" in endpoints,
        "the list: the lost Run stays `unknown`": "Task/List" in endpoints,
        f"a call: `{passing.call_error}`": bool({*VERBS} & {*endpoints}),
        "a file: `unsaved` (`DownloadError`)": CDN in endpoints,
    }
    said = ", ".join(text for text, holds in lasting.items() if holds)
    return f"nothing; for ever, {said}" if is_ever else "nothing"
