"""Whole answers of the API with a body: refusals, what says nothing, and what is merely odd."""

from __future__ import annotations

from attrs import evolve

from tests.hostile import deeds
from tests.hostile.meanings import Meaning
from tests.hostile.middleman import Deed, Strike
from tests.hostile.rows import ALL_PHASES, ONCE_OR_EVER, Row
from tests.hostile.rows_of_answers import ASKED, HTML, MAIN, WITH_VERB
from tests.hostile.wire import Reply, as_json
from tests.hostile.words import Advice

BODIES = "Bodies of the API"
_ALWAYS = "everything is repeated"
_RUNS = "runs are repeated"
_STOP = "nothing stops a batch"


def _says(code: object, message: str, status: int = 200) -> Deed:
    refusal = {"result": False, "errors": [{"code": code, "message": message}]}
    return deeds.telling(evolve(as_json(refusal), status=status))


def _envelope(name: str, meaning: Meaning, deed: Deed, sabotage: str) -> Row:
    return Row(
        name=name,
        group=BODIES,
        meaning=meaning,
        deed=deed,
        endpoints=ASKED if meaning is Meaning.LOCKED_OUT else WITH_VERB,
        phases=ONCE_OR_EVER,
        sabotage=sabotage,
    )


def _unread(name: str, meaning: Meaning, deed: Deed, endpoints: tuple[str, ...] = MAIN) -> Row:
    """The request was done, and its answer tells nothing."""
    return Row(
        name=name,
        group=BODIES,
        meaning=meaning,
        deed=deed,
        endpoints=endpoints,
        phases=ONCE_OR_EVER,
        sabotage="lost runs are not looked for",
    )


def _silly(name: str, body: bytes, *, endpoints: tuple[str, ...] = MAIN) -> Row:
    return _unread(name, Meaning.SILLY_DONE, deeds.altered(deeds.with_body(body)), endpoints)


def _repeat_key(strike: Strike) -> Reply:
    """A refusal with what nobody but the service should ever see."""
    key = (strike.heard.header(b"x-api-key") or b"").decode()
    words = f"Request parameter [x] required, {key} or not"
    return as_json({"result": False, "errors": [{"code": 0, "message": words}]})


async def _log_key(strike: Strike) -> bool:
    """The right answer, with the key in every record's log and in every model's text."""
    key = strike.heard.header(b"x-api-key") or b""
    reply = await strike.forward()
    body = reply.body.replace(b'"debugoutput": "', b'"debugoutput": "' + key)
    return await strike.say(evolve(reply, body=body.replace(b'"readme": "', b'"readme": "' + key)))


_REPEATED = "what the service repeats is kept"
_KEY_ROWS = (
    Row(
        name="a refusal that repeats the key",
        group=BODIES,
        meaning=Meaning.REFUSED,
        deed=deeds.telling(_repeat_key),
        endpoints=MAIN,
        phases=ONCE_OR_EVER,
        sabotage=_REPEATED,
    ),
    Row(
        name="an answer that repeats the key",
        group=BODIES,
        meaning=Meaning.HARMLESS,
        deed=_log_key,
        endpoints=("Task/Detail", "Task/List", "Tool/Detail"),
        phases=ONCE_OR_EVER,
        advice=Advice("blots the key out, and reads the rest", "nothing", "nothing"),
        sabotage=_REPEATED,
    ),
)

_REFUSAL_ROWS = (
    _envelope(
        "code 0, a wrong parameter",
        Meaning.REFUSED,
        _says(0, "Request parameter [prompt] required"),
        _ALWAYS,
    ),
    _envelope("code 0, a failure inside", Meaning.SILLY, _says(0, "Unexpected error"), _RUNS),
    _envelope("code 1", Meaning.MISSING, _says(1, "slug-owner-project-not-exist"), _ALWAYS),
    _envelope(
        "code 97", Meaning.BROKE, _says("97", "Insufficient balance"), "nothing stops a batch"
    ),
    _envelope("code 98", Meaning.LOCKED_OUT, _says(98, "Please sign in"), _STOP),
    _envelope("code 99", Meaning.LOCKED_OUT, _says("99", "Token expired"), _STOP),
    _envelope(
        "401, with words",
        Meaning.LOCKED_OUT,
        _says(None, "Requested ip 192.0.2.1 is not allowed.", 401),
        _STOP,
    ),
    Row(
        name="code 96",
        group=BODIES,
        meaning=Meaning.FULL,
        deed=_says(
            96,
            "You have reached your concurrent task limit. With your current balance of $50.00, "
            "you can run up to 5 tasks at the same time.",
        ),
        endpoints=("Run",),
        phases=ALL_PHASES[:2],
        sabotage="a full account ends an item",
    ),
    Row(
        name='result "false" without a reason',
        group=BODIES,
        meaning=Meaning.SILLY,
        deed=deeds.telling(as_json({"result": "false", "errors": []})),
        endpoints=WITH_VERB,
        phases=ONCE_OR_EVER,
        sabotage=_RUNS,
    ),
)

