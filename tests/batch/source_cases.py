"""What the tests of the batch's sources share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from wiro_async.batch.requests import Format, SourceOptions
from wiro_async.task import JsonObject

FLUX = "black-forest-labs/flux-pro-1-1-ultra"
UNKNOWN = "somebody/upscaler"

Write: TypeAlias = Callable[[str, str | bytes], Path]


def flux(
    *,
    format: Format | None = None,  # noqa: A002, the option's own name
    prompt_column: str | None = None,
    id_column: str | None = None,
    columns: Mapping[str, str] | None = None,
    params: JsonObject | None = None,
) -> SourceOptions:
    """Make options with a known model as the default."""
    return SourceOptions(
        format=format,
        prompt_column=prompt_column,
        id_column=id_column,
        columns=columns if columns is not None else {},
        model=FLUX,
        params=params if params is not None else {},
    )


def write_file(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file exactly as it is given, line ends too."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
