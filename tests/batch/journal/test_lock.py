"""One process at a time, whoever holds the journal and however that one ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.batch.journal.stage import NAME
from wiro_async.batch.journal import lock
from wiro_async.batch.journal.lock import take_lock
from wiro_async.errors import JournalError

HOLDER = """
import subprocess, sys
from pathlib import Path
from wiro_async.batch.journal.lock import take_lock
lock = take_lock(Path(sys.argv[1]))
{more}
print("held", flush=True)
sys.stdin.read()
"""
# A worker that lives until the pipe is closed which this test, not the holder, has the end of.
WITH_A_WORKER = (
    "subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], close_fds=False)"
)

FORKED_AND_RELEASED = """
import os
if not os.fork():
    sys.stdin.read()
    os._exit(0)
lock.release()
"""


@pytest.fixture
def lock_file(path: Path) -> Path:
    return path.with_name(f"{NAME}.lock")


@contextmanager
def holder(path: Path, more: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock, from now on."""
    with subprocess.Popen(  # noqa: S603 - a program of our own
        [sys.executable, "-c", HOLDER.format(more=more), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def named_in(lock_file: Path) -> object:
    """The number of the process that the lock's file names."""
    return json.loads(lock_file.read_bytes())["pid"]


def test_it_says_whose_it_is(path: Path, lock_file: Path) -> None:
    taken = take_lock(path)
    said = json.loads(lock_file.read_bytes())
    assert said["pid"] == os.getpid()
    assert said["host"] == socket.gethostname()
    assert said["program"] == Path(sys.argv[0]).name
    assert abs(datetime.now(UTC) - datetime.fromisoformat(said["since"])).total_seconds() < 60
    assert stat.S_IMODE(lock_file.stat().st_mode) == 0o600
    taken.release()
    assert lock_file.read_bytes() == b""


def test_another_process_is_named_and_its_name_stays(path: Path, lock_file: Path) -> None:
    with holder(path) as other:
        said = json.loads(lock_file.read_bytes())
        for _ in range(2):
            with pytest.raises(JournalError) as caught:
                take_lock(path)
            for part in (str(path.parent), f"process {other.pid}", said["host"], said["since"]):
                assert part in caught.value.message
        assert json.loads(lock_file.read_bytes()) == said


def test_within_one_process_it_is_one_at_a_time_too(path: Path) -> None:
    first = take_lock(path)
    with pytest.raises(JournalError, match=rf"in use by process {os.getpid()} "):
        take_lock(path)
    first.release()
    take_lock(path).release()


@pytest.mark.parametrize(
    "said", [b"", b"{", b"\xff\xfe", b"[]", b'{"pid": 1}', b"null", b"x" * 5000]
)
def test_a_holder_whose_name_cannot_be_read_holds_it_all_the_same(
    path: Path, lock_file: Path, said: bytes
) -> None:
    taken = take_lock(path)
    lock_file.write_bytes(said)
    with pytest.raises(JournalError, match="another process that has not said its name yet"):
        take_lock(path)
    taken.release()


def test_it_goes_with_a_process_that_is_killed(path: Path, lock_file: Path) -> None:
    with holder(path) as other:
        assert named_in(lock_file) == other.pid
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        taken = take_lock(path)
        assert named_in(lock_file) == os.getpid()
        taken.release()


def test_a_worker_that_outlives_the_process_does_not_hold_it(path: Path, lock_file: Path) -> None:
    with holder(path, WITH_A_WORKER) as other:
        assert named_in(lock_file) == other.pid
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        taken = take_lock(path)
        assert named_in(lock_file) == os.getpid()
        taken.release()


def test_a_process_forked_meanwhile_does_not_keep_it(path: Path, lock_file: Path) -> None:
    with holder(path, FORKED_AND_RELEASED):
        taken = take_lock(path)
        assert named_in(lock_file) == os.getpid()
        taken.release()


def test_a_link_is_not_followed(path: Path, lock_file: Path) -> None:
    elsewhere = path.with_name("precious")
    elsewhere.write_bytes(b"mine")
    lock_file.symlink_to(elsewhere)
    with pytest.raises(OSError, match=re.escape(str(lock_file))):
        take_lock(path)
    assert elsewhere.read_bytes() == b"mine"


@pytest.mark.parametrize(("broken", "number"), [("write", errno.ENOSPC), ("ftruncate", errno.EIO)])
def test_where_the_disk_takes_no_name_nothing_is_held(
    path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, number: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        take_lock(path)
    monkeypatch.undo()
    take_lock(path).release()


def test_it_is_given_back_where_the_disk_fails_at_the_last(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    taken = take_lock(path)
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(OSError, match="Input/output"):
        taken.release()
    monkeypatch.undo()
    take_lock(path).release()


def test_a_file_system_without_locks_is_told_and_nothing_is_left_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    close = os.close

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def count(number: int) -> None:
        closed.append(number)
        close(number)

    monkeypatch.setattr(fcntl, "flock", fail)
    monkeypatch.setattr(os, "close", count)
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        take_lock(path)
    monkeypatch.undo()
    assert len(closed) == 1


def test_where_there_is_no_flock_the_name_is_written_and_nothing_more(
    path: Path, lock_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    first, second = take_lock(path), take_lock(path)
    assert named_in(lock_file) == os.getpid()
    first.release()
    second.release()
