"""What became of an item: its status, its line, the sums, and the two files."""

from __future__ import annotations

import errno
import inspect
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.batch.test_engine import lines
from wiro_async import errors
from wiro_async.batch.record import ResultFiles, item_line
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import (
    BatchItem,
    BatchSummary,
    ItemStatus,
    format_cost,
    status_of,
)
from wiro_async.downloads import SavedFile
from wiro_async.errors import OutputDirectoryError, TaskFailed, WiroError
from wiro_async.task import Outcome, Output, Task

TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, WiroError) and kind.__module__ == errors.__name__
]
# What an error says by itself; of all others only whether a task was made is known.
BY_ERROR = {
    "TaskFailed": ItemStatus.FAILED,
    "TaskCancelled": ItemStatus.CANCELLED,
    "DownloadError": ItemStatus.UNSAVED,
    "OutputUnavailable": ItemStatus.UNSAVED,
    "OutputDirectoryError": ItemStatus.UNSAVED,
    "RunOutcomeUnknown": ItemStatus.UNKNOWN,
}
SECRET = "s3cr3t-of-the-project"


@pytest.mark.parametrize("kind", TREE)
@pytest.mark.parametrize("is_task_made", [True, False])
def test_every_error_has_a_status(kind: type[WiroError], *, is_task_made: bool) -> None:
    otherwise = ItemStatus.UNFINISHED if is_task_made else ItemStatus.REFUSED
    expected = BY_ERROR.get(kind.__name__, otherwise)
    assert status_of(kind("what happened"), is_task_made=is_task_made) is expected


def test_the_tree_is_as_large_as_it_was_when_this_was_written() -> None:
    assert len(TREE) == 29
    assert BY_ERROR.keys() <= {kind.__name__ for kind in TREE}


def test_no_error_is_success() -> None:
    assert status_of(None, is_task_made=True) is ItemStatus.SUCCEEDED


def item(
    status: ItemStatus = ItemStatus.SUCCEEDED,
    *,
    task: Task | None = None,
    error: WiroError | None = None,
    files: tuple[SavedFile, ...] = (),
) -> BatchItem:
    request = BatchRequest(
        custom_id="fox",
        model="owner/model",
        params={"prompt": 'a "fox"\nin the\u2028snow\u2029\x85', "seed": 1},
        metadata={"artist": "Ann"},
    )
    return BatchItem(
        request=request, status=status, task=task, error=error, files=files, elapsed_seconds=1.23456
    )


@pytest.mark.parametrize("kind", TREE)
def test_the_line_of_every_error_is_whole_json(tmp_path: Path, kind: type[WiroError]) -> None:
    error = kind("line one\nline two \ud800")
    error.__dict__.update(
        url="https://cdn/x", code="7", http_status=200, nothing=None, obj=object()
    )
    made = item(status_of(error, is_task_made=False), error=error)
    files = ResultFiles(tmp_path / kind.__name__)
    files.open()
    files.write(made)
    files.close()
    content = (tmp_path / kind.__name__ / "errors.jsonl").read_bytes()
    assert content.count(b"\n") == 1
    line = json.loads(content)
    assert line["custom_id"] == "fox"
    assert line["params"] == made.request.params
    assert line["metadata"] == {"artist": "Ann"}
    assert line["elapsed_seconds"] == 1.235
    assert line["error"]["kind"] == kind.__name__
    assert line["error"]["message"].startswith("line one\nline two ")
    assert line["error"]["url"] == "https://cdn/x"
    assert line["error"].keys().isdisjoint({"task_id", "token", "task", "nothing", "obj"})


def test_a_line_of_a_success(tmp_path: Path) -> None:
    task = Task(
        id="9",
        token="t",
        outcome=Outcome.SUCCEEDED,
        total_cost=Decimal("1E-7"),
        elapsed_seconds=6.0,
        outputs=(Output(content={"answer": ["forty-two"]}),),
        raw={"x-api-key": SECRET},
    )
    saved = SavedFile(
        path=tmp_path / "fox.png", size_bytes=3, sha256="ab", url="u", content_type="image/png"
    )
    line = item_line(item(task=task, files=(saved,)), tmp_path)
    assert line["status"] == "succeeded"
    assert line["cost"] == "0.0000001"
    assert line["service_seconds"] == 6.0
    assert line["text"] == "forty-two"
    assert line["files"] == [
        {
            "path": "fox.png",
            "size_bytes": 3,
            "sha256": "ab",
            "url": "u",
            "content_type": "image/png",
            "note": None,
        }
    ]
    assert "error" not in line
    assert SECRET not in json.dumps(line)


