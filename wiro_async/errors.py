"""What can go wrong?

```text
WiroError
├── ConfigurationError             an argument or a variable cannot work; nothing was sent
│   └── CredentialsError           no key, or a secret without a key
├── SessionStateError              a session used before opening, after closing, on another loop
├── InvalidRequest                 refused here, before anything was sent or paid
│   └── SourceError                the same, with the place in the file it was read from
├── OutputDirectoryError           results cannot be written there
│   └── JournalError               the batch's journal is in use, damaged or of another kind
├── CostLimitReached               one more task could cost more than the batch may
├── TransportError                 no answer could be read
│   ├── AddressRefused             a url that must not be asked: nothing was sent there
│   ├── RequestNotSent             certainly never reached the service
│   └── OutcomeUnknown             may have been processed
│       └── RunOutcomeUnknown      a Run that may have made a task: never sent again by itself
├── ApiError                       the service answered, and the answer is no
│   ├── RequestRefused             the request is wrong (code 0)
│   ├── NotFound                   no such task or model, or not in that state (code 1)
│   ├── ConcurrencyLimitReached    too many tasks at once; no task was made (code 96)
│   ├── InsufficientBalance        the account is empty (code 97)
│   ├── AuthenticationFailed       the key, the signature or the address (401, codes 98 and 99)
│   ├── RateLimited                too many requests (429)
│   └── ServerError                the service failed, or answered what nobody can read
├── TaskError                      the task was made, and did not give its result
│   ├── TaskFailed                 it ended with an error; not billed
│   ├── TaskCancelled              it was cancelled or killed; not billed
│   ├── TaskTimeout                it is not terminal yet, and the caller's patience is over
│   └── TaskUnreachable            its state could not be read, look after look
└── DownloadError                  paid, but an output is not on disk
    └── OutputUnavailable          and the service does not have it (any more)
```

Every error's text says what happened and what to do next. None carries the key, the secret
or a signature: exceptions of the HTTP library, which know the request's headers, are neither
let through nor chained.

Longer than other files because the whole tree stands in one place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wiro_async.downloads import SavedFile
    from wiro_async.handle import TaskHandle
    from wiro_async.task import JsonObject, Task


class WiroError(Exception):
    """The root of everything that this library raises on purpose."""

    @property
    def message(self) -> str:
        """The text, without the class name."""
        return str(self.args[0]) if self.args else ""

    @property
    def kind(self) -> str:
        """The class name: what ``errors.jsonl`` and the summary call this error."""
        return type(self).__name__


class ConfigurationError(WiroError, ValueError):
    """Raised when an argument or an environment variable cannot work; nothing was sent."""


class CredentialsError(ConfigurationError):
    """Raised when there is no API key, or a secret without a key."""


class SessionStateError(WiroError, RuntimeError):
    """Raised when a session is used before opening, after closing or on another event loop."""


class InvalidRequest(WiroError, ValueError):
    """Raised when a request was refused here, before anything was sent or paid.

    Attributes:
        field: the parameter or column at fault, where there is one.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class SourceError(InvalidRequest):
    """Raised when a file of prompts cannot be used as it is.

    Attributes:
        file: the file's name as it was given.
        line: the line in the file, counted from 1.
        column: the character in the line, counted from 1, where that is known.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str = "",
        line: int | None = None,
        column: int | None = None,
        field: str | None = None,
    ) -> None:
        places = [file] if file else []
        places += [f"line {line}"] if line is not None else []
        places += [f"column {column}"] if column is not None else []
        super().__init__(f"{', '.join(places)}: {message}" if places else message, field=field)
        self.file = file
        self.line = line
        self.column = column


class OutputDirectoryError(WiroError):
    """Raised when results cannot be written where they were asked for; nothing was sent."""


class JournalError(OutputDirectoryError):
    """Raised when a batch's journal is in use, damaged, or was written for something else."""


class CostLimitReached(WiroError):
    """Raised when one more task could cost more than a batch may; it was not started."""


class TransportError(WiroError):
    """Raised when no answer could be read.

    Attributes:
        endpoint: the path of the request, such as ``/Task/Detail``.
        evidence: what the connection was seen to do, in words.
    """

    def __init__(self, message: str, *, endpoint: str = "", evidence: str = "") -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.evidence = evidence


class AddressRefused(TransportError):
    """Raised when an output's url, or one that it redirects to, must not be asked.

    Only http and https are, and no address of this machine or of a private network, unless the
    session's own base url is on this machine.
    """


class RequestNotSent(TransportError):
    """Raised when a request certainly never reached the service: sending it again is safe."""


class OutcomeUnknown(TransportError):
    """Raised when a request may have been processed, but its answer was not read to the end.

    Attributes:
        partial: what came of the answer's body before it broke off, decoded as far as it went;
            nothing in most cases. It is never shown.
    """

    partial: bytes = b""


