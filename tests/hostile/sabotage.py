"""Each line of defence, taken away: under it, the rows that are about it have to go red.

A row that stays green without its defence proves nothing. What is put in the place of a defence
is what somebody might have written in good faith.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
from attrs import evolve

from tests.hostile import scene
from tests.hostile.checks import assert_expected, assert_lawful
from tests.hostile.rows import Cell, Row
from wiro_async.downloads import Downloader, SavedFile, fetching
from wiro_async.downloads.errands import Errand
from wiro_async.downloads.partfile import PartFile
from wiro_async.errors import (
    ConcurrencyLimitReached,
    DownloadError,
    RateLimited,
    ServerError,
    TransportError,
    WiroError,
)
from wiro_async.protocol.addresses import Place
from wiro_async.protocol.converter import read_json
from wiro_async.protocol.ranges import Begin, Held, judge
from wiro_async.protocol.signing import Signature
from wiro_async.transport import Stream

Patches = Mapping[str, object]

_REPEATABLE = "wiro_async.protocol.patience.may_repeat"
_FIND = "wiro_async.tracking.search.Search.find"
_HURRY: Patches = {"tests.hostile.scene._WHOLE_SECONDS": 3.0}


def _nothing(*_: object, **__: object) -> None:
    return None


async def _find_nothing(*_: object) -> None:
    return None


async def _do_not_ask(_: object) -> bool:
    return False


def _go_anywhere(*_: object, **__: object) -> Place:
    return Place("anywhere", 80)


def _is_any_failure(error: WiroError, *, is_billable: bool) -> bool:
    del is_billable
    return isinstance(error, TransportError | ServerError | RateLimited)


def _is_anything(error: WiroError, *, is_billable: bool) -> bool:
    del is_billable
    return not isinstance(error, ConcurrencyLimitReached)


def _read_plain(text: bytes | str) -> object:
    content = text.encode() if isinstance(text, str) else text
    return read_json(content) if content[:1] in b"{[" else None


def _take_it(stream: Stream, _: object, part: PartFile) -> None:
    """Go on with whatever comes behind what is there, if it says that it is a part."""
    fetching._check_status(stream)
    if stream.http_status == 206 and part.size_bytes:
        part.go_on(part.held.source)
    else:
        verdict = judge(200, stream.headers, Held())
        assert isinstance(verdict, Begin)
        part.begin(verdict.source)


def _join_it(_: object, __: object, part: PartFile) -> None:
    """Go on with whatever comes."""
    part.go_on(evolve(part.held.source, etag='"x"', validator='"x"'))


_POST = aiohttp.ClientSession.post


def _follow(self: aiohttp.ClientSession, url: str, **options: Any) -> object:  # noqa: ANN401 - aiohttp's own options
    return _POST(self, url, **{**options, "allow_redirects": True})


def _use_names(stem: str, outputs: tuple[Any, ...]) -> list[str]:
    del stem
    return [(output.name or "unnamed").replace("\0", "") for output in outputs]


def _save_no_more(
    save: Callable[[Downloader, Errand], Awaitable[SavedFile]],
) -> Callable[[Downloader, Errand], Awaitable[SavedFile]]:
    """Take a lost file for a disk that fails, after which no other is tried."""

    async def attempt(downloader: Downloader, errand: Errand) -> SavedFile:
        try:
            return await save(downloader, errand)
        except DownloadError as error:
            error.is_disk = True
            raise

    return attempt


def _refuse_unsized(wanted: fetching.Wanted, _: int | None) -> None:
    if wanted.output.size_bytes is None:
        raise fetching.Fault("the record tells no size")


class _NeverRaised(Exception):
    """What nothing is."""


_UNBOUNDED: Patches = {
    "wiro_async.downloads.fetching.Wanted.check_most": _nothing,
    "wiro_async.downloads.fetching.Wanted.most_bytes": lambda *_: 1 << 40,
}
_UNCHECKED: Patches = {
    **_UNBOUNDED,
    "wiro_async.downloads.fetching._check_whole": _nothing,
}

SABOTAGES: Mapping[str, Patches] = {
    "nothing is repeated": {
        "tests.hostile.scene._POLICY": evolve(
            scene._POLICY,
            max_attempts=1,
            max_download_attempts=1,
            max_failed_looks=1,
            max_rate_limited=1,
        )
    },
    "everything is repeated": {_REPEATABLE: _is_anything},
    "runs are repeated": {_REPEATABLE: _is_any_failure},
    "lost runs are not looked for": {_FIND: _find_nothing},
    "half answers are thrown away": {"wiro_async.api.salvage_run": _nothing, _FIND: _find_nothing},
    "a task just made is not waited for": {
        "tests.hostile.scene._QUICK": {
            **scene._QUICK,
            "wiro_async.tracking.tracker._MISSING_GRACE_SECONDS": 0.0,
        }
    },
    "nothing stops a batch": {"wiro_async.batch.pipeline.STOPPING": _NeverRaised},
    "a full account ends an item": {"wiro_async.runs.ConcurrencyLimitReached": _NeverRaised},
    "any wait is borne": {
        "tests.hostile.scene._POLICY": evolve(scene._POLICY, max_pause_seconds=1e6),
        **_HURRY,
    },
    "no timeout": {"tests.hostile.scene._SHORT_SECONDS": 5.0, **_HURRY},
    "no patience": {"tests.hostile.scene._LONG_SECONDS": 0.001},
    "answers are not read": {"wiro_async.protocol.responses._read_envelope": _nothing},
    "what the service repeats is kept": {
        "wiro_async.protocol.signing.Credentials.blot": lambda _, text: text
    },
    "only plain UTF-8 is read": {"wiro_async.protocol.responses.read_json": _read_plain},
    "nothing is unpacked": {"wiro_async.protocol.inflation.Body._unpack": lambda _, packed: packed},
    "connections are trusted": {
        "aiohttp.client_proto.ResponseHandler.should_close": False,
        "wiro_async.transport._CarefulRequest.send": aiohttp.ClientRequest.send,
    },
    "cookies are kept": {"aiohttp.DummyCookieJar": lambda: aiohttp.CookieJar(unsafe=True)},
    "the API's redirects are followed": {"aiohttp.ClientSession.post": _follow},
    "no redirect is followed": {"wiro_async.cdn._MAX_REDIRECTS": 0},
    "redirects have no end": {"wiro_async.cdn._MAX_REDIRECTS": 1 << 30, **_HURRY},
    "any address is asked": {
        "wiro_async.cdn.check_output_url": _go_anywhere,
        "wiro_async.protocol.addresses.check_output_url": _go_anywhere,
        "wiro_async.cdn.is_public": lambda _: True,
        **_HURRY,
    },
    "no fresh url is asked for": {
        "wiro_async.downloads.errands.Errand.renew": _do_not_ask,
        "tests.hostile.scene._POLICY": evolve(
            scene._POLICY, max_attempts=1, max_download_attempts=1
        ),
    },
    "one lost file is the end": {
        "wiro_async.downloads.downloader.Downloader._save": _save_no_more(Downloader._save)
    },
    "what comes is taken": {"wiro_async.downloads.fetching._open": _take_it, **_UNCHECKED},
    "the whole is taken for the rest": {
        "wiro_async.downloads.fetching._open": _join_it,
        **_UNCHECKED,
    },
    "any size is taken": _UNBOUNDED,
    "a size is always told": {"wiro_async.downloads.fetching.Wanted.check_most": _refuse_unsized},
    "the service's names are used": {"wiro_async.downloads.downloader.output_names": _use_names},
    "the service's kinds are believed": {
        "wiro_async.downloads.errands.corrected_extension": _nothing
    },
}


_HEADERS = Signature.headers


def _log_headers(signature: Signature) -> dict[str, str]:
    headers = _HEADERS(signature)
    logging.getLogger("wiro_async").debug("%s", headers)
    return headers


_A_CALL = "reset after the request, nothing done | Tool/Detail | for ever"
_A_FILE = "cut in the middle, again and again | cdn | for ever"

# What holds of every cell, whatever its row: the cell that it is tried with, and what breaks it.
LAWS: Mapping[str, tuple[str, Patches]] = {
    "halves of files are left": (
        _A_FILE,
        {"wiro_async.downloads.partfile.PartFile.discard": _nothing},
    ),
    "headers are logged": (
        _A_CALL,
        {"wiro_async.protocol.signing.Signature.headers": _log_headers},
    ),
    "a signature shows in a traceback": (
        _A_CALL,
        {"wiro_async.protocol.signing.Signature.__repr__": lambda one: str(_HEADERS(one))},
    ),
    "a key shows in a traceback": (
        _A_CALL,
        {"wiro_async.protocol.signing.Credentials.__repr__": lambda one: one.api_key},
    ),
    "a credential's header goes to the CDN": (
        _A_FILE,
        {"wiro_async.connections.describe_library": lambda: "x-api-key"},
    ),
}


@contextmanager
def sabotaged(patches: Patches) -> Iterator[None]:
    """The library without this line of defence."""
    with ExitStack() as stack:
        for target, value in patches.items():
            stack.enter_context(patch(target, value))
        yield


def fails(cell: Cell) -> bool:
    """Whether a cell is red now.

    Raises:
        Exception: if it is neither red nor green.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "far" / "below"
        place.mkdir(parents=True)
        try:
            played = asyncio.run(scene.play(cell, place))
            assert_lawful(played)
            assert_expected(played)
        except (AssertionError, TimeoutError):
            return True
        except BaseExceptionGroup as group:
            # How a Run ends that goes out twice in one attempt, and a url of which aiohttp itself
            # demands a host; anything else is no verdict.
            if group.split((asyncio.InvalidStateError, AssertionError))[1] is not None:
                raise
            return True
    return False


def is_missed(row: Row, judge: Callable[[Cell], bool] = fails) -> bool:
    """Whether one of a row's cells at least goes red without its line of defence."""
    with sabotaged(SABOTAGES[row.sabotage]):
        return any(judge(cell) for cell in row.cells())
