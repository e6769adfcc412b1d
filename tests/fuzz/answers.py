"""Targets: what the service answers, from raw bytes and from good records with junk in them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.fuzz.draws import TEXTS, Draw
from tests.fuzz.laws import Target, is_text, only, require
from tests.protocol.page import CANCEL, DETAIL, KILL, RUN
from wiro_async.errors import ApiError
from wiro_async.protocol.prices import decode_tool, estimate_cost
from wiro_async.protocol.records import keep_record, read_record
from wiro_async.protocol.responses import (
    Answer,
    Started,
    decode_acknowledgement,
    decode_run,
    decode_task,
    decode_tasks,
    retry_after_seconds,
)
from wiro_async.protocol.salvage import salvage_run
from wiro_async.task import Outcome, Output, Task, TaskEvent

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_CUTS = 24
_STATUSES = (200, 200, 200, 201, 302, 400, 401, 403, 404, 429, 500, 502, 503, 999)
_LISTED = dict(CANCEL["tasklist"][0])
_OUTPUT = dict(_LISTED["outputs"][0])
_MORE_OF_A_TASK = ("modelslugowner", "modelslugproject", "pexit", "data", "errors")
_RAW_OUTPUT: dict[str, object] = {
    "contenttype": "raw",
    "content": {"prompt": "a", "raw": "b", "thinking": [], "answer": ["a", "b"]},
}
TOOL: dict[str, object] = {
    "slugowner": "o",
    "slugproject": "m",
    "dynamicprice": json.dumps(
        [
            {"inputs": {"seed": ["1", 2]}, "price": 0.13, "priceMethod": "cpr"},
            {"inputs": {}, "price": "0.04", "priceMethod": "cpr"},
        ]
    ),
    "approximatelycost": "0.05",
    "parameters": [{"title": "a", "items": [{"id": "seed", "default": "1"}]}],
}
_PRICE: dict[str, object] = {
    "inputs": {"seed": "1"},
    "price": 0.13,
    "priceMethod": "cpr",
    "priceExtra": 1,
}


def check_run(data: bytes) -> None:
    """A Run's answer as it came, and every beginning of it that may have come."""
    draw = Draw(data)
    _check_run_body(Answer(http_status=draw.pick(_STATUSES), body=draw.rest()), len(data))


def check_run_record(data: bytes) -> None:
    """A Run's answer with junk in its fields."""
    draw = Draw(data)
    status, cut = draw.pick(_STATUSES), draw.below(2**16)
    body = draw.mutated(RUN, ("data", "errors"))
    if draw.flag():
        body = {"data": body, "errors": draw.value()}
    _check_run_body(Answer(http_status=status, body=_written(draw, body)), cut)


def _check_run_body(answer: Answer, cut: int) -> None:
    with only(ApiError):
        _check_names(decode_run(answer, "/Run/o/m"))
    whole = salvage_run(answer.body)
    if whole is not None:
        _check_names(whole)
    is_clear = _says_each_thing_once(answer.body)
    for place in range(cut, cut + _CUTS):
        part = salvage_run(answer.body[: place % (len(answer.body) + 1)])
        if part is not None:
            _check_names(part)
        if whole is not None and part is not None and is_clear:
            require(part.task_id in {None, whole.task_id}, "half an answer names another task")
            require(part.token in {None, whole.token}, "half an answer names another token")


def _check_names(started: Started) -> None:
    names = [name for name in (started.task_id, started.token) if name is not None]
    require(bool(names), "a task without a name")
    for name in names:
        require(name.strip() == name != "", "a name with blanks around it")
        require(is_text(name), "a name that cannot be written down")


