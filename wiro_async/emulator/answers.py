"""The shapes of the service's answers, as its pages print them.

Everything that makes the service's JSON awkward is kept on purpose, for a client that has
only met tidy answers has not been tried: numbers are strings in a task and numbers in a
model, `total` is a string here and a number there, a time that has not come is "0", the
categories of a task are a string that holds a list, some fields are null, and there are
fields that nobody documents. A task that was stopped still says `pexit` "0" and may list a
file, and the answer to Kill and Cancel itself still says `canceltime` "0".
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import attrs

from wiro_async.emulator import chance
from wiro_async.emulator.books import BookedFile, BookedTask, Fate
from wiro_async.emulator.catalog import CATALOG, Model
from wiro_async.emulator.refusals import Refusal
from wiro_async.emulator.timeline import CANCELLED, DONE, OUTPUT, begins_at

NEVER = "0"
RENEWAL = "renewal"
"""The parameter by which the fresh urls of an expired file differ."""

# The record's name for the time at which a status began.
_TIME_FIELDS = {
    "accepttime": "task_accept",
    "assigntime": "task_assign",
    "preprocessstarttime": "task_preprocess_start",
    "preprocessendtime": "task_preprocess_end",
    "starttime": "task_start",
    "endtime": "task_end",
    "postprocessstarttime": "task_postprocess_start",
}


def accepted(**fields: object) -> dict[str, Any]:
    """Give the envelope of a request that was done, with its fields at the top."""
    return {"errors": [], **fields, "result": True}


def refused(refusal: Refusal) -> dict[str, Any]:
    """Give the envelope of a refusal."""
    return {
        "errors": [{"code": refusal.code, "message": refusal.message}],
        "result": False,
    }


@attrs.frozen(kw_only=True)
class Scribe:
    """Writes task records: knows when the world began and where its CDN is."""

    epoch: float
    origin: str
    """Scheme, host and port of the CDN's urls, without a slash at the end."""

    def tasks(self, tasks: Iterable[BookedTask], now: float, *, total: int) -> dict[str, Any]:
        """Give the answer of Task/Detail and Task/List; `now` in service seconds."""
        records = [self.record(task, now) for task in tasks]
        return {"total": str(total), **accepted(tasklist=records)}

    def stopped(self, task: BookedTask, now: float) -> dict[str, Any]:
        """Give the answer of Kill and Cancel; the cancel time is not in it yet."""
        return accepted(tasklist=[{**self.record(task, now), "canceltime": NEVER}])

    def record(self, task: BookedTask, now: float) -> dict[str, Any]:
        """Give one task as the service lists it, `now` service seconds into the world."""
        model = CATALOG[task.model]
        succeeded = task.terminal and task.status == DONE and task.fate is Fate.SUCCEED
        outputs = self._outputs(task)
        return {
            "id": task.id,
            "uuid": chance.uuid("task", task.token),
            "name": "",
            "socketaccesstoken": task.token,
            "parameters": task.parameters,
            "debugoutput": (task.answer or "") if succeeded else "",
            "debugerror": _complaint(task),
            **self._times(task, now),
            "elapsedseconds": f"{_elapsed(task):.4f}",
            "status": task.status,
            "cps": _money(Decimal(0)),
            "totalcost": _money(task.cost) if task.cost else "0",
            "guestid": None,
            "projectid": task.project_id,
            "modelid": model.id,
            "description": "",
            "basemodelid": "0",
            "runtype": "model",
            "modelfolderid": "",
            "modelfileid": "",
            "callbackurl": task.callback_url,
            "marketplaceid": None,
            "pexit": _exit_code(task),
            "categories": json.dumps(model.categories, separators=(",", ":")),
            "outputs": outputs,
            "size": str(sum(int(output.get("size", 0)) for output in outputs)),
            "modeldescription": model.description,
            "modelslugowner": model.owner,
            "modelslugproject": model.project,
        }

    def _times(self, task: BookedTask, now: float) -> dict[str, str]:
        end = now if task.ended is None else task.ended
        times = {"createtime": self.stamp(task.created)}
        for name, status in _TIME_FIELDS.items():
            begins = task.created + begins_at(status) * task.duration
            times[name] = self.stamp(begins) if begins <= end else NEVER
        done = task.ended is not None and task.status == DONE
        times["postprocessendtime"] = self.stamp(end) if done else NEVER
        times["canceltime"] = self.stamp(end) if task.status == CANCELLED else NEVER
        return times

    def stamp(self, seconds: float) -> str:
        """Give a service second as the Unix time in whole seconds, as a string."""
        return str(int(self.epoch + seconds))

    def _outputs(self, task: BookedTask) -> list[dict[str, Any]]:
        if task.deleted or task.ended is None:
            return []
        if task.status == DONE and task.answer is not None and task.fate is Fate.SUCCEED:
            return [_spoken(task.prompt, task.answer)]
        if task.status == CANCELLED and task.drawn is not None:
            # Killed after the picture was there: the service lists it, paid for it is not.
            had_begun = task.ended >= task.created + begins_at(OUTPUT) * task.duration
            return [self._file(task, task.drawn)] if had_begun else []
        return [self._file(task, file) for file in task.outputs]

    def _file(self, task: BookedTask, file: BookedFile) -> dict[str, Any]:
        added = self.stamp(task.ended or 0.0)
        return {
            "id": chance.fingerprint("file", task.token).hex()[:32],
            "name": file.name,
            "contenttype": file.content_type,
            "parentid": chance.fingerprint("folder", task.token).hex()[:32],
            "uuid": chance.uuid("task", task.token),
            "size": str(file.size),
            "addedtime": added,
            "modifiedtime": added,
            "accesskey": chance.token(30, "file", task.token),
            "foldercount": "0",
            "filecount": "0",
            "ispublic": 0,
            "expiretime": None,
            "url": f"{self.origin}{file.path}{renewed(task)}",
        }


