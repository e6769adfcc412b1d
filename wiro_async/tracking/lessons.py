"""What a look teaches of how long a model's tasks take (`protocol.durations`)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from itertools import islice

from wiro_async.protocol.durations import TOLD_RESOLUTION, narrowed, told_seconds
from wiro_async.protocol.learning import Waits
from wiro_async.tracking.watch import Watch

# As many of those that run say what all of them would.
_SAMPLE = 512


def learn(
    waits: Waits, watch: Watch, asked_at: float, now: float, others: AbstractSet[Watch]
) -> None:
    """Take in a record that has come.

    Args:
        waits: who learns.
        watch: whose record it is.
        asked_at: when the look began.
        now: when the record was there.
        others: all that is watched.
    """
    if not watch.is_done:
        watch.seen_running_at = asked_at
    # Failed ones end when they like, and would pass for quick ones. How old one is that was not
    # made here is not known.
    elif watch.is_new and watch.task is not None and watch.task.succeeded:
        earliest, latest = watch.age_seen(), now - watch.started_at
        told = told_seconds(watch.task)
        waits.note(watch.model, *narrowed(earliest, latest, told, TOLD_RESOLUTION))
        if waits.wants_fit(watch.model):
            stride = -(-len(others) // _SAMPLE) or 1
            sample = islice(others, 0, None, stride)
            running = (one for one in sample if one.model == watch.model and one.is_new)
            ages = [age for one in running if (age := one.age_seen()) > 0]
            waits.fit(watch.model, ages, each=stride)
