"""What is refused before it is sent, and that each refusal teaches what would pass."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
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


@pytest.mark.parametrize("slug", [FLUX, "o/m", "O.w_n-3r/m.1_2-3", "a/..b", ".a/b", ".../m"])
def test_a_slug_is_owner_and_model(slug: str) -> None:
    check_slug(slug)
    with pytest.raises(InvalidRequest, match="empty"):
        check_request(slug, {"prompt": ""})


@pytest.mark.parametrize(
    "slug",
    [
        *("", "/", "model", "o/", "/m", "o/m/x", "o//m", " o/m", "o/m ", "o/m\n", "o m/x", "ö/m"),
        *("../m", "o/..", "./m", "o/.", "../..", "o/m?x=1", "o/m#x", "o/m%2f", "o\\m", "o/m\x00"),
    ],
)
def test_what_is_no_slug_is_refused(slug: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_slug(slug)
    assert caught.value.field == "model"
    assert f"owner/model, such as {FLUX}" in str(caught.value)
    assert "did you mean" not in str(caught.value)


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


@given(st.text())
def test_a_slug_that_passes_is_safe_in_a_path(slug: str) -> None:
    try:
        check_slug(slug)
    except InvalidRequest as error:
        assert error.field == "model"  # noqa: PT017 (most texts are refused)
    else:
        assert slug.isascii()
        assert slug.count("/") == 1


@given(st.from_regex(r"[A-Za-z0-9._-]{1,4}/[A-Za-z0-9._-]{1,4}", fullmatch=True))
def test_dots_alone_are_the_only_names_refused(slug: str) -> None:
    if {".", ".."} & set(slug.split("/")):
        assert refusal_of(slug, {}).field == "model"
    else:
        check_request(slug, {})
        assert refusal_of(slug, {"prompt": ""}).field == "prompt"
