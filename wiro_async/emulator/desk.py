"""What each endpoint answers: the service's front desk, without a network.

One call comes in as the name of an endpoint, the fields of its body and the time; what goes
out is the content of the answer's JSON, or a refusal. Everything about HTTP (headers,
bodies, cut connections) is `app.py`'s; everything about tasks is `world.py`'s. The desk
knows which identifier each endpoint takes and which of the documented refusals applies:

* Task/Detail takes `taskid` or `tasktoken`; Task/Kill takes `socketaccesstoken` as well;
  Task/Cancel takes `taskid`, and `tasktoken` as the documentation has it.
* `limit`, `start` and the like come as strings or numbers; what is no number is refused.
* Task/List may lag, give short pages, or not exist (`Listing`); Task/Detail is always right.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from wiro_async.emulator import answers, chance, refusals
from wiro_async.emulator.admission import Given, admit, text_of
from wiro_async.emulator.books import BookedFile, BookedTask, Fate
from wiro_async.emulator.catalog import CATALOG, Model, Search
from wiro_async.emulator.refusals import Refusal
from wiro_async.emulator.world import Wish, World

Answer = dict[str, Any] | Refusal

PAGE_LENGTH = 20  # the documented default of `limit`


@attrs.frozen(kw_only=True)
class Listing:
    """How far Task/List can be relied on; nobody documents it, so each way has to be tried."""

    lag_seconds: float = 0.0
    """It shows the tasks of so many service seconds ago, as they stood then."""
    page_limit: int | None = None
    """The most rows of a page, whatever limit is asked for."""
    is_absent: bool = False
    """Whether it answers like a path that does not exist."""


@attrs.frozen(kw_only=True)
class Call:
    """One request, stripped of HTTP."""

    endpoint: str
    """`Run`, `Task/Detail`, and so on."""
    now: float
    """Service seconds."""
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    uploads: Mapping[str, Sequence[BookedFile]] = attrs.field(factory=dict)
    """The files that came in the body, by field."""
    model: str = ""
    """Run only: `owner/project` from the path."""
    fate: Fate | None = None
    """Run only: how the task has to end, where a fault wants it."""
    origin: str | None = None
    """Where the CDN's urls begin for this caller; `None` for where they always do."""

    def text(self, name: str) -> str:
        """Give a field as text; "" when it is missing or null."""
        return text_of(self.fields.get(name)).strip()

    def words(self, name: str) -> frozenset[str]:
        """Give a field that holds a list of words."""
        value = self.fields.get(name)
        return frozenset(map(text_of, value)) if isinstance(value, list) else frozenset()


