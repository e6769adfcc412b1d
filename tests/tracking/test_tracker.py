from __future__ import annotations

import asyncio
from bisect import bisect
from collections import Counter
from itertools import pairwise
from unittest import mock

import pytest

from tests.scripted_service import (
    Asked,
    record,
)
from tests.tracking.stage import LOST, Life, Stage, set_up
from tests.virtual_time import now, run_virtual, settle
from wiro_async.errors import (
    SessionStateError,
    TaskTimeout,
    TaskUnreachable,
)
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.responses import Answer, decode_task
from wiro_async.tracking import tracker as tracker_module


def test_looks_begin_after_three_seconds_and_grow_apart() -> None:
    async def scenario() -> Stage:
        stage = set_up(Life(100))
        watch = stage.watch()
        await watch.wait_done()
        assert (now(), watch.looks) == (stage.looks()[-1], len(stage.looks()))
        await stage.tracker.aclose()
        return stage

    waits = run_virtual(scenario()).looks()
    gaps = [later - earlier for earlier, later in pairwise([0, *waits])]
    assert gaps[:3] == pytest.approx([3, 3, 3])
    assert gaps[-1] == pytest.approx(10)
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(gaps))
    assert len(gaps) == 16


def test_a_task_of_somebody_else_is_looked_at_at_once() -> None:
    async def scenario() -> None:
        stage = set_up(Life(0))
        watch = stage.watch(is_new=False)
        await watch.wait_done()
        assert now() == 0
        await watch.wait_done()
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_a_thousand_tasks_share_the_looks_and_one_timer() -> None:
    async def scenario() -> Stage:
        stage = set_up(Life(60), schedule=PollSchedule(), rate=100)
        watches = [stage.watch(str(number)) for number in range(1000)]
        for _ in range(20):
            await asyncio.sleep(3.017)
            # Itself, and looks that are under way at this instant.
            assert len(asyncio.all_tasks()) - len(stage.tracker._looks) == 1
        await asyncio.gather(*[watch.wait_done() for watch in watches])
        counts = Counter(asked.fields["taskid"] for asked in stage.transport.asked)
        assert len(counts) == 1000
        assert max(counts.values()) - min(counts.values()) <= 3
        await stage.tracker.aclose()
        return stage

    looks = run_virtual(scenario()).looks()
    for first, at in enumerate(looks):
        assert bisect(looks, at + 0.999) - first <= 112  # a second's looks and one burst
    busy = bisect(looks, 60) - bisect(looks, 20)
    # They age together: all want less than at the looks that the sum was made of.
    assert busy >= 0.75 * 100 * 40


def test_the_longest_due_is_looked_at_first() -> None:
    async def scenario() -> None:
        stage = set_up(Life(1000), rate=2)
        for number in range(40):
            stage.watch(str(number))
        await asyncio.sleep(22.9)
        seen = [asked.fields["taskid"] for asked in stage.transport.asked]
        assert seen == [str(number) for number in range(40)]
        await stage.tracker.aclose()

    run_virtual(scenario())


class TestDeadline:
    def test_a_task_whose_time_is_over_is_looked_at_once_more(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(1000))
            watch = stage.watch(timeout_seconds=20.0)
            await watch.wait_done()
            assert now() == pytest.approx(20)
            assert stage.looks()[-1] == pytest.approx(20)
            error = watch.error
            assert isinstance(error, TaskTimeout)
            assert (error.task_id, error.token) == ("1", "tok-1")
            assert error.task is watch.task
            assert "20 s" in error.message
            assert "can be billed" in error.message
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_time_shorter_than_the_first_wait_is_kept(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(1000))
            watch = stage.watch(timeout_seconds=1.0)
            await watch.wait_done()
            assert (now(), watch.looks) == (1, 1)
            assert isinstance(watch.error, TaskTimeout)
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_last_look_that_fails_is_a_timeout_too(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(trouble={0: LOST}))
            watch = stage.watch(timeout_seconds=10.0)
            await watch.wait_done()
            assert isinstance(watch.error, TaskTimeout)
            assert watch.error.task is None
            assert "never seen" in watch.error.message
            await stage.tracker.aclose()

        run_virtual(scenario())


