"""What a reporter of errors shows: every frame's variables, and what lies in them.

Such tools print each variable and look into mappings and sequences, some levels deep. The key,
the secret and the signatures must be in none of that, whatever fails, and in whatever chain.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from types import FrameType

import pytest

from tests import loopback
from tests.keepers import Notebook
from tests.loopback import Connection, answering, serve
from tests.scripted_service import FLUX
from wiro_async.errors import ConfigurationError, CredentialsError, JournalError, WiroError
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.protocol.signing import Credentials, sign_attempt
from wiro_async.session import WiroSession
from wiro_async.settings import find_service

KEY = "canary-key-4711"
SECRET = "canary-secret-4712"
PASSWORD = "canary-password-4713"
_CANARY = re.compile(r"canary-|[0-9a-f]{64}")
_DEPTH = 3

FOREVER = RetryPolicy(max_attempts=2, base_seconds=0.01)


def chain(error: BaseException, seen: set[int] | None = None) -> Iterator[BaseException]:
    """The error and all that hangs on it."""
    seen = set() if seen is None else seen
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    inner = getattr(error, "exceptions", ())
    for one in (error.__cause__, error.__context__, *inner):
        if one is not None:
            yield from chain(one, seen)


def looked_into(value: object, depth: int = _DEPTH) -> Iterator[str]:
    """A value as such tools print it."""
    with contextlib.suppress(Exception):
        yield repr(value)
    if depth == 0:
        return
    if isinstance(value, Mapping):
        for name, inner in list(value.items()):
            yield from looked_into(name, 0)
            yield from looked_into(inner, depth - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from looked_into(inner, depth - 1)


def walk(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames and lines of the whole chain, but for those of this file: a test knows the key."""
    for one in chain(error):
        for frame, line in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield frame, line


def assert_shows_nothing(error: BaseException) -> None:
    for one in chain(error):
        said = traceback.TracebackException.from_exception(one).format_exception_only()
        assert not _CANARY.search(f"{one!r} {vars(one)} {''.join(said)}")
    for text in traceback.StackSummary.extract(walk(error), capture_locals=True).format():
        assert not _CANARY.search(text), text
    for frame, _ in walk(error):
        for name, value in frame.f_locals.items():
            where = f"{frame.f_code.co_filename}:{frame.f_code.co_name}: {name}"
            assert not any(_CANARY.search(text) for text in looked_into(value)), where


def names_of_frames(error: BaseException) -> set[str]:
    found = (traceback.walk_tb(one.__traceback__) for one in chain(error))
    return {frame.f_code.co_name for frames in found for frame, _ in frames}


@pytest.mark.parametrize("lay", [str, lambda key: {"x": [(key,)]}], ids=["open", "three deep"])
def test_the_look_itself_finds_what_lies_open(lay: Callable[[str], object]) -> None:
    source = "def fail(x):\n    raise KeyError\n"
    names: dict[str, Callable[[object], None]] = {}
    exec(source, names)  # noqa: S102 - a frame of another file
    with pytest.raises(KeyError) as caught:
        names["fail"](lay(KEY))
    with pytest.raises(AssertionError):
        assert_shows_nothing(caught.value)


