"""Records that Task/Detail and Task/List give: half empty, of strange types, of other tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from attrs import evolve

from tests.hostile import deeds
from tests.hostile.meanings import Meaning
from tests.hostile.middleman import Phase
from tests.hostile.rows import ALL_PHASES, ONCE_OR_EVER, File, Row
from tests.hostile.wire import Reply
from tests.hostile.words import Advice

GROUP = "Records of tasks"
RECORDS = ("Task/Detail", "Task/List")
DETAIL = ("Task/Detail",)
_UNREAD = "answers are not read"
_ONCE = "nothing is repeated"

Record = dict[str, object]

# What has to be there for a task to be followed to its file.
_NEEDED = frozenset({"id", "socketaccesstoken", "status", "pexit", "outputs", "parameters"})
# And what the search for a lost Run goes by.
_SEARCHED = _NEEDED | {"createtime", "modelslugowner", "modelslugproject"}


def each_record(change: Callable[[Record], Record]) -> deeds.Alter:
    """Every task of an answer's list, changed."""

    def alter(value: dict[str, object]) -> object:
        rows = value.get("tasklist")
        return {**value, "tasklist": [change(row) for row in rows]} if rows else value  # type: ignore[attr-defined] # the emulator's own list

    return deeds.as_json_of(alter)


def all_but_needed(value: object) -> Callable[[Record], Record]:
    """This value in each field that nothing depends on."""
    return lambda record: {
        name: held if name in _SEARCHED else value for name, held in record.items()
    }


def _odd(name: str, change: Callable[[Record], Record], sabotage: str = _UNREAD) -> Row:
    return Row(
        name=name,
        group=GROUP,
        meaning=Meaning.HARMLESS,
        deed=deeds.altered(each_record(change)),
        endpoints=RECORDS,
        phases=ONCE_OR_EVER,
        sabotage=sabotage,
    )


def _silly(name: str, change: Callable[[Record], object], *, row: bool = False) -> Row:
    alter = each_record(change) if row else deeds.as_json_of(change)  # type: ignore[arg-type] # a row's change gives a row
    return Row(
        name=name,
        group=GROUP,
        meaning=Meaning.SILLY_DONE,
        deed=deeds.altered(alter),
        endpoints=RECORDS,
        phases=ALL_PHASES,
        sabotage=_ONCE,
    )


def _list(value: object) -> Callable[[Record], Record]:
    return lambda answer: {**answer, "tasklist": value}


def _a_stranger_s(record: Record) -> Record:
    return {
        **record,
        "id": "666",
        "socketaccesstoken": "stranger",
        "uuid": "666",
        "parameters": {"prompt": "a stranger's"},
    }


def _twice(reply: Reply) -> Reply:
    """Every key of the record twice, the right one last."""
    value = json.loads(reply.body)
    rows = value.get("tasklist") or []
    texts = [f'{{"id":null,"status":7,"outputs":"none",{json.dumps(row)[1:]}' for row in rows]
    envelope = json.dumps({**value, "tasklist": []})
    body = envelope.replace('"tasklist": []', f'"tasklist": [{",".join(texts)}]')
    return evolve(reply, body=body.encode())


_JUNK: Mapping[str, object] = {
    "nulls": None,
    "numbers": 10**400,
    "booleans": True,
    "lists in lists": [[[], {}], [None]],
    "objects": {"a": {"b": [1, {"c": None}]}},
    "texts that are no numbers": "-- \u0000\u202e\ud800 --",
    "not-a-number": float("nan"),
}

ROWS = (
    *(
        _odd(f"{name} in every field that can be missing", all_but_needed(value))
        for name, value in _JUNK.items()
    ),
    _odd("fields that nobody knows", lambda record: {**record, "new": {"x": 1}, "": 0}),
    _odd("an id that is a number", lambda record: {**record, "id": int(str(record["id"]))}),
    _odd(
        "parameters printed as a text",
        lambda record: {**record, "parameters": json.dumps(record["parameters"])},
    ),
    evolve(
        _odd("a log of 5 MB", lambda record: {**record, "debugoutput": "x" * 5_000_000}),
        phases=(Phase.FIRST,),
    ),
    Row(
        name="every key twice, the right one last",
        group=GROUP,
        meaning=Meaning.HARMLESS,
        deed=deeds.altered(_twice),
        endpoints=RECORDS,
        phases=ONCE_OR_EVER,
        sabotage=_UNREAD,
    ),
    evolve(
        _silly("an empty list of tasks", _list([])),
        sabotage="a task just made is not waited for",
    ),
    _silly("null in place of the list", _list(None)),
    _silly("a number in place of the list", _list(7)),
    _silly("a list of things that are no records", _list([None, 1, "x", []])),
    _silly("another task's record", _a_stranger_s, row=True),
    Row(
        name="a status that nobody knows",
        group=GROUP,
        meaning=Meaning.HARMLESS,
        deed=deeds.altered(each_record(lambda record: {**record, "status": "task_dreams"})),
        endpoints=DETAIL,
        phases=ALL_PHASES[:2],
        advice=Advice("takes the task for running and looks again", "nothing", "nothing"),
        sabotage=_UNREAD,
    ),
    Row(
        name="a status that is no text",
        group=GROUP,
        meaning=Meaning.HARMLESS,
        deed=deeds.altered(each_record(lambda record: {**record, "status": {"now": None}})),
        endpoints=DETAIL,
        phases=ALL_PHASES[:2],
        advice=Advice("takes the task for running and looks again", "nothing", "nothing"),
        sabotage=_UNREAD,
    ),
    Row(
        name="success without outputs",
        group=GROUP,
        meaning=Meaning.HARMLESS,
        deed=deeds.altered(each_record(lambda record: {**record, "outputs": None})),
        endpoints=DETAIL,
        phases=(Phase.EVER,),
        file=File(content=b"", suffix=""),
        advice=Advice(
            "asks for the record once more, and believes it then",
            "`succeeded`, counted in the summary as without any output",
            "look at the task's record in `results.jsonl`",
        ),
        sabotage=_UNREAD,
    ),
)
