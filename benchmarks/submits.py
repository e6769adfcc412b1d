"""How many requests does one submit make when something fails?

Lets this library and four clients of similar services submit one task each, with the retries that
they come with, to a loopback server that fails in one way (`benchmarks/faulty_server.py`), and
prints a table: rows are faults, columns are clients, and a cell holds

* how many submits the server had read whole by the end, in bold where more than one of them could
  have made a task;
* what the caller got: ``task`` if it was told the id of a task that was made, else the class of
  the error, or of the value.

Only addresses, credentials and timeouts are set, the timeouts so that the silence ends soon.

    python3 -m venv .venv-peers
    .venv-peers/bin/pip install -e . -r benchmarks/peers.txt
    .venv-peers/bin/python -m benchmarks.submits
    .venv-peers/bin/python -m benchmarks.submits --details    # with seconds, a line for each cell
    python -m benchmarks.submits --only wiro_async            # needs no peers

Exits with 1 if one submit of this library made two requests that could each have made a task, and
if a client did not get its task where nothing failed (then the benchmark is wrong).

Longer than the other files because how each client submits stands beside what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from attrs import frozen

from benchmarks.faulty_server import FAULTS, NO_FAULT, Fault, FaultyServer

_TIMEOUT_SECONDS = 1.0
_CELL_SECONDS = 120.0
# More would let the clients' own work, TLS contexts above all, eat from their timeouts.
_CELLS_AT_ONCE = 12
_OURS = "wiro_async"
_PROMPT = "a lighthouse"


@frozen(kw_only=True)
class Client:
    """One client: how it submits, and what it takes for an answer.

    Attributes:
        package: its distribution.
        path: where it posts a submit.
        submit: submits once to the server at the origin; gives what the caller gets.
        answer: the JSON of a good answer, for a task's id.
    """

    package: str
    path: str
    submit: Callable[[str], Awaitable[object]]
    answer: Callable[[str], Mapping[str, object]]


@frozen(kw_only=True)
class Outcome:
    """What one submit of one client came to, with one fault.

    Attributes:
        requests: submits that the server had read whole.
        payable: those that could have made a task.
        word: what the caller got, in a word.
        seconds: until then.
        keys: headers that could make a repeat harmless.
    """

    requests: int
    payable: int
    word: str
    seconds: float
    keys: frozenset[str]

    def __str__(self) -> str:
        number = f"**{self.requests}**" if self.payable > 1 else str(self.requests)
        return f"{number} {self.word}"


async def submit_ours(origin: str) -> object:
    """Submit with this library."""
    session = import_module("wiro_async").WiroSession
    async with session(
        "key", "secret", base_url=f"{origin}/v1", request_timeout_seconds=_TIMEOUT_SECONDS
    ) as wiro:
        return await wiro.run("owner/model", {"prompt": _PROMPT})


async def submit_fal(origin: str) -> object:
    """Submit with fal_client.

    It writes ``https://`` before whatever host it is told by `FAL_QUEUE_RUN_HOST`. That one
    constant is shortened to ``http://``, and the host travels as the front of the
    application's name; all else is its own.
    """
    client: Any = import_module("fal_client.client")
    scheme, _, host = origin.partition("//")
    client.QUEUE_URL_FORMAT = f"{scheme}//"
    fal = client.AsyncClient(key="key", default_timeout=_TIMEOUT_SECONDS)
    return await fal.submit(f"{host}/owner/model", {"prompt": _PROMPT})


async def submit_replicate(origin: str) -> object:
    """Submit with replicate.

    Without ``wait`` it sets no timeout at all on a submit, whatever the client's; with it the
    timeout is half a second more than what is asked for.
    """
    client = import_module("replicate.client").Client(api_token="token", base_url=origin)  # noqa: S106
    return await client.predictions.async_create(
        version="5c7d5dc6", input={"prompt": _PROMPT}, wait=int(_TIMEOUT_SECONDS)
    )


async def submit_runway(origin: str) -> object:
    """Submit with runwayml."""
    runway = import_module("runwayml").AsyncRunwayML
    async with runway(api_key="key", base_url=origin, timeout=_TIMEOUT_SECONDS) as client:
        return await client.text_to_image.create(
            model="gen4_image", prompt_text=_PROMPT, ratio="1024:1024"
        )


async def submit_openai(origin: str) -> object:
    """Submit with openai; it has no task, its pictures are the answer."""
    openai = import_module("openai").AsyncOpenAI
    async with openai(api_key="key", base_url=f"{origin}/v1", timeout=_TIMEOUT_SECONDS) as client:
        return await client.images.generate(model="gpt-image-1", prompt=_PROMPT)


def answer_fal(task_id: str) -> Mapping[str, object]:
    """Build what fal's queue answers to a submit."""
    urls = ("response_url", "status_url", "cancel_url")
    return {"request_id": task_id} | dict.fromkeys(urls, f"http://127.0.0.1/{task_id}")