def test_a_record_in_an_error_stays_out_of_the_line(tmp_path: Path) -> None:
    error = TaskFailed("failed", task_id="9", token="t", task=Task(raw={"x-api-key": SECRET}))
    line = json.dumps(item_line(item(ItemStatus.FAILED, error=error), tmp_path))
    assert SECRET not in line


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        ("0", "$0.00"),
        ("0.06", "$0.06"),
        ("0.060000000000", "$0.06"),
        ("14.4", "$14.40"),
        ("100", "$100.00"),
        ("1200", "$1200.00"),
        ("0.003510000000", "$0.00351"),
        ("0.0035", "$0.0035"),
        ("1E-7", "$0.0000001"),
        ("1E+3", "$1000.00"),
        ("0.000000000001", "$0.000000000001"),
    ],
)
def test_costs_are_shown_to_the_last_digit_that_counts(cost: str, text: str) -> None:
    assert format_cost(Decimal(cost)) == text


def test_the_summary_adds_up_and_says_it() -> None:
    summary = BatchSummary()
    priced = Task(outcome=Outcome.SUCCEEDED, total_cost=Decimal("0.06"))
    saved = SavedFile(path=Path("x.png"), size_bytes=1_500_000, sha256="", url="")
    for one in (
        item(task=priced, files=(saved, saved)),
        item(task=Task(outputs=(Output(content={"answer": "yes"}),))),
        item(task=priced),
        item(),
        item(ItemStatus.FAILED, error=TaskFailed("no")),
        item(ItemStatus.UNSAVED, task=priced),
    ):
        summary.add(one)
    assert (summary.total, summary.succeeded, summary.files) == (6, 4, 2)
    assert (summary.unpriced, summary.without_outputs) == (2, 2)
    assert not summary.ok
    summary.elapsed_seconds, summary.most_in_flight = 12.34, 7
    summary.repeats, summary.rejections = 3, 2
    summary.cost, summary.reserved, summary.reserved_tasks = Decimal("0.18"), Decimal("0.06"), 1
    summary.stopped_by = WiroError("the disk is full")
    assert str(summary).splitlines() == [
        "6 requests: 4 succeeded, 1 failed, 1 unsaved",
        "2 files, 3.0 MB",
        "spent $0.18 (2 tasks tell no cost), reserved $0.06 for 1 task whose end is not known",
        "12.3 s, at most 7 in flight",
        "3 sent again, 2 waited for a slot",
        "2 succeeded without any output",
        "stopped early: the disk is full",
    ]
    assert str(BatchSummary()).splitlines()[:3] == [
        "0 requests: none",
        "0 files, 0.0 MB",
        "spent $0.00, reserved $0.00 for 0 tasks whose end is not known",
    ]
    assert BatchSummary().ok
    assert not BatchSummary(is_stopped=True).ok


@pytest.fixture
def files(tmp_path: Path) -> Iterator[ResultFiles]:
    made = ResultFiles(tmp_path / "out")
    made.open()
    yield made
    made.close()
    made.close()


def test_lines_are_appended_to_the_file_where_they_belong(files: ResultFiles) -> None:
    for status in ItemStatus:
        files.write(item(status))
    written = {
        name: [line["status"] for line in lines(files.directory, name)]
        for name in ("results.jsonl", "errors.jsonl")
    }
    assert written["results.jsonl"] == ["succeeded"]
    assert written["errors.jsonl"] == [s.value for s in ItemStatus if s is not ItemStatus.SUCCEEDED]


def test_a_disk_that_takes_nothing(files: ResultFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OutputDirectoryError, match=r"results\.jsonl: Input/output error"):
        files.write(item())


def test_a_disk_that_takes_half(files: ResultFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(item(ItemStatus.FAILED))
    path = files.directory / "errors.jsonl"
    whole = path.read_bytes()
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda number, line: write(number, line[:-7]))
        with pytest.raises(OutputDirectoryError, match=r"errors\.jsonl: the disk is full"):
            files.write(item(ItemStatus.FAILED))
    assert path.read_bytes() == whole, "no half a line is left"


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_file_in_the_way(tmp_path: Path, below: str) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(OutputDirectoryError, match=r"out.* is a file"):
        ResultFiles(tmp_path / "out" / below).check()
    with pytest.raises(OutputDirectoryError, match=r"out.* is a file"):
        ResultFiles(tmp_path / "out" / below).open()


def test_a_directory_that_must_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    for below in ("", "a/b"):
        with pytest.raises(OutputDirectoryError, match=f"{tmp_path} cannot be written"):
            ResultFiles(tmp_path / below).check()


def test_where_only_one_file_can_be_made_none_is_left(tmp_path: Path) -> None:
    (tmp_path / "errors.jsonl").mkdir()
    files = ResultFiles(tmp_path)
    with pytest.raises(OutputDirectoryError, match="results cannot be written"):
        files.open()
    assert not (tmp_path / "results.jsonl").exists()
    (tmp_path / "errors.jsonl").rmdir()
    files.open()
    files.close()


def test_results_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "results.jsonl").symlink_to("elsewhere")
    files = ResultFiles(tmp_path)
    files.open()
    files.write(item())
    files.close()
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert not (tmp_path / "results.jsonl").is_symlink()


def test_checking_changes_nothing(tmp_path: Path) -> None:
    ResultFiles(tmp_path / "new" / "folder").check()
    assert list(tmp_path.iterdir()) == []
