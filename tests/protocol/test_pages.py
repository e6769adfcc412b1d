"""When a page of the list is worth its request, what is read of it, and how far it is believed."""

from __future__ import annotations

import json
import math

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.scripted_service import answered, refused
from wiro_async.errors import NotFound, ServerError
from wiro_async.protocol.pages import Page, Plan, Trust, decode_page, plan_sweeps, weigh
from wiro_async.protocol.responses import Answer

LIST = "/Task/List"


def listed(*rows: object) -> Answer:
    return answered({"total": "9", "errors": [], "tasklist": list(rows), "result": True})


def row(task_id: object, status: object, **more: object) -> dict[str, object]:
    return {"id": task_id, "socketaccesstoken": f"tok-{task_id}", "status": status, **more}


class TestDecode:
    def test_a_page_says_who_has_ended_by_either_name(self) -> None:
        page = decode_page(
            listed(
                row("5", "task_queue"),
                row(4, " task_postprocess_end ", pexit="1"),
                row("3", "task_cancel"),
                row("2", "task_error"),
                row("1", "task_never_heard_of"),
            ),
            LIST,
        )
        assert page.length == 5
        assert {name: end for name, end in page.ends.items() if name.isdecimal()} == {
            "5": False,
            "4": True,
            "3": True,
            "2": True,
            "1": False,
        }
        assert all(page.ends[f"tok-{name}"] is page.ends[name] for name in "12345")

    @pytest.mark.parametrize(
        "odd", [row("7", ""), row("7", None), row("7", {}), {"status": "task_queue"}, {}, "7", None]
    )
    def test_a_row_that_says_nothing_is_passed_over(self, odd: object) -> None:
        page = decode_page(listed(odd, row("8", "task_start")), LIST)
        assert page.ends == {"8": False, "tok-8": False}

    def test_a_list_without_rows_is_a_page_without_rows(self) -> None:
        assert decode_page(listed(), LIST) == Page(length=0, ends={})

    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"[1]", b'{"result":true}', b'{"a":1', b"\xff"]
    )
    def test_what_is_no_list_is_a_failure(self, body: bytes) -> None:
        with pytest.raises(ServerError):
            decode_page(Answer(http_status=200, body=body), LIST)

    def test_an_answer_that_nests_beyond_any_record_is_a_failure(self) -> None:
        with pytest.raises(ServerError):
            decode_page(Answer(http_status=200, body=b"[" * 100_000), LIST)

    def test_a_refusal_is_raised(self) -> None:
        with pytest.raises(NotFound):
            decode_page(refused(1, "tool-not-accessible"), LIST)

    @given(st.integers(0, 400))
    def test_a_page_cut_off_anywhere_never_breaks_more_than_itself(self, end: int) -> None:
        body = listed(row("5", "task_queue"), row("4", "task_cancel", note="\U0001f98a")).body
        if end >= len(body):
            assert decode_page(Answer(http_status=200, body=body), LIST).length == 2
        else:
            with pytest.raises(ServerError):
                decode_page(Answer(http_status=200, body=body[:end]), LIST)

    def test_half_a_character_in_a_name_makes_it_nobodys(self) -> None:
        body = json.dumps({"result": True, "tasklist": [row("\ud83d", "task_queue")]}).encode()
        assert decode_page(Answer(http_status=200, body=body), LIST).ends == {}


def plan(
    tasks: int, wait: float, *, age: float = 1.0, pages: int = 1, rows: int = 100, most: float = 500
) -> Plan | None:
    return plan_sweeps([wait], [age], tasks=tasks, pages=pages, rows=rows, most=most)


class TestPlan:
    @pytest.mark.parametrize(
        ("tasks", "wait", "pages", "rows", "is_worth_it"),
        [
            # Few are in flight: each is looked at.
            (1, 0.35, 1, 20, False),
            (7, 0.35, 1, 20, False),
            (7, 1.0, 1, 20, False),
            # Enough for a short page.
            (8, 0.35, 1, 20, True),
            (12, 0.35, 1, 40, True),
            (100, 0.35, 2, 200, True),
            (100, 1.0, 16, 320, True),
            (2000, 0.35, 30, 3000, True),
            # A page for each of them is no saving.
            (20, 1.0, 20, 400, False),
            (10, 1.0, 5, 100, False),
            # Tasks so short that a sweep tells of them too late, as far as looks can keep up.
            (20, 0.02, 1, 40, False),
            # They cannot: a ceiling of 500 a second leaves each of these a look in 0.8 s.
            (400, 0.02, 5, 500, True),
        ],
    )
    def test_sweeps_are_for_many(
        self,
        tasks: int,
        wait: float,
        pages: int,
        rows: int,
        is_worth_it: bool,  # noqa: FBT001 - a column of the table
    ) -> None:
        assert (plan(tasks, wait, pages=pages, rows=rows) is not None) is is_worth_it

    def test_the_interval_is_where_requests_and_lag_cost_the_same(self) -> None:
        for tasks, wait, pages, rows in ((10, 1.0, 1, 20), (100, 10.0, 2, 200), (40, 5.0, 1, 64)):
            made = plan(tasks, wait, pages=pages, rows=rows)
            assert made is not None
            requests = weigh(pages, rows) / made.interval_seconds
            lag = made.interval_seconds * tasks / wait**2
            assert requests == pytest.approx(lag)

    def test_no_interval_is_shorter_than_anybody_can_tell(self) -> None:
        made = plan(100, 0.2)
        assert made is not None
        assert made.interval_seconds == 0.055
        older = plan(100, 1.0, age=64.0)
        assert older is not None
        assert older.interval_seconds == 1.0

    def test_pages_leave_half_of_the_ceiling_to_the_looks(self) -> None:
        made = plan(2000, 0.35, pages=30, rows=3000, most=100)
        assert made is not None
        assert made.interval_seconds == pytest.approx(0.6)

    @given(
        st.integers(8, 100_000),
        st.floats(0.01, 600),
        st.floats(0, 1e6),
        st.integers(1, 64),
        st.floats(0.1, 1e6),
    )
    def test_an_interval_is_always_a_number_above_nought(
        self, tasks: int, wait: float, age: float, pages: int, most: float
    ) -> None:
        made = plan(tasks, wait, age=age, pages=pages, rows=20 * pages, most=most)
        assert made is None or 0.055 <= made.interval_seconds < math.inf

    def test_waits_that_differ_count_by_how_urgent_they_are(self) -> None:
        even = plan_sweeps([2, 2], [1, 1], tasks=100, pages=1, rows=100, most=500)
        odd = plan_sweeps([1, 100], [1, 1], tasks=100, pages=1, rows=100, most=500)
        assert even is not None
        assert odd is not None
        assert odd.interval_seconds < even.interval_seconds


