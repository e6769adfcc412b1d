from __future__ import annotations

import asyncio

import pytest

from tests.scripted_service import (
    Asked,
    answered,
    record,
    too_fast,
)
from tests.tracking.stage import EVEN, LOST, MISSING, Life, set_up
from tests.virtual_time import now, run_virtual
from wiro_async.errors import (
    NotFound,
    TaskUnreachable,
    WiroError,
)
from wiro_async.protocol.responses import Answer
from wiro_async.tracking.watch import Watch


class TestMissing:
    def test_a_task_just_made_can_be_missing_for_a_moment(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(20, trouble=dict.fromkeys(range(1, 6), MISSING)))
            watch = stage.watch()
            await watch.wait_done()
            assert watch.error is None
            assert (watch.looks, watch.failures) == (7, 0)
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_but_not_for_ever(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(trouble={0: MISSING}))
            watch = stage.watch()
            await watch.wait_done()
            assert isinstance(watch.error, NotFound)
            assert watch.error.message.startswith("task 1, never seen: ")
            assert 30 <= now() <= 34
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_task_of_somebody_else_is_missing_at_once(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(trouble={0: answered({"tasklist": [], "result": True})}))
            watch = stage.watch(is_new=False)
            await watch.wait_done()
            assert isinstance(watch.error, NotFound)
            assert now() == 0
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_task_that_was_seen_running_is_not_given_up_for_one_not_found(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(60, trouble={9: MISSING, 10: MISSING}))
            watch = stage.watch()
            await watch.wait_done()
            assert watch.error is None
            assert now() >= 60
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_bare_404_of_something_before_the_service_is_a_look_that_failed(self) -> None:
        async def scenario() -> None:
            page = Answer(http_status=404, body=b"<html>no such page</html>")
            stage = set_up(Life(60, trouble=dict.fromkeys(range(1, 15), page)))
            watch = stage.watch()
            await watch.wait_done()
            assert watch.error is None
            assert watch.looks > 14
            await stage.tracker.aclose()

        run_virtual(scenario())


class TestFailures:
    def test_a_fault_of_our_own_ends_the_watch_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def scenario() -> None:
            stage = set_up(Life(60))
            monkeypatch.setattr(Watch, "see", lambda *_: 1 / 0)
            watch = stage.watch()
            await watch.wait_done()
            assert isinstance(watch.error, TaskUnreachable)
            assert "ZeroDivisionError" in watch.error.message
            await stage.tracker.aclose()

        run_virtual(scenario())

    @pytest.mark.parametrize(
        "step", [LOST, answered({}, http_status=500), Answer(http_status=200, body=b"<html>")]
    )
    def test_failing_looks_are_repeated_and_forgotten(self, step: Answer | WiroError) -> None:
        async def scenario() -> None:
            stage = set_up(Life(40, trouble=dict.fromkeys(range(2, 15), step)))
            watch = stage.watch()
            await watch.wait_done()
            assert (watch.error, watch.failures) == (None, 0)
            assert watch.looks == 15
            assert stage.api.repeats == 0, "a look is no repeat of another"
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_after_too_many_the_watch_is_given_up_with_all_that_is_known(self) -> None:
        async def script(asked: Asked) -> Answer:
            if asked.fields["taskid"] == "1" and asked.at > 4:
                raise LOST
            return record(asked.fields["taskid"], "task_start")

        async def scenario() -> None:
            stage = set_up(script)
            watch = stage.watch()
            other = stage.watch("2")
            await watch.wait_done()
            error = watch.error
            assert isinstance(error, TaskUnreachable)
            assert (error.task_id, error.token) == ("1", "tok-1")
            assert error.task is not None
            assert error.task.status == "task_start"
            assert "15 times" in error.message
            assert "cut off" in error.message
            assert watch.looks == 16
            assert now() > 120, "two minutes are outlasted"
            assert (other.error, other.failures) == (None, 0)
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_429_pauses_all_looks(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(50, trouble={1: too_fast("20")}))
            watches = [stage.watch(str(number)) for number in range(5)]
            await asyncio.gather(*[watch.wait_done() for watch in watches])
            assert [watch.error for watch in watches] == [None] * 5
            early = [at for at in stage.looks() if at < 23]
            assert len(early) <= 5
            assert all(at <= 3.1 for at in early)
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_pause_beyond_the_patience_is_told_with_its_length(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(trouble={1: too_fast("999")}))
            watch = stage.watch()
            await watch.wait_done()
            assert isinstance(watch.error, TaskUnreachable)
            assert "999 s" in watch.error.message
            assert "max_pause_seconds" in watch.error.message
            assert now() == 3
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_it_ends_the_watch_that_met_it_and_pauses_the_others(self) -> None:
        async def scenario() -> None:
            stage = set_up(Life(trouble={1: too_fast("3600")}), schedule=EVEN)
            watches = [stage.watch(str(number)) for number in range(50)]
            await asyncio.gather(*[watch.wait_done() for watch in watches])
            assert [type(watch.error) for watch in watches] == [TaskUnreachable] + [type(None)] * 49
            assert all(at >= 123 for at in stage.looks() if at > 3.2)
            assert len([at for at in stage.looks() if at <= 3.2]) <= 12
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_429_without_a_wait_or_with_none_is_no_hot_loop(self) -> None:
        async def scenario(retry_after: str | None) -> None:
            stage = set_up(Life(trouble={0: too_fast(retry_after)}))
            watches = [stage.watch(str(number)) for number in range(20)]
            await asyncio.sleep(60)
            assert len(stage.looks()) <= 60
            await stage.tracker.aclose()
            assert all(watch.is_done for watch in watches)

        for retry_after in (None, "0", "Sun, 01 Mar 1970 12:01:30 GMT", "-5", "nan"):
            run_virtual(scenario(retry_after))
