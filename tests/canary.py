"""Credentials that are told from everything else, and the places where they are looked for.

A canary is a key and a secret like no others. Wherever one of them shows, whole or in part, as
it is or in one of the usual disguises, that place leaks. So do the signatures that were made
with them.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import html
import json
import logging
import pickle
import pprint
import re
import secrets
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from unittest import mock
from urllib.parse import quote

import pytest
from attrs import define, field

from tests.cli.conftest import emulating
from wiro_async.emulator import Emulator
from wiro_async.emulator.auth import Doorkeeper

SPEED = 200.0

# A part this long cannot be there by chance.
_PART = 10
# All that a header may hold and that some writing has to escape.
_ODD = "\"\\'%&<>+/=~"
_HEX = re.compile(r"[0-9a-fA-F]{16,}")


def _base64_forms(text: str) -> Iterator[str]:
    """The text in base64, wherever in a longer one it stands."""
    for before in range(3):
        coded = base64.b64encode(b"x" * before + text.encode()).decode()
        # The first and the last letters also hold bits of what stands beside it.
        yield coded[-(-before * 4 // 3) : len(coded) - 4]


DISGUISES: Mapping[str, Callable[[str], Iterable[str]]] = {
    "as it is": lambda text: [text],
    "upper case": lambda text: [text.upper()],
    "reversed": lambda text: [text[::-1]],
    "JSON": lambda text: [json.dumps(text)[1:-1]],
    "repr": lambda text: [repr(text)[1:-1]],
    "url": lambda text: [quote(text, safe="")],
    "HTML": lambda text: [html.escape(text)],
    "hex": lambda text: [text.encode().hex()],
    "blanks between": lambda text: [" ".join(text)],
    "base64": _base64_forms,
    "utf-16": lambda text: [text.encode("utf-16-le").decode("latin-1")],
    "utf-16 in hex": lambda text: [text.encode("utf-16-le").hex()],
}


@define(repr=False)
class Canary:
    """A key and a secret, and the signatures that they made."""

    key: str = field(init=False)
    secret: str = field(init=False)
    signatures: set[str] = field(init=False, factory=set)
    _needles: dict[str, str] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        for name in ("key", "secret"):
            core = secrets.token_hex(15)
            setattr(self, name, f"{core[:15]}{_ODD}{core[15:]}")
            for place, part in (("begin", core[:_PART]), ("end", core[-_PART:]), ("odd", _ODD)):
                whole = part if place != "odd" else f"{core[9:15]}{_ODD}{core[15:21]}"
                for disguise, dress in DISGUISES.items():
                    for form in dress(whole):
                        self._needles.setdefault(form, f"the {name} ({place}, {disguise})")

    def find(self, said: str | bytes) -> set[str]:
        """What of the credentials is told there: nothing, if all is well."""
        text = said if isinstance(said, str) else said.decode("latin-1")
        found = {name for needle, name in self._needles.items() if needle in text}
        known = {signature[:16] for signature in self.signatures}
        if any(run[:16].lower() in known for run in _HEX.findall(text)):
            found.add("a signature")
        return found

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Learn every signature that reaches an emulator of this process."""
        check = Doorkeeper.check

        def listen(keeper: Doorkeeper, headers: Mapping[str, str]) -> object:
            self.signatures.add(headers.get("x-signature", ""))
            return check(keeper, headers)

        with mock.patch.object(Doorkeeper, "check", listen):
            yield
        self.signatures.discard("")


