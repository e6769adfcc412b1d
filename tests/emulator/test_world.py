from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiro_async.emulator.books import BookedFile, BookedTask, Fate
from wiro_async.emulator.catalog import ECHO, FLUX
from wiro_async.emulator.limits import concurrent_limit
from wiro_async.emulator.refusals import NO_BALANCE, NOT_CANCELLABLE, Refusal
from wiro_async.emulator.timeline import STAGES, TERMINAL, begins_at, status_at
from wiro_async.emulator.world import Terms, Wish, World

PICTURE = BookedFile(name="0.png", path="/cdn/f/0.png", content_type="image/png", size=3, sha256="")
ORDER = [*(status for status, _ in STAGES), "task_postprocess_end"]


def world(**terms: Any) -> World:  # noqa: ANN401 (Terms')
    return World(Terms(**{"median_seconds": 10.0, "sigma": 0.0, **terms}))


def run(place: World, now: float, prompt: str = "a fox", **wish: Any) -> BookedTask:  # noqa: ANN401
    task = place.run(Wish(**{"model": FLUX, "prompt": prompt, **wish}), now)
    assert isinstance(task, BookedTask)
    return task


def test_a_task_passes_every_status_in_the_page_s_order() -> None:
    place = world()
    task = run(place, 100.0)
    seen = []
    for tenth in range(100):
        place.find(100.0 + tenth / 10, task_id=task.id)
        seen.append(task.status)
    place.picture_drawn(task.id, PICTURE, 109.95)
    assert list(dict.fromkeys(seen)) == ORDER[:-1]
    found = place.find(110.0, token=task.token)
    assert found is task
    assert (task.status, task.ended, task.cost) == ("task_postprocess_end", 110.0, Decimal("0.06"))
    assert task.outputs == (PICTURE,)
    assert place.books.balance == Decimal("999.94")
    assert place.books.spent == Decimal("0.06")


def test_the_table_of_statuses_is_in_order() -> None:
    shares = [share for _, share in STAGES]
    assert shares == sorted(set(shares))
    assert status_at(0.0) == "task_queue"
    assert status_at(99.0) == "task_postprocess_start"
    assert begins_at("task_start") == dict(STAGES)["task_start"]


def test_a_late_picture_holds_its_task_and_nothing_else() -> None:
    place = world()
    task, other = run(place, 0.0), run(place, 0.0, fate=Fate.FAIL)
    place.find(50.0, task_id=task.id)
    assert (task.status, other.status) == ("task_postprocess_start", "task_postprocess_end")
    assert place.books.in_flight == 1
    place.picture_drawn(task.id, PICTURE, 60.0)
    assert (task.status, task.ended) == ("task_postprocess_end", 60.0)
    assert place.books.in_flight == 0


def test_a_late_picture_ends_the_task_when_it_comes_even_if_nobody_asked_in_between() -> None:
    place = world()
    task = run(place, 0.0)
    place.picture_drawn(task.id, PICTURE, 60.0)
    assert task.ended == 60.0


def test_a_picture_for_a_cancelled_task_changes_nothing() -> None:
    place = world()
    task = run(place, 0.0)
    assert place.cancel(task, 0.1) is None
    place.picture_drawn(task.id, PICTURE, 60.0)
    assert (task.status, task.ended, task.outputs) == ("task_cancel", 0.1, ())
    assert place.books.spent == 0


@pytest.mark.parametrize(
    ("fate", "status", "ended"),
    [(Fate.FAIL, "task_postprocess_end", 10.0), (Fate.ERROR, "task_error", 1.2)],
)
def test_failures_end_and_are_not_billed(fate: Fate, status: str, ended: float) -> None:
    place = world()
    task = run(place, 0.0, fate=fate)
    place.settle(20.0)
    assert (task.status, task.cost) == (status, Decimal(0))
    assert task.ended == pytest.approx(ended)
    assert place.books.spent == 0


def test_a_language_model_waits_for_no_picture() -> None:
    place = world()
    task = run(place, 0.0, model=ECHO)
    place.settle(10.0)
    assert (task.status, task.answer, task.outputs) == (
        "task_postprocess_end",
        "You said: a fox",
        (),
    )
    assert place.books.spent == Decimal("0.06")


@pytest.mark.parametrize(
    ("share", "cancels", "kills"),
    [
        (0.0, True, False),
        (0.05, True, False),
        (0.06, False, False),
        (0.11, False, False),
        (0.12, False, True),
        (0.95, False, True),
        (5.0, False, True),
    ],
)
def test_what_can_be_stopped_when(share: float, *, cancels: bool, kills: bool) -> None:
    for stop, works in ((World.cancel, cancels), (World.kill, kills)):
        place = world()
        task = run(place, 0.0)
        now = share * task.duration
        place.find(now, task_id=task.id)
        assert stop(place, task, now) == (None if works else NOT_CANCELLABLE)
        assert (task.status == "task_cancel") is works
        assert place.books.in_flight == (0 if works else 1)
        # What has been stopped cannot be stopped again.
        if works:
            assert stop(place, task, now) is NOT_CANCELLABLE