def renewed(task: BookedTask) -> str:
    """Give what the url of a file ends with once the former ones have expired."""
    return f"?{RENEWAL}={task.renewals}" if task.renewals else ""


def listed_model(model: Model, price: Decimal, *, whole: bool) -> dict[str, Any]:
    """Give a model as Tool/List (`whole=False`) or Tool/Detail prints it."""
    groups = [{"title": "Input", "items": [parameter.to_dict() for parameter in model.parameters]}]
    prices = [{"inputs": {}, "price": float(price), "priceMethod": "cpr"}]
    shape: dict[str, Any] = {
        "id": model.id,
        "title": model.title,
        "slugowner": model.owner,
        "slugproject": model.project,
        "cleanslugowner": model.owner,
        "cleanslugproject": model.project,
        "description": model.description,
        "seodescription": model.description,
        "image": "",
        "computingtime": "10 seconds",
        "categories": list(model.categories),
        "tags": list(model.tags),
        "marketplace": 1,
        "onlymembers": "1",
        "averagepoint": "5.00",
        "commentcount": "1",
        "ratedusercount": "3",
        "dynamicprice": json.dumps(prices, separators=(",", ":")),
        "approximatelycost": str(price),
        "taskstat": {"runcount": 1, "successcount": "1", "errorcount": "0", "lastruntime": NEVER},
        "parameters": groups if whole else None,
    }
    if whole:
        shape["readme"] = f"<p>{model.description}</p>"
        shape["inspire"] = [{"prompt": prompt} for prompt in model.inspire]
        shape["samples"] = []
    return shape


def _money(amount: Decimal) -> str:
    return f"{amount:.12f}"  # as many decimals as the model page's samples have


def _spoken(prompt: str, answer: str) -> dict[str, Any]:
    return {
        "contenttype": "raw",
        "content": {"prompt": prompt, "raw": answer, "thinking": [], "answer": [answer]},
    }


def _complaint(task: BookedTask) -> str:
    if task.ended is None or task.status == CANCELLED:
        return ""
    complaints = {
        Fate.SUCCEED: "",
        Fate.FAIL: "The emulated model gave up on this prompt.",
        Fate.ERROR: "The emulated worker could not start the model.",
    }
    return complaints[task.fate]


def _exit_code(task: BookedTask) -> str:
    if task.ended is None:
        return ""
    # A stopped task says "0" as well, as on the model page: the status has to be read first.
    return "0" if task.status == CANCELLED or task.fate is Fate.SUCCEED else "1"


def _elapsed(task: BookedTask) -> float:
    if task.status != DONE:
        return 0.0
    return (begins_at("task_postprocess_start") - begins_at("task_accept")) * task.duration
