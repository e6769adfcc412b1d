"""What must be true of a batch, however often its process was killed.

A pure function over what the service's books say and what lies in the output directory. Each
law is a generator of sentences, one for each time that it is broken; none means that all is
well. The laws:

1. Nothing is paid twice: of each request no more tasks are made (failed and cancelled ones
   aside), and no more are charged, than rows that ask for it, plus what a person chose to run
   again. Rows that ask for the very same are interchangeable, so they are counted together.
2. Nothing is lost: each task that was charged is in the results, but for those that are one too
   many because a person chose so.
3. Each row has one line in the results and none among the errors, about a task of its own that
   was made of what the row asks for.
4. Each file of a line is there, whole, and the one of that very task.
5. Nothing else is there: no part file, no file that no line speaks of, no secret.
6. The service saw nothing that no client should ever do.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

RESULTS = "results.jsonl"
ERRORS = "errors.jsonl"
KEPT = frozenset({RESULTS, ERRORS, "batch.sqlite", "batch.sqlite.lock"})
"""What a batch keeps in its directory beside the outputs, after it has ended."""

_ENDED = "task_postprocess_end"
_STOPPED = frozenset({"task_cancel", "task_error"})


def identity(params: Mapping[str, Any]) -> str:
    """Two rows with the same parameters ask for the same: either may have either's task."""
    return json.dumps(params, sort_keys=True)


@frozen(kw_only=True)
class Scene:
    """All that the laws are about."""

    rows: Mapping[str, Mapping[str, str]]
    """What was asked for: the parameters by custom_id."""
    books: Mapping[str, Any]
    """The emulator's books, as it gives them at ``/emulator/books``."""
    files: Mapping[str, bytes]
    """What lies in the output directory: content by relative path."""
    resubmitted: tuple[str, ...] = ()
    """The custom_ids that a person chose to run again, as often as it was chosen."""
    secrets: tuple[str, ...] = ()
    results: tuple[Mapping[str, Any], ...] = field(init=False)

    @results.default
    def _read_results(self) -> tuple[Mapping[str, Any], ...]:
        return read_lines(self.files.get(RESULTS, b""))[0]

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        tasks: Mapping[str, Mapping[str, Any]] = self.books["tasks"]
        return tasks

    @property
    def wanted(self) -> Counter[str]:
        """How many rows ask for the same."""
        return Counter(map(identity, self.rows.values()))

    @property
    def chosen(self) -> Counter[str]:
        """How many more a person chose to risk."""
        return Counter(identity(self.rows[custom_id]) for custom_id in self.resubmitted)

    @property
    def charged(self) -> dict[str, list[str]]:
        """The ids of the tasks that were paid for, by what they were made of."""
        found: dict[str, list[str]] = {}
        for task_id, task in self.tasks.items():
            if is_charged(task):
                found.setdefault(identity(task["parameters"]), []).append(task_id)
        return found


def read_lines(content: bytes) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """Read JSON Lines: the objects, and what is none."""
    objects, others = [], []
    for line in content.decode(errors="replace").split("\n"):
        if not line:
            continue
        try:
            objects.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            others.append(line)
    return tuple(objects), tuple(others)


def is_charged(task: Mapping[str, Any]) -> bool:
    return bool(task["status"] == _ENDED and float(task["cost"]) > 0)


def check(scene: Scene) -> list[str]:
    """Say what is wrong, in a sentence each; nothing if all is well."""
    return [sentence for law in LAWS for sentence in law(scene)]


def _nothing_is_paid_twice(scene: Scene) -> Iterator[str]:
    wanted, chosen = scene.wanted, scene.chosen
    made = Counter(
        identity(task["parameters"])
        for task in scene.tasks.values()
        if task["status"] not in _STOPPED and (task["status"] != _ENDED or is_charged(task))
    )
    charged = {key: len(ids) for key, ids in scene.charged.items()}
    for verb, counts in (("made", made), ("charged", charged)):
        for key, number in counts.items():
            if number > wanted[key] + chosen[key]:
                yield (
                    f"{number} tasks were {verb} of {key}, which {wanted[key]} rows ask for and "
                    f"{chosen[key]} times a person chose to run again"
                )


