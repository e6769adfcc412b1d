"""Scripted misfortune: what goes wrong, where, for which request, and how often.

A fault says which requests it is for and what happens to them. Whether the task of a Run
exists afterwards is the one thing that matters most to a client that must not pay twice, so
every action's line below says it.

======================== ===================================================== ============
action                   what the client sees                                  task made?
======================== ===================================================== ============
`drop_before`            the connection is cut, nothing was done               no
`drop_after`             the connection is cut without a byte of the answer    yes
`reset_before`           like `drop_before`, with a reset                      no
`reset_after`            like `drop_after`, with a reset                       yes
`delay`                  the right answer, `seconds` real seconds late         yes
`stall`                  half of the body, `seconds` of silence, then the cut  yes
`trickle`                the right answer, in pieces over `seconds`            yes
`status`                 HTTP `status` with a body of plain text               if `task_made`
`html`                   HTTP 200 with a page of HTML                          if `task_made`
`empty`                  HTTP 200 without a body                               if `task_made`
`redirect`               HTTP 302 to `location`                                no
`truncate`               full Content-Length, half of the bytes, then the cut  yes
`garbage`                HTTP 200 with the first half of the JSON, whole       yes
`mislabel`               the right answer, called `text/html`                  yes
`gzip`                   the right answer, encoded as gzip                     yes
`junk`                   nulls, numbers and lists where a record has texts     (exists)
`rate_limit`             HTTP 429, Retry-After of `retry_after` (if not None)  no
`limit`                  code 96, whatever the real limit                      no
`no_balance`             code 97, whatever the real balance                    no
`unauthorized`           HTTP 401                                              no
`not_found`              Task/Detail: code 1, as for a task just made          (exists)
`expire`                 CDN: HTTP 403 for this url from now on; Task/Detail   (exists)
                         lists a fresh one
`ignore_range`           CDN: the whole file where a part was asked for        (exists)
`shift_range`            CDN: another part than the one that was asked for     (exists)
`change_tag`             CDN: another ETag than before, so no part             (exists)
`fail_task`              the task of this Run will end with `pexit` "1"        yes
`error_task`             the task of this Run will end as `task_error`         yes
======================== ===================================================== ============

The first fault on the list that is for a request wins it; a fault that is passed over
because of `skip` or `every` has still seen the request. The three that are about parts of a
file see only requests for a part.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

API_ENDPOINTS = (
    "Run",
    "Task/Detail",
    "Task/Kill",
    "Task/Cancel",
    "Task/List",
    "Task/InputOutputDelete",
    "Tool/List",
    "Tool/Detail",
    "Tool/Explore",
    "File/Upload",
    "File/FolderCreate",
)
CDN = "cdn"
ANY = "*"
_EVERYWHERE = frozenset({*API_ENDPOINTS, CDN})
_API = frozenset(API_ENDPOINTS)
_RUN = frozenset({"Run"})
_RECORDS = frozenset({"Task/Detail", "Task/List"})
_FILES = frozenset({CDN})

ACTIONS: Mapping[str, frozenset[str]] = {
    "drop_before": _EVERYWHERE,
    "drop_after": _EVERYWHERE,
    "reset_before": _EVERYWHERE,
    "reset_after": _EVERYWHERE,
    "delay": _EVERYWHERE,
    "stall": _EVERYWHERE,
    "trickle": _EVERYWHERE,
    "status": _EVERYWHERE,
    "html": _EVERYWHERE,
    "empty": _EVERYWHERE,
    "redirect": _EVERYWHERE,
    "truncate": _EVERYWHERE,
    "garbage": _API,
    "mislabel": _EVERYWHERE,
    "gzip": _EVERYWHERE,
    "junk": _RECORDS,
    "rate_limit": _EVERYWHERE,
    "limit": _RUN,
    "no_balance": _RUN,
    "unauthorized": _API,
    "not_found": frozenset({"Task/Detail"}),
    "expire": _FILES,
    "ignore_range": _FILES,
    "shift_range": _FILES,
    "change_tag": _FILES,
    "fail_task": _RUN,
    "error_task": _RUN,
}
"""Every action, with the endpoints at which it makes sense."""

_ANSWERED = frozenset(
    {"delay", "stall", "trickle", "truncate", "garbage", "mislabel", "gzip", "junk"}
)
_OF_PARTS = frozenset({"ignore_range", "shift_range", "change_tag"})
_AFTER = _ANSWERED | _OF_PARTS | {"drop_after", "reset_after", "fail_task", "error_task"}
_IF_TOLD = frozenset({"status", "html", "empty"})


def _known_endpoint(_: "Fault", __: object, value: str) -> None:
    if value not in _EVERYWHERE and value != ANY:
        raise ValueError(
            f"no endpoint {value!r}: use one of {', '.join(sorted(_EVERYWHERE))}, or * for all"
        )


def _fitting_action(fault: "Fault", _: object, value: str) -> None:
    if value not in ACTIONS:
        raise ValueError(f"no action {value!r}: use one of {', '.join(ACTIONS)}")
    if fault.endpoint != ANY and fault.endpoint not in ACTIONS[value]:
        where = ", ".join(sorted(ACTIONS[value]))
        raise ValueError(f"{value} happens at {where} only, not at {fault.endpoint}")


def _at_least(low: float) -> Callable[[Any, Any, Any], None]:
    def check(_: object, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
        # "not <=" instead of ">": a NaN is not a number of anything either.
        if value is not None and not low <= value < math.inf:
            raise ValueError(f"{attribute.name} must be {low:g} or more, not {value:g}")

    return check


@attrs.frozen(kw_only=True)
class Fault:
    """One scripted fault; the module's table tells what each action does.

    Raises:
        ValueError: for an endpoint or action that does not exist, an action that makes no
            sense at the endpoint, or a number out of range.
    """

    endpoint: str = attrs.field(default=ANY, validator=_known_endpoint)
    """`Run`, `Task/Detail`, ..., `cdn`, or `*` for every endpoint at which the action fits."""
    action: str = attrs.field(validator=_fitting_action)
    times: int | None = attrs.field(default=1, validator=_at_least(1))
    """How many requests it strikes; `None` for no end."""
    skip: int = attrs.field(default=0, validator=_at_least(0))
    """How many matching requests pass first."""
    match: str | None = None
    """Only requests about a task whose prompt contains this, letter by letter."""
    every: int | None = attrs.field(default=None, validator=_at_least(1))
    """Of the matching requests after the skipped ones, only every so-manieth: 3 is the 3rd, 6th."""
    seconds: float = attrs.field(default=0.1, validator=_at_least(0))
    """How late the answer of `delay` is, and how long `stall` and `trickle` take: real seconds."""
    status: int = attrs.field(default=503, validator=attrs.validators.in_(range(400, 600)))
    """The HTTP status of `status`."""
    retry_after: float | None = attrs.field(default=1.0, validator=_at_least(0))
    """The seconds that the 429 of `rate_limit` asks for; `None` sends no Retry-After."""
    location: str = "https://elsewhere.invalid/"
    """Where `redirect` points to."""
    task_made: bool = False
    """For `status`, `html`, `empty`: whether the request was done before its answer was spoilt."""

    @property
    def done_first(self) -> bool:
        """Whether the request is carried out, its task made, before the fault strikes."""
        return self.action in _AFTER or (self.action in _IF_TOLD and self.task_made)

    def concerns(self, endpoint: str, prompt: str, *, is_part: bool = False) -> bool:
        """Tell whether a request to this endpoint about this prompt can be struck.

        `is_part` tells of a request for a part of a file.
        """
        return (
            self.endpoint in (ANY, endpoint)
            and endpoint in ACTIONS[self.action]
            and (is_part or self.action not in _OF_PARTS)
            and (self.match is None or self.match in prompt)
        )


@attrs.define
class _Line:
    fault: Fault
    seen: int = 0
    fired: int = 0

    def strikes(self) -> bool:
        """Count one matching request; tell whether it is struck."""
        self.seen += 1
        counted = self.seen - self.fault.skip
        if counted <= 0 or counted % (self.fault.every or 1):
            return False
        if self.fault.times is not None and self.fired >= self.fault.times:
            return False
        self.fired += 1
        return True


class Script:
    """The faults of one emulator, in order, with their counts."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lines = [_Line(fault) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Put a fault at the end of the script."""
        self._lines.append(_Line(fault))

    def pick(self, endpoint: str, prompt: str = "", *, is_part: bool = False) -> Fault | None:
        """Give the fault that strikes this request, which is counted by it; mostly `None`."""
        for line in self._lines:
            if line.fault.concerns(endpoint, prompt, is_part=is_part) and line.strikes():
                return line.fault
        return None


