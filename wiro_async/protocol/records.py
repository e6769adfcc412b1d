"""What of a task's record is kept for later: enough to know how it ended and to fetch its files.

Kept in the service's own names, so that the one converter reads it back. Left out is what
nobody needs again, and the access keys of outputs, which open what a url alone does not.
"""

from __future__ import annotations

from wiro_async.protocol.converter import make_converter, read_rows
from wiro_async.task import JsonObject, JsonValue, Task

_CONVERTER = make_converter()
_TASK_FIELDS = (
    *("id", "socketaccesstoken", "status", "pexit", "totalcost", "elapsedseconds"),
    *("debugoutput", "debugerror"),
)
_OUTPUT_FIELDS = ("name", "contenttype", "size", "url", "content")


def keep_record(task: Task) -> dict[str, JsonValue]:
    """The part of a record that is kept."""
    outputs: list[JsonValue] = [
        {name: row[name] for name in _OUTPUT_FIELDS if name in row}
        for row in read_rows(task.raw.get("outputs"))
    ]
    kept: dict[str, JsonValue] = {name: task.raw[name] for name in _TASK_FIELDS if name in task.raw}
    # As this library has read it: a price that nobody can read is none.
    kept["totalcost"] = None if task.total_cost is None else f"{task.total_cost:f}"
    return {**kept, "outputs": outputs}


def read_record(record: JsonObject) -> Task:
    """The task of a record that was kept."""
    return _CONVERTER.structure(record, Task)
