"""What the service says no with: every code and sentence in one place.

A refusal is not an exception here. The service answers it like anything else, so the
emulator's functions return one where they cannot do what was asked, and the type checker
sees to it that nobody forgets. The rules:

* A code and its sentence come from the service's documentation, word for word where it
  prints one. The two that it does not print (a select value that is not listed, a file that
  is too large) say so beside them.
* Everything but wrong credentials and too many requests is HTTP 200: code and message are
  in the envelope.
"""

from decimal import Decimal

import attrs


@attrs.frozen(kw_only=True)
class Refusal:
    """One "no" of the service: the code and message of its envelope, and the HTTP status."""

    code: int
    message: str
    http_status: int = 200
    retry_after: float | None = None
    """Seconds for the Retry-After header; `None` sends none."""

    @property
    def kind(self) -> str:
        """How the books count it: `code 96`, or `http 401` where the status says more."""
        return f"code {self.code}" if self.http_status == 200 else f"http {self.http_status}"  # noqa: PLR2004 (HTTP OK)


BODY_INVALID = Refusal(code=0, message="Request parameters are invalid.")
NO_SUCH_PATH = Refusal(code=0, message="Error parsing url.", http_status=404)
TASK_UNNAMED = Refusal(code=0, message="taskid or socketaccesstoken is required")
TASK_UNKNOWN = Refusal(code=1, message="There is no task yet.")
TASK_NOT_YOURS_TO_DELETE = Refusal(code=1, message="task-not-exist")
TASK_STILL_RUNNING = Refusal(
    code=1, message="Task must be completed or cancelled before deleting files"
)
NOT_CANCELLABLE = Refusal(code=1, message="Task is not in a cancellable state.")
MODEL_UNKNOWN = Refusal(code=1, message="slug-owner-project-not-exist")
NO_BALANCE = Refusal(code=97, message="Insufficient balance")
KEY_UNKNOWN = Refusal(code=0, message="Project authorization is not founded.", http_status=401)
SIGNATURE_MISSING = Refusal(
    code=0,
    message=(
        "Project requires signature authentication. x-signature and x-nonce headers are required."
    ),
    http_status=401,
)
SIGNATURE_WRONG = Refusal(code=0, message="Project authorization is not valid.", http_status=401)
# The documentation gives the limit of 100 MB but no sentence for it: this one is ours.
FILE_TOO_LARGE = Refusal(code=0, message="Request files [file] must be 100 MB at most")
FOLDER_NAME_INVALID = Refusal(code=0, message="Request parameter [name] is not valid")


def parameter_required(name: str) -> Refusal:
    """Give the refusal of a request whose parameter `name` is missing or empty."""
    return Refusal(code=0, message=f"Request parameter [{name}] required")


def files_required(name: str) -> Refusal:
    """Give the refusal of a Run whose file parameter `name` has neither file nor url."""
    return Refusal(code=0, message=f"Request files [{name}] required")


def not_a_number(name: str) -> Refusal:
    """Give the refusal of text where parameter `name` wants a number."""
    return Refusal(code=0, message=f"Request parameter [{name}] must be integer or float")


def out_of_range(name: str, low: float, high: float) -> Refusal:
    """Give the refusal of a number outside the inclusive range of parameter `name`."""
    return Refusal(
        code=0, message=f"Request parameter [{name}] must be between {low:g} and {high:g}"
    )


def not_listed(name: str, values: tuple[str, ...]) -> Refusal:
    """Give the refusal of a select value that is not on the list.

    That the service refuses it is known, its sentence is not: this one is ours.
    """
    listed = ", ".join(values)
    return Refusal(code=0, message=f"Request parameter [{name}] must be one of [{listed}]")


def limit_reached(balance: Decimal, limit: int) -> Refusal:
    """Give the refusal of a Run over the concurrent limit, which states both numbers."""
    tasks = "task" if limit == 1 else "tasks"
    return Refusal(
        code=96,
        message=(
            "You have reached your concurrent task limit. With your current balance of "
            f"${balance:.2f}, you can run up to {limit} {tasks} at the same time. "
            "Add funds to increase your limit."
        ),
    )


def too_many_requests(retry_after: float | None) -> Refusal:
    """Give the HTTP 429 of a project that asks too fast, with the seconds to wait if known."""
    return Refusal(code=0, message="Too many requests.", http_status=429, retry_after=retry_after)