_ENDLESS = ("always", "none")


def _read_flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


_READERS: Mapping[str, Callable[[str], object]] = {
    "times": lambda text: None if text in _ENDLESS else int(text),
    "skip": int,
    "match": str,
    "every": int,
    "seconds": float,
    "status": int,
    "location": str,
    "retry_after": lambda text: None if text == "none" else float(text),
    "task_made": _read_flag,
}


def parse_fault(text: str) -> Fault:
    """Read a fault from one word of a command line.

    The form is `ENDPOINT:ACTION` or `ENDPOINT:ACTION:NAME=VALUE,NAME=VALUE`, for example
    `Run:rate_limit:times=1,retry_after=0.2` or `cdn:truncate:times=always,every=10`. Names
    are those of `Fault`; the value of `match` cannot hold a comma.

    Raises:
        ValueError: with what is wrong and how it is written.
    """
    endpoint, action, options = (*text.split(":", 2), "", "")[:3]
    if not action:
        raise ValueError(
            f"{text!r} is no fault: write ENDPOINT:ACTION or ENDPOINT:ACTION:NAME=VALUE,... "
            "as in Run:rate_limit:times=1,retry_after=0.2"
        )
    given = dict(_read_option(option) for option in options.split(",") if option)
    return Fault(endpoint=endpoint, action=action, **given)  # type: ignore[arg-type] # read by name


def _read_option(option: str) -> tuple[str, object]:
    name, equals, value = (part.strip() for part in option.partition("="))
    if name not in _READERS:
        raise ValueError(f"no option {name!r} of a fault: use one of {', '.join(_READERS)}")
    try:
        return name, _READERS[name](value)
    except ValueError:
        raise ValueError(
            f"{option!r} is no value for {name}" if equals else f"write {name}=VALUE"
        ) from None