class TestLookNow:
    def test_it_brings_the_next_look_forward(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(1))
            watch = stage.watch()
            await asyncio.sleep(1.5)
            stage.tracker.look_now(watch)
            await watch.wait_done()
            assert (now(), watch.looks) == (1.5, 1)
            stage.tracker.look_now(watch)
            await asyncio.sleep(60)
            assert watch.looks == 1
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_during_a_look_it_means_one_more_look_after_it(self) -> None:
        async def script(asked: Asked) -> Answer:
            await asyncio.sleep(2)
            return record("1", "task_postprocess_end" if asked.at > 3 else "task_start")

        async def scenario() -> None:
            stage = set_up(script)
            watch = stage.watch()
            await asyncio.sleep(4)
            for _ in range(3):
                stage.tracker.look_now(watch)
            await watch.wait_done()
            assert stage.looks() == [3, 5]
            await stage.tracker.aclose()

        run_virtual(scenario())


class TestClosing:
    def test_who_waits_is_told_by_name(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(1000))
            watches = [stage.watch("11"), stage.watch("12")]
            waits = [asyncio.ensure_future(watch.wait_done()) for watch in watches]
            await asyncio.sleep(3.5)
            await stage.tracker.aclose()
            await asyncio.gather(*waits)
            for watch in watches:
                assert isinstance(watch.error, SessionStateError)
                assert f"task {watch.task_id}, token tok-{watch.task_id}" in str(watch.error)
                assert "task_start" in str(watch.error)
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_look_under_way_is_ended(self) -> None:
        async def script(_: Asked) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

        async def scenario() -> None:
            stage = set_up(script)
            watch = stage.watch(is_new=False)
            await settle()
            await stage.tracker.aclose()
            assert isinstance(watch.error, SessionStateError)
            watch.give_up(TaskUnreachable("too late"))
            assert isinstance(watch.error, SessionStateError)

        run_virtual(scenario())

    def test_a_tracker_that_watched_nothing_closes(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life())
            await stage.tracker.aclose()
            assert stage.looks() == []
            assert asyncio.all_tasks() == {asyncio.current_task()}

        run_virtual(scenario())


def test_a_watch_that_nobody_awaits_ends_and_calls_back() -> None:
    async def scenario() -> None:
        stage = set_up(Life(10))
        called: list[str] = []
        watch = stage.watch()
        watch.call_when_done(lambda _: called.append("first"))
        forgotten = lambda _: called.append("never")  # noqa: E731 - forgotten by its identity
        watch.call_when_done(forgotten)
        watch.forget_callback(forgotten)
        watch.forget_callback(forgotten)
        await asyncio.sleep(60)
        assert called == ["first"]
        watch.call_when_done(lambda _: called.append("at once"))
        assert called == ["first", "at once"]
        assert not stage.tracker._watches
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_waiting_can_be_cancelled_and_leaves_nothing() -> None:
    async def scenario() -> None:
        stage = set_up(Life(100))
        watch = stage.watch()
        waits = [asyncio.ensure_future(watch.wait_done()) for _ in range(3)]
        await settle()
        assert len(watch._waiters) == len(waits)
        waits[1].cancel()
        await settle()
        assert len(watch._waiters) == len(waits) - 1
        await asyncio.gather(waits[0], waits[2])
        assert watch._waiters == ()
        await stage.tracker.aclose()

    run_virtual(scenario())


def test_an_answer_that_says_what_the_last_one_said_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        stage = set_up(Life(100))
        one, other = stage.watch("1"), stage.watch("2")
        await asyncio.sleep(50)
        before = (one.task, other.task)
        assert read.call_count == 2
        await asyncio.sleep(40)
        assert (one.task, other.task) == before
        assert read.call_count == 2
        await asyncio.gather(one.wait_done(), other.wait_done())
        assert read.call_count == 4
        assert [one.task and one.task.succeeded, other.task and other.task.id] == [True, "2"]
        assert len(stage.looks()) > 20
        await stage.tracker.aclose()

    read = mock.Mock(wraps=decode_task)
    monkeypatch.setattr(tracker_module, "decode_task", read)
    run_virtual(scenario())
