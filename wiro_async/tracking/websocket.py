"""Push: the service says when a task moves, so that nobody has to ask.

One hub a session. It registers the token of every task that begins, many on one connection, and
takes what comes as a hint: Task/Detail decides (wiro-api facts, "Websocket").

Rules:

1. A frame of a task is evidence that the socket speaks for this task: its next look is put off
   (`Tracker.vouch`), for about as long as the task is old. A task of which nothing was heard is
   looked at as if there were no socket. So a service that follows one task a connection, or
   none, loses nothing, and silence proves nothing.
2. A look that shows what the socket said last renews that; one that shows something else does not.
3. A frame that says the end has Task/Detail asked at once. Where that still says otherwise, it is
   asked a few times more, soon.
4. An error in a task's log may be its end, or one line of thousands: it has Detail asked too, at
   most once a second, and ever less often the more of these looks were in vain.
5. Nothing is told again. What was put off is looked at soon when its connection is lost, and
   registered anew on the next one.
6. Three tasks in a row that ended, had been registered in time and were never spoken of: the
   socket is given up for the session. A socket that cannot be reached is let alone after a few
   tries, and tried once more much later.
7. Nothing of this is ever raised to anybody, and nothing is kept of a task that has ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import Awaitable, Callable

from attrs import define, field

from wiro_async.protocol.frames import Frame
from wiro_async.tracking.lines import Followed, Line, Socket
from wiro_async.tracking.tracker import Tracker
from wiro_async.tracking.watch import Watch

_LOGGER = logging.getLogger("wiro_async")

# The documentation gives no number; of these one batch needs a handful.
_MOST_TASKS = 500
_SHORTEST_BACKSTOP_SECONDS = 5.0
_LONGEST_BACKSTOP_SECONDS = 60.0
# After a frame that says the end.
_AGAIN_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
# Room for the end that often stands in the next frame: one look for both.
_ERROR_SECONDS = 0.1
_LONGEST_QUIET_SECONDS = 16.0
# A frame on its way when Detail already knows.
_LATE_SECONDS = 1.0
# The first of them can have begun before the registration was read.
_RUNNING_LOOKS = 2
_MOST_UNHEARD = 3
_MOST_FAILURES = 4
_REST_SECONDS = 300.0
_SPREAD_SECONDS = 1.0


def _harmless(
    method: Callable[[SocketHub, Watch], None],
) -> Callable[[SocketHub, Watch], None]:
    """Whoever calls it is in the middle of what matters more."""

    @functools.wraps(method)
    def guarded(hub: SocketHub, watch: Watch) -> None:
        try:
            method(hub, watch)
        except Exception as bug:  # noqa: BLE001 - of a hint
            hub.give_up(f"{type(bug).__name__}: {bug}")

    return guarded


@define(eq=False)
class SocketHub:
    """The socket of a session; made on its event loop.

    Attributes:
        is_proven: whether it has ever spoken of a task of ours.
        has_given_up: whether it is let alone for the rest of the session.
    """

    tracker: Tracker
    dial: Callable[[], Awaitable[Socket]]
    dice: Callable[[], float]
    is_proven: bool = field(init=False, default=False)
    has_given_up: bool = field(init=False, default=False)
    _tasks: dict[str, Followed] = field(init=False, factory=dict)
    _lines: list[Line] = field(init=False, factory=list)
    _most_lines: float = field(init=False, default=float("inf"))
    _unheard: int = field(init=False, default=0)
    _rest: asyncio.TimerHandle | None = field(init=False, default=None)
    _is_resting: bool = field(init=False, default=False)
    # A connection is the session's own: it keeps nothing alive of whoever started the first task.
    _context: contextvars.Context = field(init=False, factory=contextvars.copy_context)

    @_harmless
    def follow(self, watch: Watch) -> None:
        """Ask the socket about a task, if its token is known."""
        if self.has_given_up or watch.is_done or watch.token is None:
            return
        followed = self._tasks.get(watch.token)
        if followed is None:
            followed = self._tasks[watch.token] = Followed(token=watch.token)
            self._carry(followed)
        followed.watches.append(watch)
        watch.call_when_done(self._leave)

    @_harmless
    def on_look(self, watch: Watch) -> None:
        """Hold what a look has shown of a task against what the socket says."""
        followed = self._tasks.get(watch.token or "")
        if followed is None or watch not in followed.watches:
            self.follow(watch)
            return
        followed.running_looks += followed.registered_at is not None
        if followed.tries is not None and followed.tries < len(_AGAIN_SECONDS):
            self._look_later(followed, _AGAIN_SECONDS[followed.tries])
            followed.tries += 1
        elif watch.task is not None and watch.task.status == followed.last_status:
            self._vouch(watch)

    def on_frame(self, frame: Frame) -> bool:
        """Take a hint; whether it was about a task of ours."""
        followed = self._tasks.get(frame.token)
        if followed is None:
            return False
        followed.is_heard = self.is_proven = True
        if not followed.watches:  # it was late: see `_judge`
            return True
        now = _now()
        for watch in followed.watches:
            watch.hear(frame, now)
        if frame.is_end and followed.tries is None:
            followed.tries, followed.last_status = 0, None
            self._look(followed)
        elif followed.tries is None:
            followed.last_status = frame.kind if frame.is_status else followed.last_status
            for watch in followed.watches:
                self._vouch(watch)
        if frame.is_error or followed.tries == len(_AGAIN_SECONDS):
            self._look_in_a_while(followed)
        return True

    def on_lost(self, line: Line, reason: str) -> None:
        """A connection is lost, or could not be had."""
        _LOGGER.debug("the service's socket: %s", reason)
        for followed in line.tasks.values():
            followed.registered_at = followed.last_status = None
            followed.running_looks = 0
            self._look_soon(followed, len(line.tasks))
        if line.failures < _MOST_FAILURES:
            return
        if any(not other.failures for other in self._lines):
            # There are no more to be had than these, so what this one carried is looked at.
            self._most_lines = len(self._lines) - 1
            line.tasks.clear()
            line.cancel()
        elif self._rest is None:
            self._is_resting = True
            self._rest = asyncio.get_running_loop().call_later(_REST_SECONDS, self._try_again)
            for one in self._lines:
                one.cancel()
        else:
            self.give_up(reason)

    def on_end(self, line: Line, bug: BaseException | None) -> None:
        """A line has ended: it was idle, or should not have."""
        self._lines.remove(line)
        if bug is not None:
            self.give_up(f"{type(bug).__name__}: {bug}")
        for followed in line.tasks.values():
            self._carry(followed)

    def give_up(self, reason: str) -> None:
        """Let the socket alone for the rest of the session."""
        if self.has_given_up:
            return
        _LOGGER.info("the service's socket is not used any more: %s", reason)
        self._stop()
        for followed in self._tasks.values():
            self._look_soon(followed, len(self._tasks))
        self._tasks.clear()

    async def aclose(self) -> None:
        """Close the connections; within a moment."""
        self._stop()
        if self._rest is not None:
            self._rest.cancel()
        for followed in self._tasks.values():
            _cancel(followed)
        self._tasks.clear()
        await asyncio.gather(*(line.cancel() for line in self._lines), return_exceptions=True)

    def _stop(self) -> None:
        self.has_given_up = True
        for line in self._lines:
            line.tasks.clear()
            line.cancel()

    def _try_again(self) -> None:
        self._is_resting = False
        for followed in self._tasks.values():
            self._carry(followed)

    def _carry(self, followed: Followed) -> None:
        """Find a line with room, or open one."""
        if self.has_given_up or self._is_resting:
            return
        for line in self._lines:
            if len(line.tasks) < _MOST_TASKS:
                line.add(followed)
                return
        if len(self._lines) < self._most_lines:
            line = Line(dial=self.dial, listener=self, dice=self.dice)
            self._lines.append(line)
            line.add(followed)
            self._context.run(line.start)

    @_harmless
    def _leave(self, watch: Watch) -> None:
        """A watch is done."""
        followed = self._tasks.get(watch.token or "")
        if followed is None or watch not in followed.watches:
            return
        followed.watches.remove(watch)
        if followed.watches:
            return
        _cancel(followed)
        is_ended = watch.task is not None and watch.task.is_terminal
        if is_ended and not followed.is_heard and followed.running_looks >= _RUNNING_LOOKS:
            followed.timer = self._call_later(_LATE_SECONDS, self._judge, followed)
            return
        if is_ended and followed.is_heard:
            self._unheard = 0
        self._forget(followed)

    def _judge(self, followed: Followed) -> None:
        """A task ended that the socket should have spoken of."""
        followed.timer = None
        if not followed.watches:
            self._forget(followed)
        self._unheard = 0 if followed.is_heard else self._unheard + 1
        if self._unheard == _MOST_UNHEARD:
            self.give_up(f"it said nothing of {_MOST_UNHEARD} tasks in a row")

    def _forget(self, followed: Followed) -> None:
        self._tasks.pop(followed.token, None)
        for line in self._lines:
            line.drop(followed)

    def _vouch(self, watch: Watch) -> None:
        age = _now() - watch.started_at
        bounded = min(max(age, _SHORTEST_BACKSTOP_SECONDS), _LONGEST_BACKSTOP_SECONDS)
        self.tracker.vouch(watch, bounded)

    def _look_in_a_while(self, followed: Followed) -> None:
        """Look, but not before the last such look is far enough behind."""
        if followed.timer is not None:
            return
        now = _now()
        at = max(now + _ERROR_SECONDS, followed.quiet_until)
        followed.quiet_until = at + followed.quiet_seconds
        followed.quiet_seconds = min(2 * followed.quiet_seconds, _LONGEST_QUIET_SECONDS)
        self._look_later(followed, at - now)

    def _look_soon(self, followed: Followed, among: int) -> None:
        """The socket speaks for it no more."""
        if followed.is_heard and followed.watches:
            spread = min(_SPREAD_SECONDS, among * 0.01)
            self._look_later(followed, spread * self.dice())

    def _look_later(self, followed: Followed, seconds: float) -> None:
        _cancel(followed)
        followed.timer = self._call_later(seconds, self._look, followed)

    def _look(self, followed: Followed) -> None:
        _cancel(followed)
        for watch in followed.watches:
            watch.vouched_until = _now()
            self.tracker.look_now(watch)

    def _call_later(
        self, seconds: float, call: Callable[[Followed], None], followed: Followed
    ) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, call, followed, context=self._context)


def _cancel(followed: Followed) -> None:
    if followed.timer is not None:
        followed.timer.cancel()
        followed.timer = None


def _now() -> float:
    return asyncio.get_running_loop().time()
