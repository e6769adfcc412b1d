"""Real processes, cheap enough to be killed by the thousand.

A new interpreter needs most of a second to import what a batch needs. So the runner imports it
once and forks: a child is a process like any other, with a life, files and sockets of its own,
and SIGKILL ends it like any other. Where that is doubted, ``fresh`` gives each process an
interpreter of its own.
"""

from __future__ import annotations

import gc
import http.client
import io
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from attrs import define, evolve, field, frozen

import wiro_async
from tests.crash import victim

ROOT = Path(__file__).parents[2]
_SECONDS_BETWEEN_POLLS = 0.003
_SECONDS_TO_START = 30.0
_SECONDS_TO_END = 30.0
_SOFTWARE_ERROR = 70  # EX_SOFTWARE of sysexits.h: it did not even come to an exit code of its own


@frozen(kw_only=True)
class Program:
    """What a process is to do, and where."""

    arguments: tuple[str, ...]
    """What `victim.run` takes."""
    folder: Path
    """Its working directory; what it calls temporary goes there too."""
    log: Path
    """Takes what it says."""
    environment: Mapping[str, str] = field(factory=dict)
    """Beside what this process has, without the settings of the service."""
    aims: tuple[str, ...] = ()


@define
class Child:
    """A process of ours, until it has been waited for."""

    pid: int
    _code: int | None = None

    def poll(self) -> int | None:
        """Give its exit code, negative for the signal that ended it; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, seconds: float) -> int | None:
        """Give its exit code as soon as there is one; None if it still runs after that long."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(_SECONDS_BETWEEN_POLLS)
        return self._code

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it is over."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int | None:
        """End it by a signal, and by SIGKILL if that does not help; its exit code."""
        self.send(number)
        if self.wait(_SECONDS_TO_END) is None:
            self.send(signal.SIGKILL)
        return self.wait(_SECONDS_TO_END)


def warm_up() -> None:
    """Import here what a client imports late, so that its children have it.

    It is quick, and a source that is changed meanwhile does not make them all different.
    """
    for module in pkgutil.walk_packages(wiro_async.__path__, "wiro_async."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    with redirect_stderr(io.StringIO()):
        victim.run((), ("batch", "--max-in-flight", "no number"))
    gc.freeze()  # a collection in a child would copy every page that it looks at


def start(program: Program, *, fresh: bool = False) -> Child:
    """Start a process that runs the program, forked from this one or in a fresh interpreter."""
    return fork(lambda: _become(program, fresh=fresh))


def fork(work: Callable[[], int]) -> Child:
    """Start a process that does the work and ends with the exit code which that gives."""
    sys.stdout.flush()  # or the child would say again what this process has not said yet
    sys.stderr.flush()
    pid = os.fork()
    return Child(pid) if pid else _work(work)


def _work(work: Callable[[], int]) -> NoReturn:
    code = _SOFTWARE_ERROR
    try:
        code = work()
    except BaseException:  # noqa: BLE001 - this process must not go on as a second parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(program: Program, *, fresh: bool) -> int:
    for name in [name for name in os.environ if name.startswith("WIRO_")]:
        del os.environ[name]
    os.environ.update(program.environment, TMPDIR=str(program.folder), WIRO_DEBUG="1")
    tempfile.tempdir = None  # what the parent found is not for us
    os.chdir(program.folder)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    if fresh:
        os.environ["PYTHONPATH"] = str(ROOT)
        words = ("-m", "tests.crash.victim", *program.aims, "--", *program.arguments)
        os.execv(sys.executable, (sys.executable, *words))  # noqa: S606 - this very program
    return victim.run(program.aims, program.arguments)


@frozen(kw_only=True)
class Service:
    """An emulator that runs."""

    environment: Mapping[str, str]
    """What points a client at it."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no client may write down."""
        return self.environment["WIRO_API_KEY"], self.environment["WIRO_API_SECRET"]

    def books(self) -> dict[str, Any]:
        """What really happened, as soon as no task runs any more."""
        end = time.monotonic() + _SECONDS_TO_END
        while (books := self._books())["in_flight"] and time.monotonic() < end:
            time.sleep(0.05)
        return books

    def _books(self) -> dict[str, Any]:
        place = self.environment["WIRO_BASE_URL"].removeprefix("http://").removesuffix("/v1")
        # Not urllib: it would ask the proxy of the environment.
        connection = http.client.HTTPConnection(place, timeout=_SECONDS_TO_END)
        try:
            connection.request("GET", "/emulator/books")
            books: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return books


@contextmanager
def emulating(program: Program, *, fresh: bool = False) -> Iterator[Service]:
    """Serve the emulator in a process of its own.

    Args:
        program: the options of ``wiro emulator`` as its arguments.
        fresh: whether in an interpreter of its own.
    """
    child = start(evolve(program, arguments=("emulator", *program.arguments)), fresh=fresh)
    try:
        yield Service(environment=_read_environment(child, program.log))
    finally:
        child.end(signal.SIGTERM)


def _read_environment(child: Child, log: Path) -> dict[str, str]:
    end = time.monotonic() + _SECONDS_TO_START
    while child.poll() is None and time.monotonic() < end:
        said = log.read_text() if log.exists() else ""
        if "the books are at" in said:
            lines = said.splitlines()
            exports = [line.removeprefix("export ") for line in lines if line.startswith("export ")]
            return dict(line.split("=", 1) for line in exports)
        time.sleep(_SECONDS_BETWEEN_POLLS)
    raise RuntimeError(f"the emulator did not start: {log.read_text() if log.exists() else ''}")
