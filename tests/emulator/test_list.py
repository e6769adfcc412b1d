"""Task/List as nobody promises it: late, in short pages, or not there at all."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulator.asking import asking
from wiro_async.emulator import Emulator
from wiro_async.emulator.books import BookedFile, BookedTask, Fate
from wiro_async.emulator.catalog import ECHO, FLUX
from wiro_async.emulator.desk import Call, Desk, Listing
from wiro_async.emulator.refusals import NO_SUCH_PATH, Refusal
from wiro_async.emulator.world import Terms, Wish, World

PICTURE = BookedFile(name="0.png", path="/cdn/f/0.png", content_type="image/png", size=3, sha256="")


def world() -> World:
    """Every task takes ten seconds."""
    return World(Terms(median_seconds=10.0, sigma=0.0, epoch=1000.0))


def run(place: World, now: float, **wish: Any) -> BookedTask:  # noqa: ANN401 (Wish's)
    task = place.run(Wish(**{"model": FLUX, "prompt": "a fox", **wish}), now)
    assert isinstance(task, BookedTask)
    return task


def listed(desk: Desk, now: float, **fields: object) -> dict[str, Any]:
    answer = desk.answer(Call(endpoint="Task/List", now=now, fields=fields))
    assert not isinstance(answer, Refusal)
    return answer


def rows(desk: Desk, now: float, **fields: object) -> list[dict[str, Any]]:
    return list(listed(desk, now, **fields)["tasklist"])


def detail(desk: Desk, task: BookedTask, now: float) -> dict[str, Any]:
    answer = desk.answer(Call(endpoint="Task/Detail", now=now, fields={"taskid": task.id}))
    assert not isinstance(answer, Refusal)
    (row,) = answer["tasklist"]
    return dict(row)


def test_a_list_without_a_lag_says_what_detail_says() -> None:
    place = world()
    desk = Desk(place, "http://cdn.test")
    task = run(place, 0.0, model=ECHO)
    for now in (0.0, 0.7, 5.0, 10.0, 99.0):
        assert rows(desk, now) == [detail(desk, task, now)]
        assert listed(desk, now)["total"] == "1"


def test_a_task_is_listed_only_after_the_lag() -> None:
    place = world()
    desk = Desk(place, "", Listing(lag_seconds=4.0))
    first, second = run(place, 100.0), run(place, 101.0, model=ECHO)
    seen = {now: [row["id"] for row in rows(desk, now)] for now in (100.0, 103.9, 104.0, 105.0)}
    assert seen == {100.0: [], 103.9: [], 104.0: [first.id], 105.0: [second.id, first.id]}
    assert [listed(desk, now)["total"] for now in (103.9, 104.0, 105.0)] == ["0", "1", "2"]
    assert [listed(desk, now, modelName="echo")["total"] for now in (104.0, 105.0)] == ["0", "1"]
    assert rows(desk, 105.0, start="1", limit="1")[0]["id"] == first.id
    assert detail(desk, second, 101.0)["id"] == second.id


def test_a_list_that_lags_shows_the_past_and_detail_the_present() -> None:
    place = world()
    prompt = Desk(place, "")
    late = Desk(place, "", Listing(lag_seconds=7.0))
    task = run(place, 100.0)
    before = {now: rows(prompt, now) for now in (100.0, 101.0, 105.0)}
    place.picture_drawn(task.id, PICTURE, 105.0)
    assert {now: rows(late, now + 7.0) for now in before} == before
    assert before[105.0][0]["status"] == "task_start"
    assert detail(late, task, 112.0)["status"] == "task_postprocess_end"
    (row,) = rows(late, 116.0)
    assert (row["status"], row["outputs"], row["totalcost"], row["pexit"], row["size"]) == (
        "task_end",
        [],
        "0",
        "",
        "0",
    )
    assert rows(late, 117.0) == [detail(late, task, 112.0)]
    assert rows(late, 117.0)[0]["totalcost"] == "0.060000000000"
    past = place.as_it_was(task, 109.0)
    assert (past.id, past.ended, past.outputs, past.cost) == (task.id, None, (), Decimal(0))
    assert (task.ended, task.outputs) == (110.0, (PICTURE,))
    assert place.books.spent == Decimal("0.06")


@pytest.mark.parametrize("fate", [Fate.FAIL, Fate.ERROR])
def test_a_failure_is_listed_late_too(fate: Fate) -> None:
    place = world()
    desk = Desk(place, "", Listing(lag_seconds=7.0))
    task = run(place, 0.0, fate=fate)
    (row,) = rows(desk, 11.0 if fate is Fate.FAIL else 8.1)
    assert task.terminal
    assert (row["debugerror"], row["pexit"]) == ("", "")
    assert row["status"] == ("task_start" if fate is Fate.FAIL else "task_accept")
    (row,) = rows(desk, 17.0)
    assert row == detail(desk, task, 17.0)
    assert row["debugerror"] != ""


def test_a_stop_is_listed_late_too() -> None:
    place = world()
    desk = Desk(place, "", Listing(lag_seconds=7.0))
    task = run(place, 0.0)
    assert place.cancel(task, 0.5) is None
    assert [rows(desk, now)[0]["status"] for now in (7.0, 7.4, 7.5)] == [
        "task_queue",
        "task_queue",
        "task_cancel",
    ]


@pytest.mark.parametrize(
    ("asked", "page", "given_"),
    [
        ({}, 3, 3),
        ({"limit": "100"}, 3, 3),
        ({"limit": 2}, 3, 2),
        ({"limit": "0"}, 3, 0),
        ({}, 9, 5),
    ],
)
def test_no_page_has_more_rows_than_the_limit(
    asked: dict[str, object], page: int, given_: int
) -> None:
    place = world()
    desk = Desk(place, "", Listing(page_limit=page))
    tasks = [run(place, 0.0) for _ in range(5)]
    newest_first = [task.id for task in reversed(tasks)]
    assert [row["id"] for row in rows(desk, 0.0, **asked)] == newest_first[:given_]
    assert listed(desk, 0.0, **asked)["total"] == "5"
    assert [row["id"] for row in rows(desk, 0.0, start="4", **asked)] == newest_first[4:][:given_]


def test_a_list_that_is_not_there_refuses_like_any_wrong_path() -> None:
    desk = Desk(world(), "", Listing(is_absent=True))
    for fields in ({}, {"limit": "many"}):
        answer = desk.answer(Call(endpoint="Task/List", now=0.0, fields=fields))
        assert answer is NO_SUCH_PATH


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 9), max_size=8),
    st.floats(0, 30),
    st.floats(0, 30),
    st.integers(1, 9),
)
def test_a_lagging_list_is_the_prompt_list_of_then(
    gaps: list[float], lag: float, later: float, page: int
) -> None:
    """What a list says `lag` late is what it said at that time to those who asked then."""
    place = world()
    now = 0.0
    for gap in gaps:
        now += gap
        run(place, now, model=ECHO)
    seen_then = listed(Desk(place, ""), now + later, limit=page)
    for _ in gaps:  # whatever is made meanwhile is not to be seen
        run(place, now + later + 1e-6, model=ECHO)
    late = Desk(place, "", Listing(lag_seconds=lag, page_limit=page))
    then = now + later
    if then + lag - lag == then:  # else the clock itself was rounded
        assert listed(late, then + lag) == seen_then


async def test_the_lag_over_http() -> None:
    async with asking(speed=1.0, list_lag_seconds=1e6) as ask:
        task_id = await ask.run()
        reply = await ask("Task/List", {"type": "model"})
        assert (reply.status, reply.json["result"]) == (200, True)
        assert (reply.json["total"], reply.json["tasklist"]) == ("0", [])
        assert (await ask.detail(task_id))["id"] == task_id
    async with asking(list_lag_seconds=0) as ask:
        task_id = await ask.run()
        assert (await ask("Task/List")).task["id"] == task_id


async def test_short_pages_over_http() -> None:
    async with asking(list_page_limit=1) as ask:
        first, second = [await ask.run(prompt) for prompt in ("1", "2")]
        pages = [await ask("Task/List", {"start": start, "limit": "20"}) for start in "01"]
        assert [page.task["id"] for page in pages] == [second, first]


async def test_no_list_over_http() -> None:
    async with asking(list_absent=True) as ask:
        task_id = await ask.run()
        reply = await ask("Task/List", {"type": "model"})
        assert (reply.status, reply.error) == (404, (0, "Error parsing url."))
        nowhere = await ask("Task/Nothing")
        assert (nowhere.status, nowhere.json) == (reply.status, reply.json)
        assert (await ask.detail(task_id))["id"] == task_id
        books = ask.emulator.books
        assert books.requests["Task/List"] == 1
        assert books.answers == {"ok": 2, "http 404": 2}


@pytest.mark.parametrize(
    "setting",
    [
        {"list_lag_seconds": -1},
        {"list_lag_seconds": float("nan")},
        {"list_page_limit": 0},
        {"list_page_limit": -5},
    ],
)
def test_settings_of_the_list_out_of_range(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Emulator(**setting)
