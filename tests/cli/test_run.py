"""``wiro run`` and ``wiro emulator``: one task at a terminal, and the service on a port."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from tests.cli.conftest import FLUX, Deaf, Ran, Wiro
from wiro_async import WiroSession
from wiro_async import __main__ as main_module
from wiro_async.cli import service as service_module
from wiro_async.cli.run import describe_event
from wiro_async.emulator import Emulator, Fault
from wiro_async.protocol.learning import Told
from wiro_async.protocol.polling import PollSchedule
from wiro_async.task import Progress, Task, TaskEvent

FAST = ("--first-look", "0.02")


def test_a_picture(wiro: Wiro, emulator: Emulator, tmp_path: Path) -> None:
    ran = wiro("run", FLUX, "-p", "prompt=a fox", "-p", "outputFormat=jpeg", "-o", "out", *FAST)
    assert ran.code == 0
    (task,) = emulator.books.tasks.values()
    assert ran.out == f"out/{task.id}.jpeg\n", "only what a pipe needs"
    assert (tmp_path / ran.out.strip()).stat().st_size == task.outputs[0].size
    for part in (f"task {task.id} (token {task.token})", " s  task_postprocess_end", "cost $0.06"):
        assert part in ran.err


def test_a_text(wiro: Wiro, emulator: Emulator, tmp_path: Path) -> None:
    ran = wiro("run", "wiro-emulator/echo-llm", "-p", "prompt=[red] hello", *FAST)
    (task,) = emulator.books.tasks.values()
    assert (ran.code, ran.out) == (0, f"{task.answer}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_fails(wiro: Wiro, emulator: Emulator) -> None:
    emulator.add_fault(Fault(endpoint="Run", action="fail_task"))
    ran = wiro("run", FLUX, "-p", "prompt=a fox", *FAST)
    assert (ran.code, ran.out) == (1, "")
    (task_id,) = emulator.books.tasks
    assert f"wiro: task {task_id} (token " in ran.err
    assert "It is not billed" in ran.err


def test_refused_credentials(
    wiro: Wiro, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRO_API_SECRET", "wrong")
    ran = wiro("run", FLUX, "-p", "prompt=a fox", *FAST)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1
    assert "check WIRO_API_KEY and WIRO_API_SECRET" in ran.err
    assert len(emulator.books.tasks) == 0


def test_success_without_anything_is_said(
    wiro: Wiro, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wiro_async.handle import TaskHandle  # noqa: PLC0415 - only here

    async def empty(_: TaskHandle) -> Task:
        await asyncio.sleep(0)
        return Task()

    async def download(_: TaskHandle, __: Path) -> list[Path]:
        await asyncio.sleep(0)
        return []

    assert emulator.books.requests.total() == 0
    monkeypatch.setattr(TaskHandle, "_result", empty)
    monkeypatch.setattr(TaskHandle, "download", download)
    ran = wiro("run", FLUX, "-p", "prompt=a fox", *FAST)
    assert (ran.code, ran.out) == (0, "")
    assert "succeeded without any output" in ran.err
    assert "cost" not in ran.err


def test_on_an_embedded_emulator(wiro: Wiro, service: Deaf, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    ran = wiro("run", FLUX, "-p", "prompt=a fox", "--emulator", "--speed", "100")
    assert ran.code == 0, ran.err
    assert (tmp_path / ran.out.strip()).read_bytes().startswith(b"\x89PNG")
    assert not service.was_asked


def test_ctrl_c_is_said_and_nothing_else(wiro: Wiro, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupt(*_: object, **__: object) -> None:
        await asyncio.sleep(0)
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(5)

    monkeypatch.setattr(WiroSession, "run", interrupt)
    monkeypatch.setenv("WIRO_API_KEY", "key")
    ran = wiro("run", FLUX, "-p", "prompt=a fox")
    assert ran == Ran(130, "", "wiro: interrupted\n")


def test_the_emulator_cannot_draw_without_pillow(
    wiro: Wiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    ran = wiro("emulator")
    assert ran.code == 2
    assert "wiro-async[emulator]" in ran.err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("secret", ["quiet", ""])
def test_the_emulator_serves_until_it_is_stopped(stop: signal.Signals, secret: str) -> None:
    command = [sys.executable, "-m", "wiro_async", "emulator", "--picture-pixels", "0"]
    with subprocess.Popen(  # noqa: S603 - this very program
        [*command, "--api-secret", secret, "--speed", "200"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        told = {}
        while (line := server.stdout.readline()).startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            told[name] = value
        assert told.get("WIRO_API_SECRET", "") == secret
        ran = subprocess.run(  # noqa: S603 - the same
            [*command[:3], "run", "wiro-emulator/echo-llm", "-p", "prompt=a fox", *FAST],
            env={**os.environ, "WIRO_API_SECRET": "", **told},
            capture_output=True,
            text=True,
            check=False,
        )
        server.send_signal(stop)
        out, err = server.communicate(timeout=20)
    assert "the books are at http://127.0.0.1:" in line
    assert ran.returncode == 0, ran.stderr
    assert "a fox" in ran.stdout
    assert server.returncode == 0
    assert out == "# 1 tasks, at most 1 at once\n"
    assert err == ""


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_its_extra_it_says_what_to_install(
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("wiro_async.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(library)
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "wiro: the command line needs its extra; install it with: pip install 'wiro-async[cli]'\n"
    )


def test_another_missing_module_is_not_blamed_on_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("wiro_async.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wiro_async.cli.exits", None)
    with pytest.raises(ModuleNotFoundError, match="wiro_async"):
        main_module.main()


def test_the_exit_code_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wiro", "--version"])
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == 0


def test_looks_follow_the_emulator_s_speed() -> None:
    options = service_module.ServiceOptions(first_look_seconds=30.0)
    session = service_module._session(
        options, speed=10.0, emulator=Emulator(picture_pixels=0, port=1)
    )
    assert session._waits == Told(PollSchedule(first_seconds=30.0, max_seconds=30.0))
    assert session._socket_url == "ws://127.0.0.1:1/v1"


def test_news_of_a_task_are_told_on_one_line_each() -> None:
    task = Task(id="1", status="task_output")
    event = TaskEvent(status=task.status, outcome=task.outcome, task=task, elapsed_seconds=1.0)
    told = [
        evolve(event, progress=Progress(percentage=24.6, step=7)),
        evolve(event, progress=Progress(step=7, steps=28)),
        evolve(event, progress=Progress(speed=1.5)),
        evolve(event, log="Loading\x1b[31m\nweights"),
        evolve(event, text="A light"),
        evolve(event, thinking="Hm"),
    ]
    assert [describe_event(one) for one in told] == [
        "task_output  25 %",
        "task_output  step 7 of 28",
        "task_output",
        "task_output  Loading weights",
        "task_output  7 characters so far",
        "task_output  thinking",
    ]


@pytest.mark.parametrize(
    "command", [("run", FLUX, "-p", "prompt=x"), ("batch", "prompts.txt", "-o", "out")]
)
def test_a_way_of_tracking_that_is_none_is_refused(wiro: Wiro, command: tuple[str, ...]) -> None:
    ran = wiro(*command, "--emulator", "--tracking", "telepathy")
    assert ran.code == 2
    assert "--tracking is 'telepathy': it is one of auto, poll, sweep, socket" in ran.err


@pytest.mark.parametrize("tracking", ["auto", "poll", "sweep", "socket"])
def test_each_way_of_tracking_will_do(wiro: Wiro, tracking: str) -> None:
    ran = wiro("run", FLUX, "-p", "prompt=a fox", "--emulator", "--tracking", tracking)
    assert ran.code == 0, ran.err
    assert ("task_output  50 %" in ran.err) == (tracking in {"auto", "socket"})
