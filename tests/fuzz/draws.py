"""Values of any kind, drawn from bytes.

A fuzzer knows bytes and nothing else. Here each byte decides a little of what comes next, so a
small change of the input is mostly a small change of the value, and the same input is the same
value for whichever engine drives it. Where the bytes are at their end, all is nought: the
simplest value there is.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TypeVar

from attrs import define, field

T = TypeVar("T")

_DEEPEST = 4
_MOST_MEMBERS = 4
_LONGEST_PIECE = 40

# Texts that have been somebody's downfall: empty, half a character, numbers that are none or too
# long, directions of writing, paths, what looks like JSON and is cut off, and what is nested.
TEXTS = (
    *("", " ", "0", "-1", "1e999999999", "NaN", "Infinity", "null", "false", "\ud800", "a\udfffb"),
    *("\0", "\x1b[2J", "\u202egnp.exe", "\u2028", "\ufeff", "../../etc/passwd", "CON", "a" * 300),
    *("9" * 4_299, "0." + "0" * 400 + "1", "[", '{"a":', '{"a":1}', "[1]", '"x"', "[" * 2_000),
    *("task_cancel", "task_error", "task_postprocess_end", "٣", "²", "1_0", "0x1f", "+5", "5e-1"),
    *('"', "''", ",", "\t", "\r", "\n", "%00", "https://[", "//", "\N{KISS MARK}" * 20),
)
NUMBERS: tuple[int | float, ...] = (
    *(0, 1, 10**400, -1, 2**31, 2**53 + 1, 2**63, 2**64, 10**39, 10**40, -(10**400)),
    *(0.5, -0.0, 1e16, 1e308, 5e-324, float("inf"), float("-inf"), float("nan")),
)


@define
class Draw:
    """What is still to be drawn of some bytes."""

    data: bytes
    _at: int = field(init=False, default=0)

    def byte(self) -> int:
        self._at += 1
        return self.data[self._at - 1] if self._at <= len(self.data) else 0

    def below(self, limit: int) -> int:
        """A number from 0 to less than `limit`."""
        number = self.byte()
        for _ in range((max(1, limit - 1).bit_length() - 1) // 8):
            number = number << 8 | self.byte()
        return number % limit

    def flag(self) -> bool:
        return self.byte() % 2 == 1

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def piece(self, longest: int = _LONGEST_PIECE) -> bytes:
        length = self.below(longest + 1)
        taken = self.data[self._at : self._at + length]
        self._at += length
        return taken

    def rest(self) -> bytes:
        taken = self.data[self._at :]
        self._at = len(self.data)
        return taken

    def text(self) -> str:
        match self.below(4):
            case 0:
                return self.piece().decode(errors="replace")
            case 1:
                return self.piece().decode(errors="surrogateescape")
            case 2:
                units = self.piece()
                return "".join(
                    map(chr, (a << 8 | b for a, b in zip(units[::2], units[1::2], strict=False)))
                )
            case _:
                return self.pick(TEXTS)

    def real(self) -> float:
        """Any float, all its kinds among them."""
        number: float = struct.unpack("<d", self.piece(8).ljust(8, b"\0"))[0]
        return number

    def fraction(self) -> float:
        """A number from 0 to 1, both among them."""
        return self.below(2**16) / (2**16 - 1)

    def number(self) -> int | float:
        match self.below(4):
            case 0:
                return self.pick(NUMBERS)
            case 1:
                return int.from_bytes(self.piece(12), "big", signed=True)
            case 2:
                return self.below(1000)
            case _:
                return self.real()

    def value(self, depth: int = 0) -> object:
        """Whatever JSON can hold, and what only Python's reader takes for it."""
        match self.below(8 if depth < _DEEPEST else 4):
            case 0 | 1:
                return self.text()
            case 2:
                return self.number()
            case 3:
                return self.pick((None, True, False))
            case 4 | 5:
                return [self.value(depth + 1) for _ in range(self.below(_MOST_MEMBERS))]
            case _:
                return self.mapping(depth + 1)

    def mapping(self, depth: int = 0) -> dict[str, object]:
        return {self.text(): self.value(depth + 1) for _ in range(self.below(_MOST_MEMBERS))}

    def mutated(self, record: Mapping[str, object], more: Sequence[str] = ()) -> dict[str, object]:
        """A good record with a few of its fields replaced, left out or added."""
        changed = dict(record)
        names = [*record, *more]
        for _ in range(self.below(6)):
            name = self.pick(names) if self.byte() % 8 else self.text()
            if self.byte() % 8:
                changed[name] = self.value()
            else:
                changed.pop(name, None)
        return changed
