"""Runs in a row of which nobody knows what they made: a batch does not go on like that for ever.

A Run whose answer was lost may have made a task, and a task is billed. One is nothing unusual, and
is looked for in the list of tasks. Where nothing but such Runs come, something has changed for
good (a proxy that eats answers, a service that has moved on), and each further one may cost money
for a picture that nobody gets. So:

1. After so many in a row, with not one answer between them, no Run goes out until those have been
   looked for.
2. One that is found, or any Run that is answered with a task, ends the row.
3. If as many of one row were looked for in vain, the batch stops, resumably: what they made is
   found by the next run, if it shows then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import define, field

from wiro_async.errors import RunOutcomeUnknown, WiroError

# As many failures in a row are an outage to `protocol.outage`.
LONGEST = 10


@define(eq=False)
class Streak:
    """The row of one batch; made on its event loop."""

    stop: Callable[[WiroError], None]
    _row: int = field(init=False, default=0)
    _unknown: int = field(init=False, default=0)
    _in_vain: int = field(init=False, default=0)
    _over: asyncio.Event = field(init=False, factory=asyncio.Event)

    @property
    def is_long(self) -> bool:
        """Whether no Run is to go out."""
        return self._unknown >= LONGEST

    def note_unknown(self) -> int:
        """The answer of a Run was lost; the number of the row that it is in."""
        self._unknown += 1
        if self.is_long:
            self._over.clear()
        return self._row

    def note_known(self) -> None:
        """A Run was answered with a task, or the task of a lost one was found."""
        if self._unknown:
            self._row += 1
            self._unknown = self._in_vain = 0
            self._over.set()

    def note_in_vain(self, row: int | None, error: RunOutcomeUnknown) -> None:
        """A lost Run of that row was looked for, and nothing was found."""
        if row != self._row:
            return
        self._in_vain += 1
        if self._in_vain >= LONGEST:
            self.stop(
                RunOutcomeUnknown(
                    f"the answers of the last {self._in_vain} Runs were lost, and no task of "
                    "theirs was found; each may be billed, so no more are sent. See what lies "
                    "between here and the service, and start the same batch again: it looks for "
                    f"them once more. The last one: {error.evidence or error.message}",
                    endpoint=error.endpoint,
                    evidence=error.evidence,
                    model=error.model,
                    params=error.params,
                    sent_at=error.sent_at,
                )
            )

    async def wait_over(self) -> None:
        """Wait until Runs may go out."""
        while self.is_long:
            await self._over.wait()
