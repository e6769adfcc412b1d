"""Where to strike next: so that every instant has its turn, and few strikes miss.

An instant is known by its label, a literal in the source of the client. Which of them a run
passes, and how often, depends on what the runs before it left; so the runner tells what it saw,
by the kind of the run, and is given what has been struck least of what such a run passes.
"""

from __future__ import annotations

import ast
import random
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attrs import Factory, define, field, frozen

_SHARE_AT_RANDOM_TIMES = 0.15
_SHARE_AT_THE_FIRST_PASSING = 0.6
_MEANS_IN_A_RUN = 3.0
# When a run is struck that has not got to its instant: in runs of its kind.
_PATIENCE = (0.8, 2.0)
# A miss shows that a run seldom gets there; half a kill each keeps it in turn, but not for ever.
_WEIGHT_OF_A_MISS = 0.5
RANDOM = "a random time"


def labels_in(package: Path) -> frozenset[str]:
    """Read the labels of all instants off the source of a package.

    Raises:
        ValueError: for a label that is no literal: nobody could know that it is there.
    """
    return frozenset(label for path in package.rglob("*.py") for label in _labels_of(path))


def _labels_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "passing":
            match node.args:
                case [ast.Constant(value=str(label))]:
                    yield label
                case _:
                    raise ValueError(f"{path}:{node.lineno}: the label has to be a literal")


@frozen
class Aim:
    """A strike: at the so-manieth passing of a label, or after so many seconds, or none.

    With both, it strikes at whichever comes first.
    """

    label: str | None = None
    number: int = 1
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.label}:{self.number}" if self.label else f"time:{self.seconds}"

    def name(self, passed: Counter[str]) -> str:
        """Give the name for a kill, after which these labels turned out to have been passed."""
        return self.label if self.label and passed[self.label] >= self.number else RANDOM


@define
class Picker:
    """Gives aims; remembers what was struck, what was missed and what runs pass."""

    rng: random.Random
    lengths: dict[str, list[float]] = field(factory=dict)
    """By the kind of the run: how long those took that were left to end, in seconds."""
    struck: Counter[str] = Factory(Counter)
    missed: Counter[tuple[str, str]] = Factory(Counter)
    seen: dict[str, Counter[str]] = field(factory=dict)
    """By the kind of the run: the labels that it passed, each with the most times."""

    def pick(self, kind: str) -> Aim:
        """Choose where a run of this kind is struck; a first one has to have ended before."""
        length = statistics.median(self.lengths.get(kind) or self.lengths["first"])
        # Of any kind: what runs of one kind pass is not known as long as all of them die early.
        known = sorted(label for passed in self.seen.values() for label in passed)
        if not known or self.rng.random() < _SHARE_AT_RANDOM_TIMES:
            return Aim(seconds=min(self.rng.expovariate(_MEANS_IN_A_RUN / length), length))
        label = min(known, key=lambda label: (self._weight(kind, label), self.rng.random()))
        is_first = self.rng.random() < _SHARE_AT_THE_FIRST_PASSING
        most = max(1, self.seen.get(kind, Counter())[label])
        return Aim(
            label=label,
            number=1 if is_first else self.rng.randint(1, most),
            seconds=length * self.rng.uniform(*_PATIENCE),
        )

    def learn(self, kind: str, aim: Aim, passed: Counter[str], seconds: float | None) -> None:
        """Take note of what a run of this kind passed, and how long it took to end, if it did."""
        self.seen[kind] = self.seen.get(kind, Counter()) | passed
        name = aim.name(passed)
        if seconds is None:
            self.struck[name] += 1
        else:
            self.lengths.setdefault(kind, []).append(seconds)
        if aim.label and name != aim.label:
            self.missed[kind, aim.label] += 1

    def _weight(self, kind: str, label: str) -> float:
        return self.struck[label] + self.missed[kind, label] * _WEIGHT_OF_A_MISS