CLIENTS: Mapping[str, Client] = {
    _OURS: Client(
        package="wiro-async",
        path="/v1/Run/owner/model",
        submit=submit_ours,
        answer=lambda task_id: {"errors": [], "taskid": task_id, "result": True},
    ),
    "fal_client": Client(
        package="fal-client", path="/owner/model", submit=submit_fal, answer=answer_fal
    ),
    "replicate": Client(
        package="replicate",
        path="/v1/predictions",
        submit=submit_replicate,
        answer=lambda task_id: {
            "id": task_id,
            "model": "owner/model",
            "version": "5c7d5dc6",
            "status": "starting",
        },
    ),
    "runwayml": Client(
        package="runwayml",
        path="/v1/text_to_image",
        submit=submit_runway,
        answer=lambda task_id: {"id": task_id, "estimatedCost": {"credits": 5}},
    ),
    "openai": Client(
        package="openai",
        path="/v1/images/generations",
        submit=submit_openai,
        answer=lambda task_id: {"created": 1, "data": [{"url": f"http://127.0.0.1/{task_id}"}]},
    ),
}


async def submit_once(client: Client, server: FaultyServer) -> str:
    """Submit once; what the caller got, in a word."""
    cap = asyncio.timeout(_CELL_SECONDS)
    try:
        async with cap:
            got = await client.submit(server.origin)
    except Exception as error:  # noqa: BLE001 - what it is, is the result
        return f"none in {_CELL_SECONDS:.0f} s" if cap.expired() else type(error).__name__
    return "task" if any(task in repr(got) for task in server.tasks) else type(got).__name__


async def measure(client: Client, fault: Fault, *, befalls_all: bool) -> Outcome:
    """Let one client meet one fault."""
    server = FaultyServer(
        fault=fault, befalls_all=befalls_all, path=client.path, answer=client.answer
    )
    async with server:
        started = time.monotonic()
        word = await submit_once(client, server)
        seconds = time.monotonic() - started
    return Outcome(
        requests=server.requests,
        payable=server.payable,
        word=word,
        seconds=seconds,
        keys=frozenset(server.keys),
    )


Row = tuple[Fault, bool]
Outcomes = Mapping[tuple[str, Row], Outcome]
ROWS: tuple[Row, ...] = (
    (NO_FAULT, False),
    *((fault, False) for fault in FAULTS),
    *((fault, True) for fault in FAULTS if fault.can_befall_all),
)


async def measure_all(names: Sequence[str]) -> Outcomes:
    """Let every client meet every fault, some at a time."""
    places = asyncio.Semaphore(_CELLS_AT_ONCE)

    async def cell(name: str, row: Row) -> Outcome:
        async with places:
            return await measure(CLIENTS[name], row[0], befalls_all=row[1])

    # The imports are not to eat from anybody's timeout, so each client warms up alone.
    for name in names:
        await cell(name, ROWS[0])
    # The long ones first: those of faults that go on.
    cells = [(name, row) for row in reversed(ROWS) for name in names]
    outcomes = await asyncio.gather(*(cell(name, row) for name, row in cells))
    measured = dict(zip(cells, outcomes, strict=True))
    return {(name, row): measured[name, row] for row in ROWS for name in names}


def describe(row: Row) -> str:
    """Name a row's fault, and the requests that it befalls."""
    return f"{row[0].name} ({'every' if row[1] else 'first'} request)"


def print_table(names: Sequence[str], outcomes: Outcomes) -> None:
    """Print a row for each fault, first where it befalls once, then where it goes on."""
    print("| fault | of the request | could have made a task | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 3))
    for row in ROWS:
        fault, befalls_all = row
        befallen = "" if fault is NO_FAULT else "every" if befalls_all else "first"
        task = "yes" if fault.could_make_task else "no"
        cells = (str(outcomes[name, row]) for name in names)
        print("| " + " | ".join([fault.name, befallen, task, *cells]) + " |")


def print_footer(names: Sequence[str], outcomes: Outcomes) -> None:
    """Print who sent a key against repeats, and which versions these were."""
    senders = {f"{name} ({key})" for (name, _), outcome in outcomes.items() for key in outcome.keys}
    print(f"\nIdempotency keys were sent by: {', '.join(sorted(senders)) or 'nobody'}.\n")
    versions = [f"{CLIENTS[name].package} {version(CLIENTS[name].package)}" for name in names]
    print(f"{', '.join(versions)}; Python {platform.python_version()}, {platform.system()}.")


def print_details(outcomes: Outcomes) -> None:
    """Print a line for each cell."""
    print()
    for (name, row), outcome in outcomes.items():
        figures = f"payable {outcome.payable}, {outcome.seconds:.1f} s"
        print(f"{name}, {describe(row)}: {outcome}; {figures}")


def find_wrongs(outcomes: Outcomes) -> Iterator[str]:
    """Find what must not be; in words."""
    for (name, row), outcome in outcomes.items():
        where = f"{name}, {describe(row)}: {outcome}"
        if name == _OURS and outcome.payable > 1:
            yield f"may have been paid more than once: {where}"
        if row[0] is NO_FAULT and str(outcome) != "1 task":
            yield f"the benchmark is wrong: {where}"


def main() -> None:
    """Measure, print the table, and judge this library's column."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=CLIENTS, help="this client (repeatable)")
    parser.add_argument("--details", action="store_true", help="a line for each cell, with seconds")
    options = parser.parse_args()
    names = options.only or list(CLIENTS)
    try:
        for name in names:
            version(CLIENTS[name].package)
    except PackageNotFoundError as error:
        raise SystemExit(f"{error.name}: pip install -r benchmarks/peers.txt") from None
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    outcomes = asyncio.run(measure_all(names))
    print_table(names, outcomes)
    print_footer(names, outcomes)
    if options.details:
        print_details(outcomes)
    if wrongs := list(find_wrongs(outcomes)):
        raise SystemExit("\n".join(wrongs))


if __name__ == "__main__":
    main()
