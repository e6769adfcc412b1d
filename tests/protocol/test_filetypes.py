"""What is in a file, told by its first bytes, and what no file should be."""

from __future__ import annotations

import io
import time
import wave
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wiro_async.protocol.filetypes import (
    HEAD_BYTES,
    corrected_extension,
    find_page,
    found_type,
)

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
ZIP = b"PK\x03\x04\x14\0"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def box(brand: bytes) -> bytes:
    """The first box of a film or a picture of that family."""
    return b"\0\0\0\x1cftyp" + brand + b"\0\0\x02\0isomiso2"


def ebml(kind: bytes) -> bytes:
    head = b"\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82"
    return b"\x1a\x45\xdf\xa3\x9f" + head + bytes([0x80 + len(kind)]) + kind + b"\x42\x87\x81\x04"


BEGINNINGS = {
    ".png": [PNG],
    ".jpeg": [JPEG, b"\xff\xd8\xff\xdb\0", b"\xff\xd8\xff\xe1\0\x18Exif"],
    ".gif": [b"GIF87a\x01\0", b"GIF89a\x01\0"],
    ".webp": [b"RIFF\x24\0\0\0WEBPVP8 "],
    ".avif": [box(b"avif"), box(b"avis")],
    ".heic": [box(b"heic"), box(b"heix"), box(b"hevc")],
    ".heif": [box(b"mif1"), box(b"msf1")],
    ".bmp": [
        b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
        b"BM\x1a\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0",
    ],
    ".tiff": [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"],
    ".mov": [box(b"qt  ")],
    ".m4a": [box(b"M4A ")],
    ".mp4": [box(b"isom"), box(b"mp42"), box(b"av01")],
    ".webm": [ebml(b"webm")],
    ".mkv": [ebml(b"matroska")],
    ".wav": [b"RIFF\x24\0\0\0WAVEfmt "],
    ".flac": [b"fLaC\0\0\0\x22"],
    ".ogg": [b"OggS\0\x02\0\0"],
    ".mp3": [b"ID3\x04\0\0", b"\xff\xfb\x90\x64", b"\xff\xf3\x14\xc4", b"\xff\xe3\x18\xc4"],
    ".pdf": [b"%PDF-1.7\n"],
    ".glb": [b"glTF\x02\0\0\0\x10\0\0\0"],
    ".zip": [ZIP, b"PK\x05\x06" + bytes(18)],
    ".svg": [
        SVG,
        b"\xef\xbb\xbf \n<svg>",
        b'<?xml version="1.0"?>\n<!-- a -->\n<!-- fox -->\n<svg width="1">',
        b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"><svg\n>',
    ],
}
UNKNOWN = [
    *(b"", b"P", b"\x89PNG", b"GIF88a", b"RIFF\x24\0\0\0AVI LIST", b"BM, the carmaker", b"BM" * 20),
    *(b"\xff\xfb\xf0\x64", b"\xff\xfb\x00\x64", b"\xff\xfb\x9c\x64", b"\xff\xfe\x41\0", b"ID3rd"),
    *(b"<html>", b"<?xml version='1.0'?><Error/>", b"<svgs>", b"plain words", b"ftypavif"),
    *(b"glTF, they say", b"OggSo", b"%pdf-1.4", bytes(64), b"{}"),
]


@pytest.mark.parametrize(
    ("extension", "head"),
    [(extension, head) for extension, heads in BEGINNINGS.items() for head in heads],
)
def test_a_type_is_known_by_its_first_bytes(extension: str, head: bytes) -> None:
    for content in (head, head + bytes(5000)):
        found = found_type(content)
        assert found is not None
        assert found.extension == extension
        assert extension in found.family
        assert found.name.lower() not in found.family


@pytest.mark.parametrize("head", UNKNOWN)
def test_what_is_not_recognised_has_no_type(head: bytes) -> None:
    assert found_type(head) is None


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp", "tiff", "pdf"])
def test_what_a_library_writes_is_recognised_as_what_it_is(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "teal").save(buffer, kind)
    found = found_type(buffer.getvalue())
    assert found is not None
    assert found.extension == f".{kind}"


def test_sounds_and_archives_that_the_standard_library_writes_are_recognised() -> None:
    sound, archive = io.BytesIO(), io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16))
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a", "b")
    found = [found_type(one.getvalue()) for one in (sound, archive)]
    assert [one and one.extension for one in found] == [".wav", ".zip"]


