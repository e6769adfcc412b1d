"""What the reader of a status stream has not read yet.

A socket can tell of a task faster than somebody reads. A change of status is never left out; of
the news in between (progress, log lines, a language model's text so far) the oldest gives way.
"""

from __future__ import annotations

import asyncio
from collections import deque

from wiro_async.task import TaskEvent

# A few screens of a log; of progress, more than anybody wants to read late.
_MOST_NEWS = 100


class EventQueue(asyncio.Queue[TaskEvent | None]):
    """Events in their order; None is the end of them."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._news: deque[TaskEvent] = deque()

    def put_news(self, event: TaskEvent) -> None:
        """Add an event that gives way to later ones."""
        if len(self._news) == _MOST_NEWS:
            # It is near the front: only changes of status can stand before it.
            self._queue.remove(self._news.popleft())  # type: ignore[attr-defined] # of asyncio's
        self._news.append(event)
        self.put_nowait(event)

    def _get(self) -> TaskEvent | None:
        event = super()._get()
        if self._news and event is self._news[0]:
            self._news.popleft()
        return event
