import asyncio
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.arms import EVERYBODY
from benchmarks.by_hand import foresee
from benchmarks.jobs import Job, Leave, crowd, prompt_of
from benchmarks.peer_service import PeerService
from wiro_async.batch.journal.states import State
from wiro_async.batch.journal.writer import open_journal
from wiro_async.emulator import Emulator


def job_of(base_url: str, out: Path, *, tasks: int = 5, in_flight: int = 2) -> Job:
    return Job(
        base_url=base_url,
        socket_url="",
        tasks=tasks,
        in_flight=in_flight,
        median=0.02,
        out=out,
    )


def files_in(directory: Path) -> list[Path]:
    return [*directory.rglob("*.png")]


async def test_no_more_run_at_once_than_may_and_failures_are_counted(tmp_path: Path) -> None:
    job = job_of("", tmp_path, tasks=7, in_flight=3)
    running, most = 0, 0

    async def one(number: int, prompt: str, params: Mapping[str, str], _: Leave) -> str:
        nonlocal running, most
        assert (prompt, params) == (prompt_of(number), {})
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if number == 4:
            raise LookupError
        return str(number)

    await crowd(job, one)
    assert most == 3
    assert job.errors == {"LookupError": 1}
    assert sorted(task_id for task_id, _ in job.ended) == ["0", "1", "2", "3", "5", "6"]


async def test_a_place_that_is_given_back_early_is_given_back_once(tmp_path: Path) -> None:
    job = job_of("", tmp_path, tasks=6, in_flight=2)
    fetching, slots, most_slots = asyncio.Event(), 0, 0

    async def one(number: int, _: str, __: Mapping[str, str], leave: Leave) -> str:
        nonlocal slots, most_slots
        slots += 1
        most_slots = max(most_slots, slots)
        await asyncio.sleep(0)
        slots -= 1
        leave()
        if number == 5:
            fetching.set()
        # The last task could not begin if the first ones kept their places.
        await fetching.wait()
        return str(number)

    await crowd(job, one)
    assert most_slots == 2
    assert len(job.ended) == 6


async def test_a_file_of_prompts_is_run_with_its_parameters(tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text("custom_id,prompt,seed\na,a lighthouse,7\nb,a ship,8\n")
    job = job_of("", tmp_path)
    job.file = file
    assert [*job.settings()] == [("a lighthouse", {"seed": "7"}), ("a ship", {"seed": "8"})]


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("floor", 1),
        ("floor, flushed", 1),
        ("floor, flushed, journal", 1),
        ("floor, duties", 1),
        ("floor, duties, looks", 0),
        ("plain aiohttp, 0.5 s", 1),
        ("wiro_async, looks alone", 0),
    ],
)
async def test_an_arm_runs_every_task_and_has_its_file(
    tmp_path: Path, name: str, looks: int
) -> None:
    async with Emulator(median_seconds=0.02, picture_pixels=0) as emulator:
        job = job_of(emulator.base_url, tmp_path)
        await EVERYBODY[name].run(job)
        books = emulator.books
    assert {task_id for task_id, _ in job.ended} == books.tasks.keys()
    assert books.most_in_flight <= 2
    assert not job.errors
    assert len(files_in(tmp_path)) == 5
    assert books.requests["cdn"] == 5
    if looks:
        assert books.requests["Task/Detail"] == 5 * looks


async def test_the_durable_floor_has_each_task_in_its_journal(tmp_path: Path) -> None:
    async with Emulator(median_seconds=0.02, picture_pixels=0) as emulator:
        await EVERYBODY["floor, flushed, journal"].run(job_of(emulator.base_url, tmp_path))
        names = frozenset(emulator.books.tasks)
    journal = await open_journal(tmp_path / "batch.sqlite")
    try:
        assert journal.totals.counts == {State.SAVED: 5}
        assert journal.totals.spent > 0
        assert await journal.knows(names) == names
    finally:
        await journal.aclose()


async def test_the_floor_with_duties_has_a_line_for_each_task(tmp_path: Path) -> None:
    async with Emulator(median_seconds=0.02, picture_pixels=0) as emulator:
        await EVERYBODY["floor, duties"].run(job_of(emulator.base_url, tmp_path))
        names = {*emulator.books.tasks}
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {line["task_id"] for line in lines} == names
    for line in lines:
        content = (tmp_path / f"{line['custom_id']}.png").read_bytes()
        assert (line["size"], line["sha256"]) == (len(content), sha256(content).hexdigest())
        assert float(line["cost"]) > 0
        assert len(line["outputs"]) == 1