class Desk:
    """Answers calls about one world; `origin` is where its CDN's urls begin, if no call says it."""

    def __init__(self, world: World, origin: str, listing: Listing | None = None) -> None:
        self._world = world
        self._listing = listing or Listing()
        self._scribe = answers.Scribe(epoch=world.terms.epoch, origin=origin)
        self._endpoints: dict[str, Callable[[Call], Answer]] = {
            "Run": self._run,
            "Task/Detail": self._detail,
            "Task/Kill": self._kill,
            "Task/Cancel": self._cancel,
            "Task/List": self._list,
            "Task/InputOutputDelete": self._delete_files,
            "Tool/List": self._models,
            "Tool/Detail": self._model,
            "Tool/Explore": self._explore,
            "File/Upload": self._upload,
            "File/FolderCreate": self._create_folder,
        }

    def answer(self, call: Call) -> Answer:
        """Do what a call asks for; give the answer's content or why it was refused."""
        return self._endpoints[call.endpoint](call)

    def prompt(self, call: Call) -> str:
        """Give the prompt that a call is about: its own, or that of the task it names."""
        if call.endpoint == "Run":
            return call.text("prompt")
        task = self._named(call, "tasktoken", "socketaccesstoken")
        return "" if task is None else task.prompt

    def _run(self, call: Call) -> Answer:
        model = CATALOG.get(call.model)
        if model is None:
            return refusals.MODEL_UNKNOWN
        urls = {
            name: [f"{self._scribe_for(call).origin}{file.path}" for file in files]
            for name, files in call.uploads.items()
        }
        parameters = admit(model, Given(call.fields, urls))
        if isinstance(parameters, Refusal):
            return parameters
        wish = Wish(
            model=model,
            prompt=text_of(call.fields.get("prompt")),
            parameters=parameters,
            callback_url=call.text("callbackUrl"),
            project_id=call.text("projectid"),
            fate=call.fate,
        )
        task = self._world.run(wish, call.now)
        if isinstance(task, Refusal):
            return task
        return answers.accepted(taskid=task.id, socketaccesstoken=task.token)

    def _detail(self, call: Call) -> Answer:
        task = self._wanted(call, "tasktoken")
        return task if isinstance(task, Refusal) else self._one(task, call)

    def _kill(self, call: Call) -> Answer:
        task = self._wanted(call, "socketaccesstoken", "tasktoken")
        if isinstance(task, Refusal):
            return task
        return self._world.kill(task, call.now) or self._scribe_for(call).stopped(task, call.now)

    def _cancel(self, call: Call) -> Answer:
        task = self._wanted(call, "tasktoken")
        if isinstance(task, Refusal):
            return task
        return self._world.cancel(task, call.now) or self._scribe_for(call).stopped(task, call.now)

    def _list(self, call: Call) -> Answer:
        listing = self._listing
        if listing.is_absent:
            return refusals.NO_SUCH_PATH
        window = _window(call)
        if isinstance(window, Refusal):
            return window
        start, limit = window
        if listing.page_limit is not None:
            limit = min(limit, listing.page_limit)
        model = call.text("modelName")
        then = call.now - listing.lag_seconds
        self._world.settle(call.now)
        tasks = self._world.newest(start=start, limit=limit, model=model, until=then)
        past = [self._world.as_it_was(task, then) for task in tasks]
        return self._scribe_for(call).tasks(past, then, total=self._world.count(model, then))

    def _delete_files(self, call: Call) -> Answer:
        if not call.text("tasktoken"):
            return refusals.parameter_required("tasktoken")
        task = self._world.find(call.now, token=call.text("tasktoken"))
        if task is None:
            return refusals.TASK_NOT_YOURS_TO_DELETE
        task.requests += 1
        if not task.terminal:
            return refusals.TASK_STILL_RUNNING
        task.deleted = True
        return answers.accepted()

    def _models(self, call: Call) -> Answer:
        window = _window(call)
        if isinstance(window, Refusal):
            return window
        start, limit = window
        found = Search(
            text=call.text("search"),
            owner=call.text("slugowner"),
            categories=call.words("categories"),
            tags=call.words("tags"),
        ).found()
        models = sorted(
            found, key=lambda model: int(model.id), reverse=call.text("order").upper() == "DESC"
        )
        whole = call.text("summary") != "true"
        tools = [self._tool(model, whole=whole) for model in models[start : start + limit]]
        return answers.accepted(tool=tools, total=len(models))

    def _model(self, call: Call) -> Answer:
        for name in ("slugowner", "slugproject"):
            if not call.text(name):
                return refusals.parameter_required(name)
        model = CATALOG.get(f"{call.text('slugowner')}/{call.text('slugproject')}")
        if model is None:
            return refusals.MODEL_UNKNOWN
        return answers.accepted(tool=[self._tool(model, whole=call.text("summary") != "true")])

    def _explore(self, _: Call) -> Answer:
        tools = [self._tool(model, whole=False) for model in CATALOG.values()]
        shelf = {"id": "1", "title": "Emulated models", "total": len(tools), "tools": tools}
        return answers.accepted(explore=[shelf])

    def _upload(self, call: Call) -> Answer:
        files = call.uploads.get("file", ())
        if not files:
            return refusals.files_required("file")
        folder = call.text("folderid") or "0"
        return answers.accepted(list=[self._stored(file, folder, call) for file in files])

    def _create_folder(self, call: Call) -> Answer:
        name = call.text("name")
        if not name:
            return refusals.parameter_required("name")
        # Documented: letters, numbers, hyphens and underscores only.
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            return refusals.FOLDER_NAME_INVALID
        folder = {
            "id": chance.fingerprint("folder", call.text("parentid"), name).hex()[:32],
            "name": name,
            "parentid": call.text("parentid") or "0",
            "size": "0",
            "contenttype": "",
            "addedtime": self._scribe.stamp(call.now),
        }
        return answers.accepted(list=[folder])

    def _stored(self, file: BookedFile, folder: str, call: Call) -> dict[str, Any]:
        return {
            "id": chance.fingerprint("upload", file.path).hex()[:32],
            "name": file.name,
            "contenttype": file.content_type,
            "size": str(file.size),
            "parentid": folder,
            "url": f"{self._scribe_for(call).origin}{file.path}",
            "addedtime": self._scribe.stamp(call.now),
            "accesskey": chance.token(30, "upload", file.path),
        }

    def _tool(self, model: Model, *, whole: bool) -> dict[str, Any]:
        return answers.listed_model(model, self._world.terms.price, whole=whole)

    def _one(self, task: BookedTask, call: Call) -> dict[str, Any]:
        return self._scribe_for(call).tasks([task], call.now, total=1)

    def _scribe_for(self, call: Call) -> answers.Scribe:
        usual = self._scribe
        return usual if call.origin is None else attrs.evolve(usual, origin=call.origin)

    def _wanted(self, call: Call, *token_names: str) -> BookedTask | Refusal:
        """Find the task that a call names, and count the call to it."""
        if not any(map(call.text, ("taskid", *token_names))):
            return refusals.TASK_UNNAMED
        task = self._named(call, *token_names)
        if task is None:
            return refusals.TASK_UNKNOWN
        task.requests += 1
        return task

    def _named(self, call: Call, *token_names: str) -> BookedTask | None:
        tokens = [token for token in map(call.text, token_names) if token]
        token = tokens[0] if tokens else ""
        return self._world.find(call.now, task_id=call.text("taskid"), token=token)


def _window(call: Call) -> tuple[int, int] | Refusal:
    """Read `start` and `limit`, which come as strings or numbers or not at all."""
    numbers = []
    for name, default in (("start", 0), ("limit", PAGE_LENGTH)):
        text = call.text(name) or str(default)
        if not (text.isascii() and text.isdecimal()):
            return refusals.not_a_number(name)
        numbers.append(int(text))
    return numbers[0], numbers[1]