@define(eq=False, repr=False)
class Recorder(logging.Handler):
    """Keeps all that is logged, warned of or raised, as far as anybody could print it."""

    canary: Canary
    heard: dict[str, str | bytes] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as it is printed, and with all that hangs on it."""
        self.hear(f"log of {record.name}", f"{self.format(record)}\n{vars(record)!r}")
        if record.exc_info and record.exc_info[1] is not None:
            self.see(f"exception in the log of {record.name}", record.exc_info[1])

    def hear(self, where: str, said: str | bytes) -> None:
        """Keep what was said somewhere."""
        self.heard[f"{where} [{len(self.heard)}]"] = said

    def read(self, directory: Path) -> None:
        """Keep every file and its name."""
        for path in directory.rglob("*"):
            self.hear("file name", str(path.relative_to(directory)))
            if path.is_file():
                self.hear(f"file {path.name}", path.read_bytes())

    def see(self, name: str, one: object, *, with_variables: bool = True) -> None:
        """Keep all that an object tells of itself."""
        self.hear(f"str of {name}", str(one))
        self.hear(f"repr of {name}", repr(one))
        if with_variables:
            self.hear(f"variables of {name}", pprint.pformat(_variables(one)))
        for kind, make in (("copy", copy.copy), ("pickle", pickle.dumps), ("deep copy", _copied)):
            try:
                said = make(one)
            except Exception as error:  # noqa: BLE001 - many a thing cannot be copied: what does it say?
                said = repr(error)
            self.hear(f"{kind} of {name}", said if isinstance(said, bytes) else repr(said))
        if isinstance(one, BaseException):
            self.hear(f"traceback of {name}", print_with_variables(one))

    def findings(self) -> dict[str, set[str]]:
        """What tells of the credentials, and what it tells."""
        told = {where: self.canary.find(said) for where, said in self.heard.items()}
        return {where: what for where, what in told.items() if what}

    def check(self) -> None:
        """Fail where anything tells of the credentials, with how it does."""
        for where, what in self.findings().items():
            said = self.heard[where]
            pytest.fail(f"{where} tells {sorted(what)}: {said[-1500:]!r}", pytrace=False)


@contextmanager
def recording(canary: Canary) -> Iterator[Recorder]:
    """Record all logs, warnings and lost exceptions of a test, asyncio's debugging included."""
    recorder = Recorder(canary)
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "asyncio", "wiro_async")}
    others, root.handlers = root.handlers, [recorder]  # pytest's own would keep it all once more
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned, canary.listening():
            warnings.simplefilter("always")
            yield recorder
        for one in warned:
            recorder.hear("warning", f"{one.message} {one.filename} {one.source!r}")
    finally:
        root.handlers = others
        recorder.close()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def debug_the_loop() -> None:
    """Let asyncio tell of every callback that it calls, as if each were slow."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0


def print_with_variables(error: BaseException) -> str:
    """The error as a reporter prints it: the chain, the groups, and each frame's variables.

    The variables of the tests are left out, which know the credentials.
    """
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    seen = {id(whole)}
    waiting = [whole]
    while waiting:
        one = waiting.pop()
        for frame in one.stack:
            if Path(frame.filename).is_relative_to(Path(__file__).parent):
                frame.locals = None
        others = [one.__cause__, one.__context__, *(one.exceptions or ())]
        fresh = [other for other in others if other is not None and id(other) not in seen]
        seen |= {id(other) for other in fresh}
        waiting += fresh
    return "".join(whole.format()) + _deep_variables(error)


def _deep_variables(error: BaseException) -> str:
    """The same variables as a reporter prints them who looks into what they hold."""
    said: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            said += _frame_variables(frame)
        waiting += [one.__cause__, one.__context__]
        waiting += getattr(one, "exceptions", ())
    return "\n".join(said)


def _frame_variables(frame: FrameType) -> Iterator[str]:
    if not Path(frame.f_code.co_filename).is_relative_to(Path(__file__).parent):
        yield pprint.pformat(dict(frame.f_locals))


def _variables(one: object) -> object:
    slots = {name: getattr(one, name, None) for name in getattr(type(one), "__slots__", ())}
    return {**slots, **getattr(one, "__dict__", {})}


def _copied(one: object) -> object:
    with suppress(RecursionError):
        return copy.deepcopy(one)
    return None


@pytest.fixture
def canary() -> Canary:
    """Credentials of this test alone."""
    return Canary()


@pytest.fixture
def recorder(canary: Canary) -> Iterator[Recorder]:
    with recording(canary) as recorder:
        yield recorder
    recorder.check()


@pytest.fixture
def emulator(canary: Canary) -> Iterator[Emulator]:
    with emulating(api_key=canary.key, api_secret=canary.secret, speed=SPEED) as emulator:
        yield emulator
