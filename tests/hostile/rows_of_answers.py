"""Answers of the API by their status, redirects among them."""

from __future__ import annotations

from attrs import evolve

from tests.hostile import deeds
from tests.hostile.meanings import Meaning
from tests.hostile.middleman import Strike
from tests.hostile.rows import ALL_PHASES, ONCE_OR_EVER, Row
from tests.hostile.wire import Reply, page
from tests.hostile.words import Advice

STATUSES = "Statuses"
REDIRECTS = "Redirects of the API"
# Cancel is read as Kill is.
ASKED = ("Run", "Task/Detail", "Task/List", "Task/Kill", "Tool/Detail")
MAIN = ("Run", "Task/Detail", "Tool/Detail")
WITH_VERB = ("Run", "Task/Detail", "Task/Kill")
HTML = b"<!DOCTYPE html><html><body><h1>502</h1></body></html>"
_ALWAYS = "everything is repeated"
_ONCE = "nothing is repeated"
_RUNS = "runs are repeated"
_STOP = "nothing stops a batch"


def _status(code: int, meaning: Meaning, sabotage: str, *headers: tuple[bytes, bytes]) -> Row:
    said = "".join(f", {name.decode()}: {value.decode()}" for name, value in headers)
    return Row(
        name=f"{code}{said}",
        group=STATUSES,
        meaning=meaning,
        deed=deeds.telling(page(code, *headers)),
        endpoints=ASKED if code in {401, 429, 500} and not headers else MAIN,
        phases=ALL_PHASES if code in {401, 429, 502} and not headers else ONCE_OR_EVER,
        sabotage=sabotage,
    )


def _wait(value: bytes) -> tuple[bytes, bytes]:
    return (b"Retry-After", value)


_STATUS_ROWS = (
    *(_status(code, Meaning.REFUSED, _ALWAYS) for code in (400, 403, 405, 413)),
    _status(401, Meaning.LOCKED_OUT, _STOP),
    _status(404, Meaning.MISSING, _ALWAYS),
    *(_status(code, Meaning.SILLY, _RUNS) for code in (408, 500, 501, 502, 503, 504, 599)),
    _status(503, Meaning.SILLY, _RUNS, _wait(b"0.05")),
    _status(429, Meaning.HURRIED, _ONCE),
    *(
        _status(429, Meaning.HURRIED, _ONCE, _wait(value))
        for value in (b"0.05", b"0", b"-1", b"Wed, 21 Oct 2015 07:28:00 GMT", b"soon", b"nan")
    ),
    _status(429, Meaning.HURRIED_LONG, "any wait is borne", _wait(b"99999")),
    Row(
        name="429, though it was done",
        group=STATUSES,
        meaning=Meaning.HURRIED,
        deed=deeds.done_first(deeds.telling(page(429, _wait(b"0.02")))),
        endpoints=("Task/Detail", "Task/List", "Tool/Detail"),
        sabotage=_ONCE,
    ),
    Row(
        name="500, though it was done",
        group=STATUSES,
        meaning=Meaning.SILLY_DONE,
        deed=deeds.done_first(deeds.telling(page(500))),
        endpoints=("Run", "Task/Kill", "Task/Cancel"),
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="502 with a page, though it was done",
        group=STATUSES,
        meaning=Meaning.SILLY_DONE,
        deed=deeds.done_first(deeds.telling(page(502, body=HTML))),
        endpoints=("Run", "Task/Kill"),
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="500, with the right answer in it",
        group=STATUSES,
        meaning=Meaning.HARMLESS,
        deed=deeds.altered(lambda reply: evolve(reply, status=500)),
        endpoints=WITH_VERB,
        phases=ONCE_OR_EVER,
        sabotage="answers are not read",
    ),
)

# Redirects: never followed, since a signature is made for one origin.


def _redirect(code: int, where: str, location: str | None) -> Row:
    def point(strike: Strike) -> Reply:
        if location is None:
            return page(code)
        target = location.format(origin=strike.origin, foreign=strike.foreign)
        return page(code, (b"Location", target.encode()))

    return Row(
        name=f"{code} {where}",
        group=REDIRECTS,
        meaning=Meaning.SILLY,
        deed=deeds.telling(point),
        endpoints=MAIN if where == "to another host" else ("Run", "Task/Detail"),
        phases=ONCE_OR_EVER,
        advice=Advice(
            "does not follow it: a signature is made for one host",
            "a Run: `unknown`; anything else: `ServerError`, for a task `TaskUnreachable`",
            "see that the base url is right",
        ),
        sabotage="the API's redirects are followed",
    )


_REDIRECT_ROWS = (
    *(_redirect(code, "to another host", "{foreign}/v1/x") for code in (301, 302, 303, 307, 308)),
    _redirect(307, "to itself, round and round", "{origin}/v1/Task/Detail?again"),
    _redirect(308, "to another path of the same host", "{origin}/v1/Other"),
    evolve(_redirect(307, "to a file on this machine", "file:///etc/passwd"), sabotage=_RUNS),
    _redirect(302, "to plain http elsewhere", "http://10.0.0.1/v1/x"),
    evolve(_redirect(302, "to nowhere", None), sabotage=_RUNS),
)

ROWS = (*_STATUS_ROWS, *_REDIRECT_ROWS)
