"""What can I run, with what? The models that are known, and the check of a request against them.

A request is checked before it is sent, because a refusal that costs a round trip, or worse a
picture paid for with a mistyped parameter, helps nobody. The rules:

1. A slug is ``owner/model``. It becomes part of a path, so only ASCII letters, digits, ``.``,
   ``_`` and ``-`` are let through, at most 100 in each part, and neither part is ``.`` or ``..``.
   Letters that look like these (a Cyrillic o) are refused with the rest.
2. A model that is not known here takes any parameter: the service knows better.
3. A known model takes its own parameters and the two that any Run takes (`RUN_PARAMETERS`);
   where it lists values, one of these. The lists come from the model's page.
4. A prompt that is given is not blank, whatever the model.
5. A value of None means "left out". Files do not travel in a request: a url does.
6. A parameter's name is any text but an empty one, and a value any that JSON has, to a depth of
   100 lists and objects: JSON carries whatever characters are in them. An error shows them so
   that nothing unseen is left, and cut off.
7. ``callbackUrl`` is an http or https url with a host, printable and without blanks. Which host is
   not judged: it is the service that goes there.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import urlsplit

from attrs import frozen

from wiro_async.errors import InvalidRequest
from wiro_async.task import JsonObject

_SLUG = re.compile(r"(?!\.{1,2}/)[A-Za-z0-9._-]{1,100}/(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100}")
_MODEL_URL = re.compile(r"https?://[^/]+/(?:models/|v1/Run/)?([^/?#]+/[^/?#]+)")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LONGEST_SHOWN = 200
_LONGEST_URL = 2048
# Python's own limit on what calls itself is near a thousand.
_MOST_LEVELS = 100
# Python writes out 4,300 digits and no more ("Integer string conversion length limitation").
_MOST_BITS = 14_000

# Parameters of any Run (wiro-api facts, "Endpoints").
_CALLBACK = "callbackUrl"
RUN_PARAMETERS = (_CALLBACK, "projectid")


@frozen(kw_only=True)
class Parameter:
    """One input of a model, as its page describes it."""

    id: str
    type: str
    label: str = ""
    help: str = ""
    required: bool = False
    default: str | None = None
    options: tuple[str, ...] = ()
    is_integer: bool = False


@frozen(kw_only=True)
class ModelSchema:
    """A model of the service and what it can be run with."""

    slug: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def parameter_ids(self) -> tuple[str, ...]:
        """The names of the parameters, in the page's order."""
        return tuple(parameter.id for parameter in self.parameters)


FLUX_PRO_1_1_ULTRA = ModelSchema(
    slug="black-forest-labs/flux-pro-1-1-ultra",
    description="Text to image, with high detail and close prompt following.",
    categories=("tool", "bfl", "flux-pro", "text-to-image", "image-to-image", "partner"),
    tags=("image generation", "flux-pro"),
    parameters=(
        Parameter(id="prompt", type="textarea", label="prompt", required=True),
        Parameter(
            id="promptUpsampling",
            type="select",
            label="Prompt Upsampling",
            help="Whether the service may rewrite the prompt for more creative results.",
            default="false",
            options=("false", "true"),
        ),
        Parameter(
            id="safetyTolerance",
            type="select",
            label="Safety Tolerance",
            # The page's help speaks of 0 to 6, its list has this one value: the list holds.
            help="Moderation of input and output; the service lists only 2.",
            default="2",
            options=("2",),
        ),
        Parameter(
            id="aspectRatio",
            type="select",
            label="Aspect Ratio",
            default="16:9",
            options=(
                *("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"),
                *("4:5", "5:4", "21:9", "9:21", "2:1", "1:2"),
            ),
        ),
        Parameter(id="seed", type="text", label="seed", default="42", is_integer=True),
        Parameter(
            id="outputFormat",
            type="select",
            label="Output Format",
            default="png",
            options=("jpeg", "png"),
        ),
    ),
)

KNOWN_MODELS: Mapping[str, ModelSchema] = MappingProxyType(
    {FLUX_PRO_1_1_ULTRA.slug: FLUX_PRO_1_1_ULTRA}
)


def check_request(model: str, params: JsonObject) -> None:
    """Check a slug and its parameters by the rules of this module.

    Raises:
        InvalidRequest: with the first thing that is wrong, what is allowed, and its `field`.
    """
    check_slug(model)
    given = {name: value for name, value in params.items() if value is not None}
    for name, value in given.items():
        _check_name(name)
        _check_value_kind(name, value, _MOST_LEVELS)
    if _CALLBACK in given:
        _check_callback(given[_CALLBACK])
    if "prompt" in given and not scalar_text(given["prompt"]).strip():
        raise InvalidRequest("the prompt is empty; write what is to be generated", field="prompt")
    schema = KNOWN_MODELS.get(model)
    if schema is not None:
        _check_against(schema, given)


