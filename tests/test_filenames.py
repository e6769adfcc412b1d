"""What a file may be called: no name of a person's or of the service's reaches the disk unseen."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.batch.journal.entries import JOURNAL_NAME
from wiro_async.batch.journal.sentlog import log_path
from wiro_async.batch.record import ERRORS_NAME, RESULTS_NAME
from wiro_async.filenames import extension_of, name_key, output_names, safe_stem
from wiro_async.task import Output

# Microsoft: "Naming Files, Paths, and Namespaces"; the superscripts count as digits there.
RESERVED = [
    *("con", "prn", "aux", "nul"),
    *(f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789¹²³"),
]
# SQLite's documentation, "Temporary Files Used By SQLite"; and what the journal keeps beside it.
OWN = [
    *(RESULTS_NAME, ERRORS_NAME, f".{RESULTS_NAME}.new", f".{ERRORS_NAME}.new", "report.html"),
    *(JOURNAL_NAME, f"{JOURNAL_NAME}-journal", f"{JOURNAL_NAME}-wal", f"{JOURNAL_NAME}-shm"),
    *(f"{JOURNAL_NAME}.lock", f"{JOURNAL_NAME}.new"),
    *(log_path(Path(JOURNAL_NAME)).name, f"{log_path(Path(JOURNAL_NAME)).name}.new"),
]
OWN_STEMS = ["results", "errors", "report", "batch"]
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
        "a-",
        "a.1b",
        "1.a",
        "result",
        "batches",
        "\uff29\uff2d\uff27",
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
        ("CONIN$", "CONIN_-"),
        ("CONOUT$.txt", "CONOUT_.txt-"),
        ("\uff23\uff2f\uff2e", "_\uff23\uff2f\uff2e-"),
        ("-rf", "_rf-"),
        ("--help.png", "_-help.png-"),
        (".-rf", "_rf-"),
        ("%2e%2e%2fetc", "_2e_2e_2fetc-"),
        ("\\\\host\\share", "__host_share-"),
        ("//host/share", "__host_share-"),
        ("/etc/passwd", "_etc_passwd-"),
        ("file:///etc", "file____etc-"),
        ("~/.ssh", "__.ssh-"),
        ('<>:"|?*', "_______-"),
        ("fox ", "fox_-"),
        ("fox. ", "fox._-"),
        ("ﬀ\u200b\u2060\ufeff", "ﬀ___-"),
        ("a\u3164b\u115f\uffa0", "a_b__-"),
        ("a" + "\u0315" * 500, "a" + "_" * 110 + "-"),
        ("\u0378\U000e0041\ue000", "___-"),
        ("\x9b31m\x7f", "_31m_-"),
        ("fox.1", "fox.1-"),
        ("v1.02", "v1.02-"),
        ("fox.\uff11", "fox.\uff11-"),
        ("results", "_results-"),
        ("ERRORS.x", "_ERRORS.x-"),
        ("re\u017fults", "_re\u017fults-"),
        ("batch.sqlite.lock", "_batch.sqlite.lock-"),
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


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize(
    "form", [str, str.upper, str.title, lambda name: name.replace("s", "\u017f")]
)
def test_a_file_of_the_batch_is_no_output(own: str, form: Callable[[str], str]) -> None:
    own = form(own)
    stem, _, extension = own.rpartition(".")
    for text in (own, stem, own.partition(".")[0], f".{own}"):
        for outputs in ((Output(name=f"0.{extension}"),), (Output(),) * 2):
            for name in output_names(safe_stem(text), outputs):
                assert name_key(name) not in {name_key(one) for one in OWN}
                assert name_key(name).split(".")[0] not in OWN_STEMS


@pytest.mark.parametrize(
    "text",
    ["a" * 500, "é" * 500, "猫" * 500, "ΐ" * 500, "ǖ" * 500, "𐐀" * 500, "한" * 500, "ᾂ" * 500],
)
def test_a_name_fits_with_all_that_is_hung_on_it(text: str) -> None:
    stem = safe_stem(text)
    assert len(stem.encode()) > 115, "the bound is used"
    names = output_names(stem, (Output(name="0.safetensors"), *[Output(name="0.parquet")] * 9_999))
    assert names[-1].endswith(".10000.parquet")
    longest = Path(max(names, key=lambda name: len(name.encode())))
    second = longest.with_stem(f"{longest.stem}-{'f' * 16}").name
    part = f".{second}.{'f' * 8}.part"
    assert len(part.encode()) <= 255
    assert len(unicodedata.normalize("NFD", part).encode("utf-16-le")) // 2 <= 255


@given(any_text | nasty_text, st.integers(1, 3))
def test_every_name_can_be_written_everywhere(text: str, count: int) -> None:
    outputs = tuple(Output(name=".PARQUET") for _ in range(count))
    names = output_names(safe_stem(text), outputs)
    assert len(set(names)) == count
    for name in names:
        assert name.endswith(".parquet")
        assert len(name.encode()) <= 160
        stem = name.removesuffix(".parquet")
        assert stem
        assert not stem.startswith((".", "-"))
        assert name_key(stem).split(".")[0] not in {*OWN_STEMS, *RESERVED}
        assert not set(stem) & set("\u115f\u1160\u3164\uffa0")
        assert not stem.endswith((".", " "))
        assert not set(stem) & set('/\\:*?"<>|%$~ ')
        for character in name:
            assert unicodedata.category(character)[0] not in {"C", "Z", "M"}
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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fox", "fox"),
        ("FOX", "fox"),
        ("straße", "STRASSE"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("é", "É"),
        ("\uff29\uff2d\uff27", "img"),
        ("K", "k"),
        ("m²", "m2"),
        ("\U0001d400", "a"),
        ("ﬁsh", "FISH"),
        ("Å", "å"),
    ],
)
def test_what_some_file_system_takes_for_one_name_has_one_key(one: str, other: str) -> None:
    assert safe_stem(one) != safe_stem(other)
    assert name_key(safe_stem(one)) == name_key(safe_stem(other))


@given(st.characters(codec="utf-8"), st.characters(codec="utf-8"))
def test_names_with_two_keys_are_two_in_any_case_and_form(one: str, other: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        for fold in (str.lower, str.casefold):
            a, b = (fold(unicodedata.normalize(form, name)) for name in (one, other))
            if unicodedata.normalize(form, a) == unicodedata.normalize(form, b):
                assert name_key(one) == name_key(other)


@pytest.mark.parametrize("twin", ["fo\u0301x", "fo\u0301X", "f/x", "f\\x", "F/X"])
def test_a_changed_stem_is_told_from_its_twin_in_any_case(twin: str) -> None:
    known = {name_key(safe_stem(text)) for text in ("fóx", "f_x", "f x", "f:x", "F:x")}
    assert len(known) == 5
    assert name_key(safe_stem(twin)) not in known


def test_the_number_of_an_output_is_nobody_else_s_name() -> None:
    two = output_names(safe_stem("fox"), (Output(name="0.png"),) * 2)
    assert two == ["fox.1.png", "fox.2.png"]
    assert output_names(safe_stem("fox.1"), (Output(name="0.png"),))[0] not in two
    assert name_key(output_names(safe_stem("FOX.2"), (Output(name="0.png"),))[0]) not in two


@given(harmless.filter(lambda stem: stem.lower() not in {*RESERVED, *OWN_STEMS}))
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
        ("0.PnG", None, "image/png", ".png"),
        ("0.png/../../x", None, "image/png", ".png"),
        ("0./etc/cron.d/x", None, "image/png", ".png"),
        ("0.exe", None, "image/png", ".png"),
        ("0.exe", "https://cdn1.wiro.ai/x/0.gif", "image/png", ".gif"),
        ("0.png.lnk", None, "image/png", ".png"),
        ("0.desktop", None, None, ".bin"),
        ("0.sh", None, "application/x-sh", ".bin"),
        ("0.html", None, "text/html", ".txt"),
        ("0.js", None, "text/javascript", ".txt"),
        ("0.exe", None, "text/plain", ".txt"),
        ("0.exe", "https://cdn1.wiro.ai/x/0.exe", "application/octet-stream", ".bin"),
        ("0.exe", None, "image/exe", ".bin"),
        ("0.exe", None, "image/x-exe", ".bin"),
        ("0.pdf", None, "image/png", ".png"),
        ("0.mp4", None, "audio/mp4", ".m4a"),
        ("0.webm", None, "audio/webm", ".weba"),
        ("0.zip", "https://cdn1.wiro.ai/x/0.mp4", "video/quicktime", ".mp4"),
        ("0.glb", None, "application/octet-stream", ".glb"),
        ("0.jsonl", None, "application/json", ".jsonl"),
        ("0.sqlite", None, "application/vnd.sqlite3", ".bin"),
        ("0", None, "audio/x-wav", ".wav"),
        ("0", None, "image/svg+xml", ".svg"),
        ("0", None, "model/gltf-binary", ".glb"),
        ("0", None, "text/csv", ".csv"),
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


# What a click runs, somewhere: of the "high risk" lists of mail programs and of browsers.
RUN_BY_A_CLICK = [
    *("app", "apk", "bat", "bash", "chm", "cmd", "com", "command", "cpl", "desktop", "dll", "dmg"),
    *("docm", "exe", "hta", "htm", "html", "inf", "jar", "jnlp", "js", "jse", "lnk", "mht", "msc"),
    *("msi", "msp", "pif", "pl", "ps1", "py", "pyw", "rb", "reg", "scf", "scr", "sh", "shtml"),
    *("so", "svgz", "swf", "sys", "url", "vb", "vbe", "vbs", "webloc", "wsf", "wsh", "xhtml"),
    *("xll", "xlsm"),
]


@pytest.mark.parametrize("extension", RUN_BY_A_CLICK)
@pytest.mark.parametrize(
    "content_type", [None, "application/{}", "application/x-{}", "image/{}", "text/x-{}"]
)
def test_nothing_is_named_as_what_a_click_runs(extension: str, content_type: str | None) -> None:
    output = Output(
        name=f"0.{extension.upper()}",
        url=f"https://cdn1.wiro.ai/0.{extension}",
        content_type=content_type and content_type.format(extension),
    )
    assert extension_of(output) in {".bin", ".txt"}


def test_several_outputs_are_numbered_from_one() -> None:
    outputs = (Output(name="0.png"), Output(name="1.jpeg"), Output(content_type="video/mp4"))
    assert output_names("fox", outputs) == ["fox.1.png", "fox.2.jpeg", "fox.3.mp4"]
    assert output_names("fox", outputs[:1]) == ["fox.png"]
    assert output_names("fox", ()) == []