def _nothing_is_lost(scene: Scene) -> Iterator[str]:
    known = {line.get("task_id") for line in scene.results}
    wanted, chosen = scene.wanted, scene.chosen
    for key, ids in scene.charged.items():
        lost = [task_id for task_id in ids if task_id not in known]
        if len(lost) > max(0, min(chosen[key], len(ids) - wanted[key])):
            yield f"of {key} these tasks are paid and in no result: {', '.join(lost)}"


def _each_row_has_one_line(scene: Scene) -> Iterator[str]:
    counts = Counter(line.get("custom_id") for line in scene.results)
    for custom_id in scene.rows:
        if counts[custom_id] != 1:
            yield f"{custom_id} has {counts[custom_id]} lines in {RESULTS}"
    for stranger in counts.keys() - scene.rows.keys():
        yield f"{RESULTS} has a line for {stranger}, which no row is called"
    for error in read_lines(scene.files.get(ERRORS, b""))[0]:
        yield f"{error.get('custom_id')} stands among the errors, as {error.get('status')}"
    for name in (RESULTS, ERRORS):
        for line in read_lines(scene.files.get(name, b""))[1]:
            yield f"{name} has a line that is no JSON object: {line[:80]!r}"


def _each_line_has_its_own_task(scene: Scene) -> Iterator[str]:
    counts = Counter(line.get("task_id") for line in scene.results)
    for task_id, number in counts.items():
        if number > 1:
            yield f"{number} lines are about the same task {task_id}"
    for line in scene.results:
        custom_id = line.get("custom_id", "")
        task = scene.tasks.get(line.get("task_id", ""))
        if line.get("status") != "succeeded":
            yield f"the result of {custom_id} is {line.get('status')}"
        if task is None or not is_charged(task):
            yield f"the result of {custom_id} is about task {line.get('task_id')}, never charged"
        elif task["parameters"] != scene.rows.get(custom_id):
            yield f"the result of {custom_id} has task {task['id']}, made of other parameters"


def _each_file_is_there(scene: Scene) -> Iterator[str]:
    for line in scene.results:
        custom_id = line.get("custom_id", "")
        task = scene.tasks.get(line.get("task_id", ""))
        booked = [output["sha256"] for output in task["outputs"]] if task else []
        files = line.get("files", [])
        if sorted(file["sha256"] for file in files) != sorted(booked):
            yield f"the files of {custom_id} are not those of task {line.get('task_id')}"
        for file in files:
            content = scene.files.get(file["path"])
            if content is None:
                yield f"{file['path']} of {custom_id} is not there"
            elif len(content) != file["size_bytes"] or sha256(content) != file["sha256"]:
                yield f"{file['path']} of {custom_id} is not whole: {len(content)} bytes"
            if file["path"].rpartition(".")[0] != custom_id:
                yield f"{file['path']} is not called after {custom_id}"


def _nothing_else_is_there(scene: Scene) -> Iterator[str]:
    named = {file["path"] for line in scene.results for file in line.get("files", [])}
    for path in sorted(scene.files.keys() - named - KEPT):
        kind = "a part file was left" if path.endswith(".part") else "no line speaks of it"
        yield f"{path} lies in the output directory: {kind}"


def _no_secret_is_kept(scene: Scene) -> Iterator[str]:
    for path, content in scene.files.items():
        for number, secret in enumerate(scene.secrets, 1):
            if secret.encode() in content:
                # The secret itself is not said: this is read in logs.
                yield f"{path} holds secret number {number}"


def _the_service_saw_nothing_bad(scene: Scene) -> Iterator[str]:
    for violation in scene.books["violations"]:
        yield f"the service saw a violation: {violation}"


LAWS: tuple[Callable[[Scene], Iterator[str]], ...] = (
    _nothing_is_paid_twice,
    _nothing_is_lost,
    _each_row_has_one_line,
    _each_line_has_its_own_task,
    _each_file_is_there,
    _nothing_else_is_there,
    _no_secret_is_kept,
    _the_service_saw_nothing_bad,
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
