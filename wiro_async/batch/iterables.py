"""Requests from Python: any iterable or async iterable, one item at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping

from wiro_async.batch.fields import request_from_object
from wiro_async.batch.requests import BatchRequest, SourceOptions, finish_request, numbered_id
from wiro_async.errors import ConfigurationError, InvalidRequest
from wiro_async.task import JsonObject, JsonValue


def as_requests(
    requests: Iterable[BatchRequest | str | Mapping[str, JsonValue]]
    | AsyncIterable[BatchRequest | str | Mapping[str, JsonValue]],
    *,
    model: str | None = None,
    params: JsonObject | None = None,
) -> AsyncGenerator[tuple[BatchRequest, InvalidRequest | None], None]:
    """Read what a batch was given, one item at a time and none before it is asked for.

    A text is a prompt; a mapping is read like an object of a JSON Lines file. Each request comes
    out with an id, a model and the defaults under its parameters. Values are not checked against
    the model here. An item that is no request comes out as its number and the error, which
    names its position: one wrong item must not end a batch that is under way. An item whose files
    would have an earlier one's names where case makes no difference comes out with its error too.

    Raises:
        ConfigurationError: at once, for what is no collection of requests.
    """
    if isinstance(requests, str | bytes | bytearray | Mapping | BatchRequest):
        raise ConfigurationError(
            f"requests is one {type(requests).__name__}, not a collection of requests: "
            "for a single request write [request]; for a file, read_requests(path)"
        )
    if not isinstance(requests, Iterable | AsyncIterable):
        raise ConfigurationError(
            f"requests is a {type(requests).__name__}, which cannot be gone through: give a list, "
            "a generator or an async generator of prompts, mappings or BatchRequests"
        )
    options = SourceOptions(model=model, params=params if params is not None else {})
    return _finished(requests, options)


async def _finished(
    requests: Iterable[object] | AsyncIterable[object], options: SourceOptions
) -> AsyncGenerator[tuple[BatchRequest, InvalidRequest | None], None]:
    from wiro_async.batch.ids import SeenIds, same_names  # noqa: PLC0415 - a database

    position = 0
    with SeenIds() as seen:
        async for item in _one_by_one(requests):
            position += 1
            try:
                request = _request_from_item(item, options)
                finished = finish_request(
                    request, position, model=options.model, params=options.params
                )
            except InvalidRequest as error:
                nameless = BatchRequest(custom_id=numbered_id(position))
                text = f"request {position} (index {position - 1}): {error.message}"
                yield nameless, InvalidRequest(text, field=error.field)
                continue
            custom_id = finished.custom_id or ""
            earlier = seen.meet(custom_id, position)
            if earlier is None or earlier.is_same:  # one that comes twice is the journal's to tell
                yield finished, None
            else:
                yield finished, same_names(custom_id, f"request {earlier.line}")


async def _one_by_one(
    requests: Iterable[object] | AsyncIterable[object],
) -> AsyncIterator[object]:
    if isinstance(requests, AsyncIterable):
        async for item in requests:
            yield item
    else:
        for item in requests:
            yield item


def _request_from_item(item: object, options: SourceOptions) -> BatchRequest:
    if isinstance(item, BatchRequest):
        return item
    if isinstance(item, str):
        return BatchRequest(params={"prompt": item})
    if isinstance(item, Mapping):
        _check_keys(item)
        return request_from_object(item, options)
    raise InvalidRequest(
        f"a {type(item).__name__} is no request: give a prompt as a text, "
        "a mapping such as {'prompt': ...}, or a BatchRequest"
    )


def _check_keys(item: Mapping[object, object]) -> None:
    for key in item:
        if not isinstance(key, str):
            raise InvalidRequest(f"{key!r} is no name of a parameter: the keys are texts")
