"""What becomes of the connection: refused, reset, silent, cut."""

from __future__ import annotations

from tests.hostile import deeds
from tests.hostile.meanings import API, Meaning
from tests.hostile.middleman import Phase
from tests.hostile.rows import EVERYWHERE, ONCE_OR_EVER, Row
from tests.hostile.wire import CDN, page
from tests.hostile.words import Advice

GROUP = "The connection"
WITHOUT_LIST = ("Run", "Task/Detail", "Task/Kill", "Tool/Detail", CDN)
FEW = ("Run", "Task/Detail", "Tool/Detail", CDN)


def _cut_after_name(size: int) -> int:
    # The names stand before the end of a Run's answer.
    return size - 6


# A stranger's task, in an answer that nobody asked for.
STRANGER = (
    page(200, body=b'{"errors":[],"taskid":"666","socketaccesstoken":"stranger","result":true}')
    .with_header(b"Content-Type", b"application/json")
    .render()
)

ROWS = (
    Row(
        name="the port refuses",
        group=GROUP,
        meaning=Meaning.UNSENT,
        endpoints=WITHOUT_LIST,
        phases=ONCE_OR_EVER,
        sabotage="nothing is repeated",
    ),
    Row(
        name="hung up on at once, without a byte read",
        group=GROUP,
        meaning=Meaning.LOST,
        greeting=deeds.hang_up_at_door,
        endpoints=("Task/Detail", "Task/Kill", "Tool/Detail", CDN),
        phases=ONCE_OR_EVER,
        sabotage="nothing is repeated",
    ),
    Row(
        name="reset at once, without a byte read",
        group=GROUP,
        meaning=Meaning.LOST,
        greeting=deeds.reset_at_door,
        endpoints=("Task/Detail", "Task/Kill", "Tool/Detail", CDN),
        phases=ONCE_OR_EVER,
        sabotage="nothing is repeated",
    ),
    Row(
        name="an answer before there is a request",
        group=GROUP,
        meaning=Meaning.SILLY,
        greeting=deeds.saying_at_door(STRANGER),
        endpoints=("Task/Detail", CDN),
        phases=ONCE_OR_EVER,
        sabotage="nothing is repeated",
    ),
    Row(
        name="reset after the request, nothing done",
        group=GROUP,
        meaning=Meaning.LOST,
        deed=deeds.reset,
        sabotage="runs are repeated",
    ),
    Row(
        name="reset after the request, which was done",
        group=GROUP,
        meaning=Meaning.LOST_DONE,
        deed=deeds.done_first(deeds.reset),
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="closed without a byte, nothing done",
        group=GROUP,
        meaning=Meaning.LOST,
        deed=deeds.hang_up,
        sabotage="runs are repeated",
    ),
    Row(
        name="closed without a byte, though it was done",
        group=GROUP,
        meaning=Meaning.LOST_DONE,
        deed=deeds.done_first(deeds.hang_up),
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="silence after the request",
        group=GROUP,
        meaning=Meaning.LOST,
        deed=deeds.silence,
        endpoints=("Run", "Task/Detail", CDN),
        phases=ONCE_OR_EVER,
        needs_patience=True,
        sabotage="runs are repeated",
    ),
    Row(
        name="silence, though it was done",
        group=GROUP,
        meaning=Meaning.LOST_DONE,
        deed=deeds.done_first(deeds.silence),
        endpoints=("Run", "Task/Kill"),
        phases=(Phase.FIRST,),
        needs_patience=True,
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="half a status line",
        group=GROUP,
        meaning=Meaning.LOST_DONE,
        deed=deeds.done_first(deeds.saying(b"HTTP/1.")),
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="half a head",
        group=GROUP,
        meaning=Meaning.LOST_DONE,
        deed=deeds.done_first(deeds.saying(b"HTTP/1.1 200 OK\r\nContent-Ty")),
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="a head, then silence",
        group=GROUP,
        meaning=Meaning.LOST_DONE,
        deed=deeds.done_first(
            deeds.saying(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", then_silence=True)
        ),
        endpoints=FEW,
        phases=(Phase.FIRST,),
        needs_patience=True,
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="cut in the body's first bytes",
        group=GROUP,
        meaning=Meaning.LOST_DONE,
        at={CDN: Meaning.FINE},  # five bytes a time, it comes to an end
        deed=deeds.cut(lambda _: 5),
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="cut near the body's end",
        group=GROUP,
        meaning=Meaning.NAMED,
        deed=deeds.cut(_cut_after_name),
        endpoints=API,
        sabotage="half answers are thrown away",
    ),
    Row(
        name="reset near the body's end",
        group=GROUP,
        meaning=Meaning.NAMED,
        deed=deeds.cut(_cut_after_name, then_reset=True),
        endpoints=("Task/Detail", "Task/List", "Task/Kill", "Tool/Detail"),
        phases=ONCE_OR_EVER,
        sabotage="nothing is repeated",
    ),
    Row(
        name="silence near the body's end",
        group=GROUP,
        meaning=Meaning.NAMED,
        deed=deeds.cut(_cut_after_name, is_silent=True),
        endpoints=("Run", "Task/Detail"),
        phases=(Phase.FIRST,),
        needs_patience=True,
        sabotage="half answers are thrown away",
    ),
    Row(
        name="chunks that break off",
        group=GROUP,
        meaning=Meaning.NAMED,
        deed=deeds.cut_chunked(),
        endpoints=EVERYWHERE,
        sabotage="half answers are thrown away",
    ),
    Row(
        name="chunks that turn into garbage",
        group=GROUP,
        meaning=Meaning.NAMED,
        deed=deeds.cut_chunked(garbage=b"\xff\xfezz\r\n not a chunk"),
        endpoints=EVERYWHERE,
        sabotage="half answers are thrown away",
    ),
    Row(
        name="a byte at a time, without an end",
        group=GROUP,
        meaning=Meaning.LOST,
        deed=deeds.trickle_for_ever,
        endpoints=("Run", "Task/Detail", "Tool/Detail"),
        phases=(Phase.FIRST,),
        needs_patience=True,
        sabotage="no timeout",
    ),
    Row(
        name="a byte at a time, to the end",
        group=GROUP,
        meaning=Meaning.HARMLESS,
        at={CDN: Meaning.FINE},
        deed=deeds.trickle,
        endpoints=FEW,
        phases=ONCE_OR_EVER,
        sabotage="no patience",
    ),
    Row(
        name="not HTTP at all",
        group=GROUP,
        meaning=Meaning.LOST_DONE,
        deed=deeds.done_first(deeds.saying(b"220 mail.example ESMTP\r\n")),
        sabotage="lost runs are not looked for",
    ),
    Row(
        name="an interim answer first (100, 103)",
        group=GROUP,
        meaning=Meaning.HARMLESS,
        at={CDN: Meaning.FINE},
        deed=deeds.before_it(
            b"HTTP/1.1 100 Continue\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
        ),
        phases=ONCE_OR_EVER,
        sabotage="answers are not read",
    ),
    Row(
        name="an answer of a stranger's behind the right one",
        group=GROUP,
        meaning=Meaning.HARMLESS,
        at={CDN: Meaning.FINE},
        deed=deeds.after_it(STRANGER),
        endpoints=("Run", "Task/Detail", "Task/Kill", "Tool/Detail", CDN),
        advice=Advice(
            "reads the right one, and uses that connection no more",
            "nothing",
            "nothing",
        ),
        at_once=1,
        sabotage="connections are trusted",
    ),
)
