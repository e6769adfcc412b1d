"""Cells of the classifier from the answer on, connections that are used again, and the table.

`REQUIRED` says what the table has to cover, so that no cell gets lost unseen.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import chain, product

from attrs import evolve

from tests.certificates import BOTH_WAYS, ELSEWHERE, EXPIRED, STRANGER
from tests.classifier_cells import (
    BIG,
    GOOD_ANSWER,
    answered,
    before_sending,
    cancelled,
    connecting,
    far_and_endings,
    handshakes,
    not_sent,
    on_the_first,
    over_tls,
    proxies,
    unknown,
)
from tests.classifier_server import (
    ANSWER,
    BODY,
    ENDINGS,
    HALF,
    HEAD,
    close,
    crowd_of,
    cut,
    head,
    in_turn,
    reset,
    saying,
    stall,
    then,
    whole,
)
from tests.classifier_stage import PATIENT, PLACES, Cell, Hears
from tests.loopback import Behaviour, Connection
from tests.virtual_time import settle
from tests.wire import FAST
from wiro_async.protocol.responses import Answer

CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
PACKED = gzip.compress(BODY)

# What no one can take for an answer; and what of a body it gives away nevertheless.
GARBAGE: dict[str, tuple[bytes, bytes]] = {
    "no HTTP": (b"hello, is this the printer?\r\n\r\n", b""),
    "noughts": (b"\x00" * 500, b""),
    "an alert of TLS": (b"\x15\x03\x03\x00\x02\x02\x28", b""),
    "a frame of HTTP/2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", b""),
    "a status that is no number": (b"HTTP/1.1 OK 200\r\n\r\n", b""),
    "a version that is none": (b"HTTP/x.y 200 OK\r\n\r\n", b""),
    "a body alone": (BODY, b""),
    "a header without end": (OK + b"X: " + b"x" * 70_000 + b"\r\n\r\n", b""),
    "a header without name": (OK + b": x\r\n\r\n", b""),
    "a length that is no number": (OK + b"Content-Length: two\r\n\r\n" + BODY, b""),
    "a length below nought": (OK + b"Content-Length: -2\r\n\r\n" + BODY, b""),
    "a chunk that is none": (HEAD + CHUNKS + b"zz\r\n" + BODY, b""),
    "a packed body that is none": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 43\r\n\r\n" + BODY,
        b"",
    ),
}

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
MOVED = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
TOO_FAST = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"
TOO_LARGE = b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"

ANSWERS: dict[str, tuple[bytes, Answer]] = {
    "with a length": (ANSWER, GOOD_ANSWER),
    "in chunks": (HEAD + CHUNKS + b"2b\r\n" + BODY + b"\r\n0\r\n\r\n", GOOD_ANSWER),
    "until the end": (HEAD + b"\r\n" + BODY, GOOD_ANSWER),
    "packed": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
        GOOD_ANSWER,
    ),
    "no content": (NO_CONTENT, Answer(http_status=204, body=b"")),
    "a redirect": (MOVED, Answer(http_status=307, body=b"", location="http://127.0.0.1:1/")),
    "too fast": (TOO_FAST, Answer(http_status=429, body=b"", retry_after="7")),
    "broken": (BROKEN, Answer(http_status=500, body=b"no")),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, GOOD_ANSWER),
    "after many hints": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 9 + ANSWER,
        GOOD_ANSWER,
    ),
}


async def settled(_: Connection) -> None:
    await settle()


def after_the_request() -> Iterator[Cell]:
    for name, (said, partial) in GARBAGE.items():
        yield unknown("garbage", name, then(saying(said), cut), partial=partial)
    for name, (said, answer) in ANSWERS.items():
        cell = answered("answer", name, saying(said), answer=answer)
        yield from (cell, over_tls(cell))
    half = HEAD + b"Content-Encoding: gzip\r\nContent-Length: 999\r\n\r\n" + PACKED[:-8]
    yield unknown("garbage", "half a packed body", then(saying(half), cut), partial=BODY)
    parts = then(
        saying(HEAD + CHUNKS + b"2b\r\n" + BODY), settled, saying(b"\r\nzz\r\n", settled), cut
    )
    # Not patient: aiohttp closes the connection and wakes nobody.
    yield unknown("garbage", "a later chunk that is none", parts, partial=BODY, timeouts=FAST)
    tail = then(saying(ANSWER), settled, saying(b"hello?", settled), cut)
    yield answered("answer", "with something behind it", tail)


def before_the_request_was_read() -> Iterator[Cell]:
    """The server answers what it has read the head of, and reads no further."""
    for name, end in ENDINGS.items():
        cell = answered(
            "early refusal",
            name,
            then(saying(TOO_LARGE, head), end),
            hears=Hears.PART,
            request=BIG,
            answer=Answer(http_status=413, body=b"no"),
        )
        yield from (cell, over_tls(cell))
    halves = {"half": (ANSWER[: -len(BODY)] + HALF, HALF), "garbage": (b"hello?\r\n\r\n", b"")}
    for name, (said, partial) in halves.items():
        yield unknown(
            "early answer",
            name,
            then(saying(said, head), cut),
            hears=Hears.PART,
            request=BIG,
            partial=partial,
        )
    noise = saying(b"HTTP/1.1 100 Continue\r\n\r\n", head)
    for name, end in ENDINGS.items():
        yield unknown(
            "early 100",
            name,
            then(noise, end),
            hears=Hears.PART,
            request=BIG,
            timeouts=FAST if name == "stall" else PATIENT,
        )


def used_again() -> Iterator[Cell]:
    """A second Run, where a first one has left a connection behind."""
    first = saying(ANSWER)
    anew = in_turn(then(first, stall), first)
    unseen: dict[str, Behaviour] = {"cut": cut, "reset": reset, "close": close}
    for name, end in unseen.items():
        deed = on_the_first(end, is_noticed=True)
        cell = answered("left idle", f"{name} unseen before", anew, rehearsals=1, meanwhile=deed)
        yield from (cell, over_tls(cell))
    for name, end in ENDINGS.items():
        timeouts = FAST if name == "stall" else PATIENT
        cell = unknown("used again", name, then(first, whole, end), rehearsals=1, timeouts=timeouts)
        yield from (cell, over_tls(cell))
    # After FIN the server still listens, after RST nothing arrives any more.
    for name, hears in (("cut", Hears.ALL), ("reset", Hears.NOTHING)):
        deed = on_the_first(ENDINGS[name], is_noticed=False)
        yield unknown(
            "used again",
            f"{name} in the same moment",
            then(first, whole, stall),
            hears=hears,
            rehearsals=1,
            before=deed,
        )
    yield from unasked(first)


def unasked(first: Behaviour) -> Iterator[Cell]:
    """Something comes on an idle connection, where the next answer is looked for."""

    async def answer_again(connection: Connection) -> None:
        await connection.write(ANSWER)

    async def babble(connection: Connection) -> None:
        await connection.write(b"hello?\r\n\r\n")

    second = on_the_first(answer_again, is_noticed=True)
    nonsense = on_the_first(babble, is_noticed=True)
    waiting = then(first, whole, stall)
    cell = not_sent("left idle", "unasked answer", waiting, rehearsals=1, meanwhile=second)
    yield from (cell, over_tls(cell))
    both = in_turn(waiting, first)
    yield answered("left idle", "unasked garbage", both, rehearsals=1, meanwhile=nonsense)
    final = HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
    twice = in_turn(then(saying(final), stall), first)
    yield answered("left idle", "the server said it would close", twice, rehearsals=1)


def places() -> Iterator[Cell]:
    """Waiting for one of the connections is not sending."""
    cell = answered("all places taken", "one is left", crowd_of(PLACES), crowd=PLACES)
    yield cell
    yield evolve(cancelled(cell, 0), hears=Hears.NOTHING)


CELLS = tuple(
    chain(
        connecting(),
        handshakes(),
        proxies(),
        before_sending(),
        far_and_endings(),
        after_the_request(),
        before_the_request_was_read(),
        used_again(),
        places(),
    )
)

_ON_THE_WAY = (
    *("unread", "head", "mid-request", "whole", "status line"),
    *("answer's head", "answer's body", "answer's chunk", "after 100"),
)
_BOTH = (*_ON_THE_WAY, *(f"{phase}, tls" for phase in _ON_THE_WAY))

REQUIRED: frozenset[tuple[str, str]] = frozenset(
    [
        *product(_BOTH, ("cut", "reset", "stall", "cancelled")),
        *product(
            ("handshake, greeting", "handshake, half hello"), ("cut", "reset", "stall", "cancelled")
        ),
        *product(("certificate",), (STRANGER, ELSEWHERE, EXPIRED, BOTH_WAYS)),
        *product(
            ("handshake",), ("cut at once", "reset at once", "garbage", "speaks HTTP", "alert")
        ),
        *product(
            ("connecting",),
            ("refused", "no such name", "no answer", "no answer, request timeout", "cancelled"),
        ),
        *product(("proxy",), ("CONNECT refused", "CONNECT cut", "CONNECT stall", "answer")),
        *product(
            ("before sending",),
            ("cut", "reset", "slow", "slow, then no answer", "raises", "cancelled"),
        ),
        *product(("early refusal", "early refusal, tls", "early 100"), ("cut", "reset", "stall")),
        *product(("early answer",), ("half", "garbage")),
        *product(("garbage",), (*GARBAGE, "half a packed body", "a later chunk that is none")),
        *product(("answer", "answer, tls"), ANSWERS),
        *product(("used again", "used again, tls"), ("cut", "reset", "stall")),
        *product(("used again",), ("cut in the same moment", "reset in the same moment")),
        *product(("left idle", "left idle, tls"), ("unasked answer", "reset unseen before")),
        *product(("all places taken",), ("one is left", "cancelled")),
    ]
)
