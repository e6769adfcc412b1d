"""A row of the table: one fault, where and when it strikes, and what it amounts to there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import field, frozen

from tests.hostile.meanings import API, TRANSIENT, VERBS, Meaning
from tests.hostile.middleman import Change, Deed, Greeting, Phase, Plan
from tests.hostile.wire import CDN
from tests.hostile.words import Advice, advice_for

PROMPTS = ("a lighthouse", "a kite")
ONCE_OR_EVER = (Phase.FIRST, Phase.EVER)
ALL_PHASES = (Phase.FIRST, Phase.MIDDLE, Phase.EVER)
EVERYWHERE = (*API, CDN)
READS = ("Task/Detail", "Task/List", "Tool/Detail")


@frozen(kw_only=True)
class File:
    """What has to be on disk where it is not the picture in the books under its own name."""

    content: bytes
    suffix: str


@frozen(kw_only=True)
class Row:
    """One fault.

    Attributes:
        name: in plain words.
        group: the heading that it stands under.
        meaning: what a struck request amounts to.
        at: where it amounts to something else.
        deed: what is done to a struck request.
        greeting: what the port does to whoever connects; without a deed it is shut.
        change: what becomes of all answers of the API while the fault holds.
        needs_patience: whether only a timeout ends it, which then is a short one.
        at_once: tasks that may run at once.
        settings: arguments of the session.
        file: what is saved, where it is not the picture of the books.
        saved: files of an unsaved item that are on disk all the same.
        advice: the three answers, where they are not those of the meaning.
        sabotage: the line of defence that it is about (`sabotage.py`).
    """

    name: str
    group: str
    meaning: Meaning
    at: Mapping[str, Meaning] = field(factory=dict)
    deed: Deed | None = None
    greeting: Greeting | None = None
    change: Change | None = None
    endpoints: tuple[str, ...] = EVERYWHERE
    phases: tuple[Phase, ...] = ALL_PHASES
    needs_patience: bool = False
    at_once: int = 2
    settings: Mapping[str, object] = field(factory=dict)
    file: File | None = None
    saved: int = 0
    advice: Advice | None = None
    sabotage: str = ""

    @property
    def words(self) -> Advice:
        if self.advice is not None:
            return self.advice
        is_ever = Phase.EVER in self.phases
        return advice_for(self.meaning, self.endpoints, is_ever=is_ever)

    def meaning_at(self, endpoint: str) -> Meaning:
        """What it amounts to there."""
        if endpoint in self.at:
            return self.at[endpoint]
        # A file has no names in it to follow, and nothing of it is "done".
        return Meaning.BROKEN if endpoint == CDN and self.meaning in TRANSIENT else self.meaning

    def cells(self) -> Iterator[Cell]:
        """Each place and time at which it strikes."""
        for endpoint in self.endpoints:
            for phase in self.phases:
                # A direct call asks once.
                if endpoint not in VERBS or phase is not Phase.MIDDLE:
                    yield Cell(row=self, endpoint=endpoint, phase=phase)


@frozen(kw_only=True)
class Cell:
    """A fault at one endpoint, in one phase."""

    row: Row
    endpoint: str
    phase: Phase

    @property
    def meaning(self) -> Meaning:
        return self.row.meaning_at(self.endpoint)

    @property
    def name(self) -> str:
        return f"{self.row.name} | {self.endpoint} | {self.phase}"

    @property
    def prompts(self) -> tuple[str, ...]:
        """What the batch is made of; no more where the whole service is gone after the first."""
        is_gone = self.plan.at_door and self.phase is Phase.EVER and self.endpoint == "Task/Detail"
        return PROMPTS[:1] if is_gone else PROMPTS

    @property
    def at_once(self) -> int:
        """One where the port fails, so that it is known for which request it does."""
        return 1 if self.plan.at_door else self.row.at_once

    @property
    def plan(self) -> Plan:
        return Plan(
            endpoint=self.endpoint,
            phase=self.phase,
            deed=self.row.deed,
            at_door=self.row.deed is None and self.row.change is None,
            greeting=self.row.greeting,
            change=self.row.change,
            is_run_lost=self.endpoint == "Task/List",
        )
