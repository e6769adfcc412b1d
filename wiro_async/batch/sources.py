"""Files of requests: CSV, TSV, TXT and JSON Lines, read lazily and checked whole before paying.

A file is read twice. `check_source` goes through all of it before anything is sent, and names
what is wrong with it; `read_requests` then gives the requests one at a time. Both pass through
the same rules (`_results`), so what was checked is what is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from attrs import evolve, field, frozen

from wiro_async.batch.jsonl import read_jsonl, read_txt
from wiro_async.batch.lines import (
    PlacedProblem,
    check_readable,
    name_source,
    open_text,
    read_lines,
)
from wiro_async.batch.requests import (
    FORMAT_OPTION,
    BatchRequest,
    Format,
    SourceOptions,
    finish_request,
)
from wiro_async.batch.tables import read_csv, read_tsv
from wiro_async.catalog import check_request
from wiro_async.errors import InvalidRequest, SourceError

_Reader: TypeAlias = Callable[
    [Iterable[str], SourceOptions], Iterator[tuple[int, Callable[[], BatchRequest]]]
]

_READERS: Mapping[Format, _Reader] = {
    "csv": read_csv,
    "tsv": read_tsv,
    "txt": read_txt,
    "jsonl": read_jsonl,
}
_ENDINGS: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_MOST_PROBLEMS = 10


@frozen(kw_only=True)
class SourceCount:
    """What a whole source holds.

    Attributes:
        requests: how many there are.
        models: model -> how many requests it gets.
        parameters: the names of what is sent, in the order they were met.
        metadata: the names of what is kept for the results and not sent.
    """

    requests: int
    models: Mapping[str, int] = field(factory=dict)
    parameters: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()


@frozen(kw_only=True)
class _Place:
    file: str
    line: int | None = None
    column: int | None = None

    def error(self, problem: InvalidRequest) -> SourceError:
        return SourceError(
            problem.message,
            file=self.file,
            line=self.line,
            column=self.column,
            field=problem.field,
        )


_Result: TypeAlias = tuple[_Place, BatchRequest | InvalidRequest]


def read_requests(path: str | Path, options: SourceOptions | None = None) -> Iterator[BatchRequest]:
    """Read the requests of a file, one at a time, each checked, numbered and with its defaults.

    Raises:
        SourceError: at once where the file cannot be read as what it is named; on the way, for
            the first row that is wrong.
    """
    return _raise_first(_open_source(path, options))


def check_source(path: str | Path, options: SourceOptions | None = None) -> SourceCount:
    """Go through a whole file before anything is paid: check every row, and that ids are unique.

    Raises:
        SourceError: with up to ten problems; its line, column and field are the first one's.
    """
    from wiro_async.batch.ids import SeenIds  # noqa: PLC0415 - a database: for a whole file only

    problems = _Problems()
    models: Counter[str] = Counter()
    # Dicts as sets that keep the order.
    parameters: dict[str, None] = {}
    metadata: dict[str, None] = {}
    with closing(_open_source(path, options)) as results, SeenIds() as seen:
        for place, result in results:
            checked = _check_id(result, place, seen.refuse)
            if isinstance(checked, InvalidRequest):
                problems.add(place, checked)
                if problems.is_full:
                    break
                continue
            models[checked.model or ""] += 1
            parameters.update(dict.fromkeys(checked.params))
            metadata.update(dict.fromkeys(checked.metadata))
    problems.raise_any()
    return SourceCount(
        requests=models.total(),
        models=dict(models),
        parameters=tuple(parameters),
        metadata=tuple(metadata),
    )


class _Problems:
    """What is wrong with a file; the same thing on many lines is one problem."""

    def __init__(self) -> None:
        self._first: dict[str, SourceError] = {}
        self._counts: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        return len(self._first) == _MOST_PROBLEMS

    def add(self, place: _Place, problem: InvalidRequest) -> None:
        self._first.setdefault(problem.message, place.error(problem))
        self._counts[problem.message] += 1

    def raise_any(self) -> None:
        if not self._first:
            return
        texts = [
            error.message + (f" (and {count - 1:,} more lines like it)" if count > 1 else "")
            for error, count in zip(self._first.values(), self._counts.values(), strict=True)
        ]
        first = next(iter(self._first.values()))
        if len(texts) > 1:
            number = f"at least {len(texts)}" if self.is_full else str(len(texts))
            texts.insert(0, f"{first.file} has {number} problems:")
        # Set here: the constructor would write the first one's place in front of all of them.
        whole = SourceError("\n  ".join(texts), field=first.field)
        whole.file, whole.line, whole.column = first.file, first.line, first.column
        raise whole


def _open_source(path: str | Path, options: SourceOptions | None) -> Generator[_Result, None, None]:
    path = Path(path)
    options = options if options is not None else SourceOptions()
    check_readable(path)
    return _results(path, _choose_reader(path, options), options)


def _results(path: Path, read: _Reader, options: SourceOptions) -> Generator[_Result, None, None]:
    """Give every row as a request, or as what is wrong; a problem that ends the file is last."""
    place = _Place(file=name_source(path))
    position = 0
    try:
        with open_text(path) as stream:
            for position, (line, make) in enumerate(read(read_lines(stream), options), start=1):
                row = _Place(file=place.file, line=line)
                yield _make_request(make, position, options, row)
    except PlacedProblem as problem:
        yield evolve(place, line=problem.line, column=problem.column), problem
        return
    if position == 0:
        yield (
            place,
            InvalidRequest("there are no requests in it: it is empty, or only a header or blanks"),
        )


def _make_request(
    make: Callable[[], BatchRequest], position: int, options: SourceOptions, place: _Place
) -> _Result:
    try:
        request = finish_request(
            make(),
            position,
            model=options.model,
            params=options.params,
            origin=f"{place.file}, line {place.line}",
        )
        check_request(request.model or "", request.params)
    except PlacedProblem as problem:
        return evolve(place, column=problem.column), problem
    except InvalidRequest as problem:
        return place, problem
    return place, request


def _choose_reader(path: Path, options: SourceOptions) -> _Reader:
    chosen = options.format or _ENDINGS.get(path.suffix.lower())
    if chosen is not None and chosen in _READERS:
        return _READERS[chosen]
    wrong = (
        f"{chosen!r} is no format"
        if chosen is not None
        else f"the ending {path.suffix!r} does not say which format this is"
    )
    raise SourceError(
        f"{wrong}: name the file with one of {', '.join(_ENDINGS)}, "
        f"or give one of {', '.join(_READERS)} with {FORMAT_OPTION}",
        file=name_source(path),
        field="format",
    )


def _raise_first(results: Generator[_Result, None, None]) -> Iterator[BatchRequest]:
    with closing(results):  # or an error that somebody keeps would keep the file open
        for place, result in results:
            if isinstance(result, InvalidRequest):
                raise place.error(result)
            yield result


def _check_id(
    result: BatchRequest | InvalidRequest,
    place: _Place,
    refuse: Callable[[str, int | None], InvalidRequest | None],
) -> BatchRequest | InvalidRequest:
    if isinstance(result, InvalidRequest):
        return result
    return refuse(result.custom_id or "", place.line) or result
