"""What has to hold of a played cell: of every one, and of this one."""

from __future__ import annotations

import hashlib
import json

from tests.hostile.meanings import VERBS, Expected, Meaning, expected_of, is_done, verb_errors
from tests.hostile.middleman import Phase
from tests.hostile.scene import PICTURES, Play
from tests.hostile.wire import CDN
from wiro_async.batch.results import BatchItem, ItemStatus
from wiro_async.errors import ApiError, DownloadError, TaskError, TransportError, WiroError

# Runs that went out once and may go out again: certainly no task was made.
_RESENT = frozenset({Meaning.UNSENT, Meaning.HURRIED, Meaning.FULL})
_PAPERS = frozenset({"results.jsonl", "errors.jsonl"})
_CREDENTIALS = (b"x-api-key", b"x-nonce", b"x-signature", b"authorization", b"proxy-authorization")


def assert_lawful(played: Play) -> None:
    """What has to hold whatever happened."""
    _assert_paid_once(played)
    _assert_nothing_leaked(played)
    _assert_nothing_left(played)
    _assert_whole_files(played)
    for error in played.errors:
        _assert_readable(error)
    for item in played.items.values():
        _assert_named(item)


def assert_expected(played: Play) -> None:
    """What the table says of this cell."""
    if played.cell.endpoint in VERBS:
        _assert_call(played)
    else:
        _assert_batch(played)


def _assert_paid_once(played: Play) -> None:
    books = played.emulator.books
    twice = {name: ids for name, ids in books.tasks_by_prompt.items() if len(ids) > 1}
    assert not twice, f"these prompts were paid twice: {twice}"
    assert books.spent <= len(books.tasks) * played.emulator.price
    if played.cell.endpoint != "Run" or played.cell.meaning not in _RESENT:
        assert set(played.runs.values()) <= {1}, f"a Run went out again: {played.runs}"


def _assert_nothing_leaked(played: Play) -> None:
    middleman, own = played.middleman, played.secrets
    key, secret = own.key.encode(), own.secret.encode()
    for door in (middleman.cdn, middleman.nobody):
        heard = middleman.heard_by(door).lower()
        for name in _CREDENTIALS:
            assert name not in heard, f"{name.decode()} was sent where no credential belongs"
        assert key not in heard
    assert b"\ncookie:" not in middleman.heard_by(middleman.api).lower()
    assert b"\ncookie:" not in middleman.heard_by(middleman.cdn).lower()
    everything = middleman.heard_by(middleman.api) + b"".join(
        middleman.heard_by(door) for door in (middleman.cdn, middleman.nobody)
    )
    assert secret not in everything, "the secret went out"
    assert not played.connected, f"a connection was tried to {played.connected}"
    assert played.emulator.books.violations == []
    shown = {"an error": played.shown(), "the log": "\n".join(played.logged)}
    shown |= {name: content.decode("latin-1") for name, content in played.files.items()}
    signatures = [one.header(b"x-signature") or b"" for one in middleman.requests]
    canaries = [own.key, own.secret, *(one.decode() for one in signatures if one)]
    for place, text in shown.items():
        assert not any(canary in text for canary in canaries), f"a secret is in {place}"


def _assert_nothing_left(played: Play) -> None:
    assert played.complaints == [], "the event loop complained"
    before, after = played.descriptors
    assert after <= before, f"{after - before} descriptors are open still"


def _assert_whole_files(played: Play) -> None:
    """Nothing under a name that is not whole, and nothing anywhere else."""
    books = played.emulator.books
    allowed = {file.sha256 for task in books.tasks.values() for file in task.outputs}
    if played.cell.row.file is not None:
        allowed.add(hashlib.sha256(played.cell.row.file.content).hexdigest())
    for path, content in played.files.items():
        folder, _, name = path.rpartition("/")
        assert folder == PICTURES, f"{path} is not in the output directory"
        if name in _PAPERS or name.startswith("batch.sqlite"):
            continue
        assert not name.startswith("."), f"{path} was left"
        assert hashlib.sha256(content).hexdigest() in allowed, f"{path} is not a whole picture"


def _assert_readable(error: WiroError) -> None:
    assert error.message, repr(error)
    assert len(error.message) < 4000, f"a message of {len(error.message)} characters"
    assert error.message.isprintable(), repr(error.message)
    if isinstance(error, ApiError | TransportError):
        assert error.endpoint, repr(error)


