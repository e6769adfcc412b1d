"""Targets: files of requests in each format, objects from Python, and what a model takes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from tests.batch.source_cases import FLUX, UNKNOWN
from tests.fuzz.answers import noise
from tests.fuzz.draws import TEXTS, Draw
from tests.fuzz.laws import Target, check_words, is_text, only, require
from wiro_async.batch.iterables import as_requests
from wiro_async.batch.requests import BatchRequest, Format, SourceOptions
from wiro_async.batch.sources import check_source, read_requests
from wiro_async.catalog import check_request
from wiro_async.errors import InvalidRequest, SourceError

T = TypeVar("T")

_FORMATS: tuple[Format, ...] = ("csv", "tsv", "txt", "jsonl")
_OPTIONS = (
    SourceOptions(model=FLUX),
    SourceOptions(model=UNKNOWN),
    SourceOptions(),
    SourceOptions(model=UNKNOWN, params={"prompt": "a fox"}),
    SourceOptions(model=FLUX, prompt_column="text", id_column="name"),
    SourceOptions(model=FLUX, columns={"prompt": "text", "seed": "number", "custom_id": "id"}),
    SourceOptions(model=UNKNOWN, columns={"model": "engine", "image": "url"}),
    SourceOptions(model="no model", params={"outputFormat": "gif"}),
)

_CSV = (
    "prompt,custom_id,seed,note\na fox,f1,42,x\n",
    'prompt,note\n"a, ""b""\nc",d\n,\n',
    "\ufeffprompt\r\na\r\nb\r\n",
    "prompt\ra\rb\r",
    "text,name,number,id,engine,url\na,b,1,c,o/m,https://x.example/y.png\n",
    'prompt\n"never closed\n',
    'prompt\n"a"b\n',
    "prompt;seed\na;1\n",
    "aspect_ratio,prompt\n16:9,a\n",
    "prompt," + "," * 200 + "\na," + "," * 200 + "\n",
    "prompt\0\na\n",
    "prompt,prompt\na,b\n",
)
_JSONL = (
    '{"prompt":"a fox","seed":42,"custom_id":"f1","metadata":{"a":[1,null]}}\n"a cat"\n',
    '{"custom_id":"a","method":"POST","url":"/v1","body":{"model":"o/m","prompt":"a"}}\n',
    '{"params":{"prompt":"a","list":[1,2.5,{"a":true}]},"model":"o/m"}\n',
    '{"prompt":"\\ud800"}\n{"prompt":"\\ud83e\\udd8a"}\n',
    '{"prompt":"a","prompt":"b"}\n{"a":NaN}\n{"a":1e999}\n{"a":' + "9" * 4_400 + "}\n",
    '{"a":' + "[" * 2_000 + "\n" + '{"prompt":"a","a":' + "[" * 200 + "]" * 200 + "}\n",
    '{"prompt":\n{"prompt":"a"} x\n[]\n1\nnull\n',
    '{"text":"a","name":"b","number":7,"id":3,"engine":"o/m","url":null}\n',
)
_SEEDS: dict[Format, tuple[str, ...]] = {
    "csv": _CSV,
    "tsv": tuple(text.replace(",", "\t") for text in _CSV),
    "txt": ("a fox\na cat\n", "\ufeffa\r\n\r\nb", "a\rb\r", "", "\n \n"),
    "jsonl": _JSONL,
}

_FOLDER = TemporaryDirectory(prefix="fuzz-")


def check_file(kind: Format, data: bytes) -> None:
    """A file in one format: refused with a place in it, or read twice to the same requests."""
    draw = Draw(data)
    options = _options(draw, kind)
    content = draw.rest()
    path = Path(_FOLDER.name, "source")
    path.write_bytes(content)
    counted = _outcome(lambda: check_source(path, options), content)
    requests = _outcome(lambda: list(read_requests(path, options)), content)
    require(counted is None or requests is not None, "what was checked cannot be read")
    if counted is None or requests is None:
        return
    require(counted.requests == len(requests), "not all that was counted was read")
    if kind == "txt":
        lines = re.split("\r\n|\r|\n", content.decode("utf-8-sig"))
        prompts = [request.params["prompt"] for request in requests]
        require(prompts == [line for line in lines if line.strip()], "a prompt is another")
    for request in requests:
        require(is_text(request.custom_id), "an id that cannot be written down")
        check_request(request.model or "", request.params)
    _check_written_again(requests)


def _options(draw: Draw, kind: Format) -> SourceOptions:
    if draw.byte() < 192:
        chosen = draw.pick(_OPTIONS)
    else:
        columns = {draw.text(): draw.text() for _ in range(draw.below(3))}
        chosen = SourceOptions(
            prompt_column=draw.pick((None, draw.text())),
            id_column=draw.pick((None, draw.text())),
            columns=columns,
            model=draw.pick((None, FLUX, UNKNOWN, draw.text())),
            params=draw.mapping(),  # type: ignore[arg-type] # any value
        )
    return SourceOptions(
        format=kind,
        prompt_column=chosen.prompt_column,
        id_column=chosen.id_column,
        columns=chosen.columns,
        model=chosen.model,
        params=chosen.params,
    )


def _outcome(act: Callable[[], T], content: bytes) -> T | None:
    """What comes of a source; None for a refusal, whose place has to be within the file."""
    try:
        return act()
    except SourceError as error:
        check_words(error)
        _check_place(error, content)
        return None


def _check_place(error: SourceError, content: bytes) -> None:
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if error.line is None:
        require(error.column is None, "a column of no line")
        return
    require(1 <= error.line <= len(lines), f"line {error.line} of {len(lines)}")
    if error.column is not None:
        line = lines[error.line - 1]
        # Characters are as many as bytes, or fewer; one more for what is missing at the end.
        require(1 <= error.column <= len(line) + 1, f"column {error.column} of {len(line)}")


def _check_written_again(requests: list[BatchRequest]) -> None:
    """Written as JSON Lines, they are the same requests."""
    path = Path(_FOLDER.name, "again.jsonl")
    with path.open("w", encoding="utf-8") as file:
        for one in requests:
            named = {"custom_id": one.custom_id, "model": one.model}
            line = {**named, "params": one.params, "metadata": one.metadata}
            file.write(json.dumps(line) + "\n")
    again = list(read_requests(path))
    require(_comparable(again) == _comparable(requests), "written and read again, they differ")


def _comparable(requests: Iterable[BatchRequest]) -> list[str]:
    # As text: 1 and True are equal, and are not the same.
    return [
        json.dumps([one.custom_id, one.model, one.params, one.metadata], sort_keys=True)
        for one in requests
    ]


def check_iterables(data: bytes) -> None:
    """Items from Python, each a request or an error that names it; none ends the batch."""
    draw = Draw(data)
    model = draw.pick((FLUX, UNKNOWN, None))
    items: list[Any] = [_item(draw) for _ in range(draw.below(4))]
    found = _walk(as_requests(items, model=model, params=draw.pick(({}, {"seed": 1}))))
    require(len(found) == len(items), "an item is missing")
    for position, (request, error) in enumerate(found, start=1):
        if error is not None:
            require(f"request {position}" in error.message, "an error without its place")
            continue
        with only(InvalidRequest):
            check_request(request.model or "", request.params)
            json.dumps([request.params, request.metadata], sort_keys=True)


def _walk(requests: AsyncIterator[T]) -> list[T]:
    """All of it; nothing in it ever waits."""

    async def gather() -> list[T]:
        return [one async for one in requests]

    try:
        gather().send(None)
    except StopIteration as end:
        found: list[T] = end.value
        return found
    raise AssertionError("it waits")


def _item(draw: Draw) -> object:
    match draw.below(4):
        case 0:
            return _python_value(draw)
        case 1:
            return BatchRequest(
                custom_id=_python_value(draw) if draw.flag() else None,  # type: ignore[arg-type]
                params={"prompt": "a", **draw.mapping()},  # type: ignore[dict-item]
                metadata=draw.mapping(),  # type: ignore[arg-type]
            )
        case _:
            names = ("custom_id", "id", "model", "params", "metadata", "body", "seed")
            item: dict[Any, object] = dict(draw.mutated({"prompt": "a fox"}, names))
            if draw.byte() % 4 == 1:
                item[draw.pick((1, None, "note", ("a",)))] = _python_value(draw)
            return item


def _python_value(draw: Draw) -> object:
    """What JSON cannot hold, now and then."""
    loop: list[object] = []
    loop.append(loop)
    deep: object = "x"
    for _ in range(draw.pick((10, 400, 990, 3_000))):
        deep = [deep]
    odd = (b"\xff", 10**5_000, {1: 2, "1": 3}, {"a": {None: 1}}, loop, deep, {1, 2}, object())
    return draw.value() if draw.flag() else draw.pick(odd)


def check_catalog(data: bytes) -> None:
    """A model and parameters of any kind: fit, or refused in words."""
    draw = Draw(data)
    model = draw.pick((FLUX, UNKNOWN, draw.text()))
    names = ("promptUpsampling", "safetyTolerance", "aspectRatio", "seed", "callbackUrl")
    params: Any = draw.mutated({"prompt": "a fox"}, names)
    with only(InvalidRequest):
        check_request(model, params)


def _source_seeds(kind: Format) -> list[bytes]:
    made = [
        bytes((0, option)) + text.encode()
        for text in _SEEDS[kind]
        for option in range(len(_OPTIONS))
    ]
    nasty = [b"\0\0" + text.encode(errors="surrogatepass") for text in TEXTS]
    wide = [b"\0\0" + text.encode("utf-16") for text in _SEEDS[kind]]
    return [*made, *nasty, *wide]


SOURCES = (
    *(
        Target(name=kind, check=partial(check_file, kind), seeds=partial(_source_seeds, kind))
        for kind in _FORMATS
    ),
    Target(name="iterables", check=check_iterables, seeds=noise),
    Target(name="catalog", check=check_catalog, seeds=noise, examples=500),
)