class TestGoingOn:
    PLAN = Plan(interval_seconds=0.2, saved_looks=0.5, usual_wait_seconds=0.4)

    @pytest.mark.parametrize(
        ("shown", "left", "rows", "barren", "goes_on"),
        [
            (90, 50, 100, 0, True),
            (90, 0, 100, 0, False),  # all were seen
            (90, 50, 0, 0, False),  # there are no more
            (90, 4, 100, 0, False),  # those few are looked at
            (2, 50, 100, 0, True),  # somebody else's tasks come first
            (2, 50, 100, 1, False),  # and second
            (2, 10, 100, 0, False),
        ],
    )
    def test_a_page_has_to_save_what_it_weighs(
        self,
        shown: int,
        left: int,
        rows: int,
        barren: int,
        goes_on: bool,  # noqa: FBT001 - a column of the table
    ) -> None:
        said = self.PLAN.goes_on(shown=shown, left=left, rows=rows, barren=barren)
        assert said is goes_on

    def test_a_page_is_worth_more_where_sweeps_are_rare(self) -> None:
        rare = evolve(self.PLAN, saved_looks=2.0)
        assert rare.goes_on(shown=90, left=4, rows=100, barren=0)


class TestTrust:
    def test_nothing_is_believed_at_first(self) -> None:
        trust = Trust()
        assert not trust.is_proven
        assert not trust.has_ended

    def test_three_agreements_prove_a_list(self) -> None:
        trust = Trust()
        for proven in (False, False, True):
            trust.on_agreement()
            assert trust.is_proven is proven

    def test_a_young_task_proves_it_at_once(self) -> None:
        trust = Trust()
        trust.on_fresh()
        assert trust.is_proven

    @pytest.mark.parametrize(
        ("age", "unseen", "is_enough"),
        [(2, 0, True), (4.9, 4.9, True), (6, 5.1, False), (60, 29, True), (60, 31, False)],
    )
    def test_its_word_is_enough_for_a_while(
        self,
        age: float,
        unseen: float,
        is_enough: bool,  # noqa: FBT001 - a column of the table
    ) -> None:
        trust = Trust()
        assert not trust.is_enough(age, unseen)
        trust.on_fresh()
        for _ in range(3):
            assert trust.is_enough(age, unseen) is (unseen <= max(1, age / 2))
            trust.on_end()
        assert trust.is_enough(age, unseen) is is_enough

    def test_a_contradiction_takes_the_proof_away_until_it_agrees_again(self) -> None:
        trust = Trust()
        trust.on_fresh()
        trust.on_contradiction()
        trust.on_fresh()
        assert not trust.is_proven
        trust.on_agreement()
        assert trust.is_proven

    def test_three_contradictions_in_a_row_end_it(self) -> None:
        trust = Trust()
        for step in (0, 0, 1, 0, 0):
            trust.on_agreement() if step else trust.on_contradiction()
        assert trust.reason == ""
        trust.on_contradiction()
        assert "otherwise" in trust.reason
        for _ in range(3):
            trust.on_agreement()
        assert trust.has_ended
        assert not trust.is_proven

    def test_three_sweeps_in_a_row_that_show_nobody_end_it(self) -> None:
        trust = Trust()
        for shown in (0, 0, 1, 0, 0):
            trust.on_sweep(known=9, shown=shown)
        trust.on_sweep(known=0, shown=0)  # whom Detail does not know either is not missed
        assert not trust.has_ended
        trust.on_sweep(known=9, shown=0)
        assert "does not show" in trust.reason

    def test_the_first_reason_stays(self) -> None:
        trust = Trust()
        trust.end("this")
        trust.end("that")
        assert trust.reason == "this"
