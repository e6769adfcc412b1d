"""``wiro batch``: what is on disk, what is said, and the exit code."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.batch.test_engine import lines
from tests.cli.conftest import FLUX, Wiro
from wiro_async import WiroSession
from wiro_async.cli import show
from wiro_async.emulator import Emulator, Fault
from wiro_async.protocol import retry

BATCH = ("--out", "out", "--first-look", "0.02")


def prompts(count: int) -> str:
    return "custom_id,prompt\n" + "".join(f"id-{n},number {n}\n" for n in range(count))


def test_all_is_well(wiro: Wiro, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(prompts(12))
    ran = wiro("batch", "p.csv", "--model", FLUX, *BATCH, "-n", "5", "--max-downloads", "2")
    assert ran.code == 0
    assert ran.out == "", "results go to files"
    for part in (
        "12/12, 0 in flight",
        "12 requests: 12 succeeded",
        "spent $0.72, reserved $0.00",
        "results in out",
    ):
        assert part in ran.err
    assert "errors.jsonl" not in ran.err
    books = emulator.books
    assert (books.requests["Run"], books.most_in_flight <= 5) == (12, True)
    for line in lines(tmp_path / "out", "results.jsonl"):
        name = f"{line['custom_id']}.png"
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert lines(tmp_path / "out", "errors.jsonl") == []
    asked = emulator.books.requests.total()
    again = wiro("batch", "p.csv", "--model", FLUX, *BATCH)
    assert again.code == 0
    assert "12 requests: 12 succeeded (12 of them in earlier runs)" in again.err
    assert emulator.books.requests.total() == asked, "it is done, and nothing is asked"
    (tmp_path / "out" / "batch.sqlite").unlink()
    blind = wiro("batch", "p.csv", "--model", FLUX, *BATCH)
    assert blind.code == 2
    assert "would pay again" in blind.err
    assert emulator.books.requests.total() == asked


def test_some_items_fail(wiro: Wiro, emulator: Emulator, tmp_path: Path) -> None:
    emulator.add_fault(Fault(endpoint="Run", action="fail_task", match="number 1"))
    (tmp_path / "p.csv").write_text(prompts(3))
    ran = wiro("batch", "p.csv", "--model", FLUX, *BATCH)
    assert ran.code == 1
    assert "failed  id-1: task " in ran.err
    assert "2 succeeded, 1 failed" in ran.err
    assert "each with its reason, in out/errors.jsonl" in ran.err
    assert [line["custom_id"] for line in lines(tmp_path / "out", "errors.jsonl")] == ["id-1"]


def test_refused_credentials_stop_it(
    wiro: Wiro, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRO_API_SECRET", "wrong")
    (tmp_path / "p.csv").write_text(prompts(500))
    ran = wiro("batch", "p.csv", "--model", FLUX, *BATCH, "-n", "3")
    assert ran.code == 1
    assert "stopped early: " in ran.err
    assert "check WIRO_API_KEY" in ran.err
    assert emulator.books.requests["Run"] < 10
    assert "wrong" not in ran.err + (tmp_path / "out" / "errors.jsonl").read_text()


def test_a_service_that_is_not_there(
    wiro: Wiro, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry.RetryPolicy, "backoff_seconds", lambda *_: 0.0)
    (tmp_path / "p.csv").write_text(prompts(50))
    ran = wiro(
        "batch", "p.csv", *BATCH, "-m", FLUX, "--base-url", "http://127.0.0.1:9/v1", "-n", "2"
    )
    assert ran.code == 1
    assert "stopped early: " in ran.err
    assert "could not be reached" in ran.err
    assert emulator.books.requests["Run"] == 0


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("a fox\n\na hen\n", ("-p", "seed=7")),
        ('{"prompt": "a fox", "seed": 7}\n{"prompt": "a hen", "seed": "7"}\n', ()),
        ("a fox\na hen\n", ("--format", "txt", "-p", "seed=7")),
    ],
)
def test_standard_input(
    wiro: Wiro,
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    options: tuple[str, ...],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    ran = wiro("batch", "-", "--model", FLUX, *BATCH, *options)
    assert ran.code == 0, ran.err
    assert sorted(emulator.books.tasks_by_prompt) == ["a fox", "a hen"]
    assert {task.parameters["seed"] for task in emulator.books.tasks.values()} == {"7"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("000001.png", "000002.png", "batch.sqlite", "batch.sqlite.lock"),
        *("errors.jsonl", "results.jsonl"),
    ]


def test_columns_and_parameters(wiro: Wiro, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("key\ttext\tform\tauthor\na\tfox\t1:1\tAnn\nb\then\t\tBob\n")
    named = ("--id-column", "key", "--prompt-column", "text", "--column", "aspectRatio=form")
    ran = wiro(
        "batch", "p.tsv", "-m", FLUX, *BATCH, *named, "-p", "aspectRatio=2:1", "-p", "seed=3"
    )
    assert ran.code == 0, ran.err
    tasks = {task.prompt: task.parameters for task in emulator.books.tasks.values()}
    assert tasks["fox"]["aspectRatio"] == "1:1"
    assert tasks["hen"]["aspectRatio"] == "2:1"
    assert {task["seed"] for task in tasks.values()} == {"3"}
    written = {
        line["custom_id"]: line["metadata"] for line in lines(tmp_path / "out", "results.jsonl")
    }
    assert written == {"a": {"author": "Ann"}, "b": {"author": "Bob"}}


def test_an_embedded_emulator_needs_no_key(wiro: Wiro, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a fox\na hen\n")
    pytest.importorskip("PIL")
    ran = wiro(
        *("batch", "p.txt", "--model", FLUX, "--out", "out", "--emulator", "--speed", "100"),
        *("--median", "4", "--fault", "Run:rate_limit:times=1,retry_after=0.05"),
        *("--books", "new/books.json"),
    )
    assert ran.code == 0, ran.err
    assert "1 sent again" in ran.err
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert [picture.stat().st_size > 1000 for picture in pictures] == [True, True]
    books = json.loads((tmp_path / "new" / "books.json").read_text())
    assert sorted(books["tasks_by_prompt"]) == ["a fox", "a hen"]


def test_a_file_of_lists_goes_through_as_it_is(
    wiro: Wiro, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text("prompt\n[red] fox\n")
    ran = wiro("batch", "p.csv", "-m", "wiro-emulator/echo-llm", *BATCH, "-p", 'stop=["a", "b"]')
    assert ran.code == 0, ran.err
    (line,) = lines(tmp_path / "out", "results.jsonl")
    assert line["files"] == []
    assert "[red] fox" in str(line["text"])
    assert line["params"] == {"prompt": "[red] fox", "stop": ["a", "b"]}
    assert emulator.books.requests["cdn"] == 0


def test_what_a_file_says_is_shown_and_not_obeyed(
    wiro: Wiro, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.add_fault(Fault(endpoint="Run", action="fail_task", times=None))
    row = {"custom_id": "[red]x[/red]\x1b[2J\u202e:fox:", "prompt": "a"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    ran = wiro("batch", "p.jsonl", "-m", FLUX, *BATCH)
    assert ran.code == 1
    assert "failed  [red]x[/red]:fox:: task" in ran.err


def test_the_unexpected_is_one_line(
    wiro: Wiro, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("how odd")

    assert emulator.books.requests.total() == 0
    (tmp_path / "p.csv").write_text(prompts(1))
    monkeypatch.setattr(WiroSession, "batch", fail)
    ran = wiro("batch", "p.csv", "-m", FLUX, *BATCH)
    assert ran.code == 1
    assert ran.err.startswith("wiro: this should not have happened (ZeroDivisionError: how odd)")
    assert ran.err.count("\n") == 1
    monkeypatch.setenv("WIRO_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        wiro("batch", "p.csv", "-m", FLUX, *BATCH)


def test_a_terminal_gets_a_bar(
    wiro: Wiro, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.add_fault(Fault(endpoint="Run", action="fail_task", match="number 1"))
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120, highlight=False, markup=False)
    monkeypatch.setattr(show, "make_console", lambda: terminal)
    (tmp_path / "p.csv").write_text(prompts(3))
    ran = wiro("batch", "p.csv", "-m", FLUX, *BATCH)
    assert ran.code == 1
    shown = screen.getvalue()
    assert "3/3" in shown
    assert "1 without result, $0.12" in shown
    assert "failed  id-1: task " in shown


def test_lines_are_few_elsewhere(
    wiro: Wiro, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert emulator.books.requests.total() == 0
    monkeypatch.setattr(show, "_PLAIN_LINE_SECONDS", 3600.0)
    (tmp_path / "p.csv").write_text(prompts(5))
    ran = wiro("batch", "p.csv", "-m", FLUX, *BATCH)
    told = [line for line in ran.err.splitlines() if "in flight, " in line]
    assert len(told) == 2, "the first, and the one that says that all is through"
    assert told[1].startswith("5/5, ")


def test_where_a_loop_takes_no_signals_it_runs_all_the_same(
    wiro: Wiro, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    assert emulator.books.requests.total() == 0
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", refuse)
    (tmp_path / "p.csv").write_text(prompts(2))
    assert wiro("batch", "p.csv", "-m", FLUX, *BATCH).code == 0


def test_help_and_version(wiro: Wiro) -> None:
    assert wiro("--version").out == wiro("--version").out.strip() + "\n"
    for arguments in ((), ("--help",)):
        ran = wiro(*arguments)
        assert ran.code == 0
        assert all(command in ran.out for command in ("run", "batch", "emulator"))
    for command in ("run", "batch", "emulator"):
        ran = wiro(command, "--help")
        assert ran.code == 0
        assert ran.err == ""
    assert wiro("frobnicate").code == 2