@pytest.mark.parametrize(
    ("extension", "head", "corrected"),
    [
        (".png", JPEG, ".jpeg"),
        (".PNG", JPEG, ".jpeg"),
        (".png", PNG, None),
        (".apng", PNG, None),
        (".jpg", JPEG, None),
        (".JPG", JPEG, None),
        (".jpe", JPEG, None),
        (".mp4", box(b"qt  "), None),
        (".mov", box(b"isom"), None),
        (".png", box(b"isom"), ".mp4"),
        (".webm", ebml(b"matroska"), None),
        (".bin", PNG, ".png"),
        ("", PNG, ".png"),
        (".txt", PNG, ".png"),
        (".html", PNG, ".png"),
        (".bin", ZIP, ".zip"),
        (".png", ZIP, ".zip"),
        (".docx", ZIP, None),
        (".ckpt", ZIP, None),
        (".dng", b"II*\0\x08\0\0\0", None),
        (".png", b"II*\0\x08\0\0\0", ".tiff"),
        (".raw", b"\xff\xfb\x90\x64", None),
        (".wav", b"\xff\xfb\x90\x64", ".mp3"),
        (".ai", b"%PDF-1.5", None),
        (".png", b"nobody knows", None),
        (".png", SVG, ".svg"),
    ],
)
def test_a_name_is_corrected_only_where_the_bytes_contradict_it(
    extension: str, head: bytes, corrected: str | None
) -> None:
    found = corrected_extension(extension, head)
    assert (found and found.extension) == corrected


HTML = b"<!DOCTYPE html><html><body>try again later</body></html>"
JSON = b'{"result":false,"errors":[{"code":99,"message":"sign in"}]}'
XML = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'
PAGE, TEXT, MARKUP = "a page of HTML", "a text in JSON", "a text in XML"


@pytest.mark.parametrize(
    ("head", "answered", "expected", "extension", "found"),
    [
        (HTML, "text/html", "image/png", ".png", PAGE),
        (HTML, "image/png", "image/png", ".png", PAGE),
        (HTML, None, None, ".bin", PAGE),
        (HTML, "text/html; charset=utf-8", None, ".zip", PAGE),
        (b"\n <Html >", None, "image/png", ".png", PAGE),
        (b"\xef\xbb\xbf<html>", None, None, ".pdf", PAGE),
        (b"<!-- busy -->", None, None, ".mp4", PAGE),
        (b"<body>", None, None, ".glb", PAGE),
        (b"Service Unavailable", "text/html", "image/png", ".png", PAGE),
        (b"Service Unavailable", "text/HTML ; charset=x", None, ".bin", PAGE),
        (b"", "text/html", "image/png", ".png", PAGE),
        # what is called a page and is none
        (PNG, "text/html", "image/png", ".png", None),
        (SVG, "text/html", "image/svg+xml", ".svg", None),
        # what is meant to be one
        (HTML, "text/html", "text/html", ".bin", None),
        (HTML, "text/html", "TEXT/HTML; charset=utf-8", ".bin", None),
        (HTML, "text/html", None, ".html", None),
        (HTML, "text/html", None, ".HTM", None),
        # a text may begin as it likes, unless its server agrees that it is a page
        (HTML, "text/plain", "text/plain", ".txt", None),
        (HTML, "text/html", "text/plain", ".txt", PAGE),
        (b"words", "text/html", "text/plain", ".txt", None),
        (b"<a b>", None, None, ".md", None),
        (JSON, "application/json", "application/json", ".json", None),
        (JSON, "application/json", None, ".jsonl", None),
        (XML, None, "application/xml", ".bin", None),
        # JSON and XML in place of a picture, a sound, a film
        (JSON, "application/json", "image/png", ".png", TEXT),
        (JSON, "image/png", "image/png", ".png", TEXT),
        (b' \n[{"error":1}]', None, "video/mp4", ".bin", TEXT),
        (b"\xef\xbb\xbf{", None, None, ".wav", TEXT),
        (JSON, "application/json", None, ".opus", TEXT),
        (XML, "application/xml", "image/png", ".png", MARKUP),
        (JSON, "application/json", None, ".bin", None),
        (JSON, "application/json", "model/gltf-binary", ".glb", None),
        # a drawing is markup
        (b"<!-- made by hand -->" + b" " * 1000, None, "image/svg+xml", ".svg", None),
        (XML, None, "image/svg+xml", ".bin", None),
        (b"<!-- busy -->", "text/html", None, ".svg", PAGE),
        (JSON, "application/json", None, ".svg", TEXT),
        (b"some picture of tomorrow", "image/new", "image/new", ".new", None),
    ],
)
def test_a_page_is_told_from_a_file(
    head: bytes, answered: str | None, expected: str | None, extension: str, found: str | None
) -> None:
    assert (
        find_page(head, answered_type=answered, expected_type=expected, extension=extension)
        == found
    )


@given(head=st.binary(max_size=64), extension=st.sampled_from([".png", ".zip", ".txt", "", ".x"]))
def test_any_bytes_are_judged_without_a_failure(head: bytes, extension: str) -> None:
    found = corrected_extension(extension, head)
    assert found is None or extension not in found.family
    find_page(head, answered_type=None, expected_type=None, extension=extension)


@pytest.mark.parametrize("piece", [b"<!---->", b"<!--", b"<?xml ", b" ", b"\x1a\x45\xdf\xa3", b"<"])
def test_hostile_beginnings_take_no_time(piece: bytes) -> None:
    head = (b"<?xml?>" + piece * 400_000)[: 1 << 20]
    begun = time.process_time()
    found_type(head)
    find_page(head[:HEAD_BYTES], answered_type=None, expected_type="image/png", extension=".png")
    assert time.process_time() - begun < 1
