"""An outage costs a fixed number of requests, and none of the tasks that wait it out."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripted_service import Asked, ScriptedTransport, answered, record, too_fast
from tests.tracking.stage import LOST, Stage, set_up
from tests.virtual_session import joined
from tests.virtual_time import now, run_virtual
from wiro_async.errors import RequestNotSent, TaskTimeout, TaskUnreachable, WiroError
from wiro_async.protocol.outage import FAILURES_IN_A_ROW
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.requests import build_detail
from wiro_async.protocol.responses import Answer, decode_tasks
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.tracking.watch import Watch

NOT_SENT = RequestNotSent("/Task/Detail: refused", endpoint="/Task/Detail")
NEVER = 1e9


@define
class Weather:
    """Tasks that all run for `seconds`, and outages that fail whatever is asked within them."""

    seconds: float
    outages: list[tuple[float, float]]
    failure: WiroError | Answer = NOT_SENT
    stall_seconds: float = 0.0
    failed: list[float] = field(factory=list)

    async def __call__(self, asked: Asked) -> Answer:
        await asyncio.sleep(0)
        if any(start <= asked.at < end for start, end in self.outages):
            self.failed.append(asked.at)
            await asyncio.sleep(self.stall_seconds)
            if isinstance(self.failure, WiroError):
                raise self.failure
            return self.failure
        done = asked.at >= self.seconds
        return record(asked.fields["taskid"], "task_postprocess_end" if done else "task_start")


async def watch_all(stage: Stage, number: int, **options: object) -> list[Watch]:
    watches = [stage.watch(str(one), **options) for one in range(number)]
    await asyncio.gather(*[watch.wait_done() for watch in watches])
    await stage.tracker.aclose()
    return watches


class TestFiveHundredTasks:
    @pytest.mark.parametrize(
        ("weather", "most"),
        [
            (Weather(400, [(100, 280)]), 40),
            (Weather(400, [(100, 280)], answered({}, http_status=503)), 40),
            (Weather(400, [(100, 280)], Answer(http_status=200, body=b"<html>")), 40),
            (Weather(400, [(100, 280)], LOST, stall_seconds=60), 80),
            (Weather(150, [(100, 280)]), 40),
            (Weather(400, [(0, 180)]), 40),
        ],
        ids=["refused", "503", "html", "stalled", "ended meanwhile", "from the start"],
    )
    def test_they_all_end_well_after_three_minutes_of_outage(
        self, weather: Weather, most: int
    ) -> None:
        async def scenario() -> None:
            stage = set_up(weather, schedule=PollSchedule())
            watches = await watch_all(stage, 500)
            assert [watch.error for watch in watches] == [None] * 500
            assert all(watch.task is not None and watch.task.succeeded for watch in watches)
            assert now() < max(weather.seconds, 280) + 30

        weather.failed.clear()
        run_virtual(scenario())
        assert FAILURES_IN_A_ROW <= len(weather.failed) <= most

    def test_after_it_they_are_looked_at_at_the_usual_rate(self) -> None:
        async def scenario() -> list[float]:
            stage = set_up(Weather(400, [(100, 280)]), rate=50)
            await watch_all(stage, 500)
            return [at for at in stage.looks() if at >= 280]

        looks = run_virtual(scenario())
        for first, at in enumerate(looks[:-60]):
            assert looks[first + 60] - at >= 1, "no stampede"
        assert looks[500] - looks[1] < 11, "nor a trickle"

    def test_one_that_does_not_end_gives_them_all_up_by_name(self) -> None:
        weather = Weather(NEVER, [(100, NEVER)])

        async def scenario() -> None:
            stage = set_up(weather)
            for number, watch in enumerate(await watch_all(stage, 500)):
                error = watch.error
                assert isinstance(error, TaskUnreachable)
                assert (error.task_id, error.token) == (str(number), f"tok-{number}")
                assert error.task is not None
                assert error.task.status == "task_start"
                assert "last seen in task_start" in error.message
                assert "answered nothing for 600 s" in error.message
                assert "/Task/Detail: refused" in error.message
            assert 700 <= now() <= 701

        run_virtual(scenario())
        assert len(weather.failed) <= 80


def test_a_failure_now_and_then_is_no_outage_and_costs_no_task() -> None:
    count = 0
    dice = random.Random(5)  # noqa: S311 - the same luck each time

    async def script(asked: Asked) -> Answer:
        nonlocal count
        count += 1
        if dice.random() < 0.5:
            raise LOST
        done = asked.at > 100
        return record(asked.fields["taskid"], "task_postprocess_end" if done else "task_start")

    async def scenario() -> None:
        stage = set_up(script, schedule=PollSchedule())
        assert [watch.error for watch in await watch_all(stage, 100)] == [None] * 100

    run_virtual(scenario())
    assert count < 100 * 100


def test_with_an_empty_budget_a_failed_look_is_taken_when_it_would_have_been_anyway() -> None:
    async def script(asked: Asked) -> Answer:
        if asked.fields["taskid"] == "1":
            raise LOST
        return record("2", "task_start")

    async def scenario() -> list[float]:
        stage = set_up(script, policy=RetryPolicy(budget=0))
        stage.watch("2")
        await watch_all(stage, 2)
        return [asked.at for asked in stage.transport.asked if asked.fields["taskid"] == "1"]

    looks = run_virtual(scenario())
    assert min(later - earlier for earlier, later in pairwise(looks)) >= 3


def test_a_session_says_for_how_long_nobody_has_been_answered() -> None:
    async def script(asked: Asked) -> Answer:
        if 20 <= asked.at < 80:
            raise NOT_SENT
        return record(asked.fields["taskid"], "task_start")

    async def scenario() -> None:
        async with joined(ScriptedTransport(script)) as session:
            handles = [session.task(task_id=str(number)) for number in range(10)]
            told = []
            for _ in range(12):
                await asyncio.sleep(10)
                told.append(session.statistics.unanswered_seconds)
        assert all(handle.is_done for handle in handles), "closed"
        began = next(at for at, seconds in enumerate(told) if seconds)
        ended = next(at for at, seconds in enumerate(told) if at > began and not seconds)
        assert told[:2] == [0, 0]
        gaps = [later - earlier for earlier, later in pairwise(told[began:ended])]
        assert gaps == pytest.approx([10] * len(gaps))
        assert len(gaps) >= 4
        assert 8 <= ended <= 10
        assert not any(told[ended:])

    run_virtual(scenario())


class TestPatience:
    def test_each_watch_has_it_from_its_own_beginning(self) -> None:
        async def scenario() -> None:
            policy = RetryPolicy(max_outage_seconds=100)
            stage = set_up(Weather(NEVER, [(0, NEVER)]), policy=policy)
            early = [stage.watch(str(number)) for number in range(20)]
            await asyncio.sleep(60)
            late = stage.watch("late")
            await asyncio.gather(*[watch.wait_done() for watch in early])
            assert 103 <= now() <= 104
            assert not late.is_done
            await late.wait_done()
            assert now() == pytest.approx(160)
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_watch_that_comes_long_after_the_last_look_gets_its_own(self) -> None:
        async def scenario() -> None:
            stage = set_up(Weather(NEVER, [(0, 5_000)]))
            await asyncio.gather(*[stage.watch(f"{number}").wait_done() for number in range(20)])
            await asyncio.sleep(4_300)
            assert 4_900 < now() < 5_000
            watch = stage.watch("new")
            await asyncio.sleep(250)
            assert watch.error is None
            assert watch.task is not None
            await stage.tracker.aclose()

        run_virtual(scenario())

    def test_a_task_whose_own_time_is_over_ends_in_time(self) -> None:
        async def scenario() -> None:
            stage = set_up(Weather(NEVER, [(0, NEVER)]))
            stage.watch("other")
            watches = await watch_all(stage, 30, timeout_seconds=90.0)
            assert all(isinstance(watch.error, TaskTimeout) for watch in watches)
            assert now() == pytest.approx(90, abs=0.1)

        run_virtual(scenario())

    def test_a_single_task_has_the_same_one_as_many(self) -> None:
        weather = Weather(400, [(10, 580)])

        async def scenario() -> None:
            assert (await watch_all(set_up(weather), 1))[0].error is None

        run_virtual(scenario())
        assert len(weather.failed) < 60


class TestTheEnd:
    def test_an_answer_to_anybody_ends_it(self) -> None:
        """A probe hangs; somebody asks for something else and is answered: the looks go on."""

        async def script(asked: Asked) -> Answer:
            if asked.fields["taskid"] == "x" or asked.at > 30:
                return record(asked.fields["taskid"], "task_postprocess_end")
            if asked.at > 4:
                await asyncio.sleep(1_000)
            raise NOT_SENT

        async def scenario() -> None:
            stage = set_up(script)
            watches = [stage.watch(str(number)) for number in range(20)]
            await asyncio.sleep(40)
            assert not any(watch.is_done for watch in watches)
            await stage.api.call(build_detail(task_id="x"), decode_tasks)
            await asyncio.sleep(1)
            assert len([watch for watch in watches if watch.is_done]) == 19, "all but the probe's"
            await stage.tracker.aclose()

        run_virtual(scenario())

    @pytest.mark.parametrize("answer", [too_fast("5"), answered({"result": False, "errors": []})])
    def test_a_429_ends_it_and_another_failure_does_not(self, answer: Answer) -> None:
        async def script(asked: Asked) -> Answer:
            if asked.at < 20:
                raise NOT_SENT
            if asked.at < 60:
                return answer
            return record(asked.fields["taskid"], "task_postprocess_end")

        async def scenario() -> None:
            stage = set_up(script)
            assert [watch.error for watch in await watch_all(stage, 50)] == [None] * 50
            assert len([at for at in stage.looks() if 20 <= at < 60]) <= 30
            assert now() < 180

        run_virtual(scenario())

    def test_closing_in_an_outage_names_every_task(self) -> None:
        async def scenario() -> None:
            stage = set_up(Weather(NEVER, [(0, NEVER)], stall_seconds=20))
            watches = [stage.watch(str(number)) for number in range(100)]
            await asyncio.sleep(100)
            await stage.tracker.aclose()
            assert all(f"task {one}," in str(watch.error) for one, watch in enumerate(watches))

        run_virtual(scenario())


OUTAGES = st.lists(
    st.tuples(st.floats(min_value=0, max_value=300), st.floats(min_value=0, max_value=200)),
    max_size=3,
)


@settings(max_examples=30, deadline=None)
@given(OUTAGES, st.integers(min_value=1, max_value=40), st.sampled_from([0.0, 0.3, 20.0]))
def test_whatever_the_weather_all_tasks_end_well_and_it_costs_little(
    outages: list[tuple[float, float]], tasks: int, stall_seconds: float
) -> None:
    spans = [(start, start + length) for start, length in outages]
    weather = Weather(120, spans, LOST, stall_seconds=stall_seconds)

    async def scenario() -> None:
        stage = set_up(weather, schedule=PollSchedule())
        watches = await watch_all(stage, tasks)
        assert [watch.error for watch in watches] == [None] * tasks
        assert now() < max([120.0, *(end for _, end in spans)]) + 60

    run_virtual(scenario())
    probes = sum(8 + (end - start) / 10 for start, end in spans)
    assert len(weather.failed) <= 50 + probes + len(spans) * (FAILURES_IN_A_ROW + tasks)
