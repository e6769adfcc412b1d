"""Files on the CDN: cut, shifted, changed, encoded, too long, not there."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from tests.hostile import deeds
from tests.hostile.meanings import Meaning
from tests.hostile.middleman import Deed, Phase, Strike
from tests.hostile.rows import ALL_PHASES, ONCE_OR_EVER, Row
from tests.hostile.wire import CDN, Heard, Reply, find_header, page
from tests.hostile.words import Advice

GROUP = "Files on the CDN"
_EVER = (Phase.EVER,)
_TRY = "nothing is repeated"
_TAKEN = "what comes is taken"


def file_row(
    name: str,
    meaning: Meaning,
    deed: Deed,
    sabotage: str = _TRY,
    *,
    phases: tuple[Phase, ...] = ALL_PHASES,
) -> Row:
    return Row(
        name=name,
        group=GROUP,
        meaning=meaning,
        deed=deed,
        endpoints=(CDN,),
        phases=phases,
        sabotage=sabotage,
    )


def _body(change: Callable[[bytes], bytes]) -> Deed:
    return deeds.altered(lambda reply: evolve(reply, body=change(reply.body)))


def in_words(body: bytes, kind: bytes) -> Deed:
    return deeds.telling(Reply(headers=((b"Content-Type", kind),), body=body))


# Going on where a try broke off.


def _is_partial(heard: Heard) -> bool:
    return heard.header(b"range") is not None


async def _half(strike: Strike) -> bool:
    reply = await strike.forward()
    await strike.line.say(reply.head + reply.body[: (len(reply.body) + 1) // 2])
    return False


def resumed(then: Deed, *, for_ever: bool = False) -> Deed:
    """Break the first try off; treat what asks for the rest like this, once or whenever."""

    async def act(strike: Strike) -> bool:
        if strike.tries == 1 or (for_ever and not _is_partial(strike.heard)):
            return await _half(strike)
        if (strike.tries == 2 or for_ever) and _is_partial(strike.heard):
            return await then(strike)
        return await strike.say(await strike.forward())

    return act


async def _rest(strike: Strike) -> bool:
    return await strike.say(await strike.forward())


async def _whole_in_place_of_rest(strike: Strike) -> bool:
    lines = strike.heard.head.split(b"\r\n")
    head = b"\r\n".join(line for line in lines if not line.lower().startswith(b"range:"))
    return await strike.say(await strike.forward(evolve(strike.heard, head=head)))


def _shifted(reply: Reply) -> Reply:
    """The rest, one byte early, and said so."""
    said = find_header(reply.headers, b"content-range") or b"bytes 9-9/9"
    start, _, rest = said.removeprefix(b"bytes ").partition(b"-")
    moved = b"bytes %d-%b" % (int(start) - 1, rest)
    return evolve(reply, body=b"?" + reply.body).with_header(b"Content-Range", moved)


def _changed(reply: Reply) -> Reply:
    """The rest of another file."""
    other = bytes(255 - byte for byte in reply.body)
    return evolve(reply, body=other).with_header(b"ETag", b'"another"')


def _of_another_size(reply: Reply) -> Reply:
    said = find_header(reply.headers, b"content-range") or b"bytes 0-0/0"
    return reply.with_header(b"Content-Range", said.rpartition(b"/")[0] + b"/999999")


def _not_satisfiable(reply: Reply) -> Reply:
    return evolve(page(416), headers=(*reply.headers, (b"Content-Range", b"bytes */1")))


_MISDEEDS: tuple[tuple[str, deeds.Alter, str], ...] = (
    ("the rest begins elsewhere", _shifted, _TAKEN),
    ("the rest is another file's", _changed, _TAKEN),
    ("the rest is of a file of another size", _of_another_size, _TAKEN),
    ("the rest cannot be had (416)", _not_satisfiable, _TAKEN),
)

_RESUMED_ROWS = (
    file_row("broken off, and the rest is given", Meaning.FINE, resumed(_rest), _TRY, phases=_EVER),
    file_row(
        "broken off, and the whole is given in place of the rest",
        Meaning.FINE,
        resumed(_whole_in_place_of_rest, for_ever=True),
        "the whole is taken for the rest",
        phases=_EVER,
    ),
    *(
        file_row(
            f"broken off; {name}, once",
            Meaning.FINE,
            resumed(deeds.altered(change)),
            _TRY,
            phases=_EVER,
        )
        for name, change, _ in _MISDEEDS
    ),
    *(
        file_row(
            f"broken off; {name}, always",
            Meaning.BROKEN,
            resumed(deeds.altered(change), for_ever=True),
            sabotage,
            phases=_EVER,
        )
        for name, change, sabotage in _MISDEEDS
    ),
)

_FILE_ROWS = (
    file_row(
        "a few bytes short, and so is the length", Meaning.BROKEN, _body(lambda b: b[:-3]), _TAKEN
    ),
    file_row(
        "more bytes than the record says", Meaning.BROKEN, _body(lambda b: b + b"more"), _TAKEN
    ),
    file_row("no byte at all", Meaning.BROKEN, _body(lambda _: b""), _TAKEN),
    file_row(
        "a page of HTML with 200",
        Meaning.BROKEN,
        in_words(b"<!DOCTYPE html><html><body>Sorry</body></html>", b"text/html"),
    ),
    file_row(
        "an error in JSON with 200",
        Meaning.BROKEN,
        in_words(b'{"result":false,"errors":["expired"]}', b"application/json"),
    ),
    file_row("gzip that was not asked for", Meaning.BROKEN, deeds.altered(deeds.zipped)),
    file_row(
        "206 that was not asked for",
        Meaning.BROKEN,
        deeds.altered(
            lambda reply: evolve(reply, status=206).with_header(
                b"Content-Range", b"bytes 0-%d/%d" % (len(reply.body) - 1, len(reply.body))
            )
        ),
    ),
    file_row(
        "cut in the middle, again and again",
        Meaning.BROKEN,
        deeds.cut(lambda size: size // 2),
        _TRY,
    ),
    file_row("reset in the middle", Meaning.BROKEN, deeds.cut(lambda n: n // 2, then_reset=True)),
    evolve(
        file_row(
            "silence in the middle",
            Meaning.BROKEN,
            deeds.cut(lambda size: size // 2, is_silent=True),
            _TRY,
            phases=(Phase.FIRST,),
        ),
        needs_patience=True,
    ),
    *(
        file_row(f"{code}", Meaning.BROKEN, deeds.telling(page(code)), phases=ONCE_OR_EVER)
        for code in (408, 429, 500, 502, 503, 504)
    ),
    file_row(
        "429, Retry-After: 0.05",
        Meaning.BROKEN,
        deeds.telling(page(429, (b"Retry-After", b"0.05"))),
        phases=ONCE_OR_EVER,
    ),
    evolve(
        file_row(
            "Set-Cookie with a file",
            Meaning.FINE,
            deeds.altered(lambda reply: reply.with_header(b"Set-Cookie", b"a=b; Path=/")),
            "cookies are kept",
        ),
        phases=_EVER,
        at_once=1,
    ),
    evolve(
        file_row(
            "429, Retry-After: 99999",
            Meaning.FORBIDDEN,
            deeds.telling(page(429, (b"Retry-After", b"99999"))),
            "any wait is borne",
            phases=ONCE_OR_EVER,
        ),
        advice=Advice(
            "does not wait longer than `max_pause_seconds`, and does not try again",
            "`unsaved` (`DownloadError`), with the wait that was asked for",
            "wait as long as it says, then start the same batch again",
        ),
    ),
    evolve(
        file_row("larger than max_output_bytes", Meaning.FORBIDDEN, _rest, "any size is taken"),
        settings={"max_output_bytes": 20},
        phases=_EVER,
        advice=Advice(
            "reads no more than that, and does not try again",
            "`unsaved` (`DownloadError`), with the option's name",
            "raise `max_output_bytes` (`--max-output-bytes`), then start the same batch again",
        ),
    ),
)

ROWS = (*_FILE_ROWS, *_RESUMED_ROWS)
