"""Outputs on the disk: never over another file, never half, whatever breaks."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.loopback import Connection, answering
from tests.test_downloads import BODY, desk, http
from wiro_async import crashpoints
from wiro_async.errors import DownloadError

DIGEST = hashlib.sha256(BODY).hexdigest()


def raising(error: Exception) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


async def test_the_same_bytes_are_the_same_file(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http())) as at:
        first = await at.save()
        at_first = first[0].path.stat()
        assert await at.save() == first
        assert first[0].path.stat().st_ino == at_first.st_ino
        assert at.names() == ["fox.png"]


async def test_other_bytes_get_a_name_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(b"mine")
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
        assert saved.path.name == f"fox-{DIGEST[:16]}.png"
        assert saved.path.read_bytes() == BODY
        assert (tmp_path / "fox.png").read_bytes() == b"mine"
        assert await at.save() == (saved,)
        assert len(at.names()) == 2


async def test_two_tasks_with_one_stem_do_not_meet(tmp_path: Path) -> None:
    async def behave(connection: Connection) -> None:
        path = (await connection.read_request()).split()[1]
        await connection.write(http(path * 10))

    async with desk(tmp_path, behave) as at:
        saved = await asyncio.gather(*[at.save(at.output(f"{number}.png")) for number in range(3)])
        files = [one.path for (one,) in saved]
        assert len(set(files)) == 3
        for number, path in enumerate(files):
            assert path.read_bytes() == f"/{number}.png".encode() * 10
        assert len(at.names()) == 3


@pytest.mark.parametrize("kind", ["folder", "dangling link", "pipe"])
async def test_a_name_taken_by_something_else_is_left_alone(tmp_path: Path, kind: str) -> None:
    taken = tmp_path / "fox.png"
    if kind == "folder":
        taken.mkdir()
    elif kind == "pipe":
        os.mkfifo(taken)
    else:
        taken.symlink_to(tmp_path / "elsewhere")
    before = taken.lstat()
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
        assert saved.path.name == f"fox-{DIGEST[:16]}.png"
        assert taken.lstat().st_ino == before.st_ino
        assert not (tmp_path / "elsewhere").exists()


async def test_where_both_names_are_taken_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(b"mine")
    (tmp_path / f"fox-{DIGEST[:16]}.png").write_bytes(b"mine too")
    async with desk(tmp_path, answering(http())) as at:
        with pytest.raises(DownloadError, match="its alternative name are taken"):
            await at.save()
        assert len(at.names()) == 2
        assert len(at.cdn.requests) == 1


@pytest.mark.parametrize("broken", ["fsync", "link", "open", "mkdir"])
async def test_a_disk_that_fails_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    owner = Path if broken == "mkdir" else os
    folder = tmp_path / "new" if broken == "mkdir" else tmp_path
    async with desk(folder, answering(http())) as at:
        monkeypatch.setattr(owner, broken, raising(full))
        if broken == "link":
            monkeypatch.setattr(Path, "rename", raising(full))
        with pytest.raises(DownloadError, match=f"the disk that holds {folder} is full") as caught:
            await at.save()
        monkeypatch.undo()
        assert at.names() == []
        assert len(at.cdn.requests) == 1, "another download does not mend a disk"
        assert caught.value.is_disk
        assert caught.value.is_full


@pytest.mark.parametrize(
    ("number", "is_disk", "is_full"),
    [
        (errno.ENOSPC, True, True),
        (errno.EDQUOT, True, True),
        (errno.EIO, True, False),
        (errno.EROFS, True, False),
        (errno.EACCES, True, False),
        (errno.EFBIG, False, False),
        (errno.ENAMETOOLONG, False, False),
    ],
)
async def test_a_full_disk_is_told_from_a_broken_one_and_from_one_file_s_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, is_disk: bool, is_full: bool
) -> None:
    async with desk(tmp_path, answering(http())) as at:
        monkeypatch.setattr(os, "write", raising(OSError(number, os.strerror(number))))
        with pytest.raises(DownloadError, match=os.strerror(number)) as caught:
            await at.save()
        monkeypatch.undo()
        assert (caught.value.is_disk, caught.value.is_full) == (is_disk, is_full)
        assert at.names() == []


@pytest.mark.parametrize("body", [BODY * 5, BODY * 3000], ids=["at the end", "on the way"])
async def test_a_disk_that_fills_up(tmp_path: Path, body: bytes) -> None:
    resource = pytest.importorskip("resource")
    async with desk(tmp_path, answering(http(body))) as at:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            with pytest.raises(DownloadError, match=r"the disk says: .*File too large"):
                await at.save()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert at.names() == []


async def test_a_file_in_the_way_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    async with desk(tmp_path / "out", answering(http())) as at:
        with pytest.raises(DownloadError, match="the disk says"):
            await at.save()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
async def test_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", raising(OSError(number, os.strerror(number))))
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
        assert saved.path.name == "fox.png"
        assert at.names() == ["fox.png"]
        assert await at.save() == (saved,)
        saved.path.write_bytes(b"mine")
        (other,) = await at.save()
        assert other.path.name == f"fox-{DIGEST[:16]}.png"
        assert saved.path.read_bytes() == b"mine"
        assert len(at.names()) == 2


async def test_the_bytes_are_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    sync = os.fsync

    def fsync(number: int) -> None:
        seen.append([path.name for path in tmp_path.iterdir()])
        assert len(seen) > 1 or os.fstat(number).st_size == len(BODY)
        sync(number)

    monkeypatch.setattr(os, "fsync", fsync)
    async with desk(tmp_path, answering(http())) as at:
        await at.save()
    ((part,), names) = seen
    assert part.startswith(".fox.png.")
    assert part.endswith(".part")
    assert names == ["fox.png"], "and then the name, by way of its folder"


@pytest.mark.parametrize("where", ["fsync", "link"])
async def test_who_is_cancelled_while_a_thread_writes_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    loop = asyncio.get_running_loop()
    reached, go_on = asyncio.Event(), threading.Event()
    original = getattr(os, where)

    def wait_and_do(*args: object) -> None:
        loop.call_soon_threadsafe(reached.set)
        assert go_on.wait(5)
        original(*args)

    async with desk(tmp_path, answering(http())) as at:
        monkeypatch.setattr(os, where, wait_and_do)
        saving = asyncio.create_task(at.save())
        await reached.wait()
        for _ in range(3):
            saving.cancel()
            await asyncio.sleep(0.01)
        assert not saving.done(), "the thread still writes"
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert at.names() == ["fox.png"]
        assert (tmp_path / "fox.png").read_bytes() == BODY


async def test_who_is_cancelled_before_the_first_byte_is_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    reached, go_on = asyncio.Event(), threading.Event()

    def wait_and_fail(*_: object) -> int:
        loop.call_soon_threadsafe(reached.set)
        assert go_on.wait(5)
        raise OSError(errno.EIO, "the disk is gone as well")

    async with desk(tmp_path, answering(http())) as at:
        monkeypatch.setattr(os, "open", wait_and_fail)
        saving = asyncio.create_task(at.save())
        await reached.wait()
        saving.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await saving
        monkeypatch.undo()
        assert at.names() == []


async def test_who_is_cancelled_while_bytes_come_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    written = asyncio.Event()

    def hook(label: str) -> None:
        if label == "download.written":
            loop.call_soon_threadsafe(written.set)

    async def behave(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(http(BODY * 4000)[:-1])
        await asyncio.Event().wait()

    monkeypatch.setattr(crashpoints, "hook", hook)
    async with desk(tmp_path, behave) as at:
        saving = asyncio.create_task(at.save())
        await written.wait()
        assert len(at.names()) == 1, "the blocks that are there are on the disk already"
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert at.names() == []


async def test_the_loop_does_no_work_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    loop_s = threading.current_thread()
    monkeypatch.setattr(
        crashpoints,
        "hook",
        lambda label: seen.append((label, threading.current_thread() is loop_s)),
    )
    async with desk(tmp_path, answering(http(BODY))) as at:
        await at.save()
    steps = ["begun", "written", "flushed", "named", "in_place"]
    assert seen == [(f"download.{step}", False) for step in steps]
    seen.clear()
    async with desk(tmp_path, answering(http(BODY * 4000))) as at:
        await at.save()
    assert len(seen) > len(steps)
    assert not any(is_loop for _, is_loop in seen)


async def test_where_a_folder_cannot_be_opened_its_files_are_saved_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuse_folders(path: object, *arguments: int) -> int:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, "as on Windows")
        return opened(path, *arguments)  # type: ignore[arg-type] # handed on as it came

    monkeypatch.setattr(os, "open", refuse_folders)
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
    assert saved.path.read_bytes() == BODY


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
async def test_a_directory_that_cannot_be_flushed_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    flush = os.fsync

    def refuse_directories(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_directories)
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
    assert saved.path.read_bytes() == BODY


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_a_directory_whose_disk_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    flush = os.fsync

    def fail_directories(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fail_directories)
    async with desk(tmp_path, answering(http())) as at:
        with pytest.raises(DownloadError) as caught:
            await at.save()
    assert caught.value.is_disk


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
async def test_a_file_system_without_rights_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fchmod", raising(OSError(number, os.strerror(number))))
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
    assert saved.path.read_bytes() == BODY


async def test_a_disk_that_takes_a_little_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, content: write(number, content[:100]))
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
    assert saved.path.read_bytes() == BODY


async def test_a_part_that_could_not_be_removed_at_first_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError(errno.EIO, "not now")]
    unlink = os.unlink

    def fail_once(path: Path) -> None:
        if failures:
            raise failures.pop()
        unlink(path)

    monkeypatch.setattr(os, "unlink", fail_once)
    async with desk(tmp_path, answering(http())) as at:
        with pytest.raises(DownloadError, match="not now"):
            await at.save()
        assert at.names() == ["fox.png"]
