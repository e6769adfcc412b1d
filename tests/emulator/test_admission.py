from typing import Any

import pytest

from wiro_async.emulator.admission import Given, admit
from wiro_async.emulator.catalog import CATALOG, ECHO, FLUX, REPAINT, Model, Search
from wiro_async.emulator.refusals import Refusal

PROMPT = {"prompt": "a lighthouse"}
PICTURE = {"prompt": "x", "inputImage": "https://e.test/a.png"}


@pytest.mark.parametrize(
    ("model", "fields", "admitted"),
    [
        (FLUX, PROMPT, PROMPT),
        (FLUX, {**PROMPT, "seed": 7, "width": 3}, {**PROMPT, "seed": 7}),
        (FLUX, {**PROMPT, "promptUpsampling": True}, {**PROMPT, "promptUpsampling": True}),
        (FLUX, {**PROMPT, "safetyTolerance": 6}, {**PROMPT, "safetyTolerance": 6}),
        (FLUX, {**PROMPT, "aspectRatio": ""}, {**PROMPT, "aspectRatio": ""}),
        (FLUX, {**PROMPT, "aspectRatio": None}, {**PROMPT, "aspectRatio": None}),
        (FLUX, {**PROMPT, "outputFormat": "jpeg"}, {**PROMPT, "outputFormat": "jpeg"}),
        (ECHO, PROMPT, PROMPT),
        (REPAINT, PICTURE, PICTURE),
        (REPAINT, {**PICTURE, "strength": "0.5"}, {**PICTURE, "strength": "0.5"}),
        (REPAINT, {**PICTURE, "steps": 12}, {**PICTURE, "steps": 12}),
        (REPAINT, {"prompt": "x", "inputImage": "", "inputImageUrl": "u"}, {"inputImage": "u"}),
        (REPAINT, {**PICTURE, "inputStylesUrl": "a, b,"}, {"inputStyles": ["a", "b"]}),
        (REPAINT, {**PICTURE, "inputMasks": ["a", "b"]}, {"inputMasks": ["a", "b"]}),
        (REPAINT, {**PICTURE, "inputMasksUrl": "a"}, PICTURE),
    ],
)
def test_what_is_admitted(model: Model, fields: dict[str, Any], admitted: dict[str, Any]) -> None:
    parameters = admit(model, Given(fields))
    assert not isinstance(parameters, Refusal)
    assert admitted.items() <= parameters.items()
    assert parameters.keys() <= {parameter.id for parameter in model.parameters}


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        (FLUX, {}, "Request parameter [prompt] required"),
        (FLUX, {"prompt": ""}, "Request parameter [prompt] required"),
        (FLUX, {"prompt": "  \n"}, "Request parameter [prompt] required"),
        (FLUX, {"prompt": None}, "Request parameter [prompt] required"),
        (FLUX, {**PROMPT, "outputFormat": "gif"}, "[outputFormat] must be one of [jpeg, png]"),
        (FLUX, {**PROMPT, "aspectRatio": "7:3"}, "[aspectRatio] must be one of [1:1, 16:9"),
        (FLUX, {**PROMPT, "safetyTolerance": "7"}, "[safetyTolerance] must be one of [0, 1"),
        (FLUX, {**PROMPT, "promptUpsampling": "True"}, "[promptUpsampling] must be one of"),
        (FLUX, {**PROMPT, "outputFormat": ["png"]}, "[outputFormat] must be one of"),
        (REPAINT, {"prompt": "x"}, "Request files [inputImage] required"),
        (REPAINT, {"prompt": "x", "inputImage": ""}, "Request files [inputImage] required"),
        (REPAINT, {**PICTURE, "strength": "much"}, "[strength] must be integer or float"),
        (REPAINT, {**PICTURE, "strength": 1.5}, "[strength] must be between 0 and 1"),
        (REPAINT, {**PICTURE, "strength": "nan"}, "[strength] must be between 0 and 1"),
        (REPAINT, {**PICTURE, "steps": "a few"}, "[steps] must be integer or float"),
    ],
)
def test_what_is_refused(model: Model, fields: dict[str, Any], message: str) -> None:
    refusal = admit(model, Given(fields))
    assert isinstance(refusal, Refusal)
    assert message in refusal.message
    assert (refusal.code, refusal.http_status) == (0, 200)


def test_uploaded_files_come_before_named_ones() -> None:
    given = Given({**PICTURE, "inputMasks": "b"}, {"inputImage": ["up"], "inputMasks": ["a"]})
    parameters = admit(REPAINT, given)
    assert not isinstance(parameters, Refusal)
    assert parameters["inputImage"] == "up"
    assert parameters["inputMasks"] == ["a", "b"]


def test_flux_has_the_parameters_of_its_page() -> None:
    table = {parameter.id: parameter for parameter in FLUX.parameters}
    assert list(table) == [
        "prompt",
        "promptUpsampling",
        "safetyTolerance",
        "aspectRatio",
        "seed",
        "outputFormat",
    ]
    assert table["prompt"].required
    ratios = "1:1 16:9 9:16 4:3 3:4 3:2 2:3 4:5 5:4 21:9 9:21 2:1 1:2"
    assert [value for value, _ in table["aspectRatio"].options] == ratios.split()
    defaults = ["false", "2", "16:9", "42", "png"]
    assert [parameter.default for parameter in FLUX.parameters[1:]] == defaults
    assert "bfl" in FLUX.categories


@pytest.mark.parametrize(
    ("given", "seed"), [({}, "42"), ({"seed": ""}, "42"), ({"seed": 0}, "0"), ({"seed": " 7"}, "7")]
)
def test_a_parameter_falls_back_on_its_default(given: dict[str, Any], seed: str) -> None:
    assert FLUX.value("seed", given) == seed
    assert FLUX.value("no-such", given) == ""


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (Search(), [FLUX, ECHO, REPAINT]),
        (Search(text="FLUX"), [FLUX]),
        (Search(owner="wiro-emulator"), [ECHO, REPAINT]),
        (Search(categories=frozenset({"image-to-image", "none"})), [FLUX, REPAINT]),
        (Search(tags=frozenset({"flux-pro"})), [FLUX]),
        (Search(text="zebra"), []),
    ],
)
def test_models_are_found(search: Search, found: list[Model]) -> None:
    assert list(search.found()) == found
    assert list(CATALOG.values()) == [FLUX, ECHO, REPAINT]
