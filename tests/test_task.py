"""The values that come back: what they conclude, and what they do not show."""

from __future__ import annotations

import pytest
from attrs.exceptions import FrozenInstanceError

from wiro_async.task import JsonObject, Outcome, Output, Task, TaskEvent


@pytest.mark.parametrize(
    ("outcome", "flags"),
    [
        (Outcome.RUNNING, (False, False)),
        (Outcome.SUCCEEDED, (True, True)),
        (Outcome.FAILED, (True, False)),
        (Outcome.CANCELLED, (True, False)),
    ],
)
def test_an_outcome_is_terminal_or_not(outcome: Outcome, flags: tuple[bool, bool]) -> None:
    task = Task(id="7", outcome=outcome)
    assert (task.is_terminal, task.succeeded) == flags
    event = TaskEvent(status="task_start", outcome=outcome, task=task, elapsed_seconds=1.5)
    assert (event.is_terminal, event.task_id) == (task.is_terminal, "7")


def test_there_are_four_outcomes() -> None:
    assert sorted(Outcome) == ["cancelled", "failed", "running", "succeeded"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, None),
        ({}, None),
        ({"answer": "plain"}, "plain"),
        ({"answer": ["Hel", "lo"]}, "Hello"),
        ({"answer": ["Hel", None, 7, "lo"], "raw": "r"}, "Hello"),
        ({"answer": [], "raw": "whole"}, "whole"),
        ({"answer": None, "raw": "whole"}, "whole"),
        ({"answer": {"a": 1}, "raw": "whole"}, "whole"),
        ({"thinking": ["hm"], "raw": "whole"}, "whole"),
        ({"raw": ["no", "text"]}, None),
        ({"answer": ""}, ""),
    ],
)
def test_the_text_of_an_output(content: JsonObject | None, text: str | None) -> None:
    assert Output(content=content).text == text


@pytest.mark.parametrize(
    ("answers", "text"),
    [([], None), ([None], None), (["a"], "a"), (["a", None, "b"], "a\nb"), ([""], "")],
)
def test_the_text_of_a_task_is_that_of_its_outputs(
    answers: list[str | None], text: str | None
) -> None:
    outputs = tuple(
        Output(content=None if answer is None else {"answer": answer}) for answer in answers
    )
    assert Task(outputs=outputs).text == text


def test_values_are_frozen_and_compare_by_what_they_say() -> None:
    task = Task(id="1", parameters={"a": 1}, raw={"id": 1})
    assert task == Task(id="1")
    assert hash(task) == hash(Task(id="1"))
    assert task != Task(id="2")
    with pytest.raises(FrozenInstanceError):
        task.id = "2"  # type: ignore[misc]


def test_a_repr_shows_neither_the_access_key_nor_the_whole_record() -> None:
    output = Output(id="o", access_key="hunter2", raw={"accesskey": "hunter2"})
    task = Task(id="t", outputs=(output,), raw={"socketaccesstoken": "hunter2"})
    assert "hunter2" not in repr(task)
    assert "id='t'" in repr(task)
