"""Tables: CSV and TSV with a header row.

CSV is RFC 4180: a cell with a comma, a quote or a line break stands within quotes, and a quote
in it is written twice. TSV is a row a line. What people call TSV comes in two kinds, the plain
one in which a quote is a character (PartiPrompts.tsv), and the one that spreadsheets write, with
quotes as in CSV. So a TSV row is read with quotes where all of it is well-formed that way, and
otherwise as it stands. A quoted cell of TSV cannot span lines: in the plain kind, one prompt
that begins with a quote would then swallow the rows below it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from attrs import frozen

from wiro_async.batch.fields import Roles, find_roles, missing_prompt, request_from_fields
from wiro_async.batch.lines import LONGEST_LINE, PlacedProblem
from wiro_async.batch.requests import FORMAT_OPTION, BatchRequest, SourceOptions, cut_off
from wiro_async.catalog import KNOWN_MODELS
from wiro_async.errors import InvalidRequest

# Two, so that a quote that is never closed is found as what it is: a cell that is too long.
_LONGEST_ROW = 2 * LONGEST_LINE


@frozen(kw_only=True)
class _Table:
    names: tuple[str, ...]
    roles: Roles
    options: SourceOptions
    tabs: bool

    def request(self, cells: list[str]) -> BatchRequest:
        if len(cells) != len(self.names):
            raise InvalidRequest(
                f"this row has {len(cells)} cells and the header has {len(self.names)}: "
                + (
                    "give every row a cell for each column; a cell cannot hold a tab or a line "
                    "break"
                    if self.tabs
                    else "give every row a cell for each column, and put a cell that holds a "
                    "comma within double quotes"
                )
            )
        # pandas writes its row numbers under an empty name; a column without a name is nothing.
        fields = {
            name: cell if cell.strip() else None
            for name, cell in zip(self.names, cells, strict=True)
            if name
        }
        return request_from_fields(fields, self.roles, self.options, open_ended=False)


def read_csv(
    lines: Iterable[str], options: SourceOptions
) -> Iterator[tuple[int, Callable[[], BatchRequest]]]:
    """Give each row of a CSV file: its line, and what makes a request of it.

    Raises:
        PlacedProblem: where the file cannot be read any further.
    """
    return _read_table(_csv_rows(lines), options, tabs=False)


def read_tsv(
    lines: Iterable[str], options: SourceOptions
) -> Iterator[tuple[int, Callable[[], BatchRequest]]]:
    """Give each row of a TSV file: its line, and what makes a request of it.

    Raises:
        PlacedProblem: where the file cannot be read any further.
    """
    return _read_table(_tsv_rows(lines), options, tabs=True)


def _read_table(
    rows: Iterator[tuple[int, list[str]]], options: SourceOptions, *, tabs: bool
) -> Iterator[tuple[int, Callable[[], BatchRequest]]]:
    # Spreadsheets write rows of empty cells below the data; they are blank lines.
    filled = ((line, cells) for line, cells in rows if any(cell.strip() for cell in cells))
    for line, header in filled:
        table = _read_header(header, options, line, tabs=tabs)
        for row_line, cells in filled:
            yield row_line, partial(table.request, cells)


def _read_header(header: list[str], options: SourceOptions, line: int, *, tabs: bool) -> _Table:
    names = tuple(name.strip() for name in header)
    named = [name for name in names if name]
    try:
        _check_unique(named)
        roles = find_roles(named, options, noun="column")
        if roles.prompt is None and _needs_prompt(roles, options):
            raise missing_prompt(named, "column")
    except InvalidRequest as error:
        hint = _hint_separator(named, tabs=tabs)
        problem = PlacedProblem(f"{error.message}{hint}", line=line)
        problem.field = error.field
        raise problem from None
    return _Table(names=names, roles=roles, options=options, tabs=tabs)


def _check_unique(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidRequest(
                f"the header has the column {cut_off(name)!r} twice: rename or remove one",
                field=name,
            )
        seen.add(name)


def _needs_prompt(roles: Roles, options: SourceOptions) -> bool:
    if "prompt" in options.params:
        return False
    # A model that is not known, with its inputs mapped, may well work without a prompt.
    return not roles.mapped or options.model in KNOWN_MODELS


def _hint_separator(names: list[str], *, tabs: bool) -> str:
    if len(names) != 1:
        return ""
    if ";" in names[0]:
        return ". The header is separated by semicolons: save the table with commas"
    if not tabs and "\t" in names[0]:
        return f". The header is separated by tabs: read it as tsv with {FORMAT_OPTION}"
    if tabs and "," in names[0]:
        return f". The header is separated by commas: read it as csv with {FORMAT_OPTION}"
    return ""


def _csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    _raise_cell_limit()
    row = _Row(lines)
    reader = csv.reader(row, strict=True)
    while True:
        line = reader.line_num + 1
        row.begin(line)
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _explain_csv(str(error), line, reader.line_num) from None
        if cells is None:
            return
        yield line, cells


class _Row:
    """The lines of a table, as long as those of one row are not too much together.

    A quoted cell can hold line ends, so one wrong quote makes one row of all that follows, and
    if there are quotes in it too, no cell of it is too long.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._first_line = 1
        self._length = 0

    def begin(self, line: int) -> None:
        """A row begins with this line."""
        self._first_line = line
        self._length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._length += len(line)
        if self._length > _LONGEST_ROW:
            raise PlacedProblem(
                f"this row is longer than {_LONGEST_ROW:,} characters: is a double quote of the "
                "row that begins here never closed?",
                line=self._first_line,
            )
        return line


def _tsv_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    _raise_cell_limit()
    for number, line in enumerate(lines, start=1):
        yield number, _tsv_cells(line.rstrip("\r\n"))


def _tsv_cells(row: str) -> list[str]:
    if '"' in row:
        try:
            return next(csv.reader([row], delimiter="\t", strict=True))
        except csv.Error:
            pass  # the plain kind: a quote is a character
    return row.split("\t")


def _raise_cell_limit() -> None:
    # The setting is the process's, so it is only ever raised: another reader may need its own.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))


def _explain_csv(reason: str, first_line: int, last_line: int) -> PlacedProblem:
    if "field larger" in reason:
        return PlacedProblem(
            f"a cell is longer than {LONGEST_LINE:,} characters: is a double quote of the row "
            "that begins here never closed?",
            line=first_line,
        )
    if "unexpected end" in reason:
        return PlacedProblem(
            "a cell opens with a double quote that is never closed: close it; a double quote "
            "within a quoted cell is written twice",
            line=first_line,
        )
    return PlacedProblem(
        "a quoted cell goes on after its closing double quote: a double quote within a quoted "
        "cell is written twice",
        line=last_line,
    )
