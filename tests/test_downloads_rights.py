"""Whose eyes a download is for, and what it does not write through: rights, links, names."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

import pytest

from tests.loopback import answering
from tests.test_downloads import BODY, desk, http
from tests.test_downloads_disk import DIGEST, raising
from wiro_async.downloads import partfile, remove_parts
from wiro_async.errors import DownloadError, OutputDirectoryError


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
async def test_a_part_is_its_owner_s_alone_and_a_file_has_the_usual_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    seen = []
    write = os.write

    def look_and_write(descriptor: int, content: bytes) -> int:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # the loop writes to itself, too
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, content)

    before = os.umask(umask)
    try:
        async with desk(tmp_path, answering(http(BODY * 2000))) as at:
            monkeypatch.setattr(os, "write", look_and_write)
            (saved,) = await at.save()
    finally:
        os.umask(before)
    assert len(seen) > 1
    assert set(seen) == {0o600}
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("status", ["nothing of it", None])
def test_where_the_system_does_not_tell_the_umask_it_is_read_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str | None
) -> None:
    monkeypatch.setattr(partfile, "_STATUS", tmp_path / "status")
    if status is not None:
        (tmp_path / "status").write_text(status)
    before = os.umask(0o026)
    try:
        assert [partfile.current_umask(), partfile.current_umask()] == [0o026, 0o026]
    finally:
        assert os.umask(before) == 0o026


async def test_a_system_without_such_rights_saves_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fchmod")
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
    assert saved.path.read_bytes() == BODY


@pytest.mark.parametrize("refusal", [None, OSError(errno.EINVAL, "no such advice")])
async def test_a_system_that_takes_no_advice_saves_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: OSError | None
) -> None:
    if refusal is None:
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fadvise", raising(refusal), raising=False)
        monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)
    async with desk(tmp_path, answering(http())) as at:
        (saved,) = await at.save()
    assert saved.path.read_bytes() == BODY


@pytest.mark.parametrize("links", [True, False], ids=["with hard links", "without"])
@pytest.mark.parametrize("target", ["there.png", "not there.png"])
async def test_nothing_is_written_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, *, links: bool
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "there.png").write_bytes(b"of somebody else")
    (out / "fox.png").symlink_to(elsewhere / target)
    if not links:
        monkeypatch.setattr(os, "link", raising(OSError(errno.EPERM, "no links")))
    async with desk(out, answering(http())) as at:
        (saved,) = await at.save()
        assert saved.path.name == f"fox-{DIGEST[:16]}.png"
        assert saved.path.read_bytes() == BODY
    assert (out / "fox.png").readlink() == elsewhere / target
    assert [path.name for path in elsewhere.iterdir()] == ["there.png"]
    assert (elsewhere / "there.png").read_bytes() == b"of somebody else"


async def test_a_folder_that_is_a_link_is_its_owner_s_choice(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    async with desk(tmp_path / "out", answering(http())) as at:
        await at.save()
    assert (tmp_path / "real" / "fox.png").read_bytes() == BODY


async def test_a_part_s_name_that_is_taken_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0" * 8)
    (tmp_path / ".fox.png.00000000.part").symlink_to(tmp_path / "elsewhere")
    async with desk(tmp_path, answering(http())) as at:
        with pytest.raises(DownloadError, match="File exists"):
            await at.save()
        assert at.names() == [".fox.png.00000000.part"]
        assert not (tmp_path / "elsewhere").exists()


def test_only_what_a_download_left_half_is_removed(tmp_path: Path) -> None:
    half = [".fox.png.0123abcd.part", ".a\nb.png.00000000.part"]
    whole = ["fox.png", "fox.part", ".fox.png.part", ".fox.png.0123ABCD.part", "results.jsonl"]
    for name in half + whole:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".link.png.00000000.part").symlink_to(tmp_path / "fox.png")
    remove_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(whole)


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    (tmp_path / ".fox.png.00000000.part").mkdir()
    with pytest.raises(OutputDirectoryError, match=r"00000000\.part cannot be removed: .*half"):
        remove_parts(tmp_path)
