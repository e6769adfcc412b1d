"""What a terminal is given of the words of others: nothing that it would obey."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import evolve

from tests.cli.conftest import FLUX, Wiro
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import BatchItem, ItemStatus
from wiro_async.cli.show import describe_failure, plain
from wiro_async.emulator import Emulator
from wiro_async.errors import TaskFailed
from wiro_async.handle import TaskHandle
from wiro_async.task import TaskEvent

EVIL = "\x1b[31mred\x1b]8;;https://evil.test/\x1b\\\x9b2J\u202e\u200b\x07\nfake line\r"
SEEN = "red fake line"
FAST = ("--first-look", "0.02")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a fox", "a fox"),
        ("two\nlines", "two\nlines"),
        (f"x{EVIL}y", "xred\nfake line\ny"),
        ("[red]x[/red] :fox:", "[red]x[/red] :fox:"),
    ],
)
def test_a_message_is_shown_as_it_stands_and_obeyed_in_nothing(message: str, shown: str) -> None:
    assert plain(message).plain == shown


def test_a_failure_is_one_line_whatever_is_in_it() -> None:
    item = BatchItem(
        request=BatchRequest(custom_id=f"id{EVIL}"),
        status=ItemStatus.FAILED,
        error=TaskFailed(f"because{EVIL}"),
    )
    assert describe_failure(item) == f"failed  id{SEEN}: because{SEEN}"


def test_a_status_is_one_line_and_obeyed_in_nothing(
    wiro: Wiro, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = TaskHandle.stream

    async def evil(handle: TaskHandle) -> AsyncIterator[TaskEvent]:
        async for event in stream(handle):
            yield evolve(event, status=f"task{EVIL}")

    monkeypatch.setattr(TaskHandle, "stream", evil)
    monkeypatch.setattr(TaskHandle, "token", property(lambda _: f"t{EVIL}"))
    ran = wiro("run", FLUX, "-p", "prompt=a fox", "-o", "out", *FAST)
    assert ran.code == 0
    assert len(emulator.books.tasks) == 1
    assert f" s  task{SEEN}\n" in ran.err
    assert f"(token t{SEEN} )\n" in ran.err
    assert ran.err.replace("\n", "").isprintable()


def test_what_a_batch_says_is_printable(wiro: Wiro, emulator: Emulator, tmp_path: Path) -> None:
    rows = [{"custom_id": f"{n}{EVIL}", "prompt": "a"} for n in range(2)]
    rows.append({"custom_id": "x", "prompt": "a", f"p{EVIL}": EVIL})
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    refused = wiro("batch", "p.jsonl", "-m", FLUX, "-o", "out", "-p", f"seed={EVIL}")
    assert refused.code == 2
    ran = wiro("batch", "p.jsonl", "-m", "wiro-emulator/nope", "-o", "out2", *FAST)
    assert ran.code == 1
    assert f"0{SEEN}: " in ran.err
    for err in (refused.err, ran.err):
        assert err.replace("\n", "").isprintable()
        assert not any(line.startswith("fake") for line in err.splitlines())
    assert len(emulator.books.tasks) == 0


@pytest.mark.parametrize("value", ["it's", "$(touch x)", "a b;c"])
def test_what_the_emulator_prints_is_safe_in_a_shell(tmp_path: Path, value: str) -> None:
    command = [sys.executable, "-m", "wiro_async", "emulator", "--picture-pixels", "0"]
    with subprocess.Popen(  # noqa: S603 - this very program
        [*command, "--api-key", value, "--api-secret", value], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(4)]
        server.terminate()
        server.communicate(timeout=20)
    script = f'{"".join(lines)}printf "%s\\n" "$WIRO_API_KEY" "$WIRO_API_SECRET"'
    read = subprocess.run(  # noqa: S603 - the same
        ["/bin/sh", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
    )
    assert read.stdout == f"{value}\n{value}\n"
    assert list(tmp_path.iterdir()) == []