def test_over_the_limit_no_task_is_made_and_the_limit_is_stated() -> None:
    place = world(balance=Decimal(50))
    for _ in range(5):
        run(place, 0.0)
    refusal = place.run(Wish(model=FLUX, prompt="sixth"), 0.0)
    assert isinstance(refusal, Refusal)
    assert refusal.code == 96
    assert refusal.kind == "code 96"
    assert "current balance of $50.00, you can run up to 5 tasks at" in refusal.message
    assert "sixth" not in place.books.tasks_by_prompt
    assert place.books.most_in_flight == 5
    place.settle(10.0)
    assert isinstance(place.run(Wish(model=FLUX, prompt="sixth"), 10.0), Refusal)
    place.picture_drawn("2221", PICTURE, 11.0)
    # One place is free again, but what it cost has lowered the limit to 4.
    refusal = place.run(Wish(model=FLUX, prompt="sixth"), 11.0)
    assert isinstance(refusal, Refusal)
    assert "$49.94, you can run up to 4 tasks" in refusal.message


def test_without_balance_nothing_runs() -> None:
    place = world(balance=Decimal("0.06"))
    task = run(place, 0.0)
    one = place.run(Wish(model=FLUX, prompt="x"), 0.0)
    assert isinstance(one, Refusal)
    assert "up to 1 task at" in one.message
    place.picture_drawn(task.id, PICTURE, 1.0)
    assert place.run(Wish(model=FLUX, prompt="x"), 10.0) is NO_BALANCE
    assert place.books.balance == 0


def test_the_same_seed_is_the_same_world() -> None:
    def tell(seed: int) -> list[tuple[str, float, Fate]]:
        place = world(seed=seed, sigma=0.5, failure_rate=0.3)
        tasks = [run(place, 0.0, f"prompt {n}") for n in range(50)]
        return [(task.token, task.duration, task.fate) for task in tasks]

    assert tell(1) == tell(1)
    assert tell(1) != tell(2)


def test_the_duration_belongs_to_prompt_and_seed() -> None:
    place = world(sigma=0.5)
    first, again = run(place, 0.0), run(place, 5.0)
    other = run(place, 0.0, parameters={"seed": "43"})
    default = run(place, 0.0, parameters={"seed": "42"})
    assert first.duration == again.duration == default.duration != other.duration


def test_the_failure_rate_is_the_share_that_fails_and_a_second_try_can_succeed() -> None:
    place = world(failure_rate=0.2)
    tasks = [run(place, 0.0, f"prompt {n}") for n in range(1000)]
    failed = [task for task in tasks if task.fate is Fate.FAIL]
    assert 160 < len(failed) < 240
    retried = [run(place, 0.0, task.prompt) for task in failed]
    assert 0 < sum(task.fate is Fate.FAIL for task in retried) < len(failed) / 2


def test_the_newest_come_first() -> None:
    place = world()
    for n in range(5):
        run(place, 0.0, str(n), model=ECHO if n % 2 else FLUX)
    assert [task.prompt for task in place.newest(start=1, limit=2)] == ["3", "2"]
    assert [task.prompt for task in place.newest(start=0, limit=9, model="Echo")] == ["3", "1"]
    assert (place.count(), place.count("flux"), place.count("none")) == (5, 3, 0)


def test_who_is_not_there_is_not_found() -> None:
    place = world()
    run(place, 0.0)
    assert place.find(0.0, task_id="1") is None
    assert place.find(0.0, token="1") is None
    assert place.find(0.0) is None


def test_the_books_are_up_to_date_and_can_be_written_down() -> None:
    place = world()
    task = run(place, 0.0)
    books = place.look(5.6)
    assert books.tasks[task.id].status == "task_output"
    place.picture_drawn(task.id, PICTURE, 6.0)
    written = place.look(12.0).to_dict()
    assert written["tasks"][task.id]["cost"] == "0.06"
    assert written["tasks"][task.id]["outputs"][0]["size"] == 3
    assert written["tasks_by_prompt"] == {"a fox": [task.id]}
    assert task.token not in repr(task)


step = st.tuples(
    st.sampled_from(["run", "fail", "error", "echo", "draw", "cancel", "kill", "look"]),
    st.integers(0, 30),
    st.floats(0, 8),
)


@settings(max_examples=200)
@given(st.lists(step, max_size=60), st.integers(0, 300))
def test_whatever_happens_the_books_add_up(
    steps: list[tuple[str, int, float]], balance: int
) -> None:
    place = world(balance=Decimal(balance), sigma=0.5)
    books, now = place.books, 0.0
    seen: dict[str, int] = {}
    wishes = {"run": None, "fail": Fate.FAIL, "error": Fate.ERROR, "echo": None}
    for action, number, seconds in steps:
        now += seconds
        task = place.find(now, task_id=str(2221 + number))
        if action in wishes:
            limit = concurrent_limit(books.balance)
            before = books.in_flight
            model = ECHO if action == "echo" else FLUX
            made = place.run(Wish(model=model, prompt=action, fate=wishes[action]), now)
            if not isinstance(made, Refusal):
                assert limit is None or before < limit
        elif task is not None:
            if action == "draw":
                place.picture_drawn(task.id, PICTURE, now)
            elif action in ("cancel", "kill"):
                getattr(place, action)(task, now)
        place.look(now)
        for one in books.tasks.values():
            stage = ORDER.index(one.status) if one.status in ORDER else len(ORDER)
            assert stage >= seen.get(one.id, 0)
            assert one.terminal == (one.ended is not None) == (one.status in TERMINAL)
            assert one.ended is None or one.created <= one.ended <= now
            seen[one.id] = stage
        assert books.in_flight == sum(not one.terminal for one in books.tasks.values())
        assert books.most_in_flight >= books.in_flight
        assert books.spent == sum((one.cost for one in books.tasks.values()), Decimal(0))
        assert books.balance == balance - books.spent
        assert sum(map(len, books.tasks_by_prompt.values())) == len(books.tasks)