def _says_each_thing_once(body: bytes) -> bool:
    """Whether no name stands twice in it: which one counts is then for nobody to say."""

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        whole = json.loads(body, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return False
    return not isinstance(whole, dict) or not isinstance(whole.get("data"), dict) or len(whole) == 1


def check_tasks(data: bytes) -> None:
    """What Detail, List, Kill and Cancel answer, as it came."""
    draw = Draw(data)
    _check_tasks_body(Answer(http_status=draw.pick(_STATUSES), body=draw.rest()))


def check_task_record(data: bytes) -> None:
    """A task's record with junk in its fields, and in those of its outputs."""
    draw = Draw(data)
    status = draw.pick(_STATUSES)
    outputs: object = [
        draw.mutated(draw.pick((_OUTPUT, _RAW_OUTPUT)), ("content",)) for _ in range(draw.below(3))
    ]
    if draw.byte() % 4 == 1:
        outputs = json.dumps(outputs)
    row: object = {"outputs": outputs, **draw.mutated({**_LISTED, "outputs": outputs})}
    rows = [row, *(draw.mutated(_LISTED, _MORE_OF_A_TASK) for _ in range(draw.below(2)))]
    body = {**draw.mutated({"errors": [], "result": True, "total": "1"}), "tasklist": rows}
    _check_tasks_body(Answer(http_status=status, body=_written(draw, body)))


def _check_tasks_body(answer: Answer) -> None:
    with only(ApiError):
        decode_acknowledgement(answer, "/Task/Kill")
    with only(ApiError):
        decode_task(answer, "/Task/Detail", task_id="2221", token="t")
    with only(ApiError):
        for task in decode_tasks(answer, "/Task/List"):
            _check_task(task)


def _check_task(task: Task) -> None:
    require(isinstance(task.outcome, Outcome), "no outcome")
    require(all(map(is_text, (task.id, task.token))), "a name that cannot be written down")
    require(task.id != "" and task.token != "", "an empty name")
    require(task.text is None or isinstance(task.text, str), "a text that is none")
    require(isinstance(hash(task), int), "no hash")
    for cost in (task.total_cost, task.cost_per_second):
        require(cost is None or cost.is_finite(), "a price that is no number")
    seconds = task.elapsed_seconds
    require(seconds is None or 0 <= seconds < math.inf, "a duration that is none")
    for output in task.outputs:
        _check_output(output)
    event = TaskEvent(status=task.status, outcome=task.outcome, task=task, elapsed_seconds=0.0)
    require(event.is_terminal == (task.outcome is not Outcome.RUNNING), "an end that is none")
    _check_kept(task)


def _check_output(output: Output) -> None:
    require(output.size_bytes is None or output.size_bytes >= 0, "a size below nought")
    require(output.text is None or isinstance(output.text, str), "a text that is none")


def _check_kept(task: Task) -> None:
    """A record that is kept in a file says the same when it is read."""
    kept = json.loads(json.dumps(keep_record(task)))
    again = read_record(kept)
    require(_told(again) == _told(task), "a record that was kept says something else")
    require(keep_record(again) == keep_record(read_record(kept)), "kept twice, it differs")


def _told(task: Task) -> tuple[object, ...]:
    outputs = [
        (output.name, output.url, output.size_bytes, output.content_type, output.text)
        for output in task.outputs
    ]
    return (
        *(task.id, task.token, task.status, task.outcome, task.exit_code, task.total_cost),
        *(task.elapsed_seconds, task.debug_output, task.debug_error, outputs),
    )


def check_prices(data: bytes) -> None:
    """What Tool/Detail answers, and the price that is read from it."""
    draw = Draw(data)
    status, is_raw = draw.pick(_STATUSES), draw.flag()
    params: Any = draw.mapping()
    if is_raw:
        body = draw.rest()
    else:
        prices: object = [draw.mutated(_PRICE) for _ in range(draw.below(3))]
        tool = draw.mutated({**TOOL, "dynamicprice": prices if draw.flag() else json.dumps(prices)})
        body = _written(draw, {"result": True, "tool": [tool]})
    with only(ApiError):
        _check_price(
            estimate_cost(decode_tool(Answer(http_status=status, body=body), "/T"), params)
        )


def _check_price(price: Decimal | None) -> None:
    require(price is None or (price.is_finite() and price >= 0), "a price that is none")


def check_retry_after(data: bytes) -> None:
    """A header with any text: a number of seconds, or none."""
    for text in {data.decode("latin-1"), data.decode(errors="surrogateescape"), Draw(data).text()}:
        seconds = retry_after_seconds(text, _NOW)
        require(seconds is None or 0 <= seconds < math.inf, f"a wait of {seconds}")


def _written(draw: Draw, body: object) -> bytes:
    text = json.dumps(body, ensure_ascii=draw.flag())
    return text.encode(errors="surrogatepass")


def _json_seeds(*bodies: object) -> Callable[[], list[bytes]]:
    return lambda: [b"\0" + json.dumps(body).encode() for body in bodies]


def noise() -> list[bytes]:
    """Inputs without a form, for targets that draw all that they need."""
    starts = ((first, start) for first in range(3) for start in range(0, 200, 40))
    steps = [bytes((first, *range(start, start + 40))) for first, start in starts]
    return [b"", bytes(range(256)), bytes(range(255, -1, -1)), b"\x03\x07\x01" * 40, *steps]


def retry_seeds() -> list[bytes]:
    dates = (
        *("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 -2500", "21 Oct 10000"),
        *("Wed, 21-Oct-26 7:28 EST", "Sun, 06 Nov 1994 08:49:37", "31 Feb 2026 25:61:61 +0000"),
    )
    texts = ("120", "1.5", "-3", "1e400", "9" * 5_000, *dates)
    return [text.encode() for text in texts] + [
        text.encode(errors="surrogatepass") for text in TEXTS
    ]


ANSWERS = (
    Target(
        name="run",
        check=check_run,
        seeds=_json_seeds(
            RUN,
            {"data": RUN},
            {"taskid": 2221, "a": 1},
            {"result": False, "errors": [{"code": 96, "message": "up to 5 tasks at the same"}]},
            {"errors": ["Insufficient balance"]},
        ),
    ),
    Target(name="run-record", check=check_run_record, seeds=noise),
    Target(
        name="tasks",
        check=check_tasks,
        seeds=_json_seeds(DETAIL, KILL, {"data": CANCEL}, {"tasklist": json.dumps([_RAW_OUTPUT])}),
    ),
    Target(name="task-record", check=check_task_record, seeds=noise),
    Target(
        name="prices",
        check=check_prices,
        seeds=lambda: [
            *noise(),
            *(
                b"\0\1\0" + json.dumps({"result": True, "tool": [tool]}).encode()
                for tool in (TOOL, {**TOOL, "dynamicprice": None, "approximatelycost": "-1"})
            ),
        ],
    ),
    Target(name="retry-after", check=check_retry_after, seeds=retry_seeds),
)
