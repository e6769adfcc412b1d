"""One page of Task/List tells of many tasks: when it is worth its request, how far to believe it.

The list is known from one official client only (wiro-api facts, "Endpoints"), so what it says is a
hint: Task/Detail decides. This module knows no clock and asks nobody.

**When to sweep.** `protocol.polling` weighs requests against lag: a task whose looks are best g
apart has a hazard of 2 price t/g^2, so being told of its end by a sweep every I seconds costs,
in looks a second, I/g^2 for the lag. A sweep itself costs its weight w: its pages, and a little for
each row. The sum w/I + I sum(1/g^2) is least at

    I = sqrt(w / sum(1/g^2)),

for n tasks alike g sqrt(w/n): many tasks are swept often, few seldom. Looks alone cost
sum(1/g) for requests and, at their best, as much again for lag; where the ceiling of looks a second
stretches them by f, sum(1/g)/f and f sum(1/g). Sweeps have to be clearly better than that. Their
pages go under the same ceiling, of which they leave half to the looks.

**How far to go.** Rows come newest first, so pages tell of ever fewer tasks that still run. One
that saved fewer looks than it weighs is the last; who stands behind it is looked at one by one.

**How far to believe.** See `Trust`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from attrs import define, frozen

from wiro_async.protocol.converter import read_name, read_status
from wiro_async.protocol.responses import Answer, decode_records
from wiro_async.protocol.status import STATUS_TABLE
from wiro_async.task import Outcome

# Fewer are looked at one by one: their looks are no burden to anybody.
FEWEST_TASKS = 8
# Of so many ends that a list tells of, one is paid for by a look at a task that it calls running.
ENDS_A_CHECK = 12
# A row of two kilobytes takes about a sixtieth of the time that a look takes.
_ROW_WEIGHT = 1 / 64
# Half of it is lost on average: of a task of 2 s about a hundredth of its time.
_SHORTEST_SECONDS = 0.055
# Of the mean age of what runs, which is about two thirds of a usual task: one percent of that.
_SHORTEST_SHARE = 1 / 64
_LEAST_GAIN = 1.5
_SHARE_OF_CEILING = 0.5
# A first page can be full of somebody else's tasks: one more is tried if much hangs on it.
_MUCH = 4.0

_ENOUGH_AGREEMENTS = 3
_MOST_CONTRADICTIONS = 3
_MOST_BLANKS = 3
# For how long its word alone is enough: so long, or for a part of the task's age.
_BELIEVED_SECONDS = 5.0
_BELIEVED_AT_FIRST_SECONDS = 1.0
_BELIEVED_SHARE = 0.5


@frozen(kw_only=True)
class Page:
    """What the rows of one answer say.

    Attributes:
        length: how many rows there are.
        ends: for each id and each token that tells a status, whether that is terminal.
    """

    length: int
    ends: Mapping[str, bool]


def decode_page(answer: Answer, endpoint: str) -> Page:
    """Who has ended, by the rows of a List's answer; nothing else of them is read.

    Raises:
        ApiError: what the service refused, or `ServerError` for what cannot be read.
    """
    rows = decode_records(answer, endpoint, read=_read_plainly)
    ends: dict[str, bool] = {}
    for row in rows:
        status = read_status(row.get("status"))
        if status:
            is_end = STATUS_TABLE.get(status, Outcome.RUNNING) is not Outcome.RUNNING
            for name in (read_name(row.get("id")), read_name(row.get("socketaccesstoken"))):
                if name is not None:
                    ends[name] = is_end
    return Page(length=len(rows), ends=ends)


def _read_plainly(text: bytes) -> object:
    """JSON without the care that a record needs which is kept: a name that is odd matches none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@frozen(kw_only=True)
class Plan:
    """How to sweep for now.

    Attributes:
        interval_seconds: from one sweep to the next.
        saved_looks: how many looks a running task would like until the next sweep.
        usual_wait_seconds: how far apart the looks at one task are on average.
    """

    interval_seconds: float
    saved_looks: float
    usual_wait_seconds: float

    def goes_on(self, *, shown: int, left: int, rows: int, barren: int) -> bool:
        """Whether the next page is worth its request.

        Args:
            shown: the running tasks that the last page told of.
            left: those that no page has told of yet.
            rows: the length of the last page.
            barren: how many pages before it, in a row, were not worth it.
        """
        if not left or not rows:
            return False
        if self.pays(shown, rows):
            return self.pays(left, rows)
        return not barren and left * self.saved_looks >= _MUCH * weigh(1, rows)

    def pays(self, shown: int, rows: int) -> bool:
        """Whether a page of so many rows is worth it that tells of so many running tasks."""
        return shown * self.saved_looks >= weigh(1, rows)


