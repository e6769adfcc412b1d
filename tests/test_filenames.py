"""What a file may be called: no name of a person's or of the service's reaches the disk unseen."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.filenames import extension_of, output_names, safe_stem
from wiro_async.task import Output

# Microsoft: "Naming Files, Paths, and Namespaces"; the superscripts count as digits there.
RESERVED = [
    *("con", "prn", "aux", "nul"),
    *(f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789¹²³"),
]
NASTY = ["/", "\\", "..", ".", ":", "%2F", "\0", "\n", "\x1b[2J", "\u202e", "\u200b", "~", "$", "*"]

any_text = st.text(st.characters(codec=None), max_size=300)
nasty_text = st.lists(st.sampled_from([*NASTY, *RESERVED, "a", "é", "猫"]), max_size=40).map(
    "".join
)
harmless = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=100)


@pytest.mark.parametrize(
    "stem",
    [
        "fox",
        "000001",
        "Fox_2-b",
        "a.b",
        "猫",
        "лиса",
        "é",
        "٣",
        "-rf",
        "a" * 120,
        "é" * 60,
        "concert",
        "com10",
        "auxiliary.con",
        "nul-1",
    ],
)
def test_a_harmless_stem_stays_as_it_is(stem: str) -> None:
    assert safe_stem(stem) == stem


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("a fox", "a_fox-"),
        ("../../etc/passwd", "_.._etc_passwd-"),
        ("C:\\x", "C__x-"),
        ("a%2Fb", "a_2Fb-"),
        (".hidden", "hidden-"),
        ("end.", "end-"),
        ("a\0b", "a_b-"),
        ("gnp.\u202etxt", "gnp._txt-"),
        ("con", "_con-"),
        ("NUL.png", "_NUL.png-"),
        ("Com7.tar.gz", "_Com7.tar.gz-"),
        ("lpt²", "_lpt²-"),
        ("e\u0301", "é-"),
        ("a" * 121, "a" * 111 + "-"),
        ("é" * 61, "é" * 55 + "-"),
        ("aé" + "é" * 60, "a" + "é" * 55 + "-"),
        ("a" * 110 + "." + "b" * 20, "a" * 110 + "-"),
        ("\ud800", "_-"),
    ],
)
def test_a_changed_stem_has_its_hash_behind_it(text: str, beginning: str) -> None:
    stem = safe_stem(text)
    assert stem.startswith(beginning)
    digest = stem.removeprefix(beginning)
    assert len(digest) == 8
    assert int(digest, 16) >= 0


@pytest.mark.parametrize("text", ["", ".", "..", "......"])
def test_of_nothing_usable_the_hash_is_left(text: str) -> None:
    assert int(safe_stem(text), 16) >= 0
    assert len(safe_stem(text)) == 8


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("form", ["{}", "{}.x", ".{}", "{}.", "{}..x"])
def test_no_device_is_written_to(name: str, form: str) -> None:
    for text in (form.format(name), form.format(name.upper())):
        assert safe_stem(text).split(".")[0].lower() not in RESERVED


@given(any_text | nasty_text, st.integers(1, 3))
def test_every_name_can_be_written_everywhere(text: str, count: int) -> None:
    outputs = tuple(Output(name=".ABCDEFGH") for _ in range(count))
    names = output_names(safe_stem(text), outputs)
    assert len(set(names)) == count
    for name in names:
        assert name.endswith(".abcdefgh")
        assert len(name.encode()) <= 160
        stem = name.removesuffix(".abcdefgh")
        assert stem
        assert not stem.startswith(".")
        assert not stem.endswith((".", " "))
        assert not set(stem) & set('/\\:*?"<>|%$~ ')
        for character in name:
            assert unicodedata.category(character)[0] not in {"C", "Z"}
        assert name.split(".")[0].lower() not in RESERVED


@given(st.lists(any_text | nasty_text | harmless, unique=True, max_size=20))
def test_different_stems_stay_different(texts: list[str]) -> None:
    assert len({safe_stem(text) for text in texts}) == len(texts)


def test_stems_that_differ_only_in_what_is_replaced_stay_different() -> None:
    texts = [
        "a b",
        "a_b",
        "a/b",
        "a\\b",
        "a?b",
        ".a_b",
        "a_b.",
        "e\u0301",
        "é",
        "b" * 121,
        "b" * 122,
    ]
    assert len({safe_stem(text) for text in texts}) == len(texts)


@given(harmless.filter(lambda stem: stem.lower() not in RESERVED))
def test_harmless_stems_are_left_alone(stem: str) -> None:
    assert safe_stem(stem) == stem


@given(any_text | nasty_text)
def test_a_safe_stem_is_safe(text: str) -> None:
    assert safe_stem(safe_stem(text)) == safe_stem(text)


@pytest.mark.parametrize(
    ("name", "url", "content_type", "extension"),
    [
        ("0.png", "https://cdn1.wiro.ai/x/0.jpeg", "image/webp", ".png"),
        ("0.PNG", None, None, ".png"),
        ("archive.tar.gz", None, None, ".gz"),
        (None, "https://cdn1.wiro.ai/x/0.jpeg?size=1.big", "image/webp", ".jpeg"),
        ("0", "https://cdn1.wiro.ai/x/0", "image/webp", ".webp"),
        ("0", "https://cdn1.wiro.ai/x/0", "Image/PNG; charset=utf-8", ".png"),
        ("0", None, "video/mp4", ".mp4"),
        ("0.", None, "image/png", ".png"),
        ("0.a/b", None, "image/png", ".png"),
        ("0.p ng", None, "image/png", ".png"),
        ("0.ninechars", None, "image/png", ".png"),
        ("0.png\n", None, "image/jpeg", ".jpg"),
        ("0.\u202egnp", None, "image/png", ".png"),
        ("0", "https://cdn1.wiro.ai/x.y/0", None, ".bin"),
        (None, None, "application/x-nobody-knows", ".bin"),
        (None, "https://[", "image/png", ".png"),
        (None, None, None, ".bin"),
    ],
)
def test_extensions(
    name: str | None, url: str | None, content_type: str | None, extension: str
) -> None:
    output = Output(name=name, url=url, content_type=content_type)
    assert extension_of(output) == extension


@given(any_text, any_text, any_text)
def test_every_extension_is_a_short_plain_word(name: str, path: str, content_type: str) -> None:
    output = Output(name=name, url=f"https://{path}", content_type=content_type)
    extension = extension_of(output)
    assert extension.startswith(".")
    assert extension[1:].isascii()
    assert 2 <= len(extension) <= 16
    assert not set(extension[1:]) & set("/\\:. \n\0")


def test_several_outputs_are_numbered_from_one() -> None:
    outputs = (Output(name="0.png"), Output(name="1.jpeg"), Output(content_type="video/mp4"))
    assert output_names("fox", outputs) == ["fox.1.png", "fox.2.jpeg", "fox.3.mp4"]
    assert output_names("fox", outputs[:1]) == ["fox.png"]
    assert output_names("fox", ()) == []