_SILLY_ROWS = (
    _silly("a page of HTML with 200", HTML, endpoints=ASKED),
    _silly("an empty body", b"", endpoints=ASKED),
    _silly("null", b"null"),
    _silly("an empty list", b"[]"),
    _silly("a text", b'"fine"'),
    _silly("a number", b"1e999"),
    _silly("invalid UTF-8", b'{"result":true,"x":"\xff\xfe\xc3"}'),
    _silly("nested 100,000 deep", b"[" * 100_000 + b"]" * 100_000),
    _unread(
        "JSON cut in the middle, at the right length",
        Meaning.SILLY_DONE,
        deeds.altered(lambda reply: evolve(reply, body=reply.body[:9])),
        ASKED,
    ),
    _unread("broken gzip", Meaning.LOST_DONE, deeds.altered(deeds.zip_broken), ASKED),
    Row(
        name="a bomb of gzip (100 MB)",
        group=BODIES,
        meaning=Meaning.LOST_DONE,
        deed=deeds.altered(
            lambda reply: evolve(reply, body=deeds.bomb()).with_header(b"Content-Encoding", b"gzip")
        ),
        endpoints=MAIN,
        phases=ONCE_OR_EVER[:1],
        sabotage="lost runs are not looked for",
    ),
    _unread(
        "100 MB announced, a few bytes sent",
        Meaning.LOST_DONE,
        deeds.done_first(
            deeds.saying(b'HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n{"result":tr')
        ),
    ),
    _unread(
        "two lengths that differ",
        Meaning.LOST_DONE,
        deeds.done_first(
            deeds.saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}")
        ),
    ),
    _unread(
        "a header of 100 kB",
        Meaning.LOST_DONE,
        deeds.altered(lambda reply: reply.with_header(b"X-Long", b"x" * 100_000)),
    ),
)


def _odd(name: str, change: deeds.Alter, sabotage: str = "answers are not read") -> Row:
    return Row(
        name=name,
        group=BODIES,
        meaning=Meaning.HARMLESS,
        deed=deeds.altered(change),
        endpoints=ASKED if name == "Set-Cookie" else WITH_VERB,
        phases=ONCE_OR_EVER,
        sabotage=sabotage,
    )


_ODD_ROWS = (
    _odd("gzip", deeds.zipped, "nothing is unpacked"),
    _odd(
        "the right JSON, called text/html",
        lambda reply: reply.with_header(b"Content-Type", b"text/html"),
    ),
    _odd(
        "the right JSON, without a type",
        lambda reply: reply.without(b"Content-Type"),
    ),
    _odd(
        "a byte order mark",
        lambda reply: evolve(reply, body=b"\xef\xbb\xbf" + reply.body),
        "only plain UTF-8 is read",
    ),
    _odd(
        "UTF-16",
        lambda reply: evolve(reply, body=reply.body.decode().encode("utf-16")),
        "only plain UTF-8 is read",
    ),
    _odd(
        "all of it wrapped in data",
        deeds.as_json_of(lambda value: {"data": value}),
    ),
    _odd(
        "Set-Cookie",
        lambda reply: reply.with_header(b"Set-Cookie", b"a=b; Path=/"),
        "cookies are kept",
    ),
    _odd(
        "headers twice",
        lambda reply: evolve(reply, headers=(*reply.headers, *reply.headers)),
    ),
    _odd("result as a text", deeds.as_json_of(lambda value: {**value, "result": "true"})),
)

ROWS = (*_REFUSAL_ROWS, *_KEY_ROWS, *_SILLY_ROWS, *_ODD_ROWS)
