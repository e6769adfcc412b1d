"""What is refused before it is sent, and that each refusal teaches what would pass."""

from __future__ import annotations

import io
import json
import math
import posixpath
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.catalog import (
    FLUX_PRO_1_1_ULTRA,
    KNOWN_MODELS,
    check_request,
    check_slug,
    scalar_text,
)
from wiro_async.errors import InvalidRequest
from wiro_async.protocol.requests import build_run

FLUX = "black-forest-labs/flux-pro-1-1-ultra"
RATIOS = (
    *("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"),
    *("4:5", "5:4", "21:9", "9:21", "2:1", "1:2"),
)
# Of the model page: parameter, type, default, listed values.
PAGE = [
    ("prompt", "textarea", None, ()),
    ("promptUpsampling", "select", "false", ("false", "true")),
    ("safetyTolerance", "select", "2", ("2",)),
    ("aspectRatio", "select", "16:9", RATIOS),
    ("seed", "text", "42", ()),
    ("outputFormat", "select", "png", ("jpeg", "png")),
]


def brief(value: object) -> str:
    """A parameter in the name of its test."""
    return ascii(value)[:40]


def refusal_of(model: str, params: dict[Any, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check_request(model, params)
    return caught.value


def test_the_known_model_is_the_pages() -> None:
    model = KNOWN_MODELS[FLUX]
    assert model is FLUX_PRO_1_1_ULTRA
    assert [(p.id, p.type, p.default, p.options) for p in model.parameters] == PAGE
    assert model.parameter_ids == tuple(row[0] for row in PAGE)
    assert [p.id for p in model.parameters if p.required] == ["prompt"]
    categories = "tool bfl flux-pro text-to-image image-to-image partner"
    assert model.categories == tuple(categories.split())
    assert model.tags == ("image generation", "flux-pro")


@pytest.mark.parametrize(
    "slug",
    [FLUX, "o/m", "O.w_n-3r/m.1_2-3", "a/..b", ".a/b", ".../m", "o" * 100 + "/" + "m" * 100],
    ids=brief,
)
def test_a_slug_is_owner_and_model(slug: str) -> None:
    check_slug(slug)
    with pytest.raises(InvalidRequest, match="empty"):
        check_request(slug, {"prompt": ""})


@pytest.mark.parametrize(
    "slug",
    [
        *("", "/", "model", "o/", "/m", "o/m/x", "o//m", " o/m", "o/m ", "o/m\n", "o m/x", "ö/m"),
        *("../m", "o/..", "./m", "o/.", "../..", "o/m?x=1", "o/m#x", "o/m%2f", "o\\m", "o/m\x00"),
        *(
            "o/m\r\nx-evil: 1",
            "o\r/m",
            "o/m\t",
            "o/m\u2028",
            "o/%2e%2e",
            "%2e%2e/m",
            "o/m;x",
            "o:1/m",
        ),
        *(
            "o/m\x1b[2J",
            "o/m\u202e",
            "o/m\u200b",
            "o\u2044m",
            "\u043ewner/m",
            "o/\uff4d",
            "o/m\u0301",
        ),
        *("//m", "/o/m", "\\\\o/m", "@/m", "o@h/m", "o/m&a=1", "o/$m", "o/~m", "o/*", "\udcff/m"),
        *("o" * 101 + "/m", "o/" + "m" * 101, "o/m" * 100_000),
    ],
    ids=brief,
)
def test_what_is_no_slug_is_refused(slug: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_slug(slug)
    assert caught.value.field == "model"
    assert f"owner/model, such as {FLUX}" in str(caught.value)
    assert "did you mean" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "url",
    [
        f"https://wiro.ai/models/{FLUX}",
        f"https://www.wiro.ai/{FLUX}",
        f"http://wiro.ai/models/{FLUX}?tab=api#run",
        f"https://wiro.ai/models/{FLUX}/",
        f"https://api.wiro.ai/v1/Run/{FLUX}",
    ],
)
def test_a_pasted_url_is_answered_with_its_slug(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_slug(url)
    assert str(caught.value).endswith(f"; did you mean {FLUX}?")


@pytest.mark.parametrize(
    "url",
    [
        "https://wiro.ai/models/a\x1b[31m/b",
        "https://wiro.ai/models/../..",
        "https://wiro.ai/a\u202e/b",
        "https://wiro.ai/a b/c",
    ],
)
def test_a_pasted_url_with_no_slug_in_it_gets_no_guess(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_slug(url)
    assert "did you mean" not in str(caught.value)
    assert str(caught.value).isprintable()


GOOD: list[dict[str, Any]] = [
    {},
    *[{"aspectRatio": ratio} for ratio in RATIOS],
    *[{"seed": seed} for seed in (42, 0, -1, "42", "+7", "-7", 2**70, None)],
    *[{"promptUpsampling": flag} for flag in (True, False, "true", "false", None)],
    *[{"safetyTolerance": tolerance} for tolerance in (2, "2")],
    *[{"outputFormat": name} for name in ("jpeg", "png")],
    {"callbackUrl": "https://example.org", "projectid": 699},
    {"nonsense": None},
]


@pytest.mark.parametrize("params", GOOD)
def test_what_the_page_lists_passes(params: dict[str, Any]) -> None:
    check_request(FLUX, {"prompt": "a cat", **params})
    assert refusal_of(FLUX, {**params, "prompt": " "}).field == "prompt"


@pytest.mark.parametrize(
    ("params", "field", "words"),
    [
        ({"aspect_ratio": "1:1"}, "aspect_ratio", ["no parameter", "did you mean 'aspectRatio'?"]),
        ({"ASPECTRATIO": "1:1"}, "ASPECTRATIO", ["did you mean 'aspectRatio'?"]),
        ({"callbackurl": "u"}, "callbackurl", ["did you mean 'callbackUrl'?"]),
        ({"qqq": 1}, "qqq", [FLUX, "it takes prompt, promptUpsampling, ", ", projectid"]),
        ({"aspectRatio": "16:10"}, "aspectRatio", ["'16:10'", "allowed: 1:1, 16:9, 9:16"]),
        ({"outputFormat": "PNG"}, "outputFormat", ["did you mean 'png'?", "jpeg, png"]),
        ({"outputFormat": "webp"}, "outputFormat", ["'webp'", "allowed: jpeg, png"]),
        ({"safetyTolerance": 6}, "safetyTolerance", ["'6'", "allowed: 2"]),
        ({"safetyTolerance": 2.0}, "safetyTolerance", ["'2.0'"]),
        ({"promptUpsampling": "yes"}, "promptUpsampling", ["'yes'", "allowed: false, true"]),
        ({"promptUpsampling": 1}, "promptUpsampling", ["'1'"]),
        ({"aspectRatio": ""}, "aspectRatio", ["''"]),
        ({"aspectRatio": ["1:1"]}, "aspectRatio", ["allowed"]),
        *[
            ({"seed": seed}, "seed", ["whole number, such as 42"])
            for seed in ("", "x", "4.2", 4.2, 42.0, True, "1e3", "42\n", " 42", "٤٢", [42])
        ],
        ({"prompt": None}, "prompt", [FLUX, "needs the parameter 'prompt'"]),
        ({"prompt": ""}, "prompt", ["empty"]),
        ({"prompt": " \n\t"}, "prompt", ["empty"]),
    ],
)
def test_what_the_page_does_not_list_is_refused(
    params: dict[str, Any], field: str, words: list[str]
) -> None:
    error = refusal_of(FLUX, {"prompt": "a cat", **params})
    assert error.field == field
    for word in words:
        assert word in str(error)


def test_a_word_that_is_like_nothing_gets_no_guess() -> None:
    assert "did you mean" not in str(refusal_of(FLUX, {"prompt": "x", "qqq": 1}))


def test_an_unknown_model_takes_any_parameter_but_an_empty_prompt() -> None:
    check_request("o/m", {})
    check_request("o/m", {"anything": [1, {"deep": (None, True)}], "seed": "x", "prompt": 7})
    for blank in ("", " ", "\n"):
        assert refusal_of("o/m", {"prompt": blank}).field == "prompt"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_has_to_be_finite_however_deep_it_lies(number: float) -> None:
    for value in (number, [number], {"x": number}, [{"x": (1, number)}]):
        assert "has to be finite" in str(refusal_of("o/m", {"strength": value}))
    assert refusal_of("o/m", {"strength": [number]}).field == "strength"


@pytest.mark.parametrize(
    "value", [io.BytesIO(b"x"), io.StringIO("x"), b"x", bytearray(b"x"), Path("x"), {1}, object()]
)
def test_a_file_goes_by_its_url(value: object) -> None:
    for given_value in (value, [value], {"deep": value}):
        error = refusal_of("o/m", {"inputImage": given_value})
        assert type(value).__name__ in str(error)
        assert "a file goes by its url" in str(error)


@pytest.mark.parametrize("name", ["", 7, None])
def test_a_name_is_a_text_however_deep_it_lies(name: object) -> None:
    for params in ({name: "x"}, {"deep": {name: "x"}}):
        error = refusal_of("o/m", params)
        assert error.field == str(name)
        assert f"not {name!r}" in str(error)


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (42, "42"), (0.5, "0.5"), ("True", "True"), ("", "")],
)
def test_a_scalar_as_text(value: object, text: str) -> None:
    assert scalar_text(value) == text


CALLBACKS = [
    *("https://example.org", "http://example.org:8080/a?b=c#d", "https://me:word@example.org/hook"),
    *(
        "https://b\u00fccher.example/hook",
        "http://[::1]:8080/x",
        "http://127.0.0.1/x",
        "HTTPS://E.org",
    ),
]
NO_CALLBACKS = [
    *("", " ", "example.org", "//example.org/x", "ftp://example.org", "file:///etc/passwd"),
    *("https://", "https:///x", "https://:443/x", "https://[", "https://[::1", "https://e.org:x/"),
    *("https://e.org:0/", "https://e.org:65536/", "https://e.org\r\nx-evil: 1", "https://e.o\trg"),
    *(" https://e.org", "https://e.org ", "https://e.org/a b", "https://e.org/\0", "https:\\e.org"),
    *(
        "https://e.org\\@evil.test/",
        "https://e.org/\u202e",
        "https://e.org/\x1b[2J",
        "javascript:1",
    ),
    *("https://e\u00a0.org", "https://e.org/" + "x" * 2048),
    *(7, True, ["https://e.org"], {"url": "https://e.org"}),
]


@pytest.mark.parametrize("url", CALLBACKS)
@pytest.mark.parametrize("model", [FLUX, "o/m"])
def test_a_callback_is_a_url_of_the_web(url: str, model: str) -> None:
    check_request(model, {"prompt": "a cat", "callbackUrl": url})


@pytest.mark.parametrize("url", NO_CALLBACKS, ids=brief)
@pytest.mark.parametrize("model", [FLUX, "o/m"], ids=brief)
def test_a_callback_that_is_none_is_refused_and_not_shown(url: object, model: str) -> None:
    error = refusal_of(model, {"prompt": "a cat", "callbackUrl": url})
    assert error.field == "callbackUrl"
    assert "begins with https:// or http://" in str(error)
    assert "e.org" not in str(error)


@pytest.mark.parametrize(
    "name", ["a\x1b[31m", "a\0", "a\nb", "a\u202eb", "\x9b2J", "x" * 100_000], ids=brief
)
def test_a_name_is_shown_without_what_a_terminal_obeys(name: str) -> None:
    check_request("o/m", {name: "x", "deep": [{name: 1}]})
    deep: list[Any] = []
    deep.append(deep)
    for model, value in ((FLUX, "x"), *(("o/m", bad) for bad in (math.nan, b"x", deep, 10**5000))):
        error = refusal_of(model, {"prompt": "a cat", name: value})
        assert str(error).isprintable()
        assert len(str(error)) < 700
        assert error.field == name


@pytest.mark.parametrize("value", ["\x1b[2J", "x" * 1_000_000, "1\n\u202e"], ids=brief)
@pytest.mark.parametrize("name", ["seed", "aspectRatio"], ids=brief)
def test_a_value_is_shown_without_what_a_terminal_obeys(name: str, value: str) -> None:
    error = refusal_of(FLUX, {"prompt": "a cat", name: value})
    assert str(error).isprintable()
    assert len(str(error)) < 700


@pytest.mark.parametrize("name", ["seed", "aspectRatio", "x" * 1_000_000], ids=brief)
def test_only_short_words_are_compared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def record(word: str, *_: object, **__: object) -> list[str]:
        compared.append(word)
        return []

    monkeypatch.setattr("difflib.get_close_matches", record)
    for value in ("y" * 1_000_000, "y" * 100):
        refusal_of(FLUX, {"prompt": "a cat", name: value})
    assert all(len(word) <= 200 for word in compared)
    assert compared == (["y" * 100] if name == "aspectRatio" else [])


@pytest.mark.parametrize("levels", [98, 99, 1000, 100_000])
@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"x": value}])
def test_a_value_is_as_deep_as_can_be_read(levels: int, wrap: Callable[[Any], Any]) -> None:
    value: Any = "x"
    for _ in range(levels):
        value = wrap(value)
    params = {"prompt": "a cat", "deep": value}
    if levels < 100:
        check_request("o/m", params)
        assert json.loads(build_run("o/m", params).body)["deep"] == value
    else:
        assert "more than 100 deep" in str(refusal_of("o/m", params))


