"""What happened in a scenario, and what all of them come to, in lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field

_MOST_SENTENCES = 10


@define(kw_only=True)
class Story:
    """What happened in one scenario; plain values, so that it can be written as JSON."""

    number: int
    struck: Counter[str] = field(factory=Counter, converter=Counter)
    """Kills by label; those at random times under a name of their own."""
    passed: Counter[str] = field(factory=Counter, converter=Counter)
    """How often its runs passed each label."""
    lengths: list[float] = field(factory=list)
    """Of its runs, in seconds."""
    runs_sent: int = 0
    tasks_made: int = 0
    tasks_charged: int = 0
    held: int = 0
    """Items of which the client did not know whether a task was made, when it had looked."""
    held_made: int = 0
    """And of these, how many had a task that nobody knew."""
    resubmitted: list[str] = field(factory=list)
    """The custom_ids that a person chose to run again."""
    sentences: list[str] = field(factory=list)
    """The laws that were broken."""
    trouble: str | None = None
    """What kept it from its end."""

    @property
    def kills(self) -> int:
        """How often its process was killed."""
        return self.struck.total()

    @property
    def is_well(self) -> bool:
        """Whether it came to its end and broke no law."""
        return not self.sentences and self.trouble is None


def describe(story: Story) -> Iterator[str]:
    """Tell of one scenario, and what was wrong with it."""
    yield (
        f"scenario {story.number}: {story.kills} kills, {len(story.lengths)} runs in "
        f"{sum(story.lengths):.1f} s, {story.held} unknown held: "
        f"{'well' if story.is_well else 'WRONG'}"
    )
    for sentence in (*story.sentences[:_MOST_SENTENCES], *filter(None, [story.trouble])):
        yield f"    {sentence}"
    if len(story.sentences) > _MOST_SENTENCES:
        yield f"    and {len(story.sentences) - _MOST_SENTENCES} more"


def summarize(stories: Sequence[Story]) -> Iterator[str]:
    """Add the stories up."""
    struck = sum((story.struck for story in stories), Counter[str]())
    yield f"{struck.total()} kills"
    width = max(map(len, struck), default=0)
    yield from (f"  {label:{width}} {number:5}" for label, number in sorted(struck.items()))
    yield (
        f"{len(stories)} batches, "
        f"{sum(max(0, len(story.lengths) - 1) for story in stories)} recoveries"
    )
    yield (
        f"{sum(story.runs_sent for story in stories)} Runs sent, "
        f"{sum(story.tasks_made for story in stories)} tasks made, "
        f"{sum(story.tasks_charged for story in stories)} charged"
    )
    yield (
        f"{sum(story.passed['item.found'] for story in stories)} unknown found by search, "
        f"{sum(story.held for story in stories)} held "
        f"({sum(story.held_made for story in stories)} of them had a task), "
        f"{sum(len(story.resubmitted) for story in stories)} times chosen to be run again"
    )
    yield f"{sum(len(story.sentences) for story in stories)} violations"


def never_passed(stories: Sequence[Story], labels: Iterable[str]) -> list[str]:
    """Give the labels that no run passed: nothing is proven of those."""
    return sorted(set(labels).difference(*(story.passed for story in stories)))