def weigh(pages: int, rows: int) -> float:
    """What a sweep costs, in looks."""
    return pages + _ROW_WEIGHT * rows


def plan_sweeps(
    waits: Sequence[float], ages: Sequence[float], *, tasks: int, pages: int, rows: int, most: float
) -> Plan | None:
    """How often to sweep; None if the tasks are better looked at one by one.

    Args:
        waits: for some of the running tasks, how many seconds apart their looks would be.
        ages: of these, the seconds since they were started.
        tasks: how many run in all.
        pages: how many pages a sweep takes.
        rows: how many rows these have together.
        most: the ceiling of looks a second.
    """
    if tasks < FEWEST_TASKS:
        return None
    rates = [1 / wait for wait in waits]
    rate = sum(rates) / len(rates)
    urgency = tasks * sum(each * each for each in rates) / len(rates)
    weight = weigh(pages, rows)
    interval = max(
        math.sqrt(weight / urgency),
        pages / (_SHARE_OF_CEILING * most),
        _SHORTEST_SECONDS,
        _SHORTEST_SHARE * sum(ages) / len(ages),
    )
    stretch = max(1.0, tasks * rate / most)
    looks = tasks * rate * (1 / stretch + stretch)
    if _LEAST_GAIN * (weight / interval + interval * urgency) > looks:
        return None
    return Plan(interval_seconds=interval, saved_looks=interval * rate, usual_wait_seconds=1 / rate)


@define
class Trust:
    """How far a list is believed that nobody documents.

    Rules:

    1. Until it has proved itself it only brings looks forward, and puts none off. It is proved by
       three agreements, or by showing a task that is so young that the list cannot lag by more than
       that.
    2. An agreement is a task that looks alone found to have ended, and that the next page asked for
       shows so. If that page shows it running, or a look shows a task running that a page has
       called ended, that is a contradiction, and nothing is proved any more.
    3. So that this is noticed later too, each task is looked at now and then, as it ages, whatever
       the list says, the more often as long as it has told of no end; and for every dozen ends
       that it tells of, one more that it calls running.
    4. Three contradictions without an agreement between them, three sweeps in a row that show none
       of the tasks which Detail knows, or a refusal end it for the session.

    Attributes:
        reason: why it was ended; empty as long as it was not.
    """

    reason: str = ""
    _agreements: int = 0
    _contradictions: int = 0
    _blanks: int = 0
    _ends: int = 0
    _is_fresh: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether the list is left alone."""
        return bool(self.reason)

    @property
    def is_proven(self) -> bool:
        """Whether its word that a task runs counts."""
        is_sure = self._is_fresh or self._agreements >= _ENOUGH_AGREEMENTS
        return is_sure and not self._contradictions and not self.has_ended

    def is_enough(self, age_seconds: float, unseen_seconds: float) -> bool:
        """Whether its word that a task runs puts the next look off.

        Args:
            age_seconds: how old the task is.
            unseen_seconds: for how long it was taken at its word.
        """
        is_known = self._ends >= _ENOUGH_AGREEMENTS
        least = _BELIEVED_SECONDS if is_known else _BELIEVED_AT_FIRST_SECONDS
        return self.is_proven and unseen_seconds <= max(least, _BELIEVED_SHARE * age_seconds)

    def on_fresh(self) -> None:
        """It showed a task that was made just before."""
        self._is_fresh = True

    def on_end(self) -> None:
        """It was the first to tell of an end."""
        self._ends += 1

    def on_agreement(self) -> None:
        """It showed an end that looks had found."""
        self._agreements += 1
        self._contradictions = 0

    def on_contradiction(self) -> None:
        """It said something else than Detail had said before, or said after it."""
        self._is_fresh = False
        self._agreements = 0
        self._contradictions += 1
        if self._contradictions >= _MOST_CONTRADICTIONS:
            self.end("it tells of tasks otherwise than Task/Detail does, or too late")

    def on_sweep(self, *, known: int, shown: int) -> None:
        """A sweep is over that showed so many running tasks, while Detail knows so many."""
        self._blanks = 0 if shown else self._blanks + (known > 0)
        if self._blanks >= _MOST_BLANKS:
            self.end("it does not show the tasks that run")

    def end(self, reason: str) -> None:
        """Leave the list alone from now on."""
        self.reason = self.reason or reason