async def test_the_floor_that_looks_foresees_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.by_hand.foresee", None)
    async with Emulator(median_seconds=0.5, picture_pixels=0) as emulator:
        job = job_of(emulator.base_url, tmp_path, tasks=2)
        job.median = 0.5
        await EVERYBODY["floor, duties, looks"].run(job)
        looks = emulator.books.requests["Task/Detail"]
    assert len(job.ended) == 2
    assert looks > 4


async def test_the_floor_knows_how_long_each_task_takes(tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text("custom_id,prompt,seed\na,a lighthouse,7\nb,a ship,8\n")
    async with Emulator(median_seconds=0.02, picture_pixels=0) as emulator:
        job = job_of(emulator.base_url, tmp_path)
        job.file = file
        await EVERYBODY["floor"].run(job)
        durations = {task.prompt: task.duration for task in emulator.books.tasks.values()}
    known = {prompt: foresee(prompt, params, job.median) for prompt, params in job.settings()}
    assert known == durations


async def test_the_peers_meet_the_tasks_that_the_emulator_has(tmp_path: Path) -> None:
    prompt = prompt_of(0)
    async with Emulator(median_seconds=0.02, picture_pixels=0) as emulator:
        await EVERYBODY["floor"].run(job_of(emulator.base_url, tmp_path, tasks=1))
        [ours] = emulator.books.tasks.values()
    async with (
        PeerService(median_seconds=0.02) as service,
        aiohttp.ClientSession(service.base_url) as http,
    ):
        for path, body in (
            ("/fal/model", {"prompt": prompt}),
            ("/v1/predictions", {"input": {"prompt": prompt}}),
            ("/v1/text_to_image", {"promptText": prompt}),
        ):
            async with http.post(path, json=body) as answer:
                assert answer.status == 200
        theirs = [*service.books.tasks.values()]
    assert [task.duration for task in theirs] == [ours.duration] * 3
    assert {task.drawn and task.drawn.sha256 for task in theirs} == {
        ours.drawn and ours.drawn.sha256
    }


async def test_a_held_request_is_answered_when_its_task_has_ended() -> None:
    async with (
        PeerService(median_seconds=0.05) as service,
        aiohttp.ClientSession(service.base_url) as http,
    ):
        body = {"input": {"prompt": "a lighthouse"}}
        async with http.post("/v1/predictions", json=body, headers={"Prefer": "wait"}) as answer:
            held = await answer.json()
        async with http.get(held["output"][0]) as answer:
            picture = await answer.read()
        requests = service.books.requests
    assert held["status"] == "succeeded"
    assert picture.startswith(b"\x89PNG")
    assert requests == {"submit": 1, "cdn": 1}


async def test_each_service_tells_how_a_task_stands() -> None:
    now = 0.0
    async with (
        PeerService(median_seconds=5.0, clock=lambda: now) as service,
        aiohttp.ClientSession(service.base_url) as http,
    ):

        async def get(path: str) -> Any:  # noqa: ANN401 - JSON
            async with http.get(path) as answer:
                return await answer.json()

        body = {"input": {"prompt": "a lighthouse"}}
        async with http.post("/v1/predictions", json=body) as answer:
            prediction = await answer.json()
        assert (prediction["status"], prediction["output"]) == ("starting", None)
        fal, runway = "/fal/model/requests/{}", "/v1/tasks/{}"
        [task] = service.books.tasks.values()
        assert (await get(f"{fal.format(task.id)}/status"))["status"] == "IN_QUEUE"
        assert (await get(runway.format(task.id)))["status"] == "RUNNING"
        now = task.duration / 2
        assert (await get(f"{fal.format(task.id)}/status"))["status"] == "IN_PROGRESS"
        assert (await get(f"/v1/predictions/{task.id}"))["status"] == "processing"
        now = task.duration
        assert (await get(f"{fal.format(task.id)}/status"))["status"] == "COMPLETED"
        done = await get(runway.format(task.id))
        assert done["status"] == "SUCCEEDED"
        [image] = (await get(fal.format(task.id)))["images"]
        assert done["output"] == [image["url"]]
        assert (await get(f"/v1/predictions/{task.id}"))["output"] == [image["url"]]
        async with http.get("/v1/tasks/1") as answer:
            assert answer.status == 404
        assert service.books.requests == {"submit": 1, "look": 9}
