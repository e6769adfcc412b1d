"""What a reader of a status stream has not read yet.

A socket can tell of a task faster than somebody reads. A change of status is never left out; of
the news in between (progress, log lines, a language model's text so far) the oldest give way.
"""

from __future__ import annotations

import asyncio
from collections import deque

from wiro_async.task import TaskEvent

# A few screens of a log. More than that is not news any more.
_MOST_NEWS = 64


class EventQueue(asyncio.Queue[TaskEvent | None]):
    """Events in their order, the end of them as None."""

    _queue: deque[TaskEvent | None]

    def __init__(self) -> None:
        super().__init__()
        self._news = 0

    def put_news(self, event: TaskEvent) -> None:
        """Add what may be left out; the oldest of its kind gives way where there is too much."""
        if self._news == _MOST_NEWS:
            self._queue.remove(next(one for one in self._queue if is_news(one)))
            self._news -= 1
        self._news += 1
        self.put_nowait(event)

    def _get(self) -> TaskEvent | None:
        event = self._queue.popleft()
        self._news -= is_news(event)
        return event


def is_news(event: TaskEvent | None) -> bool:
    ...
