"""The search for the task of a lost Run: when it reads, what it believes, and when it ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.scripted_service import Asked, answered, refused
from tests.tracking.project_list import (
    ProjectList,
    Row,
    Step,
    lost,
    row,
    search_in,
    wall_clock,
)
from tests.virtual_time import now, run_virtual
from wiro_async.errors import JournalError, NotFound, OutcomeUnknown, RequestRefused, WiroError
from wiro_async.protocol.matching import LostRun
from wiro_async.protocol.responses import Answer
from wiro_async.task import Task
from wiro_async.tracking import search as search_module
from wiro_async.tracking.search import Knower

__all__ = ["wall_clock"]

A, B, C = row("1", 1.0), row("2", 2.0), row("3", 3.0)
ABSENT = refused(0, "Error parsing url.", 404)
BROKEN = refused(0, "Request parameter [sort] required")


def find(
    project: ProjectList, *runs: LostRun, knower: Knower | None = None
) -> tuple[list[str | None], float]:
    """The ids that are found for these Runs, and when the last of them was known."""

    async def scenario() -> tuple[list[str | None], float]:
        search = search_in(project)
        found = await asyncio.gather(*(search.find(run, knower) for run in runs))
        return [None if task is None else task.id for task in found], now()

    return run_virtual(scenario())


@pytest.mark.parametrize(
    ("sent", "readings"),
    [(0.0, [10, 15]), (-4.0, [6, 11]), (-10.0, [0, 5]), (-3600.0, [0, 5]), (30.0, [10, 15])],
)
def test_a_run_is_looked_for_when_it_has_had_its_time_to_be_listed(
    sent: float, readings: list[float]
) -> None:
    project = ProjectList([[A]])
    assert find(project, lost(sent)) == (["1"], readings[-1])
    assert project.readings == readings


@pytest.mark.parametrize(
    ("steps", "found", "at"),
    [
        ([[A]], "1", 15),
        ([[], [A]], "1", 20),
        ([[], [], [A]], "1", 25),
        ([[], [], [], [A]], None, 25),
        ([[]], None, 25),
        ([[A], []], None, 25),
        ([[A], [], [A], []], None, 25),
        ([[A], [], [A]], "1", 25),
        ([[A], [B]], "2", 20),
        ([[A], [B], [C], [A]], None, 25),
        ([[B], [B, A]], "1", 20),
        ([[B, A], [A]], "1", 15),
    ],
)
def test_two_readings_in_a_row_have_to_agree(
    steps: list[Step], found: str | None, at: float
) -> None:
    project = ProjectList(steps)
    assert find(project, lost()) == ([found], at)
    assert len(project.readings) == (at - 5) / 5


@pytest.mark.parametrize(
    ("steps", "found", "at"),
    [
        ([ABSENT, [A]], "1", 20),
        ([ABSENT, ABSENT, [A]], "1", 25),
        ([[A], ABSENT, [A]], "1", 20),
        ([[A], ABSENT, [B], [A]], None, 25),
        ([[], ABSENT], None, 25),
        ([ABSENT, ABSENT, ABSENT, []], None, 25),
    ],
)
def test_a_reading_that_failed_says_nothing(
    steps: list[Step], found: str | None, at: float
) -> None:
    assert find(ProjectList(steps), lost()) == ([found], at)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (ABSENT, NotFound),
        (BROKEN, RequestRefused),
        (OutcomeUnknown("cut off", endpoint="/Task/List"), OutcomeUnknown),
    ],
)
def test_a_list_that_cannot_be_read_a_single_time_is_an_error(
    step: Step, kind: type[WiroError]
) -> None:
    async def scenario() -> None:
        search = search_in(ProjectList([step]))
        first, second = await asyncio.gather(
            search.find(lost()), search.find(lost()), return_exceptions=True
        )
        assert type(first) is type(second) is kind
        assert first is not second, "each has a traceback of its own"

    run_virtual(scenario())


def test_what_the_list_says_wrong_for_a_moment_is_asked_again() -> None:
    project = ProjectList([answered({}, http_status=500), [A]])
    assert find(project, lost())[0] == ["1"]
    assert project.readings[1] < 11, "within the same reading"


def many(count: int, *, timed: bool = True) -> list[Row]:
    """Rows of other prompts, newest first, one a second."""
    return [
        row(f"{9000 - number}", 300.0 - number if timed else None, parameters={"prompt": "a hen"})
        for number in range(count)
    ]


@pytest.mark.parametrize("page_rows", [1, 3, 7, 100])
def test_short_pages_are_read_to_the_row(page_rows: int) -> None:
    project = ProjectList([[*many(20), A]], page_rows=page_rows)
    assert find(project, lost()) == (["1"], 15)
    assert project.starts[: 21 // page_rows] == list(range(0, 21 - 21 % page_rows, page_rows))


def test_a_page_that_comes_again_and_again_is_the_end() -> None:
    project = ProjectList([[*many(150), A]], ignores_start=True)
    assert find(project, lost()) == ([None], 25)
    assert project.starts == [0, 100, 200] * 4


def test_a_page_that_was_moved_on_by_new_tasks_does_not_end_the_reading() -> None:
    # A page comes again at the place of the next one: so many tasks were made meanwhile.
    other = row("2", parameters={"prompt": "a hen"})
    project = ProjectList([[other, other, A]], page_rows=1)
    assert find(project, lost()) == (["1"], 15)


def test_rows_from_before_the_run_end_the_reading() -> None:
    project = ProjectList([many(1000)])
    assert find(project, lost()) == ([None], 25)
    # A row a second from 300 s after noon on; nothing older than noon and two minutes' skew counts.
    assert project.starts == [0, 100, 200, 300, 400] * 4


def test_the_oldest_wish_decides_how_far_back_the_list_is_read() -> None:
    hen = row("9", -500.0, parameters={"prompt": "a hen"})
    project = ProjectList([[A, hen, row("0", -3000.0)]], page_rows=1)
    assert find(project, lost(), lost(-3000.0))[0] == ["1", "0"]


def test_a_list_without_times_is_read_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert search_module._MOST_ROWS >= 10_000
    monkeypatch.setattr(search_module, "_MOST_ROWS", 250)
    project = ProjectList([many(1000, timed=False)])
    assert find(project, lost()) == ([None], 25)
    assert project.starts == [0, 100, 200] * 4


def test_a_row_that_moves_to_the_next_page_meanwhile_counts_once() -> None:
    rows = [B, A]

    class Moving(ProjectList):
        async def __call__(self, asked: Asked) -> Answer:
            said = await super().__call__(asked)
            rows.insert(0, row(f"8{len(self.starts)}", 200.0, parameters={"prompt": "a hen"}))
            return said

    project = Moving([rows], page_rows=2)
    assert find(project, lost(), lost(1.0), lost(2.0))[0] == ["1", "2", None]
    assert len(project.starts) > len(project.readings) * 2


def test_of_identical_runs_each_gets_a_row_of_its_own() -> None:
    project = ProjectList([[C, B, A]])
    assert find(project, lost(1.0), lost(0.0), lost(2.0)) == (["2", "1", "3"], 15)
    assert len(project.readings) <= 4, "they are looked for together"


def test_where_rows_are_fewer_than_runs_the_oldest_gets_one() -> None:
    assert find(ProjectList([[A]]), lost(0.5), lost(0.0))[0] == [None, "1"]


def test_what_was_found_is_not_found_again() -> None:
    async def scenario() -> None:
        search = search_in(ProjectList([[A]]))
        assert await search.find(lost())
        assert await search.find(lost()) is None
        assert not search._wanted, "and nothing is kept of it"

    run_virtual(scenario())


@pytest.mark.parametrize("names", [("1",), ("tok-1",), (None, "tok-1"), ("1", None)])
def test_a_task_that_the_session_started_is_nobodys_lost_one(names: tuple[str | None, ...]) -> None:
    async def scenario() -> Task | None:
        search = search_in(ProjectList([[B, A]]))
        search.remember(*names)
        return await search.find(lost())

    found = run_virtual(scenario())
    assert found is not None
    assert found.id == "2"


def knowing(*names: str) -> Knower:
    async def know(asked: frozenset[str]) -> frozenset[str]:
        assert asked == {"1", "tok-1", "2", "tok-2"}
        return asked & set(names)

    return know


@pytest.mark.parametrize("name", ["1", "tok-1"])
def test_a_task_that_the_knower_knows_is_not_taken(name: str) -> None:
    assert find(ProjectList([[B, A]]), lost(), knower=knowing(name))[0] == ["2"]
    assert find(ProjectList([[B, A]]), lost(), knower=knowing(name, "tok-2"))[0] == [None]


def test_what_one_knower_knows_holds_for_all() -> None:
    async def scenario() -> list[Task | None]:
        search = search_in(ProjectList([[B, A]]))
        return list(
            await asyncio.gather(
                search.find(lost(), knowing("1")),
                search.find(lost(), knowing("2")),
                search.find(lost()),
            )
        )

    assert run_virtual(scenario()) == [None, None, None]


def test_a_knower_that_fails_fails_the_reading() -> None:
    async def fail(_: frozenset[str]) -> frozenset[str]:
        raise JournalError("the disk is full")

    with pytest.raises(JournalError):
        find(ProjectList([[A]]), lost(), knower=fail)


def test_a_knower_that_breaks_is_heard_of_and_breaks_nobody_else() -> None:
    async def divide(names: frozenset[str]) -> frozenset[str]:
        return frozenset(names) if 1 / 0 else frozenset()

    async def scenario() -> None:
        search = search_in(ProjectList([[A]]))
        with pytest.raises(ZeroDivisionError):
            await search.find(lost(), divide)
        assert await search.find(lost())

    run_virtual(scenario())


def test_a_row_with_an_impossible_time_does_not_end_the_reading() -> None:
    junk = row("9", None, createtime="17", parameters=None)
    project = ProjectList([[junk, A]], page_rows=1)
    assert find(project, lost()) == (["1"], 15)
