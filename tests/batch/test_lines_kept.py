"""What stands in a line, and which lines stand there: nothing that is known gets lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.emulated import emulated
from tests.batch.fake_runner import FakeRunner, save
from tests.batch.test_engine import lines
from tests.virtual_time import run_virtual
from wiro_async.batch.journal.entries import JOURNAL_NAME, Entry
from wiro_async.batch.journal.states import State
from wiro_async.batch.record import ResultFiles, earlier_item, file_facts
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import BatchItem, BatchSummary, ItemStatus
from wiro_async.batch.runner import Choices
from wiro_async.downloads import SavedFile
from wiro_async.emulator import Fault
from wiro_async.errors import DownloadError
from wiro_async.task import JsonObject


def test_an_item_that_lost_one_file_lists_the_others(tmp_path: Path) -> None:
    error = DownloadError("1 of 2 is paid but not saved", url="https://cdn/1.png")
    runner = FakeRunner(spoilt={"a": error})
    items: list[BatchItem] = []

    async def scenario() -> None:
        async with runner.batch(["a", "b"], tmp_path) as batch:
            error.saved = (save(tmp_path, "000001"),)
            items.extend([item async for item in batch])
        assert batch.summary.files == 2

    run_virtual(scenario())
    (lost,) = [item for item in items if not item.ok]
    assert lost.status is ItemStatus.UNSAVED
    assert lost.paths == (tmp_path / "000001.png",)
    (line,) = lines(tmp_path, "errors.jsonl")
    assert [file["path"] for file in line["files"]] == ["000001.png"]  # type: ignore[attr-defined]
    assert "saved" not in line["error"]  # type: ignore[operator]


async def test_the_next_run_fetches_what_is_missing_and_runs_nothing(tmp_path: Path) -> None:
    error = DownloadError("1 of 2 is paid but not saved")
    runner = FakeRunner(spoilt={"a": error})
    choices = Choices(journal=tmp_path / JOURNAL_NAME)
    for spoilt, name in (({"a": error}, "errors.jsonl"), ({}, "results.jsonl")):
        runner.spoilt = spoilt
        async with runner.batch(["a"], tmp_path, choices=choices) as batch:
            error.saved = (save(tmp_path, "000001"),)
            await batch.wait()
        (line,) = lines(tmp_path, name)
        assert [file["path"] for file in line["files"]] == ["000001.png"]  # type: ignore[attr-defined]
    assert lines(tmp_path, "errors.jsonl") == []
    assert runner.started == ["a"]
    assert runner.adopted == ["id-1"]


def failures(directory: Path) -> dict[str, dict[str, object]]:
    """The lines by id, but for the last milliseconds of each."""
    found = lines(directory, "errors.jsonl")
    return {str(line["custom_id"]): {**line, "elapsed_seconds": None} for line in found}


async def test_failures_that_the_input_names_no_more_keep_their_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    requests = [{"custom_id": f"id-{number}", "prompt": f"number {number}"} for number in range(4)]
    async with emulated(out) as at:
        at.emulator.add_fault(Fault(endpoint="Run", action="fail_task", times=4))
        await at.run(requests)
        before = failures(out)
        assert len(before) == 4
        ran = await at.run(requests[:2], retry_failed=True)
        assert ran.summary.ok
        assert len(ran.items) == 2
        assert failures(out) == {name: before[name] for name in ("id-2", "id-3")}
        at.emulator.add_fault(Fault(endpoint="Run", action="fail_task", times=1))
        again = await at.run(requests[2:3], retry_failed=True)
        assert not again.summary.ok
        written = [str(line["custom_id"]) for line in lines(out, "errors.jsonl")]
        assert sorted(written) == ["id-2", "id-3"], "each once"
        assert len(lines(out, "results.jsonl")) == 2


def saved(directory: Path, note: str | None) -> SavedFile:
    name = "fox.jpeg"
    return SavedFile(path=directory / name, size_bytes=3, sha256="ab", url="u", note=note)


def test_a_file_whose_ending_was_corrected_is_counted_once_and_told_in_one_line(
    tmp_path: Path,
) -> None:
    note = "the service calls it 0.png, its bytes are JPEG: saved as .jpeg"
    request = BatchRequest(custom_id="fox", model="owner/model", params={"prompt": "a fox"})
    files = (saved(tmp_path, note), saved(tmp_path, None))
    item = BatchItem(request=request, status=ItemStatus.SUCCEEDED, files=files)
    summary = BatchSummary()
    assert "ending" not in str(summary)
    summary.add(item)
    assert summary.notes == 1
    assert "1 file saved under another ending than the service gave" in str(summary)
    facts = file_facts(item.files, tmp_path)
    assert facts[0]["note"] == note  # type: ignore[index,call-overload]
    entry = Entry(position=1, request=request, state=State.SAVED, facts={"files": facts})
    assert earlier_item(entry, tmp_path).files == files


def test_a_journal_from_before_there_were_notes_is_read(tmp_path: Path) -> None:
    facts: JsonObject = {
        "path": "fox.png",
        "size_bytes": 3,
        "sha256": "ab",
        "url": "u",
        "content_type": None,
    }
    request = BatchRequest(custom_id="fox", model="owner/model", params={"prompt": "a fox"})
    entry = Entry(position=1, request=request, state=State.SAVED, facts={"files": [facts]})
    (file,) = earlier_item(entry, tmp_path).files
    assert (file.path, file.note) == (tmp_path / "fox.png", None)


@pytest.mark.parametrize("code", [0x7F, 0x85, 0x9B, 0x061C, 0x200E, 0x2028, 0x202E, 0x2069])
def test_a_line_holds_nothing_that_a_terminal_or_a_reader_of_lines_obeys(
    tmp_path: Path, code: int
) -> None:
    prompt = f"a {chr(code)} fox"
    request = BatchRequest(custom_id="fox", model="owner/model", params={"prompt": prompt})
    files = ResultFiles(tmp_path)
    files.open()
    files.write(BatchItem(request=request, status=ItemStatus.SUCCEEDED))
    files.close()
    assert chr(code) not in (tmp_path / "results.jsonl").read_text()
    (line,) = lines(tmp_path, "results.jsonl")
    assert line["params"] == {"prompt": prompt}