WRONG: dict[str, dict[str, object]] = {
    "a key with a blank": {"api_key": f"{KEY} ", "api_secret": SECRET},
    "a key with a line break": {"api_key": f"{KEY}\r\nX: 1", "api_secret": SECRET},
    "a key that is no text": {"api_key": [KEY], "api_secret": SECRET},
    "a secret with a nought": {"api_key": KEY, "api_secret": f"{SECRET}\0"},
    "a secret alone": {"api_secret": SECRET},
    "no https": {"api_key": KEY, "api_secret": SECRET, "base_url": "http://a.test"},
    "a password": {"api_key": KEY, "base_url": f"https://me:{PASSWORD}@a.test"},
    "a url that is no text": {"api_key": KEY, "base_url": 7},
    "a number": {"api_key": KEY, "api_secret": SECRET, "max_in_flight": 0},
    "a size": {"api_key": KEY, "api_secret": SECRET, "max_output_bytes": -1},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_session_that_cannot_be_made_shows_no_secret(case: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WiroSession(**WRONG[case])  # type: ignore[arg-type] # wrong on purpose
    assert_shows_nothing(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "environment",
    [
        {"WIRO_API_KEY": f"{KEY} x", "WIRO_API_SECRET": SECRET},
        {"WIRO_API_SECRET": SECRET},
        {"WIRO_API_KEY": KEY, "WIRO_BASE_URL": f"https://me:{PASSWORD}@a.test"},
        {"WIRO_API_KEY": KEY, "WIRO_BASE_URL": "ftp://a.test"},
    ],
    ids=["key", "secret alone", "password", "scheme"],
)
def test_nor_where_they_come_from_the_environment(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WIRO_API_KEY", "WIRO_API_SECRET", "WIRO_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in list(environment):
        monkeypatch.setenv(name, environment.pop(name))
    with pytest.raises(ConfigurationError) as caught:
        WiroSession()
    assert_shows_nothing(caught.value)


def test_credentials_alone_do_not_show_what_is_wrong_with_them_either() -> None:
    with pytest.raises(CredentialsError) as caught:
        Credentials(api_key=KEY, api_secret=f"{SECRET} ")
    assert_shows_nothing(caught.value)


def test_what_holds_secrets_shows_none() -> None:
    credentials = Credentials(api_key=KEY, api_secret=SECRET)
    service = find_service(KEY, SECRET, None, {})
    for value in (credentials, sign_attempt(credentials, 1), service, WiroSession(KEY, SECRET)):
        assert not _CANARY.search("".join(looked_into(value)))
        assert not isinstance(value, Mapping)


@pytest.mark.parametrize("again", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_holds_secrets_is_neither_pickled_nor_copied(
    again: Callable[[object], object],
) -> None:
    credentials = Credentials(api_key=KEY, api_secret=SECRET)
    with pytest.raises(TypeError, match="credentials are not pickled"):
        again(credentials)
    with pytest.raises(TypeError, match="session is not pickled"):
        again(WiroSession(KEY, SECRET))
    if again is not copy.copy:
        with pytest.raises(TypeError, match="credentials are not pickled"):
            again(sign_attempt(credentials, 1))


@asynccontextmanager
async def session(base_url: str) -> AsyncIterator[WiroSession]:
    async with WiroSession(
        KEY, SECRET, base_url=base_url, request_timeout_seconds=0.3, retry_policy=FOREVER
    ) as made:
        yield made


FAILURES: dict[str, loopback.Behaviour] = {
    "reset at once": loopback.reset_at_once,
    "reset after reading": loopback.reset_after_reading,
    "no answer": answering(b""),
    "no HTTP": answering(b"hello\r\n\r\n"),
    "cut": loopback.cut_in_the_middle,
    "silence": loopback.stay_silent,
    "bad gzip": answering(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx"
    ),
    "redirect": answering(
        b"HTTP/1.1 307 M\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect that repeats the key": answering(
        b"HTTP/1.1 307 M\r\nLocation: http://h/%b/x\r\nContent-Length: 0\r\n\r\n" % KEY.encode()
    ),
    "words that repeat the key": answering(
        b'HTTP/1.1 401 No\r\nContent-Length: 73\r\n\r\n{"result":false,"errors":[{"message":'
        b'"%b is not valid"}]}   ' % KEY.encode()
    ),
    "401": answering(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
    "429": answering(b"HTTP/1.1 429 No\r\nRetry-After: 999\r\nContent-Length: 0\r\n\r\n"),
    "500": answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
    "no JSON": answering(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"),
}
CALLS: dict[str, Callable[[WiroSession], Awaitable[object]]] = {
    "run": lambda wiro: wiro.run(FLUX, {"prompt": "x"}),
    "list": lambda wiro: wiro.list_tasks(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("behave", FAILURES.values(), ids=FAILURES)
async def test_a_request_that_fails_shows_no_secret(
    behave: loopback.Behaviour, call: Callable[[WiroSession], Awaitable[object]]
) -> None:
    async with serve(behave) as server, session(server.base_url) as wiro:
        with pytest.raises(WiroError) as caught:
            await call(wiro)
    assert_shows_nothing(caught.value)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_nor_does_one_that_reaches_nobody(
    call: Callable[[WiroSession], Awaitable[object]],
) -> None:
    async with session(f"http://127.0.0.1:{loopback.free_port()}/v1") as wiro:
        with pytest.raises(WiroError) as caught:
            await call(wiro)
    assert_shows_nothing(caught.value)


async def test_nor_does_one_that_its_caller_lost_patience_with() -> None:
    """The timeout's cause is a cancellation that went through every frame below."""

    async def ask(base_url: str) -> None:
        async with session(base_url) as wiro, asyncio.timeout(0.1):
            await wiro.list_tasks()

    async with serve(loopback.stay_silent) as server:
        with pytest.raises(TimeoutError) as caught:
            await ask(server.base_url)
        assert len(server.requests) == 1
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert_shows_nothing(caught.value)
    assert "list_tasks" in names_of_frames(caught.value)


class Refusing(Notebook):
    """Does not let a Run out, at one of both moments."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        self.moment = moment

    async def before_sending(self) -> None:
        if self.moment == "before_sending":
            raise JournalError("no room for the intent")

    def before_body(self) -> None:
        if self.moment == "before_body":
            raise JournalError("no room for the intent")


@pytest.mark.parametrize("moment", ["before_sending", "before_body"])
async def test_nor_does_a_keeper_that_refuses_and_its_own_frames_are_there(moment: str) -> None:
    async with serve(answering(loopback.JSON_ANSWER)) as server, session(server.base_url) as wiro:
        with pytest.raises(JournalError) as caught:
            await wiro.start(FLUX, {"prompt": "x"}, Refusing(moment))
    assert_shows_nothing(caught.value)
    assert moment in names_of_frames(caught.value)


async def test_nor_does_an_error_that_nobody_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(connection: Connection) -> None:
        await connection.read_request()

    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake in the library below")

    async with serve(behave) as server, session(server.base_url) as wiro:
        monkeypatch.setattr("aiohttp.connector.TCPConnector._create_connection", break_down)
        with pytest.raises(RuntimeError, match="a mistake") as caught:
            await wiro.list_tasks()
    assert_shows_nothing(caught.value)
