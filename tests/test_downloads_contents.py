"""What comes in place of a file is not saved as one, and a file is called by what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from tests.loopback import answering
from tests.test_downloads import BODY, POLICY, desk, endless, http, one_after_another
from wiro_async.errors import DownloadError
from wiro_async.task import Output

HTML = b"<!DOCTYPE html>\n<html><body>back in a moment</body></html>"
JSON = b'{"result": false, "errors": [{"code": 99, "message": "sign in"}]}'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(40)

PAGES = {
    "a page": (http(HTML, Content_Type="text/html"), "a page of HTML"),
    "a page that is called a picture": (http(HTML, Content_Type="image/png"), "a page of HTML"),
    "a page that is called nothing": (endless(HTML), "a page of HTML"),
    "words that are called a page": (
        http(b"back soon", Content_Type="text/html"),
        "a page of HTML",
    ),
    "an error in JSON": (http(JSON, Content_Type="application/json"), "a text in JSON"),
    "an error in XML": (http(b"<Error/>", Content_Type="application/xml"), "a text in XML"),
}


@pytest.mark.parametrize(("answer", "reason"), PAGES.values(), ids=PAGES)
async def test_a_page_in_place_of_a_picture_is_a_try_that_broke(
    tmp_path: Path, answer: bytes, reason: str
) -> None:
    async with desk(tmp_path, one_after_another(answering(answer), answering(http(PNG)))) as at:
        (saved,) = await at.save()
        assert saved.path.read_bytes() == PNG
    async with desk(tmp_path / "never", answering(answer)) as at:
        with pytest.raises(DownloadError, match=f"{reason} came in place of it"):
            await at.save()
        assert len(at.cdn.requests) == POLICY.max_download_attempts
        assert at.names() == []


async def test_a_page_that_is_what_the_task_made_is_saved(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http(HTML, Content_Type="text/html"))) as at:
        output = evolve(at.output("page"), content_type="text/html")
        (saved,) = await at.save(output)
        assert saved.path.read_bytes() == HTML
        assert saved.note is None


async def test_a_big_page_does_not_hide_behind_its_size(tmp_path: Path) -> None:
    page = HTML + b" " * (3 << 20)
    async with desk(tmp_path, answering(http(page))) as at:
        with pytest.raises(DownloadError, match="a page of HTML"):
            await at.save()
        assert at.names() == []


@pytest.mark.parametrize(
    ("called", "body", "name", "note"),
    [
        ("0.png", PNG, "fox.png", None),
        ("0.jpg", JPEG, "fox.jpg", None),
        (
            *("0.png", JPEG, "fox.jpeg"),
            "the service calls it 0.png, its bytes are JPEG: saved as .jpeg",
        ),
        (
            *("0.jpg", PNG, "fox.png"),
            "the service calls it 0.jpg, its bytes are PNG: saved as .png",
        ),
        ("0.png", b"of no known kind", "fox.png", None),
    ],
)
async def test_a_file_is_called_by_what_its_bytes_are(
    tmp_path: Path, called: str, body: bytes, name: str, note: str | None
) -> None:
    async with desk(tmp_path, answering(http(body))) as at:
        (saved,) = await at.save(at.output(called, size=len(body)))
        assert (saved.path, saved.note) == (tmp_path / name, note)
        assert saved.path.read_bytes() == body
        assert at.names() == [name]


async def test_a_corrected_name_is_never_another_file_s(tmp_path: Path) -> None:
    (tmp_path / "fox.jpeg").write_bytes(b"mine")
    async with desk(tmp_path, answering(http(JPEG))) as at:
        (saved,) = await at.save()
        assert (tmp_path / "fox.jpeg").read_bytes() == b"mine"
        assert saved.path.read_bytes() == JPEG
        assert saved.path.name == f"fox-{saved.sha256[:16]}.jpeg"
        assert await at.save() == (saved,)
        assert len(at.names()) == 2


async def test_several_files_keep_their_numbers(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http(JPEG))) as at:
        saved = await at.save(at.output("0.png"), at.output("1.jpg"), stem="a.b")
        assert [one.path.name for one in saved] == ["a.b.1.jpeg", "a.b.2.jpg"]
        assert [one.note is None for one in saved] == [False, True]


async def test_what_has_no_name_is_noted_by_the_one_that_it_would_have(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http(PNG))) as at:
        (saved,) = await at.save(Output(url=f"http://127.0.0.1:{at.cdn.port}/data"))
        assert saved.path.name == "fox.png"
        assert saved.note == "the service calls it fox.bin, its bytes are PNG: saved as .png"


async def test_a_name_of_the_service_is_noted_without_its_escapes(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http(JPEG))) as at:
        (saved,) = await at.save(evolve(at.output(), name="\x1b[31m0\n.png"))
        assert saved.note is not None
        assert saved.note.isprintable()


async def test_a_file_is_as_long_as_the_record_and_the_answer_say(tmp_path: Path) -> None:
    for number, size in enumerate([len(BODY) - 1, len(BODY) + 1, 0]):
        async with desk(tmp_path / str(number), answering(http())) as at:
            with pytest.raises(DownloadError, match=f"the task's record says {size}"):
                await at.save(at.output(size=size))
            assert at.names() == []
