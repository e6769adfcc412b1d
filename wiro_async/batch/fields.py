"""From named fields to a request.

A row of a table, a JSON object of a file and a mapping from Python are all named fields, so one
set of rules holds for all three:

1. A field is the custom id, the prompt or the model by the name that the caller gave it, or
   else by its usual name.
2. A field that the caller mapped to a parameter is that parameter.
3. Any other field whose name is a parameter of the model is that parameter.
4. What is left over is metadata: it goes into the result line and is never sent. A field that
   differs from a parameter only in its spelling (``aspect_ratio``, ``aspectRation``) is refused
   instead, because the picture would be paid for without it.
5. An empty field is left out, so the batch's default holds; an empty prompt is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import islice

from attrs import evolve, frozen

from wiro_async.batch.requests import (
    COLUMN_OPTION,
    ID_OPTION,
    PROMPT_OPTION,
    BatchRequest,
    SourceOptions,
    cut_off,
    read_custom_id,
    read_model,
    read_object,
)
from wiro_async.catalog import KNOWN_MODELS, RUN_PARAMETERS
from wiro_async.errors import InvalidRequest
from wiro_async.task import JsonObject, JsonValue

_ID_NAMES = ("custom_id", "id")
_MOST_NAMES_SHOWN = 20
_LONGEST_NAME_SHOWN = 40
_MOST_NAMES_COMPARED = 10_000
# So near that it is meant: aspectRation is (0.96), prompt_id and seeds are not (0.86, 0.89).
_SAME_WORD = 0.9


@frozen(kw_only=True)
class Roles:
    """Which field is what; `mapped` is parameter -> field, as the caller named them."""

    custom_id: str | None
    prompt: str | None
    model: str | None
    mapped: Mapping[str, str]

    @property
    def taken(self) -> frozenset[str | None]:
        """The fields that have a role, which rules 3 and 4 leave alone."""
        return frozenset({self.custom_id, self.prompt, self.model, *self.mapped.values()})


def find_roles(names: Collection[str], options: SourceOptions, *, noun: str = "key") -> Roles:
    """Decide which of the fields is what, by rules 1 and 2.

    Raises:
        InvalidRequest: for a name in the options that is not among the fields.
    """
    mapped = dict(options.columns)
    prompt = options.prompt_column or mapped.pop("prompt", None)
    custom_id = options.id_column or mapped.pop("custom_id", None)
    model = mapped.pop("model", None)
    _check_named(prompt, names, PROMPT_OPTION, noun)
    _check_named(custom_id, names, ID_OPTION, noun)
    for name in (model, *mapped.values()):
        _check_named(name, names, COLUMN_OPTION, noun)
    return Roles(
        custom_id=custom_id or next((name for name in _ID_NAMES if name in names), None),
        prompt=prompt or ("prompt" if "prompt" in names else None),
        model=model or ("model" if "model" in names else None),
        mapped=mapped,
    )


def request_from_fields(
    fields: JsonObject, roles: Roles, options: SourceOptions, *, open_ended: bool
) -> BatchRequest:
    """Make a request from named fields.

    Args:
        fields: the values by name; None means left out.
        roles: which field is what.
        options: the batch's; only the model counts here.
        open_ended: whether a model that is not known takes every field as a parameter.

    Raises:
        InvalidRequest: for a value of the wrong type, or a field by rule 4.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    model = read_model(_value(given, roles.model)) or options.model
    params: dict[str, JsonValue] = {}
    metadata: dict[str, JsonValue] = {}
    if roles.prompt is not None and roles.prompt in fields:
        params["prompt"] = given.get(roles.prompt, "")
    params |= {name: given[source] for name, source in roles.mapped.items() if source in given}
    taken = roles.taken
    for name, value in given.items():
        if name not in taken:
            sent = _is_parameter(name, model, roles, open_ended=open_ended)
            (params if sent else metadata)[name] = value
    return BatchRequest(
        custom_id=read_custom_id(_value(given, roles.custom_id)),
        model=model,
        params=params,
        metadata=metadata,
    )


def request_from_object(item: JsonObject, options: SourceOptions) -> BatchRequest:
    """Make a request from a JSON object: flat, or with a ``body`` as OpenAI's batches have it.

    Raises:
        InvalidRequest: for a special key of the wrong type, a value that stands twice, or no
            prompt where one is needed.
    """
    if "body" in item:
        return _request_from_envelope(item, options)
    fields = {name: value for name, value in item.items() if name not in ("params", "metadata")}
    inner = read_object("params", item.get("params"))
    request = request_from_fields(fields, find_roles(fields, options), options, open_ended=True)
    whole = evolve(
        request,
        params=_joined("params", request.params, inner),
        metadata=_joined_metadata(request.metadata, item),
    )
    _check_prompt(whole, fields, options)
    return whole


def missing_prompt(names: Collection[str], noun: str) -> InvalidRequest:
    """Say that nothing here is the prompt, and how to name what is."""
    near = _nearest("prompt", names)
    example = f", as in --prompt-column {near!r}" if near is not None else ""
    return InvalidRequest(
        f"no {noun} is named 'prompt'; {list_names(names, noun)}. "
        f"Name the one that holds the prompt with {PROMPT_OPTION}{example}",
        field="prompt",
    )