def test_a_value_that_holds_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["me"] = [value]
    assert "holds itself" in str(refusal_of("o/m", {"deep": value}))


@pytest.mark.parametrize("model", [FLUX, "o/m"])
def test_a_number_that_python_does_not_write_out_is_refused(model: str) -> None:
    for number in (10**5000, -(10**5000), [10**5000], {"x": 10**5000}):
        params = {"prompt": "a cat", "seed": number}
        assert "thousands of digits" in str(refusal_of(model, params))
    build_run("o/m", {"seed": 10**4000})
    check_request(FLUX, {"prompt": "a cat", "seed": 10**4000})


def resolved(base: str, slug: str) -> list[str]:
    """The path of a Run's url as each of three readers of urls has it."""
    url = f"{base}{build_run(slug, {}).path}"
    return [
        yarl.URL(url).raw_path,
        urllib.parse.urlsplit(urllib.parse.urljoin("https://evil.test/x/", url)).path,
        posixpath.normpath(urllib.parse.unquote(yarl.URL(url).path)),
    ]


PARTS = [
    "o",
    "m.1",
    ".",
    "..",
    "...",
    "..b",
    "/",
    "\\",
    "%2e",
    "%2f",
    "?",
    "#",
    " ",
    "\r\n",
    "\0",
    "@",
]


