"""How a watch ends that saw no terminal record: what its error says of the task.

The task itself goes on at the service. So each text names it, by its id, its token and its last
known status, and says how to have it again.
"""

from __future__ import annotations

import copy

from wiro_async.errors import SessionStateError, TaskTimeout, TaskUnreachable, WiroError
from wiro_async.tracking.watch import Watch


def closed_around(watch: Watch) -> SessionStateError:
    """The session was closed."""
    return SessionStateError(
        f"the session was closed while {watch.describe()} was running; it goes on at "
        "the service, and session.task(task_id=...) of another session finds it again"
    )


def unreachable(watch: Watch, reason: str) -> TaskUnreachable:
    """Its own looks failed."""
    times = f", {watch.failures} times in a row" if watch.failures > 1 else ""
    return TaskUnreachable(
        f"{watch.describe()}: its state could not be read{times}; it may go on at the service, and "
        f"session.task(task_id=...) watches it again. The last failure: {reason}",
        task_id=watch.task_id,
        token=watch.token,
        task=watch.task,
    )


def unanswered(watch: Watch, seconds: float, reason: str) -> TaskUnreachable:
    """Nobody was answered."""
    return TaskUnreachable(
        f"{watch.describe()}: its state could not be read, the service has answered nothing for "
        f"{seconds:.0f} s; it may go on there, and session.task(task_id=...) watches it again. The "
        f"last failure: {reason}",
        task_id=watch.task_id,
        token=watch.token,
        task=watch.task,
    )


def named(watch: Watch, error: WiroError) -> WiroError:
    """The same error, with the task's names."""
    own = copy.copy(error)
    own.args = (f"{watch.describe()}: {error.message}",)
    return own


def timeout_of(watch: Watch, now: float) -> TaskTimeout:
    """Its own time is over."""
    return TaskTimeout(
        f"{watch.describe()}: not finished after {now - watch.started_at:.0f} s. It goes on at the "
        "service and can be billed; session.task(task_id=...) watches it again",
        task_id=watch.task_id,
        token=watch.token,
        task=watch.task,
    )
