"""An output that is to be saved: what is known of it, and how it ends, well or not."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from attrs import define, frozen

from wiro_async.errors import DownloadError, NotFound, OutputUnavailable, WiroError
from wiro_async.protocol.addresses import shown_url
from wiro_async.protocol.filetypes import corrected_extension
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.protocol.wording import clean_words
from wiro_async.task import Output, Task

Refresh: TypeAlias = Callable[[], Awaitable[Task]]

# A server that gives a few bytes a try is not followed for ever.
_MOST_TRIES = 100
# Of a file, not of the disk: EFBIG is in neither, since the next output may be smaller.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_OF_THE_DISK = _FULL | {errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EMFILE}


@frozen(kw_only=True)
class SavedFile:
    """An output that is whole and on disk.

    Attributes:
        path: where it is.
        size_bytes: how long it is.
        sha256: of its bytes, in hex.
        url: where it came from.
        content_type: what the task's record calls it; its bytes may be of another type.
        note: what a person should know of it, in one sentence; None in the usual case.
    """

    path: Path
    size_bytes: int
    sha256: str
    url: str
    content_type: str | None = None
    note: str | None = None


@define(kw_only=True)
class Errand:
    """One output on its way, with all that its error would have to name."""

    task: Task
    place: int
    path: Path
    refresh: Refresh | None
    output: Output
    is_renewed: bool = False
    has_answer: bool = True
    """Whether the service has said all that it has to say of the output."""
    is_gone: bool = False
    """Whether the service has said that there is no such output, or no such task."""
    trouble: str = ""

    async def renew(self) -> bool:
        """Ask for the task's record anew; whether it has a url, which may be worth a try.

        A record that cannot be had is kept in mind for the error, and is no reason of its own.
        """
        self.is_renewed = True
        if self.refresh is None:
            return False
        try:
            fresh = find_output(await self.refresh(), self.task, self.place)
        except NotFound as error:
            self.is_gone = True
            self.trouble = f"; the service does not know the task any more: {error.message}"
            return False
        except WiroError as error:
            self.has_answer = False
            self.trouble = f"; a fresh url could not be had: {error.message}"
            return False
        if fresh is None or not fresh.url:
            self.is_gone = True
            self.trouble = "; the task's record does not have it any more"
            return False
        self.trouble = ", also under the url that the task's record has now"
        self.output = fresh
        return True

    def place_file(self, head: bytes) -> tuple[Path, str | None]:
        """The path for a file with these first bytes, and a note where it is not the one named."""
        found = corrected_extension(self.path.suffix, head)
        if found is None:
            return self.path, None
        called = clean_words(self.output.name) or self.path.name
        return self.path.with_suffix(found.extension), (
            f"the service calls it {called}, its bytes are {found.name}: saved as {found.extension}"
        )

    def unsaved(self, reason: str) -> DownloadError:
        """Paid, and there may still be a way to it."""
        trouble = "" if self.has_answer else self.trouble
        return self._error(DownloadError, f"{self.path} is paid but not saved: {reason}{trouble}")

    def unavailable(self, reason: str) -> DownloadError:
        """Paid, and the service does not give it out, as far as it could be asked."""
        if not self.has_answer:
            return self.unsaved(reason)
        return self._error(
            OutputUnavailable, f"paid, output unavailable: {self.path}: {reason}{self.trouble}"
        )

    def disk_failure(self, error: OSError) -> DownloadError:
        """Paid, and the disk does not take it."""
        is_full = error.errno in _FULL
        said = (
            f"the disk that holds {self.path.parent} is full ({error.strerror})"
            if is_full
            else f"the disk says: {error}"
        )
        lost = self.unsaved(said)
        lost.is_disk = error.errno in _OF_THE_DISK
        lost.is_full = is_full
        return lost

    def _error(self, kind: type[DownloadError], said: str) -> DownloadError:
        url, task_id, token = self.output.url, self.task.id, self.task.token
        lies = f"It lies at {shown_url(url)} for a limited time" if url else "It has no url"
        names = (
            f"task {clean_words(task_id) or 'without id'}, token {clean_words(token) or 'unknown'}"
        )
        return kind(
            f"{said}. {lies} ({names})",
            url=url or "",
            path=str(self.path),
            task_id=task_id,
            token=token,
        )


def is_file(output: Output) -> bool:
    """Whether an output is, or claims to be, a file; a language model's content is none."""
    return bool(output.url or (output.name and output.content is None))


def find_output(fresh: Task, known: Task, place: int) -> Output | None:
    """An output of a record in a newer one: by its id, else by its name, else by its place."""
    wanted = known.outputs[place]
    for name in ("id", "name"):
        value = getattr(wanted, name)
        found = [one for one in fresh.outputs if value and getattr(one, name) == value]
        if len(found) == 1:
            return found[0]
    return fresh.outputs[place] if len(fresh.outputs) == len(known.outputs) else None


@define
class Patience:
    """How often one output is asked for: tries that bring something new are not counted."""

    policy: RetryPolicy
    tries: int = 0
    failures: int = 0
    _best_bytes: int = 0

    def note_failure(self, size_bytes: int) -> None:
        """Count a try that ended with so many bytes of the file there, to be gone on with."""
        self.tries += 1
        self.failures = 1 if size_bytes > self._best_bytes else self.failures + 1
        self._best_bytes = max(self._best_bytes, size_bytes)

    def is_over(self, *, is_refused: bool) -> bool:
        """Whether it is time to give up; sooner on what the server says that it does not have."""
        policy = self.policy
        most = policy.max_attempts if is_refused else policy.max_download_attempts
        return self.failures >= most or self.tries >= _MOST_TRIES
