"""Servers of every mood, at random: what is saved is a whole file, and never a mixture of two."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from wiro_async.downloads import Downloader, fetching
from wiro_async.errors import DownloadError, TransportError
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.task import Output, Task
from wiro_async.transport import Stream, Timeouts, Transport

LONGEST = 60
WHOLE = 10_000


@frozen(kw_only=True)
class Act:
    """What a server does with one request."""

    version: int = 0
    cut_at: int = WHOLE
    status: int | None = None
    heeds_range: bool = True
    heeds_condition: bool = True
    shift: int = 0
    extra_total: int = 0
    says_length: bool = True
    says_tag: bool = True
    is_unasked: bool = False
    most: int = WHOLE
    encoding: str = "identity"


@frozen(kw_only=True)
class Version:
    """One state of a file, and what its server says of it."""

    content: bytes
    tag: str | None
    modified: str


class Moody(Transport):
    """Servers of a file that changes; each request is treated by the next of its acts."""

    def __init__(self, acts: list[Act], versions: list[Version]) -> None:
        super().__init__(base_url="http://127.0.0.1:1/v1", timeouts=Timeouts())
        self.acts, self.versions = acts, versions
        self.requests = 0

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        assert url
        act = self.acts[min(self.requests, len(self.acts) - 1)]
        self.requests += 1
        status, said, body = self._answer(act, headers)
        yield Stream(http_status=status, headers=said, chunks=self._chunks(act, said, body))

    def _answer(self, act: Act, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        version = self.versions[act.version]
        content = version.content
        said = {
            "Last-Modified": version.modified,
            "Date": "Tue, 15 Nov 1994 12:00:00 GMT",
            "Content-Encoding": act.encoding,
        }
        if version.tag is not None and (act.says_tag or "Range" not in headers):
            said["ETag"] = version.tag
        if act.status is not None:
            return act.status, said, b""
        start = (
            int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if ("Range" in headers and act.heeds_range)
            else 0
        )
        is_same = headers.get("If-Range") in {None, version.tag, version.modified}
        if not (is_same or not act.heeds_condition):
            start = 0
        if start or act.is_unasked:
            start = max(0, start + act.shift)
            if start >= len(content):
                return 416, said, b""
            body = content[start : start + act.most]
            total = len(content) + act.extra_total
            said["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{total}"
            status = 206
        else:
            body, status = content, 200
        if act.says_length:
            said["Content-Length"] = str(len(body))
        return status, said, body

    async def _chunks(self, act: Act, said: Mapping[str, str], body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, min(act.cut_at, len(body)), 7):
            yield body[start : min(start + 7, act.cut_at)]
        if act.cut_at < len(body) and "Content-Length" not in said:
            raise TransportError("cut off", endpoint="the CDN")  # as aiohttp does for chunks


ODDITIES: list[dict[str, object]] = [
    {},
    {"version": 1},
    {"version": 1, "heeds_condition": False},
    {"version": 1, "heeds_condition": False, "says_tag": False},
    {"heeds_range": False},
    {"shift": -1},
    {"shift": 1},
    {"extra_total": 1},
    {"says_length": False},
    {"says_tag": False},
    {"is_unasked": True},
    {"most": 5},
    {"encoding": "gzip"},
    {"status": 416},
    {"status": 503},
]
# Mostly what a good server does, but for one thing: many at once would hide one another.
ODD_ACTS = st.builds(
    lambda cut_at, oddity: Act(cut_at=cut_at, **oddity),
    st.integers(0, LONGEST) | st.just(WHOLE),
    st.sampled_from(ODDITIES),
)
TAGS = [*[('"1"', '"2"')] * 3, (None, None), ('W/"1"', 'W/"1"'), ('"1"', None)]
PATIENT = RetryPolicy(max_attempts=4, max_download_attempts=4, base_seconds=0.0, cap_seconds=0.0)


@settings(deadline=None, max_examples=300)
@given(
    cut_at=st.integers(0, LONGEST),
    odd=st.lists(ODD_ACTS, min_size=1, max_size=2),
    last=st.integers(0, 1),
    sizes=st.tuples(st.integers(2, LONGEST), st.integers(2, LONGEST)),
    tags=st.sampled_from(TAGS),
    shop=st.tuples(st.integers(1, 80), st.booleans()),
)
def test_whatever_a_server_does_it_is_the_whole_file_in_the_end_and_never_a_mixture(
    cut_at: int,
    odd: list[Act],
    last: int,
    sizes: tuple[int, int],
    tags: tuple[str | None, str | None],
    shop: tuple[int, bool],
) -> None:
    block, is_listed = shop
    # No byte of the one is a byte of the other, or of itself elsewhere.
    contents = [bytes(range(sizes[0])), bytes(range(100, 100 + sizes[1]))]
    versions = [
        Version(content=content, tag=tag, modified=f"Tue, 15 Nov 1994 11:0{number}:00 GMT")
        for number, (content, tag) in enumerate(zip(contents, tags, strict=True))
    ]
    # It breaks off somewhere, goes wrong in other ways, and is a good server from then on.
    acts = [Act(cut_at=1 + cut_at % (sizes[0] - 1)), *odd, Act(version=last)]
    listed = sizes[last] if is_listed else None
    output = Output(name="0.data", url="http://cdn.test/0.data", size_bytes=listed)
    downloader = Downloader(Moody(acts, versions), PATIENT, max_downloads=1, dice=lambda: 0.5)
    with (
        TemporaryDirectory() as name,
        mock.patch("os.fsync"),
        mock.patch.object(fetching, "_BLOCK_BYTES", block),
    ):
        task = Task(id="1", outputs=(output,))
        (saved,) = asyncio.run(downloader.save_all(task, Path(name), "fox"))
        content = saved.path.read_bytes()
        assert content in contents
        assert saved.size_bytes == len(content)
        assert listed in {None, len(content)}
        assert saved.sha256 == hashlib.sha256(content).hexdigest()
        assert list(Path(name).iterdir()) == [saved.path]


@settings(deadline=None, max_examples=50)
@given(acts=st.lists(ODD_ACTS, min_size=1, max_size=8), size=st.integers(2, LONGEST))
def test_a_server_that_never_gets_better_ends_in_a_whole_file_or_an_error(
    acts: list[Act], size: int
) -> None:
    contents = [bytes(range(size)), bytes(range(100, 101 + size))]
    versions = [
        Version(content=content, tag=f'"{number}"', modified="")
        for number, content in enumerate(contents)
    ]
    moody = Moody(acts, versions)
    output = Output(name="0.data", url="http://cdn.test/0.data")
    downloader = Downloader(moody, PATIENT, max_downloads=1, dice=lambda: 0.5)
    with TemporaryDirectory() as name, mock.patch("os.fsync"):
        task = Task(id="1", outputs=(output,))
        try:
            (saved,) = asyncio.run(downloader.save_all(task, Path(name), "fox"))
        except DownloadError:
            assert list(Path(name).iterdir()) == []
        else:
            assert saved.path.read_bytes() in contents
            assert list(Path(name).iterdir()) == [saved.path]
    assert moody.requests <= 100
