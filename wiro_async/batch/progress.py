"""What is known of an item that is under way, and what it becomes when it ends or is left."""

from __future__ import annotations

from attrs import define

from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import BatchItem, status_of
from wiro_async.downloads import SavedFile
from wiro_async.errors import DownloadError, RunOutcomeUnknown, TaskError, WiroError
from wiro_async.handle import TaskHandle


@define
class Progress:
    """What is known of an item that is under way."""

    request: BatchRequest
    started_at: float
    problem: WiroError | None = None
    handle: TaskHandle | None = None
    unknown: RunOutcomeUnknown | None = None
    files: tuple[SavedFile, ...] = ()

    def take(self, handle: TaskHandle) -> None:
        """A task was made."""
        self.handle = handle

    def lose(self, unknown: RunOutcomeUnknown) -> None:
        """A task may have been made."""
        self.unknown = unknown

    def end(self, error: WiroError | None, now: float) -> BatchItem:
        """The item, ended with this error or with none."""
        handle = self.handle
        return BatchItem(
            request=self.request,
            status=status_of(error, is_task_made=handle is not None),
            files=self.files,
            task_id=None if handle is None else handle.task_id,
            token=None if handle is None else handle.token,
            task=None if handle is None else handle.task,
            error=error,
            elapsed_seconds=now - self.started_at,
        )


def interrupted(handle: TaskHandle) -> WiroError:
    """What an item is told that the batch left behind with its task made."""
    if handle.task is not None and handle.task.succeeded:
        return DownloadError(
            f"the batch was interrupted while the files of task {handle.task_id} (token "
            f"{handle.token}) were downloaded; it is paid, and they lie at the service for a "
            "limited time",
            task_id=handle.task_id,
        )
    return TaskError(
        f"the batch was interrupted while task {handle.task_id} (token {handle.token}) ran; it "
        "goes on at the service and can be billed",
        task_id=handle.task_id,
        token=handle.token,
        task=handle.task,
    )
