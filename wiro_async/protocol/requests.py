"""One builder per endpoint.

All endpoints are ``POST`` with a JSON body. What the sources disagree on (wiro-api facts,
"Endpoints" and "Content type") is settled there and followed here:

* ``application/json``, since no file travels in these requests;
* scalars of a Run go as strings (``"seed": "42"``), lists and objects stay JSON, and what the
  caller leaves out, or sets to None, is not sent;
* Kill names the socket access token where there is one, else the task id; Cancel names the
  task id; Detail names whichever is known, the id first;
* start and limit of a list go as strings.

A Run is the one request that costs money, and says so: `Request.is_billable`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from attrs import frozen

from wiro_async.catalog import scalar_text
from wiro_async.task import JsonObject, JsonValue


@frozen(kw_only=True)
class Request:
    """What is sent, but for the signature, which every attempt gets afresh."""

    path: str
    body: bytes
    is_billable: bool = False

    @property
    def endpoint(self) -> str:
        """The path without what differs from model to model: what requests are counted by."""
        return "/Run" if self.is_billable else self.path

    @property
    def headers(self) -> dict[str, str]:
        """The headers that do not depend on the attempt."""
        return {"Content-Type": "application/json", "Accept": "application/json"}


def build_run(model: str, params: JsonObject) -> Request:
    """``POST /Run/{owner}/{model}``: start a task. The slug and parameters are checked before."""
    return Request(path=f"/Run/{model}", body=_encode(wire_params(params)), is_billable=True)


def build_detail(*, task_id: str | None = None, token: str | None = None) -> Request:
    """``POST /Task/Detail``: how does a task stand? Needs one of the two names."""
    named = {"tasktoken": token} if task_id is None else {"taskid": task_id}
    return Request(path="/Task/Detail", body=_encode(named))


def build_kill(*, task_id: str | None = None, token: str | None = None) -> Request:
    """``POST /Task/Kill``: end a task that a worker has. Needs one of the two names."""
    named = {"taskid": task_id} if token is None else {"socketaccesstoken": token}
    return Request(path="/Task/Kill", body=_encode(named))


def build_cancel(*, task_id: str) -> Request:
    """``POST /Task/Cancel``: take a task out of the queue."""
    return Request(path="/Task/Cancel", body=_encode({"taskid": task_id}))


def build_list(*, start: int = 0, limit: int = 20, model: str | None = None) -> Request:
    """``POST /Task/List``: a page of the project's tasks, newest first."""
    body = {"type": "model", "sort": "id", "order": "DESC", "start": str(start)}
    body["limit"] = str(limit)
    return Request(
        path="/Task/List", body=_encode(body if model is None else {**body, "modelName": model})
    )


def build_delete_files(*, token: str) -> Request:
    """``POST /Task/InputOutputDelete``: remove a terminal task's files from the service."""
    return Request(path="/Task/InputOutputDelete", body=_encode({"tasktoken": token}))


def build_tool_detail(model: str) -> Request:
    """``POST /Tool/Detail``: a model's parameters and prices. The slug is checked before."""
    owner, _, project = model.partition("/")
    return Request(path="/Tool/Detail", body=_encode({"slugowner": owner, "slugproject": project}))


def wire_params(params: JsonObject) -> dict[str, JsonValue]:
    """The parameters of a Run as they travel: scalars as strings, None left out."""
    return {name: _wire_value(value) for name, value in params.items() if value is not None}


def _wire_value(value: JsonValue) -> JsonValue:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return scalar_text(value)


def _plain(value: JsonValue) -> JsonValue:
    """Any mapping or sequence as the one that the json module knows."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return value


# ASCII with escapes: a lone surrogate in a prompt must not break the encoding.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _encode(body: Mapping[str, JsonValue]) -> bytes:
    return _ENCODER.encode(body).encode("ascii")