def check_slug(model: str) -> None:
    """Check that a model's name is ``owner/model``.

    Raises:
        InvalidRequest: naming the form that is meant, and the slug inside a pasted url.
    """
    if _SLUG.fullmatch(model):
        return
    pasted = _MODEL_URL.match(model)
    is_slug = pasted is not None and _SLUG.fullmatch(pasted.group(1))
    hint = f"; did you mean {pasted.group(1)}?" if pasted and is_slug else ""
    raise InvalidRequest(
        f"{_shown(model)} is not a model: a model is named owner/model, such as "
        f"{FLUX_PRO_1_1_ULTRA.slug}{hint}",
        field="model",
    )


def scalar_text(value: object) -> str:
    """A scalar as the service takes it in a form: ``true``, ``42``, ``0.5``, the text itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_web_url(url: str) -> bool:
    """Whether a text is an http or https url with a host, printable and without blanks."""
    # Looked at first: `urlsplit` takes tabs and line ends out without a word.
    if not url.isprintable() or any(c.isspace() or c == "\\" for c in url):
        return False
    try:
        # As plain text: it is remembered, and a receiver's url must not live on for that.
        parts = urlsplit(str(url))
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none
        return False


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"a parameter's name is a text, not {name!r}", field=str(name))


def _check_callback(url: object) -> None:
    # Not shown: it can hold a password or a token of the caller's.
    if not (isinstance(url, str) and len(url) <= _LONGEST_URL and is_web_url(url)):
        raise InvalidRequest(
            f"{_CALLBACK} cannot be used: it is a url that begins with https:// or http://, names "
            f"a host, has no blanks and at most {_LONGEST_URL} characters",
            field=_CALLBACK,
        )


def _check_value_kind(name: str, value: object, levels: int) -> None:
    if levels == 0:
        raise InvalidRequest(
            f"{_shown(name)} holds lists or objects in each other more than {_MOST_LEVELS} deep, "
            "or one that holds itself",
            field=name,
        )
    if isinstance(value, int | float):
        _check_number(name, value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _check_name(key)
            _check_value_kind(name, inner, levels - 1)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        for inner in value:
            _check_value_kind(name, inner, levels - 1)
    elif not isinstance(value, str | None):
        raise InvalidRequest(
            f"{_shown(name)} is a {type(value).__name__}, which cannot be sent: give a text, a "
            "number, true or false, a list or an object; a file goes by its url",
            field=name,
        )


def _check_number(name: str, value: float) -> None:
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise InvalidRequest(
                f"{_shown(name)} is a number of thousands of digits: give it as a text", field=name
            )
    elif not math.isfinite(value):
        raise InvalidRequest(f"{_shown(name)} is {value}: a number has to be finite", field=name)


def _check_against(schema: ModelSchema, given: JsonObject) -> None:
    parameters = {parameter.id: parameter for parameter in schema.parameters}
    for name, value in given.items():
        if name in RUN_PARAMETERS:
            continue
        if name not in parameters:
            allowed = (*schema.parameter_ids, *RUN_PARAMETERS)
            raise InvalidRequest(
                f"{schema.slug} has no parameter {_shown(name)}{_nearest(name, allowed)}; "
                f"it takes {', '.join(allowed)}",
                field=name,
            )
        _check_value(parameters[name], value)
    for parameter in schema.parameters:
        if parameter.required and parameter.id not in given:
            raise InvalidRequest(
                f"{schema.slug} needs the parameter {parameter.id!r}", field=parameter.id
            )


def _check_value(parameter: Parameter, value: object) -> None:
    text = scalar_text(value)
    if parameter.options and text not in parameter.options:
        raise InvalidRequest(
            f"{parameter.id} cannot be {_shown(text)}{_nearest(text, parameter.options)}; "
            f"allowed: {', '.join(parameter.options)}",
            field=parameter.id,
        )
    if parameter.is_integer and not _INTEGER.fullmatch(text):
        raise InvalidRequest(
            f"{parameter.id} cannot be {_shown(text)}: it is a whole number, such as "
            f"{parameter.default}",
            field=parameter.id,
        )


def _shown(text: str) -> str:
    """A text in a message: no longer than anybody would read, and with nothing in it unseen."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def _nearest(word: str, allowed: Iterable[str]) -> str:
    if (
        len(word) > _LONGEST_SHOWN
    ):  # nothing is near it, and to compare it takes its size many times
        return ""
    by_folded = {candidate.casefold(): candidate for candidate in allowed}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return f" (did you mean {by_folded[close[0]]!r}?)" if close else ""