def list_names(names: Collection[str], noun: str) -> str:
    """Say which fields there are, in a form that stays readable whatever is in the file."""
    shown = [
        name if len(name) <= _LONGEST_NAME_SHOWN else f"{name[:_LONGEST_NAME_SHOWN]}..."
        for name in list(names)[:_MOST_NAMES_SHOWN]
    ]
    more = len(names) - len(shown)
    listed = ", ".join(repr(name) for name in shown) or "none"
    return f"the {noun}s are {listed}" + (f" and {more} more" if more else "")


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Suggest the nearest of some names, if any is near."""
    near = _nearest(word, names)
    return f" (did you mean {near!r}?)" if near is not None else ""


def _request_from_envelope(item: JsonObject, options: SourceOptions) -> BatchRequest:
    """Read ``{"custom_id", "body"}``; ``method`` and ``url`` say nothing about a run here."""
    body = read_object("body", item["body"])
    special = ("body", "method", "url", "model", "metadata")
    outside = {name: value for name, value in item.items() if name not in special}
    mapped = dict(options.columns)
    id_name = options.id_column or mapped.pop("custom_id", None)
    id_role = find_roles(outside, SourceOptions(id_column=id_name)).custom_id
    roles = find_roles(body, SourceOptions(prompt_column=options.prompt_column, columns=mapped))
    parameters = {source: name for name, source in roles.mapped.items()}
    if roles.prompt is not None:
        parameters[roles.prompt] = "prompt"
    # Every key of the body is sent: unlike a column of a table, it was written to be sent.
    params: JsonObject = {}
    for name, value in body.items():
        if name != roles.model:
            params = _joined("body", params, {parameters.get(name, name): value})
    named = (_value(body, roles.model), item.get("model"), options.model)
    request = BatchRequest(
        custom_id=read_custom_id(_value(outside, id_role)),
        model=next((model for model in map(read_model, named) if model), None),
        params=params,
        metadata=_joined_metadata(
            {name: value for name, value in outside.items() if name != id_role}, item
        ),
    )
    _check_prompt(request, body, options)
    return request


def _is_parameter(name: str, model: str | None, roles: Roles, *, open_ended: bool) -> bool:
    """Tell whether a field without a role is sent, by rules 3 and 4."""
    schema = KNOWN_MODELS.get(model or "")
    own = schema.parameter_ids if schema is not None else ()
    sent = name in own or name in RUN_PARAMETERS or (schema is None and open_ended)
    if name == "prompt":  # the caller named another field as the prompt
        return False
    if sent and name in roles.mapped:
        raise InvalidRequest(
            f"{name!r} has a field of its own, and {COLUMN_OPTION} takes it from "
            f"{roles.mapped[name]!r}: drop the mapping, or rename the field",
            field=name,
        )
    if sent:
        return True
    meant = _find_spelling(name, own) if len(name) <= _LONGEST_NAME_SHOWN else None
    # A "Prompt" beside the field that was named as the prompt is metadata like any other.
    if meant is not None and meant != "prompt" and meant not in roles.mapped:
        raise InvalidRequest(
            f"{name!r} would not be sent, because the parameter is spelled {meant!r}: rename it, "
            f"or map it with {COLUMN_OPTION}, as in --column {meant}={name}",
            field=name,
        )
    return False


def _check_prompt(request: BatchRequest, fields: JsonObject, options: SourceOptions) -> None:
    if request.params.get("prompt", "") is None:
        raise InvalidRequest("the prompt is null; write what is to be generated", field="prompt")
    if "prompt" in request.params or "prompt" in options.params:
        return
    # A model that is not known may well work without a prompt, an upscaler for one.
    misspelled = any(_bare(name) == "prompt" for name in fields)
    if misspelled or not request.params or request.model in KNOWN_MODELS:
        raise missing_prompt(list(fields), "key")


def _check_named(name: str | None, names: Collection[str], option: str, noun: str) -> None:
    if name is None or name in names:
        return
    leave_out = "; null leaves a value out" if noun == "key" else ""
    raise InvalidRequest(
        f"there is no {noun} {name!r}{did_you_mean(name, names)}; {list_names(names, noun)}. "
        f"Name one of these with {option}{leave_out}",
        field=name,
    )


def _joined_metadata(loose: JsonObject, item: JsonObject) -> JsonObject:
    return _joined("metadata", loose, read_object("metadata", item.get("metadata")))


def _joined(name: str, one: JsonObject, other: JsonObject) -> JsonObject:
    twice = next((key for key in other if key in one), None)
    if twice is not None:
        raise InvalidRequest(
            f"{cut_off(twice)!r} is given twice, in {name!r} and beside it: keep one of the two",
            field=twice,
        )
    return {**one, **other}


def _value(fields: JsonObject, name: str | None) -> JsonValue:
    return None if name is None else fields.get(name)


# The same few names come back on every row. Longer ones than a parameter's are never asked for,
# which keeps the cache small whatever is in the file.
@lru_cache(maxsize=1024)
def _find_spelling(name: str, parameters: tuple[str, ...]) -> str | None:
    by_bare = {_bare(known): known for known in parameters}
    close = difflib.get_close_matches(_bare(name), by_bare, n=1, cutoff=_SAME_WORD)
    return by_bare[close[0]] if close else None


def _bare(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _nearest(word: str, names: Iterable[str]) -> str | None:
    # As many as a person may have written: a header can be a million commas.
    short = (name for name in names if len(name) <= _LONGEST_NAME_SHOWN)
    by_folded = {name.casefold(): name for name in islice(short, _MOST_NAMES_COMPARED)}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.75)
    return by_folded[close[0]] if close else None
