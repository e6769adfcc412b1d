import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.backend import Address, read_account
from benchmarks.contender import call, contend, is_installed
from benchmarks.figures import Booked
from benchmarks.jobs import Arm, Job


def job_of(out: Path, base_url: str = "http://127.0.0.1:9/v1") -> Job:
    return Job(base_url=base_url, socket_url="", tasks=2, in_flight=2, median=0.02, out=out)


def test_what_a_contender_used_is_told(tmp_path: Path) -> None:
    async def run(job: Job) -> None:
        job.ended.note("2221")
        job.ended.note("2222")

    used = contend(Arm(run=run), job_of(tmp_path), limit=5.0)
    assert used.is_whole
    assert [task_id for task_id, _ in used.ended] == ["2221", "2222"]
    assert used.cpu_seconds <= used.seconds + 0.1


def test_a_contender_that_left_a_task_out_is_not_whole(tmp_path: Path) -> None:
    async def run(job: Job) -> None:
        job.ended.note("2221")
        job.errors["PoolTimeout"] += 1

    used = contend(Arm(run=run), job_of(tmp_path), limit=5.0)
    assert not used.is_whole
    assert used.errors == {"PoolTimeout": 1}


def test_a_contender_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    async def run(job: Job) -> None:
        job.ended.note("2221")
        job.ended.note("2222")
        import asyncio  # noqa: PLC0415 - the arm's own

        await asyncio.get_running_loop().create_future()

    used = contend(Arm(run=run), job_of(tmp_path), limit=0.01)
    assert not used.is_whole
    assert len(used.ended) == 2


def test_a_contender_that_hangs_is_ended_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.contender._GRACE_SECONDS", -0.9)
    address = Address(base_url="http://127.0.0.1:9/v1", socket_url="")
    assert call("floor", address, job_of(tmp_path), limit=1.0) is None


def test_the_books_of_a_service_are_read_as_it_tells_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.backend", "wiro"],
        input="",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    first, _, rest = done.stdout.partition("\n")
    assert json.loads(first)["socket_url"].startswith("ws://127.0.0.1:")
    account = read_account(json.loads(rest))
    assert (account.tasks, account.requests) == ({}, {})
    told = {"born": 1.0, "tasks": {"7": [0.5, 2.0, None]}, "requests": {"Run": 1}, "cpu": 0.5}
    assert read_account(told).tasks == {"7": Booked(created=0.5, duration=2.0, ended=None)}


def test_an_arm_whose_package_is_missing_is_not_there() -> None:
    async def run(_: Job) -> None: ...

    assert is_installed(Arm(run=run))
    assert not is_installed(Arm(run=run, package="no-such-client"))
