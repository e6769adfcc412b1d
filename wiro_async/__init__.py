"""What may I use?

The asyncio-native client of the Wiro AI generation API. See the README for a tour, and
`WiroSession` for everything else. The emulator of the service is `wiro_async.emulator`.
"""

from wiro_async.api import Statistics
from wiro_async.batch.engine import Batch
from wiro_async.batch.requests import BatchRequest, SourceOptions
from wiro_async.batch.results import BatchItem, BatchSummary, ItemStatus
from wiro_async.batch.sources import check_source, read_requests
from wiro_async.downloads import SavedFile
from wiro_async.errors import (
    AddressRefused,
    ApiError,
    AuthenticationFailed,
    ConcurrencyLimitReached,
    ConfigurationError,
    CostLimitReached,
    CredentialsError,
    DownloadError,
    InsufficientBalance,
    InvalidRequest,
    JournalError,
    NotFound,
    OutcomeUnknown,
    OutputDirectoryError,
    OutputUnavailable,
    RateLimited,
    RequestNotSent,
    RequestRefused,
    RunOutcomeUnknown,
    ServerError,
    SessionStateError,
    SourceError,
    TaskCancelled,
    TaskError,
    TaskFailed,
    TaskTimeout,
    TaskUnreachable,
    TransportError,
    WiroError,
)
from wiro_async.handle import TaskHandle, as_completed
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.session import WiroSession
from wiro_async.task import Outcome, Output, Progress, Task, TaskEvent, TaskStatus
from wiro_async.tracking.webhook import WebhookReceiver

__version__ = "0.1.0"

__all__ = [
    "AddressRefused",
    "ApiError",
    "AuthenticationFailed",
    "Batch",
    "BatchItem",
    "BatchRequest",
    "BatchSummary",
    "ConcurrencyLimitReached",
    "ConfigurationError",
    "CostLimitReached",
    "CredentialsError",
    "DownloadError",
    "InsufficientBalance",
    "InvalidRequest",
    "ItemStatus",
    "JournalError",
    "NotFound",
    "Outcome",
    "OutcomeUnknown",
    "Output",
    "OutputDirectoryError",
    "OutputUnavailable",
    "PollSchedule",
    "Progress",
    "RateLimited",
    "RequestNotSent",
    "RequestRefused",
    "RetryPolicy",
    "RunOutcomeUnknown",
    "SavedFile",
    "ServerError",
    "SessionStateError",
    "SourceError",
    "SourceOptions",
    "Statistics",
    "Task",
    "TaskCancelled",
    "TaskError",
    "TaskEvent",
    "TaskFailed",
    "TaskHandle",
    "TaskStatus",
    "TaskTimeout",
    "TaskUnreachable",
    "TransportError",
    "WebhookReceiver",
    "WiroError",
    "WiroSession",
    "__version__",
    "as_completed",
    "check_source",
    "read_requests",
]