def _assert_named(item: BatchItem) -> None:
    """An error about a task says which task it is."""
    error = item.error
    if isinstance(error, TaskError | DownloadError):
        assert (error.task_id, error.token) == (item.task_id, item.token), repr(error)
        assert item.task_id, repr(error)
        assert item.task_id in error.message, repr(error)
        assert item.token, repr(error)
        assert item.token in error.message, repr(error)


def _assert_call(played: Play) -> None:
    cell = played.cell
    kind = type(played.outcome) if played.outcome is not None else None
    allowed = verb_errors(cell.endpoint, cell.meaning, cell.phase)
    assert kind in allowed, f"{played.outcome!r}, and not one of {allowed}"
    (task,) = played.emulator.books.tasks.values()
    if cell.endpoint == "Tool/Detail":
        return
    # Told that it worked, or done although nobody could be told.
    is_stopped = kind is None or is_done(cell.meaning)
    assert (task.status == "task_cancel") == is_stopped, task.status


def _assert_batch(played: Play) -> None:
    cell = played.cell
    expected = expected_of(cell.endpoint, cell.meaning, cell.phase)
    struck = _struck(played)
    for prompt in cell.prompts:
        item = played.items.get(prompt)
        if prompt in struck and (item is not None or not expected.stops):
            _assert_struck(played, item, expected)
        elif item is not None:
            calm = {ItemStatus.SUCCEEDED, *([ItemStatus.UNFINISHED] if expected.stops else [])}
            assert item.status in calm, f"it was not struck: {_told(item)}"
        else:
            assert expected.stops, f"{prompt!r} has no item"
    if expected.stops:
        assert any(item.status is expected.status for item in played.items.values())
        assert played.summary.stopped_by is not None, "the batch went on"
    else:
        assert played.summary.stopped_by is None, played.summary.stopped_by
    if cell.meaning is Meaning.FORBIDDEN:
        assert played.summary.repeats == 0, "it was tried again"
    _assert_papers(played)
    if played.again is not None:
        assert set(played.again) == set(cell.prompts)
        for prompt, item in played.again.items():
            want = expected.again if prompt in struck else ItemStatus.SUCCEEDED
            assert item.status is want, f"started again: {_told(item)}"


def _assert_struck(played: Play, item: BatchItem | None, expected: Expected) -> None:
    """The item whose request was struck ended as it has to."""
    assert item is not None, "a struck prompt has no item"
    assert item.status is expected.status, _told(item)
    kinds = type(None) if expected.error is None else expected.error
    assert isinstance(item.error, kinds), _told(item)
    assert played.made.get(str(item.request.params["prompt"]), 0) == expected.made
    if isinstance(item.error, DownloadError):
        saved = [file.path for file in item.error.saved if file.path.is_file()]
        assert len(saved) == played.cell.row.saved


def _assert_papers(played: Play) -> None:
    """What became of each item stands in the two files, and each picture is there."""
    ended = played.again or played.items
    lines = [
        json.loads(line)
        for name in _PAPERS
        for line in played.files.get(f"{PICTURES}/{name}", b"").decode().splitlines()
    ]
    statuses = {line["custom_id"]: line["status"] for line in lines}
    assert statuses == {item.custom_id: item.status.value for item in ended.values()}
    file = played.cell.row.file
    for item in ended.values():
        if not item.ok:
            continue
        if file is not None and not file.content:
            assert item.files == ()
            continue
        (saved,) = item.files
        assert saved.path.is_file()
        assert saved.path.name == f"{item.custom_id}{file.suffix if file else '.png'}"


def _struck(played: Play) -> set[str]:
    """The prompts whose requests were struck; all of them where it cannot be told."""
    cell = played.cell
    if cell.endpoint == "Task/List":
        # Whose Run was lost: the first one's.
        runs = [one for one in played.middleman.requests if one.endpoint == "Run"]
        return {str(runs[0].fields["prompt"])}
    if cell.plan.deed is None or cell.phase is Phase.EVER:
        return set(cell.prompts)
    books = played.emulator.books
    found: set[str] = set()
    for one in played.middleman.struck:
        if one.endpoint == "Run":
            found.add(str(one.fields["prompt"]))
        elif one.endpoint == CDN:
            path = one.target.partition("?")[0]
            found |= {t.prompt for t in books.tasks.values() if path in {f.path for f in t.outputs}}
        elif "taskid" in one.fields:
            found.add(books.tasks[str(one.fields["taskid"])].prompt)
    assert found, "nothing was struck"
    return found


def _told(item: BatchItem) -> str:
    return f"{item.custom_id} is {item.status.value}: {item.error!r}"
