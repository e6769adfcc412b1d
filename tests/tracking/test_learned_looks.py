"""The tracker learns what a model's tasks take, and looks accordingly."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import statistics
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from itertools import pairwise

import pytest
from attrs import define, field

from tests.scripted_service import Asked, record
from tests.tracking.stage import Stage, set_up
from tests.virtual_time import now, run_virtual
from wiro_async.protocol.learning import Learned
from wiro_async.protocol.responses import Answer
from wiro_async.task import Outcome, Task
from wiro_async.tracking.lessons import learn
from wiro_async.tracking.watch import Watch

FLUX = "black-forest-labs/flux-pro-1-1-ultra"
TURBO = "owner/turbo"


@define
class Crowd:
    """Tasks that each take as long as `draw` says, one started where one is found to have ended."""

    draw: Callable[[float], float]
    rate: float = 1000.0
    ending: str = "task_postprocess_end"
    record_times: bool = False
    ends: dict[str, float] = field(factory=dict)
    begun: dict[str, float] = field(factory=dict)
    lags: dict[str, float] = field(factory=dict)
    stage: Stage = field(init=False)

    def play(self, scenario: Coroutine[None, None, None]) -> None:
        async def whole() -> None:
            self.stage = set_up(self._answer, waits=Learned(), rate=self.rate)
            await scenario
            await self.stage.tracker.aclose()

        run_virtual(whole())

    async def _answer(self, asked: Asked) -> Answer:
        await asyncio.sleep(0.01)
        name = asked.fields["taskid"]
        done = asked.at >= self.ends[name]
        times = {}
        if self.record_times and done:
            times = {
                "createtime": str(math.floor(self.begun[name])),
                "postprocessendtime": str(math.floor(self.ends[name])),
            }
        return record(name, self.ending if done else "task_start", **times)

    async def run_one(self, name: str, model: str | None = FLUX, *, is_new: bool = True) -> int:
        """One task from its beginning to where its end is known; its looks."""
        self.begun[name] = now()
        self.ends[name] = now() + self.draw(now())
        watch = self.stage.watch(name, model=model, is_new=is_new)
        await watch.wait_done()
        self.lags[name] = now() - self.ends[name]
        return watch.looks

    async def run(self, tasks: int, in_flight: int, **more: object) -> list[int]:
        """Many of them, so many at once; the looks of each."""
        places = asyncio.Semaphore(in_flight)
        looks: list[int] = []

        async def one(number: int) -> None:
            async with places:
                looks.append(await self.run_one(f"{number}-{now()}", **more))  # type: ignore[arg-type] # handed on

        await asyncio.gather(*[one(number) for number in range(tasks)])
        return looks

    def share(self, name: str) -> float:
        return self.lags[name] / (self.ends[name] - self.begun[name])


def lognormal(median: float, sigma: float) -> Callable[[float], float]:
    """Durations that follow the law closely, in no order, again and again."""
    normal = statistics.NormalDist()
    sample = [normal.inv_cdf((place + 0.5) / 500) for place in range(500)]
    random.Random(3).shuffle(sample)  # noqa: S311 - the same order each time
    places = itertools.cycle(sample)
    return lambda _: median * math.exp(sigma * next(places))


def test_five_hundred_unknown_tasks_take_seven_looks_each_for_a_small_lag() -> None:
    crowd = Crowd(lognormal(2.0, 0.5))

    async def scenario() -> None:
        crowd.stage.api.dice = random.Random(1).random  # noqa: S311 - the same luck each time
        looks = await crowd.run(500, 100)
        shares = sorted(map(crowd.share, crowd.ends))
        assert statistics.fmean(looks) <= 7.1
        assert statistics.fmean(shares) <= 0.095
        assert shares[475] <= 0.26

    crowd.play(scenario())


def test_a_model_that_is_known_is_looked_at_where_its_tasks_end() -> None:
    crowd = Crowd(lambda _: 8.0)

    async def scenario() -> None:
        first = await crowd.run_one("first")
        await crowd.run(30, 3)
        last = await crowd.run_one("last")
        assert last <= first * 0.75
        assert crowd.lags["last"] < 0.3 < crowd.lags["first"] + 0.3

    crowd.play(scenario())


def test_models_are_told_apart() -> None:
    crowd = Crowd(lambda _: 0.5)

    async def scenario() -> None:
        await crowd.run(20, 4, model=TURBO)
        crowd.draw = lambda _: 30.0
        await crowd.run_one("slow", FLUX)
        looks = [at for at in crowd.stage.looks() if at >= crowd.begun["slow"]]
        assert looks[1] - looks[0] > 0.3, "of this one nothing is known"

    crowd.play(scenario())


@pytest.mark.parametrize(("before", "after"), [(2.0, 12.0), (12.0, 2.0)])
def test_a_model_that_has_changed_is_followed(before: float, after: float) -> None:
    crowd = Crowd(lognormal(before, 0.2))

    async def scenario() -> None:
        await crowd.run(200, 20)
        crowd.draw = lognormal(after, 0.2)
        await crowd.run(250, 20)
        since = len(crowd.ends)
        looks = await crowd.run(100, 20)
        shares = [crowd.share(name) for name in list(crowd.ends)[since:]]
        assert statistics.fmean(looks) < (7 if after < 5 else 18)
        assert statistics.fmean(shares) < 0.08

    crowd.play(scenario())


def test_how_long_a_task_takes_that_failed_or_was_made_elsewhere_teaches_nothing() -> None:
    async def scenario(crowd: Crowd, **more: object) -> None:
        await crowd.run(20, 4, **more)
        assert crowd.stage.tracker.waits == Learned()

    failing, adopted = Crowd(lambda _: 2.0, ending="task_error"), Crowd(lambda _: 2.0)
    failing.play(scenario(failing))
    adopted.play(scenario(adopted, is_new=False))


def test_a_task_of_unknown_age_is_looked_at_as_if_its_model_were_unknown() -> None:
    crowd = Crowd(lambda _: 20.0)

    async def scenario() -> None:
        await crowd.run(30, 5)
        for name, is_new in (("ours", True), ("adopted", False)):
            await crowd.run_one(name, is_new=is_new)
        asked = [asked for asked in crowd.stage.transport.asked if asked.endpoint == "/Task/Detail"]
        waits = {}
        for name in ("ours", "adopted"):
            ours = [one.at - crowd.begun[name] for one in asked if one.fields["taskid"] == name]
            waits[name] = [later - earlier for earlier, later in pairwise([0.0, *ours])]
        assert waits["ours"][0] == pytest.approx(1.0, abs=0.05)
        assert waits["adopted"][:3] == pytest.approx([0.0, 0.4, 0.4], abs=0.05)

    crowd.play(scenario())


def test_the_records_own_times_say_when_it_ended_though_it_was_found_late() -> None:
    medians = []

    async def found_late(crowd: Crowd) -> None:
        for number in range(12):
            crowd.ends[str(number)] = now() + 20.0
            crowd.begun[str(number)] = now()
            watch = crowd.stage.watch(str(number), model=FLUX)
            crowd.stage.tracker.vouch(watch, 1.0)
            await asyncio.sleep(1.0)
            watch.vouched_until = now() + 39.0  # nobody looks in between
            await watch.wait_done()
        log = crowd.stage.tracker.waits._models[FLUX].log  # type: ignore[attr-defined] # Learned
        medians.append(log.fit([]).median_seconds)

    for crowd in (Crowd(lambda _: 20.0, record_times=True), Crowd(lambda _: 20.0)):
        crowd.play(found_late(crowd))
    told, untold = medians
    assert told == pytest.approx(20.0, abs=0.6)
    assert untold > 25


def test_five_thousand_in_flight_are_looked_at_fairly_and_never_above_the_ceiling() -> None:
    crowd = Crowd(lambda _: 1e6, rate=100.0)

    async def scenario() -> None:
        running = asyncio.ensure_future(crowd.run(5000, 5000))
        await asyncio.sleep(110)
        await crowd.stage.tracker.aclose()
        await running

    crowd.play(scenario())
    counts = Counter(asked.fields["taskid"] for asked in crowd.stage.transport.asked)
    assert len(counts) >= 4900, "each gets its look"
    assert max(counts.values()) <= 6
    looks = crowd.stage.looks()
    for first, at in enumerate(looks):
        assert bisect(looks, at + 0.999) - first <= 112, "a second's looks and one burst"
    # They age together, so each wants less than when the sum was made.
    assert len(looks) - bisect(looks, 20) >= 0.65 * 100 * 90, "nor far below it"


def test_far_more_than_the_ceiling_bears_end_soon_after_the_last_has_ended() -> None:
    crowd = Crowd(lognormal(10.0, 0.5), rate=20.0)

    async def scenario() -> None:
        await crowd.run(400, 200)
        assert max(crowd.lags.values()) <= 2.5 * 200 / 20, "two rounds of all tasks, and a little"
        assert now() <= 1.6 * 400 * 2 / 20 + 10

    crowd.play(scenario())


def test_a_few_tasks_are_not_kept_waiting_by_the_crowd_that_has_gone() -> None:
    crowd = Crowd(lognormal(4.0, 0.3), rate=20.0)

    async def scenario() -> None:
        crowd_runs = asyncio.ensure_future(crowd.run(400, 400))
        await asyncio.sleep(2)
        crowd.draw = lambda _: 90.0
        few = [asyncio.ensure_future(crowd.run_one(f"late {number}")) for number in range(3)]
        await crowd_runs
        await asyncio.gather(*few)
        assert max(crowd.lags[f"late {number}"] for number in range(3)) <= 2.0

    crowd.play(scenario())


def test_one_waking_serves_many_looks() -> None:
    crowd = Crowd(lambda _: 20.0)

    async def scenario() -> None:
        for number in range(100):
            crowd.ends[str(number)] = 1e9
            crowd.stage.watch(str(number), model=FLUX)
            await asyncio.sleep(0.013)
        begun = len(crowd.stage.looks())
        await asyncio.sleep(20)
        looks = crowd.stage.looks()[begun:]
        assert len(looks) >= 800
        assert len(set(looks)) <= len(looks) / 2.2

    crowd.play(scenario())


def test_of_thousands_that_run_some_hundred_are_asked_for_their_age() -> None:
    handed: list[tuple[int, int]] = []

    class Listening(Learned):
        def fit(self, model: str | None, running_ages: Sequence[float], *, each: int = 1) -> None:
            handed.append((len(running_ages), each))
            super().fit(model, running_ages, each=each)

    waits = Listening()
    watches = {Watch(started_at=0.0, model=FLUX, seen_running_at=5.0) for _ in range(5000)}
    done = Task(id="1", status="task_postprocess_end", outcome=Outcome.SUCCEEDED)
    for _ in range(5):
        ended = Watch(started_at=0.0, model=FLUX, task=done, seen_running_at=7.0)
        learn(waits, ended, 8.0, 8.1, watches)
    assert handed == [(500, 10)]
