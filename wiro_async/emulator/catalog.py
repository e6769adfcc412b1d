"""The models that the emulated service offers, with their parameters.

The first is the real flux-pro-1-1-ultra, with the parameter table of its model page. The
others are made up, and say so by their owner's name: a language model, whose answer is text
instead of a file, and a model that wants files, so that every kind of parameter can be
tried. Parameters are kept in the very shape that Tool/Detail answers with; what the server
takes beyond what it lists is the business of `accepts`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

FILE_TYPES = frozenset({"fileinput", "multifileinput", "combinefileinput"})
NUMBER_TYPES = frozenset({"number", "float", "range"})


@attrs.frozen(kw_only=True)
class Parameter:
    """One parameter of a model."""

    id: str
    type: str
    """`text textarea select range number float fileinput multifileinput combinefileinput`."""
    label: str
    note: str = ""
    default: str = ""
    required: bool = False
    options: tuple[tuple[str, str], ...] = ()
    """(value, label) of a select."""
    accepts: tuple[str, ...] = ()
    """The values that the server takes where those are not simply the listed ones."""
    min: float | None = None
    max: float | None = None
    step: float | None = None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The values of a select that are not refused."""
        return self.accepts or tuple(value for value, _ in self.options)

    def to_dict(self) -> dict[str, Any]:
        """Give the parameter as Tool/Detail prints it; bounds only where there are some."""
        shape: dict[str, Any] = {
            "id": self.id,
            "type": self.type,
            "label": self.label,
            "required": self.required,
            "placeholder": "",
            "note": self.note,
            "default": self.default,
        }
        if self.options:
            shape["options"] = [{"label": label, "value": value} for value, label in self.options]
        bounds = {"min": self.min, "max": self.max, "step": self.step}
        shape.update({name: bound for name, bound in bounds.items() if bound is not None})
        return shape


@attrs.frozen(kw_only=True)
class Model:
    """One model of the service."""

    id: str
    owner: str
    project: str
    title: str
    description: str
    categories: tuple[str, ...]
    tags: tuple[str, ...] = ()
    draws: bool = True
    """Whether a task brings forth a picture; a language model brings forth text."""
    inspire: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...]

    @property
    def slug(self) -> str:
        """`owner/project`, the name that people use."""
        return f"{self.owner}/{self.project}"

    def value(self, name: str, given: Mapping[str, Any]) -> str:
        """Give the value of one parameter as text: what was given, else its default.

        A parameter that the model does not have is "".
        """
        defaults = {parameter.id: parameter.default for parameter in self.parameters}
        value = given.get(name)
        # A seed of 0 is a seed: only what is not there, or empty, is left to the default.
        return defaults.get(name, "") if value in (None, "") else str(value).strip()


def _same(*values: str) -> tuple[tuple[str, str], ...]:
    return tuple((value, value) for value in values)


_RATIOS = _same(
    *("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"),
    *("4:5", "5:4", "21:9", "9:21", "2:1", "1:2"),
)

_PROMPT = Parameter(
    id="prompt",
    type="textarea",
    label="prompt",
    note="Text prompt for image generation.",
    default="A quiet, sun-drenched Los Angeles street from a low, eye-level perspective.",
    required=True,
)

FLUX = Model(
    id="1042",
    owner="black-forest-labs",
    project="flux-pro-1-1-ultra",
    title="flux-pro-1-1-ultra",
    description="The emulated twin of a text-to-image model: it draws your prompt, literally.",
    categories=("tool", "bfl", "flux-pro", "text-to-image", "image-to-image", "partner"),
    tags=("image generation", "flux-pro"),
    inspire=("A lone lighthouse stands on a rugged coastline.",),
    parameters=(
        _PROMPT,
        Parameter(
            id="promptUpsampling",
            type="select",
            label="Prompt Upsampling",
            default="false",
            options=(("false", "NO"), ("true", "YES")),
        ),
        Parameter(
            id="safetyTolerance",
            type="select",
            label="Safety Tolerance",
            note="Between 0 and 6, 0 being most strict, 6 being least strict.",
            default="2",
            options=_same("2"),
            # The page's list has only 2, its help says 0 to 6.
            accepts=("0", "1", "2", "3", "4", "5", "6"),
        ),
        Parameter(
            id="aspectRatio",
            type="select",
            label="Aspect Ratio",
            note="Aspect ratio of the image.",
            default="16:9",
            options=_RATIOS,
        ),
        Parameter(id="seed", type="text", label="seed", note="seed-help", default="42"),
        Parameter(
            id="outputFormat",
            type="select",
            label="Output Format",
            note="Output format for the generated image. Can be 'jpeg' or 'png'.",
            default="png",
            options=_same("jpeg", "png"),
        ),
    ),
)

ECHO = Model(
    id="9001",
    owner="wiro-emulator",
    project="echo-llm",
    title="Echo",
    description="A made-up language model that repeats what it was told.",
    categories=("tool", "llm"),
    draws=False,
    parameters=(attrs.evolve(_PROMPT, note="What to repeat.", default=""),),
)

REPAINT = Model(
    id="9002",
    owner="wiro-emulator",
    project="repaint",
    title="Repaint",
    description="A made-up model with a parameter of every kind that takes files or numbers.",
    categories=("tool", "image-to-image"),
    parameters=(
        attrs.evolve(_PROMPT, default=""),
        Parameter(id="inputImage", type="fileinput", label="Input Image", required=True),
        Parameter(id="inputStyles", type="multifileinput", label="Style Images"),
        Parameter(id="inputMasks", type="combinefileinput", label="Masks"),
        Parameter(
            id="strength", type="range", label="Strength", default="0.5", min=0, max=1, step=0.1
        ),
        Parameter(id="steps", type="number", label="Steps"),
    ),
)

CATALOG: Mapping[str, Model] = {model.slug: model for model in (FLUX, ECHO, REPAINT)}
"""Every model by its `owner/project`."""


@attrs.frozen(kw_only=True)
class Search:
    """What Tool/List is asked for; empty means any."""

    text: str = ""
    owner: str = ""
    categories: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()

    def found(self) -> Iterator[Model]:
        """Give the models that have it all, in the catalog's order."""
        return (model for model in CATALOG.values() if self._matches(model))

    def _matches(self, model: Model) -> bool:
        text = f"{model.title} {model.slug} {model.description}".casefold()
        return (
            self.text.casefold() in text
            and self.owner in ("", model.owner)
            and (not self.categories or not self.categories.isdisjoint(model.categories))
            and (not self.tags or not self.tags.isdisjoint(model.tags))
        )
