"""Many tasks by one request: pages of Task/List, as a hint of who has ended.

One sweeper a session. It reads pages, newest first, as long as each of them saves more looks
than it costs, and says of each task that it finds there: "look now" if the row has ended, "no look
is needed until the next sweep" if it runs. When that pays, how far to read, and how far to
believe what is read, is decided in `protocol.pages`. Rules:

1. A hint never decides. Who is not on the pages, or of whom the list has said something wrong, is
   looked at as if there were no list.
2. Whoever is vouched for by somebody else, a socket, is no reason to sweep.
3. While there is nothing to sweep for there is no asyncio task: one begins with a watch or a look
   that finds enough others running, and ends when too few are left.
4. A page is a request like a look: it goes under the same ceiling and the session's pace, one at a
   time. A failure that may pass ends a sweep, and the next begins with a later look, after waits
   that grow; so there is none in an outage, when no look brings anything. A refusal ends them all.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from itertools import islice

from attrs import define, field

from wiro_async.api import Api
from wiro_async.errors import RateLimited, SessionStateError, WiroError
from wiro_async.protocol.learning import Load
from wiro_async.protocol.pages import (
    ENDS_A_CHECK,
    FEWEST_TASKS,
    Page,
    Plan,
    Trust,
    decode_page,
    plan_sweeps,
)
from wiro_async.protocol.requests import build_list
from wiro_async.protocol.retry import is_failure
from wiro_async.tracking.tracker import Tracker
from wiro_async.tracking.watch import Watch

_LOGGER = logging.getLogger("wiro_async")

_PAGE_ROWS = 100
# The documented default: no service that lists at all gives less.
_FEWEST_ROWS = 20
_MOST_PAGES = 64
# Watches that are asked for their waits; the others are like them.
_SAMPLE = 128
# Ends whose rows are waited for; older ones are of no use.
_MOST_ENDED = 256
# A task that the list shows at this age says that it hardly lags.
_YOUNG_SECONDS = 1.0
# A sweep can come late when the machine is busy; its tasks are not looked at for that alone.
_SLACK_SECONDS = 0.25
_REST_SECONDS = 1.0
_LONGEST_REST_SECONDS = 300.0
_MOST_LEAN = 3


@define(eq=False)
class _Telling:
    """A row has called a task ended; Detail is asked."""

    is_late: bool
    """A look was under way already: it may have been answered before the end."""
    is_denied: bool = False


@define(eq=False)
class Sweeps:
    """The sweeper of a session; made on its event loop."""

    api: Api
    tracker: Tracker
    trust: Trust = field(init=False, factory=Trust)
    _sweeper: asyncio.Task[None] | None = field(init=False, default=None)
    _context: contextvars.Context = field(init=False, factory=contextvars.copy_context)
    _rest_until: float = field(init=False, default=-math.inf)
    _is_closed: bool = field(init=False, default=False)
    _failures: int = field(init=False, default=0)
    _lean: int = field(init=False, default=0)
    # Of the last sweep: what the next one will be like.
    _pages: int = field(init=False, default=1)
    _rows: int = field(init=False, default=_PAGE_ROWS)
    _took: float = field(init=False, default=0.0)
    _vouched_to: float = field(init=False, default=-math.inf)
    _ended: dict[str, float] = field(init=False, factory=dict)
    _told: dict[Watch, _Telling] = field(init=False, factory=dict)
    # Since when the list has been taken at its word, of each task that it says runs.
    _since: dict[Watch, float] = field(init=False, factory=dict)
    _unpaid: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.tracker.on_watch.append(self._on_watch)
        self.tracker.on_look.append(self._on_look)

    async def aclose(self) -> None:
        """End the sweeps."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    def _on_watch(self, _: Watch) -> None:
        if self._sweeper is None:
            self._begin()

    def _on_look(self, watch: Watch) -> None:
        if self.trust.has_ended:
            return
        self._since.pop(watch, None)
        if watch.task is not None and watch.task.is_terminal:
            if self._told.pop(watch, None) is None:
                self._note_end(watch)
            else:
                self.trust.on_end()
        elif (telling := self._told.get(watch)) is not None and not telling.is_denied:
            if telling.is_late:
                telling.is_late = False
            else:
                telling.is_denied = True
                self.trust.on_contradiction()
        if self._sweeper is None:
            self._begin()

    def _note_end(self, watch: Watch) -> None:
        """Looks found this end by themselves: the list's next page is to show it."""
        if len(self._ended) >= _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[_name(watch)] = _now()

    def _begin(self) -> None:
        if (
            len(self.tracker.watches) < FEWEST_TASKS
            or _now() < self._rest_until
            or self.trust.has_ended
            or self._is_closed
        ):
            return
        plan = self._plan()
        if plan is None:
            self._rest_until = _now() + _REST_SECONDS
            return
        self._sweeper = asyncio.get_running_loop().create_task(
            self._sweep_on(plan), name="wiro_async sweeps", context=self._context
        )

    async def _sweep_on(self, plan: Plan | None) -> None:
        """Sweep as long as it is worth it."""
        try:
            while plan is not None and _now() >= self._rest_until:
                # What was started just now has not ended yet; and others want their turn.
                await asyncio.sleep(plan.interval_seconds - min(self._took, _half(plan)))
                await self._sweep(plan)
                plan = self._plan()
        except WiroError as error:
            self._bear(error)
        except Exception as bug:
            # Nobody awaits this; without sweeps there are looks.
            self.trust.end(f"{type(bug).__name__}: {bug}")
            _LOGGER.exception("a sweep of the list of tasks broke down")
        finally:
            self._sweeper = None
            self._forget_done()
            self._rest_until = max(self._rest_until, _now() + _half(plan))
        if self.trust.has_ended:
            for notes in (self._ended, self._told, self._since):
                notes.clear()
            _LOGGER.info("the list of tasks is left alone in this session: %s", self.trust.reason)

    def _plan(self) -> Plan | None:
        if self.trust.has_ended:
            return None
        watches, now = self._own(), _now()
        if len(watches) < FEWEST_TASKS:
            return None
        sample = [*islice(watches.values(), 0, None, -(-len(watches) // _SAMPLE))]
        ages = [now - watch.started_at for watch in sample]
        models = [watch.model if watch.is_new else None for watch in sample]
        wait_seconds, load = self.tracker.waits.wait_seconds, Load(tasks=len(watches))
        return plan_sweeps(
            [wait_seconds(model, age, 0.5, load) for model, age in zip(models, ages, strict=True)],
            ages,
            tasks=len(watches),
            pages=self._pages,
            rows=self._rows,
            most=self.tracker.max_looks_per_second,
        )

    def _own(self) -> dict[str, Watch]:
        """The watches that nobody else vouches for, by name."""
        others = max(self._vouched_to, _now())
        return {
            _name(watch): watch for watch in self.tracker.watches if watch.vouched_until <= others
        }

    async def _sweep(self, plan: Plan) -> None:
        began = _now()
        left = self._own()
        known = sum(watch.task is not None for watch in left.values())
        pages = rows = barren = shown = 0
        # A little more than the last time: so a few tasks do not cost a page of a hundred rows.
        limit = min(max(_FEWEST_ROWS, self._rows + self._rows // 4), _PAGE_ROWS)
        while left and pages < _MOST_PAGES:
            asked_at, page = await self._read(rows, limit)
            found = self._take_in(page, left, asked_at, plan)
            pages += 1
            rows += page.length
            shown += found
            if not plan.goes_on(shown=found, left=len(left), rows=page.length, barren=barren):
                break
            barren = 0 if plan.pays(found, page.length) else barren + 1
            limit = _PAGE_ROWS
        self._took = _now() - began
        self._pages, self._rows = max(1, pages), max(_FEWEST_ROWS, rows)
        self._forget_done()
        self._check()
        self._judge(plan, known=known, shown=shown)

    def _forget_done(self) -> None:
        self._told = {watch: telling for watch, telling in self._told.items() if not watch.is_done}
        self._since = {watch: since for watch, since in self._since.items() if not watch.is_done}

    def _check(self) -> None:
        """Look whether a task runs that the list has said so of for longest."""
        if self._unpaid >= ENDS_A_CHECK and self._since:
            self._unpaid = 0
            self.tracker.look_now(min(self._since, key=self._since.__getitem__))

    def _judge(self, plan: Plan, *, known: int, shown: int) -> None:
        """Sweeps that show hardly anything are not gone on with: the tasks may be far down."""
        self._lean = 0 if shown * plan.saved_looks >= 1 else self._lean + 1
        if shown or self._lean >= _MOST_LEAN:  # not for what is missing for a moment
            self.trust.on_sweep(known=known, shown=shown)
        if self._lean >= _MOST_LEAN:
            rest = _REST_SECONDS * 2.0 ** min(self._lean - _MOST_LEAN, 10)
            self._rest_until = _now() + min(rest, _LONGEST_REST_SECONDS)

    async def _read(self, start: int, limit: int) -> tuple[float, Page]:
        """A page, and when it was asked for."""
        wait = self.tracker.reserve_look(_now())
        if wait > 0:
            await asyncio.sleep(wait)
        asked_at = _now()
        page = await self.api.attempt(build_list(start=start, limit=limit), decode_page)
        self._failures = 0
        return asked_at, page

    def _take_in(self, page: Page, left: dict[str, Watch], asked_at: float, plan: Plan) -> int:
        """Hand on what a page says; how many tasks it told of that were not told of before."""
        found = 0
        young = max(_YOUNG_SECONDS, plan.usual_wait_seconds)
        until = 2 * (plan.interval_seconds + self._took) + _SLACK_SECONDS
        for name, is_end in page.ends.items():
            if (watch := left.pop(name, None)) is not None:
                found += 1
                if asked_at - watch.started_at <= young and watch.is_new:
                    self.trust.on_fresh()
                self._say(watch, until, is_end=is_end)
            elif self._ended.get(name, math.inf) <= asked_at:
                del self._ended[name]
                self.trust.on_agreement() if is_end else self.trust.on_contradiction()
        return found

    def _say(self, watch: Watch, seconds: float, *, is_end: bool) -> None:
        if watch in self._told or watch.is_done:
            return
        now = _now()
        if is_end:
            self._told[watch] = _Telling(is_late=watch.is_looking)
            self._unpaid += 1
            self.tracker.look_now(watch)
        elif self.trust.is_enough(now - watch.started_at, now - self._since.get(watch, now)):
            self._since.setdefault(watch, now)
            self._vouched_to = max(self._vouched_to, now + seconds)
            self.tracker.vouch(watch, seconds)

    def _bear(self, error: WiroError) -> None:
        """What a failed page means: another time, or never again."""
        self._failures += 1
        patience, dice = self.api.patience, self.api.dice()
        wait = patience.policy.wait_seconds(error, self._failures, dice)
        if isinstance(error, RateLimited):
            patience.pause_after(error, self._failures, _now(), dice)
        elif not is_failure(error) and not isinstance(error, SessionStateError):
            self.trust.end(error.message)
        self._rest_until = _now() + wait


def _name(watch: Watch) -> str:
    return watch.task_id or watch.token or ""


def _half(plan: Plan | None) -> float:
    return plan.interval_seconds / 2 if plan is not None else 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()
