"""Which Run is admitted: the check of its parameters against the model's table.

As strict as the service is documented to be, and no stricter, since an emulator that
refuses more would teach its clients superstition: a required parameter must be there and
not empty, a select takes listed values, a number is a number and in its range, a required
file parameter has a file or a url. Parameters that the model does not have are ignored.
Values come as JSON of any type and as the strings of a multipart form; both mean the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from wiro_async.emulator import refusals
from wiro_async.emulator.catalog import FILE_TYPES, NUMBER_TYPES, Model, Parameter
from wiro_async.emulator.refusals import Refusal


def text_of(value: object) -> str:
    """Give a value as the text that a form would have held: `True` is "true", null is ""."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@attrs.frozen
class Given:
    """What came with a Run: the fields of its body, and the urls of the files in it."""

    fields: Mapping[str, Any]
    uploads: Mapping[str, Sequence[str]] = attrs.field(factory=dict)

    def files(self, parameter: Parameter) -> list[str]:
        """Give the urls of one file parameter: of uploaded files first, then those named."""
        named = [*_listed(self.fields.get(parameter.id))]
        if parameter.type != "combinefileinput":
            text = text_of(self.fields.get(f"{parameter.id}Url"))
            named += text.split(",") if parameter.type == "multifileinput" else [text]
        return [*self.uploads.get(parameter.id, ()), *(url.strip() for url in named if url.strip())]


def admit(model: Model, given: Given) -> dict[str, Any] | Refusal:
    """Give the parameters that the task will list, or the first reason to refuse the Run.

    Only what was given is listed, as it came; file parameters as a url, or a list of urls
    where the parameter takes several.
    """
    admitted: dict[str, Any] = {}
    for parameter in model.parameters:
        is_file = parameter.type in FILE_TYPES
        refusal = _check_files(parameter, given) if is_file else _check(parameter, given)
        if refusal is not None:
            return refusal
        if is_file:
            urls = given.files(parameter)
            if urls:
                admitted[parameter.id] = urls[0] if parameter.type == "fileinput" else urls
        elif parameter.id in given.fields:
            admitted[parameter.id] = given.fields[parameter.id]
    return admitted


def _check_files(parameter: Parameter, given: Given) -> Refusal | None:
    missing = parameter.required and not given.files(parameter)
    return refusals.files_required(parameter.id) if missing else None


def _check(parameter: Parameter, given: Given) -> Refusal | None:
    text = text_of(given.fields.get(parameter.id)).strip()
    if not text:
        return refusals.parameter_required(parameter.id) if parameter.required else None
    if parameter.type == "select" and text not in parameter.allowed:
        return refusals.not_listed(parameter.id, parameter.allowed)
    return _check_number(parameter, text) if parameter.type in NUMBER_TYPES else None


def _check_number(parameter: Parameter, text: str) -> Refusal | None:
    try:
        number = float(text)
    except ValueError:
        return refusals.not_a_number(parameter.id)
    if parameter.min is None or parameter.max is None:
        return None
    # Written so that a NaN, which compares false with everything, is out of range.
    if parameter.min <= number <= parameter.max:
        return None
    return refusals.out_of_range(parameter.id, parameter.min, parameter.max)


def _listed(value: object) -> list[str]:
    return [text_of(one) for one in value] if isinstance(value, list) else [text_of(value)]