class RunOutcomeUnknown(OutcomeUnknown):
    """Raised when a Run may have made (and may bill) a task that nobody has the id of.

    It was not sent again: that could pay twice. `find` looks for the task among the project's.

    Attributes:
        model: the slug that was run.
        params: the parameters as they were sent.
        sent_at: unix time in seconds at which the request went out.
    """

    _finder: Callable[[], Awaitable[TaskHandle | None]] | None = None

    def __init__(
        self,
        message: str,
        *,
        endpoint: str = "",
        evidence: str = "",
        model: str = "",
        params: JsonObject | None = None,
        sent_at: float | None = None,
    ) -> None:
        super().__init__(message, endpoint=endpoint, evidence=evidence)
        self.model = model
        self.params: JsonObject = params if params is not None else {}
        self.sent_at = sent_at

    def __reduce__(self) -> tuple[object, ...]:
        state = {name: value for name, value in vars(self).items() if name != "_finder"}
        return type(self), self.args, state

    async def find(self) -> TaskHandle | None:
        """Look for the task in ``/Task/List``: its handle, or None if it does not show.

        It waits until the service has had the session's `settle_seconds` to list it, and takes
        a task only if two readings of the list agree. None is no proof that there is none: the
        list is not documented, and may lag.

        Raises:
            SessionStateError: if the session that sent the Run is closed, or the error comes
                from another process.
            WiroError: if the list could not be read.
        """
        if self._finder is None:
            raise SessionStateError(
                f"{self.message}: only the session that sent it can look for it; another one has "
                "list_tasks()"
            )
        return await self._finder()


class ApiError(WiroError):
    """Raised when the service answered, and the answer is no.

    Attributes:
        endpoint: the path of the request, such as ``/Run/owner/model``.
        code: the service's own code as it came ("97"), where there was one.
        http_status: the status of the HTTP answer.
        reason: the service's own words.
    """

    def __init__(
        self,
        message: str,
        *,
        endpoint: str = "",
        code: str | None = None,
        http_status: int | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.code = code
        self.http_status = http_status
        self.reason = reason


class RequestRefused(ApiError):
    """Raised when the service says that the request is wrong (code 0); no task was made."""


class NotFound(ApiError):
    """Raised when a task or model is not there, or not in a state for the request (code 1)."""


class ConcurrencyLimitReached(ApiError):
    """Raised when the account runs as many tasks as it may (code 96); no task was made.

    A session waits for a free slot by itself; this comes out only where it was told not to.

    Attributes:
        limit: tasks that may run at once, as the service stated it; None if it did not.
    """

    limit: int | None = None


class InsufficientBalance(ApiError):
    """Raised when the account cannot pay for the task (code 97). Add funds, then go on."""


class AuthenticationFailed(ApiError):
    """Raised when the key, the signature or the caller's address is refused (401, 98, 99)."""


class RateLimited(ApiError):
    """Raised when requests come too fast (429) for longer than the session's patience.

    Attributes:
        retry_after_seconds: how long the service asked to wait; None if it did not say.
    """

    retry_after_seconds: float | None = None


class ServerError(ApiError):
    """Raised when the service failed, or answered what cannot be read, attempt after attempt.

    Attributes:
        retry_after_seconds: how long the service asked to wait; None if it did not say.
    """

    retry_after_seconds: float | None = None


class TaskError(WiroError):
    """Raised when a task was made and did not give its result.

    Attributes:
        task_id: the service's id of the task, where it is known.
        token: the task's socket access token, where it is known.
        task: the last record that was read; None if there was none.
    """

    def __init__(
        self,
        message: str,
        *,
        task_id: str | None = None,
        token: str | None = None,
        task: Task | None = None,
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.token = token
        self.task = task


class TaskFailed(TaskError):
    """Raised when a task ended with an error of its own; the service does not bill it."""


class TaskCancelled(TaskError):
    """Raised when a task was cancelled or killed; the service does not bill it."""


class TaskTimeout(TaskError):
    """Raised when a task is not terminal within the time given; it goes on at the service."""


class TaskUnreachable(TaskError):
    """Raised when a task's state could not be read, look after look; it may go on unseen."""


class DownloadError(WiroError):
    """Raised when a task's output could not be brought to disk; the task itself is paid.

    Attributes:
        url: where the output lies at the service.
        path: where it was to go.
        task_id: the service's id of the task.
        token: the task's socket access token, where it is known.
        is_disk: whether the disk is at fault, so that the next output would meet it as well.
        is_full: whether it is the disk, and room on it is all that is missing.
        saved: the task's other outputs, which are on disk.
    """

    is_disk: bool = False
    is_full: bool = False
    saved: tuple[SavedFile, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        url: str = "",
        path: str = "",
        task_id: str | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__(message)
        self.url = url
        self.path = path
        self.task_id = task_id
        self.token = token


class OutputUnavailable(DownloadError):
    """Raised when the service does not give out a paid output, also under a fresh url."""