@given(st.text() | st.lists(st.sampled_from(PARTS), max_size=6).map("".join))
def test_a_slug_that_passes_is_safe_in_a_path(slug: str) -> None:
    try:
        check_slug(slug)
    except InvalidRequest as error:
        assert error.field == "model"  # noqa: PT017 (most texts are refused)
    else:
        assert slug.isascii()
        assert slug.count("/") == 1
        assert set(resolved("https://api.test/v1", slug)) == {f"/v1/Run/{slug}"}


@pytest.mark.parametrize("slug", ["a/..b", ".../m", "..a/m..", "-/-", "_/_", "0/0", ".a/.b"])
def test_the_path_of_a_run_stays_below_run(slug: str) -> None:
    check_slug(slug)
    assert set(resolved("https://api.test/v1", slug)) == {f"/v1/Run/{slug}"}


@given(st.from_regex(r"[A-Za-z0-9._-]{1,4}/[A-Za-z0-9._-]{1,4}", fullmatch=True))
def test_dots_alone_are_the_only_names_refused(slug: str) -> None:
    if {".", ".."} & set(slug.split("/")):
        assert refusal_of(slug, {}).field == "model"
    else:
        check_request(slug, {})
        assert refusal_of(slug, {"prompt": ""}).field == "prompt"
