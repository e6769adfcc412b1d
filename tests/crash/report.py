"""What a session of scenarios comes to, in lines for a person and for a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from tests.crash.runner import Story

_MOST_SENTENCES = 10


def summarize(stories: Sequence[Story], labels: Collection[str]) -> Iterator[str]:
    """Add the stories up."""
    struck = sum((story.struck for story in stories), Counter[str]())
    passed = sum((story.passed for story in stories), Counter[str]())
    width = max(map(len, struck), default=0)
    yield f"{struck.total()} kills"
    yield from (f"  {label:{width}} {number:5}" for label, number in sorted(struck.items()))
    yield f"{len(stories)} batches, {sum(max(0, story.runs - 1) for story in stories)} recoveries"
    sent, made, charged = (
        sum(getattr(story, name) for story in stories)
        for name in ("runs_sent", "tasks_made", "tasks_charged")
    )
    yield f"{sent} Runs sent, {made} tasks made, {charged} charged"
    held, held_made = (
        sum(getattr(story, name) for story in stories) for name in ("held", "held_made")
    )
    chosen = sum(len(story.resubmitted) for story in stories)
    yield f"{held} unknown held ({held_made} of them had a task), {chosen} resubmitted"
    if labels:
        never = ", ".join(sorted(set(labels) - passed.keys())) or "none"
        yield f"{len(labels)} instants in the source; passed by no run: {never}"
    yield f"{sum(len(story.sentences) for story in stories)} violations"


def describe(story: Story) -> Iterator[str]:
    """Tell of one scenario, and all that was wrong with it."""
    seconds = sum(story.lengths)
    verdict = "well" if is_well(story) else "WRONG"
    yield (
        f"scenario {story.number}: {story.kills} kills, {story.runs} runs in {seconds:.1f} s, "
        f"{story.held} unknown held: {verdict}"
    )
    for sentence in (*story.sentences[:_MOST_SENTENCES], *filter(None, [story.trouble])):
        yield f"    {sentence}"
    if len(story.sentences) > _MOST_SENTENCES:
        yield f"    and {len(story.sentences) - _MOST_SENTENCES} more"


def is_well(story: Story) -> bool:
    """Whether it came to its end and broke no law."""
    return not story.sentences and story.trouble is None
