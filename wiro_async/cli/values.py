"""Options that hold a little language of their own: ``name=value``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from wiro_async.errors import ConfigurationError
from wiro_async.task import JsonValue

if TYPE_CHECKING:  # the emulator brings a web server: imported only when there is to be one
    from wiro_async.emulator import Fault

_SIZE = re.compile(r"([0-9]{1,18})([KMG]?)B?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def read_params(options: Sequence[str]) -> dict[str, JsonValue]:
    """``--param name=value``: a text, or a list or object where the value is written as JSON.

    Raises:
        ConfigurationError: for an option of another form, or a name given twice.
    """
    return {name: _read_value(value) for name, value in _pairs("--param", options).items()}


def read_columns(options: Sequence[str]) -> dict[str, str]:
    """``--column param=column``.

    Raises:
        ConfigurationError: for an option of another form, or a name given twice.
    """
    return _pairs("--column", options)


def read_faults(options: Sequence[str]) -> tuple[Fault, ...]:
    """``--fault endpoint:action:options``.

    Raises:
        ConfigurationError: for one that the emulator does not know.
    """
    if not options:
        return ()
    from wiro_async.emulator import parse_fault  # noqa: PLC0415 - see the head of the file

    try:
        return tuple(parse_fault(option) for option in options)
    except ValueError as error:
        raise ConfigurationError(f"--fault: {error}") from None


def read_cost(text: str | None) -> Decimal | None:
    """``--max-cost 12.50``: dollars.

    Raises:
        ConfigurationError: for what is no amount above nought.
    """
    if text is None:
        return None
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise ConfigurationError(
            f"--max-cost is {text!r}: it is an amount of dollars, such as 12.50"
        )
    return amount


def read_size(option: str, text: str) -> int:
    """``--max-output-bytes 500M``: bytes; K, M and G as `ulimit` and `dd` count them.

    Raises:
        ConfigurationError: for what is no size above nought.
    """
    found = _SIZE.fullmatch(text.strip().upper())
    if found is None or not (size := int(found[1]) * _UNITS[found[2]]):
        raise ConfigurationError(
            f"{option} is {text!r}: it is a number of bytes, such as 500000, 500M or 2G"
        )
    return size


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ConfigurationError(
                f"{option} {text!r} cannot be read: write {option} NAME=VALUE, such as "
                f"{option} prompt='a lighthouse'"
            )
        if name in pairs:
            raise ConfigurationError(f"{option} gives {name!r} twice; give it once")
        pairs[name] = value
    return pairs


def _read_value(text: str) -> JsonValue:
    if not text.startswith(("[", "{")):
        return text
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text  # a prompt may begin with a bracket
    return value
