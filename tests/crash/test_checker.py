"""Each law is broken once, and says so; a batch in which all is well is left in peace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import evolve

from tests.crash.checker import LAWS, Scene, check

FOX = {"prompt": "a fox", "outputFormat": "png"}
CAT = {"prompt": "a cat", "outputFormat": "png"}
# Two rows that ask for the same: either may have either's task.
ROWS = {"one": FOX, "two": FOX, "three": CAT}
MADE_OF = {"11": FOX, "12": FOX, "13": CAT}
PICTURES = {task_id: f"picture {task_id}".encode() for task_id in MADE_OF}
SECRET = "do-not-write-me-down"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def task(task_id: str, params: Mapping[str, str], **changes: object) -> dict[str, Any]:
    output = {"sha256": digest(PICTURES.get(task_id, b"")), "size": 10}
    made = {"id": task_id, "parameters": dict(params), "outputs": [output], "cost": "0.06"}
    return {**made, "status": "task_postprocess_end", **changes}


def line(custom_id: str, task_id: str, **changes: object) -> dict[str, Any]:
    content = PICTURES[task_id]
    file = {"path": f"{custom_id}.png", "size_bytes": len(content), "sha256": digest(content)}
    whole = {"custom_id": custom_id, "status": "succeeded", "task_id": task_id, "files": [file]}
    return {**whole, **changes}


LINES = (line("one", "12"), line("two", "11"), line("three", "13"))


def written(*lines: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def well() -> Scene:
    pictures = {"one.png": PICTURES["12"], "two.png": PICTURES["11"], "three.png": PICTURES["13"]}
    return Scene(
        rows=ROWS,
        books={
            "tasks": {task_id: task(task_id, params) for task_id, params in MADE_OF.items()},
            "violations": [],
        },
        files={
            **pictures,
            "results.jsonl": written(*LINES),
            "errors.jsonl": b"",
            "batch.sqlite": b"SQLite",
            "batch.sqlite.lock": b"",
        },
        secrets=("some-key", SECRET),
    )


def with_task(
    scene: Scene, task_id: str = "99", params: Mapping[str, str] = FOX, **changes: object
) -> Scene:
    """One task more for the fox; or with an id that is there, another in its place."""
    extra = task(task_id, params, **changes)
    tasks = {**scene.books["tasks"], extra["id"]: extra}
    return evolve(scene, books={**scene.books, "tasks": tasks})


def with_file(scene: Scene, path: str, content: bytes | None) -> Scene:
    """The same with that file; or without it."""
    files = {**scene.files, path: content or b""}
    if content is None:
        del files[path]
    return evolve(scene, files=files)


def with_lines(scene: Scene, *lines: Mapping[str, Any]) -> Scene:
    return with_file(scene, "results.jsonl", written(*lines))


def test_all_is_well() -> None:
    assert check(well()) == []


BROKEN: Mapping[str, tuple[Callable[[Scene], Scene], str]] = {
    "paid twice": (
        with_task,
        'tasks were charged of {"outputFormat": "png", "prompt": "a fox"}, which 2 rows ask for',
    ),
    "made twice, and running": (
        lambda scene: with_task(scene, status="task_start", cost="0"),
        "3 tasks were made of",
    ),
    "made of what nobody asked for": (
        lambda scene: with_task(scene, params={"prompt": "a wolf"}),
        '1 tasks were charged of {"prompt": "a wolf"}, which 0 rows ask for',
    ),
    "lost": (
        lambda scene: with_lines(scene, *LINES[1:]),
        "these tasks are paid and in no result: 12",
    ),
    "a row without a line": (
        lambda scene: with_lines(scene, *LINES[1:]),
        "one has 0 lines in results.jsonl",
    ),
    "a row with two lines": (
        lambda scene: with_lines(scene, *LINES, LINES[0]),
        "one has 2 lines in results.jsonl",
    ),
    "a line for no row": (
        lambda scene: with_lines(scene, *LINES, line("four", "11")),
        "results.jsonl has a line for four, which no row is called",
    ),
    "a line cut off": (
        lambda scene: with_file(scene, "results.jsonl", written(*LINES)[:-9]),
        "results.jsonl has a line that is no JSON object",
    ),
    "a line that is no object": (
        lambda scene: with_file(scene, "errors.jsonl", b"17\n"),
        "errors.jsonl has a line that is no JSON object: '17'",
    ),
    "an error that is none any more": (
        lambda scene: with_file(
            scene, "errors.jsonl", written(line("one", "12", status="unknown"))
        ),
        "one stands among the errors, as unknown",
    ),
    "two lines about one task": (
        lambda scene: with_lines(scene, *LINES[1:], line("one", "11")),
        "2 lines are about the same task 11",
    ),
    "a result that is none": (
        lambda scene: with_lines(scene, *LINES[1:], line("one", "12", status="unsaved")),
        "the result of one is unsaved",
    ),
    "a result about a task that was not charged": (
        lambda scene: with_task(scene, task_id="12", status="task_cancel", cost="0"),
        "the result of one is about task 12, never charged",
    ),
    "a result with another row's task": (
        lambda scene: with_lines(scene, LINES[1], line("one", "13"), line("three", "12")),
        "the result of one has task 13, made of other parameters",
    ),
    "another task's file": (
        lambda scene: with_lines(
            scene, *LINES[1:], line("one", "12", files=line("one", "11")["files"])
        ),
        "the files of one are not those of task 12",
    ),
    "a line without files": (
        lambda scene: with_lines(scene, *LINES[1:], line("one", "12", files=[])),
        "the files of one are not those of task 12",
    ),
    "a file that is not there": (
        lambda scene: with_file(scene, "one.png", None),
        "one.png of one is not there",
    ),
    "half a file": (
        lambda scene: with_file(scene, "one.png", PICTURES["12"][:5]),
        "one.png of one is not whole: 5 bytes",
    ),
    "a file of the right length": (
        lambda scene: with_file(scene, "one.png", PICTURES["11"]),
        "one.png of one is not whole: 10 bytes",
    ),
    "a line that knows another size": (
        lambda scene: with_lines(
            scene,
            *LINES[1:],
            line("one", "12", files=[{**line("one", "12")["files"][0], "size_bytes": 3}]),
        ),
        "one.png of one is not whole: 10 bytes",
    ),
    "a file under a strange name": (
        lambda scene: with_file(
            with_lines(
                scene,
                *LINES[1:],
                line("one", "12", files=[{**line("one", "12")["files"][0], "path": "uno.png"}]),
            ),
            "uno.png",
            PICTURES["12"],
        ),
        "uno.png is not called after one",
    ),
    "a part file": (
        lambda scene: with_file(scene, ".one.png.3f.part", b"half"),
        ".one.png.3f.part lies in the output directory: a part file was left",
    ),
    "a file that nobody knows": (
        lambda scene: with_file(scene, "one-3f.png", PICTURES["11"]),
        "one-3f.png lies in the output directory: no line speaks of it",
    ),
    "a secret in the journal": (
        lambda scene: with_file(scene, "batch.sqlite", b"\0\1" + SECRET.encode() + b"\0"),
        "batch.sqlite holds secret number 2",
    ),
    "what no client should do": (
        lambda scene: evolve(scene, books={**scene.books, "violations": ["x-api-key sent"]}),
        "the service saw a violation: x-api-key sent",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_law_is_told(name: str) -> None:
    breaking, sentence = BROKEN[name]
    found = check(breaking(well()))
    assert any(sentence in one for one in found), found
    assert SECRET not in "".join(found)


def test_each_law_is_broken_somewhere_here() -> None:
    broken = {law for breaking, _ in BROKEN.values() for law in LAWS if list(law(breaking(well())))}
    assert broken == set(LAWS)


@pytest.mark.parametrize("status", ["task_cancel", "task_error", "task_postprocess_end"])
def test_a_task_that_failed_is_not_paid_twice(status: str) -> None:
    assert check(with_task(well(), status=status, cost="0", outputs=[])) == []


def test_a_person_may_choose_to_risk_a_second_task() -> None:
    chosen = evolve(with_task(well()), resubmitted=("one",))
    assert check(chosen) == []
    assert len(check(evolve(chosen, resubmitted=("three",)))) == 3
    # One choice is one more; and it does not allow that what was made once is lost.
    assert check(with_task(chosen, task_id="98"))
    lost = with_lines(evolve(well(), resubmitted=("one",)), *LINES[1:])
    assert any("12" in sentence for sentence in check(lost)), check(lost)
