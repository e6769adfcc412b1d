"""Urls that are refused: one that expired is asked for anew, one that is gone told by its names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from attrs import evolve

from tests.loopback import Behaviour, Connection, answering
from tests.test_downloads import BODY, POLICY, Desk, desk, http, one_after_another
from wiro_async.downloads.errands import find_output
from wiro_async.errors import (
    AddressRefused,
    DownloadError,
    NotFound,
    OutputUnavailable,
    ServerError,
    WiroError,
)
from wiro_async.task import Output, Task
from wiro_async.transport import Stream, Timeouts, Transport

GONE = http(b"gone", "410 Gone")


def by_path(**answers: bytes) -> Behaviour:
    """An answer by the name in the url; what has none is refused with 403."""

    async def behave(connection: Connection) -> None:
        name = (await connection.read_request()).split()[1].decode().strip("/").partition(".")[0]
        await connection.write(answers.get(name, http(b"no", "403 Forbidden")))

    return behave


def paths(at: Desk) -> list[str]:
    return [request.split()[1].decode() for request in at.cdn.requests]


def refreshing(*results: Task | WiroError) -> tuple[Callable[[], Awaitable[Task]], list[int]]:
    """Gives or raises one after the other; and the list that each asking is counted in."""
    asked: list[int] = []

    async def refresh() -> Task:
        result = results[len(asked)]
        asked.append(1)
        await asyncio.sleep(0)
        if isinstance(result, WiroError):
            raise result
        return result

    return refresh, asked


def task_of(*outputs: Output) -> Task:
    return Task(id="2221", token="tok-2221", outputs=outputs)


@pytest.mark.parametrize(
    "status", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone"]
)
async def test_a_url_that_has_expired_is_asked_for_anew(tmp_path: Path, status: str) -> None:
    async with desk(tmp_path, by_path(old=http(b"no", status), new=http())) as at:
        old = at.output("old.png", size=len(BODY))
        fresh = evolve(old, url=str(old.url).replace("old", "new"))
        refresh, asked = refreshing(task_of(fresh))
        (saved,) = await at.save(old, refresh=refresh)
        assert saved.path.read_bytes() == BODY
        assert saved.url == fresh.url
        assert asked == [1]
        assert paths(at) == ["/old.png", "/new.png"]
        assert at.downloader.repeats == 1


async def test_what_came_under_an_old_url_is_not_gone_on_with_under_a_new_one(
    tmp_path: Path,
) -> None:
    async def stall(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(http(BODY, ETag='"v1"')[:-9])
        await asyncio.Event().wait()

    refused = answering(http(b"no", "403 Forbidden"))
    behave = one_after_another(stall, refused, answering(http(BODY[::-1])))
    async with desk(tmp_path, behave, silence=0.1) as at:
        old = at.output("old.png")
        fresh = evolve(old, url=str(old.url).replace("old", "new"))
        refresh, _ = refreshing(task_of(fresh))
        (saved,) = await at.save(old, refresh=refresh)
        assert saved.path.read_bytes() == BODY[::-1]
        assert b"Range: bytes=" in at.cdn.requests[1]
        assert b"Range: bytes=" not in at.cdn.requests[2]


async def test_a_refusal_of_a_moment_is_borne_where_the_url_is_the_same(tmp_path: Path) -> None:
    refused = answering(http(b"no", "403 Forbidden"))
    async with desk(tmp_path, one_after_another(refused, answering(http()))) as at:
        refresh, asked = refreshing(task_of(at.output()))
        (saved,) = await at.save(refresh=refresh)
        assert saved.path.read_bytes() == BODY
        assert asked == [1]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_what_is_refused_under_a_fresh_url_as_well_is_unavailable(
    tmp_path: Path, status: int
) -> None:
    async with desk(tmp_path, answering(http(b"no", f"{status} No"))) as at:
        old = at.output("old.png")
        fresh = evolve(old, url=str(old.url).replace("old", "new"))
        refresh, asked = refreshing(task_of(fresh))
        with pytest.raises(OutputUnavailable) as caught:
            await at.save(old, refresh=refresh)
        assert asked == [1]
        tries = POLICY.max_attempts if status == 404 else 2
        assert paths(at) == ["/old.png"] + ["/new.png"] * (tries - 1)
        error = caught.value
        assert (error.url, error.task_id, error.token) == (fresh.url, "2221", "tok-2221")
        assert error.path == str(tmp_path / "fox.png")
        assert error.message == (
            f"paid, output unavailable: {tmp_path}/fox.png: HTTP {status}, also under the url that "
            f"the task's record has now. It lies at {fresh.url} for a limited time (task 2221, "
            "token tok-2221)"
        )
        assert at.names() == []


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (task_of(), "; the task's record does not have it any more"),
        (task_of(Output(name="0.png")), "; the task's record does not have it any more"),
        (NotFound("no such task"), "; the service does not know the task any more: no such task"),
    ],
)
async def test_what_the_service_does_not_list_any_more_is_unavailable(
    tmp_path: Path, status: int, result: Task | WiroError, reason: str
) -> None:
    async with desk(tmp_path, answering(http(b"no", f"{status} No"))) as at:
        refresh, _ = refreshing(result)
        with pytest.raises(OutputUnavailable, match=f"HTTP {status}{reason}"):
            await at.save(refresh=refresh)
        assert len(at.cdn.requests) == 1


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (404, POLICY.max_attempts)])
async def test_where_nobody_can_be_asked_it_is_not_said_to_be_unavailable(
    tmp_path: Path, status: int, tries: int
) -> None:
    async with desk(tmp_path, answering(http(b"no", f"{status} No"))) as at:
        refresh, asked = refreshing(ServerError("/Task/Detail: on fire"))
        with pytest.raises(DownloadError) as caught:
            await at.save(refresh=refresh)
        assert not isinstance(caught.value, OutputUnavailable)
        assert "paid but not saved" in caught.value.message
        both = f"HTTP {status}; a fresh url could not be had: /Task/Detail: on fire"
        assert both in caught.value.message
        assert asked == [1]
        assert len(at.cdn.requests) == tries


async def test_what_breaks_under_a_fresh_url_is_told_as_what_it_is(tmp_path: Path) -> None:
    async with desk(tmp_path, by_path(new=http(b"no", "500 No"))) as at:
        old = at.output("old.png")
        refresh, _ = refreshing(task_of(evolve(old, url=str(old.url).replace("old", "new"))))
        with pytest.raises(DownloadError, match=r"not saved: HTTP 500\. It lies") as caught:
            await at.save(old, refresh=refresh)
        assert type(caught.value) is DownloadError
        assert "fox.png is paid but not saved: HTTP 500. It lies" in caught.value.message


async def test_a_file_without_a_url_is_asked_for_and_not_passed_over(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(http())) as at:
        refresh, _ = refreshing(task_of(at.output()))
        (saved,) = await at.save(Output(name="0.png"), refresh=refresh)
        assert saved.path.read_bytes() == BODY
        assert len(at.cdn.requests) == 1
        with pytest.raises(OutputUnavailable, match=r"has no url for it\. It has no url"):
            await at.save(Output(name="0.png"), stem="other")
        assert len(at.cdn.requests) == 1


A, B, C = (Output(id=id_, name=f"{id_}.png", url=f"http://x/{id_}") for id_ in "abc")
ANONYMOUS = [Output(url=f"http://x/{number}") for number in range(3)]


@pytest.mark.parametrize(
    ("known", "fresh", "found"),
    [
        ([A, B], [B, A], B),
        ([A, B], [evolve(A, name="b.png"), evolve(B, name="a.png")], evolve(B, name="a.png")),
        ([A, B], [C, evolve(B, name="9.png"), A], evolve(B, name="9.png")),
        ([A, B], [A, evolve(B, id="7")], evolve(B, id="7")),
        ([A, evolve(B, id=None)], [B, A], B),
        ([A, B], [A, C], C),
        ([A, B], [B, B], B),
        ([A, B], [A, B, B], None),
        ([A, B], [A], None),
        ([A, B], [], None),
        (ANONYMOUS[:2], ANONYMOUS[1:], ANONYMOUS[2]),
        (ANONYMOUS[:2], ANONYMOUS, None),
    ],
)
def test_an_output_is_known_by_its_id_else_by_its_name_else_by_its_place(
    known: list[Output], fresh: list[Output], found: Output | None
) -> None:
    assert find_output(task_of(*fresh), task_of(*known), 1) == found


async def test_an_address_that_is_refused_is_final(tmp_path: Path) -> None:
    class Wary(Transport):
        asked = 0

        def stream(self, url: str, headers: object) -> Stream:  # type: ignore[override] # raises
            self.asked += 1
            raise AddressRefused(f"{url}: not asked, it is of a private network: {bool(headers)}")

    wary = Wary(base_url="http://127.0.0.1:1/v1", timeouts=Timeouts())
    async with desk(tmp_path, answering(http())) as at:
        at.downloader.transport = wary
        refresh, asked = refreshing()
        with pytest.raises(DownloadError, match=r"paid but not saved: .*private network") as caught:
            await at.save(refresh=refresh)
        assert type(caught.value) is DownloadError
        assert (wary.asked, asked) == (1, [])


async def test_one_that_is_lost_does_not_take_the_others_along(tmp_path: Path) -> None:
    async with desk(tmp_path, by_path(a=http(), c=http(BODY[::-1]), e=http(b"", "500 No"))) as at:
        outputs = [at.output(f"{name}.png") for name in "abcde"]
        with pytest.raises(OutputUnavailable) as caught:
            await at.save(*outputs)
        error = caught.value
        assert error.message.endswith(". 3 of the task's 5 files are missing")
        assert error.path == str(tmp_path / "fox.2.png")
        assert [saved.path.name for saved in error.saved] == ["fox.1.png", "fox.3.png"]
        assert [saved.path.read_bytes() for saved in error.saved] == [BODY, BODY[::-1]]
        assert at.names() == ["fox.1.png", "fox.3.png"]


async def test_words_of_the_service_are_shown_on_one_line_and_without_escapes(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, answering(GONE)) as at:
        task = Task(
            id="22\x1b[31m21\n",
            token="tok\r\n\x1b]0;title\x07",
            outputs=(evolve(at.output(), url=f"{at.output().url}?\x1b[31m\n"),),
        )
        with pytest.raises(DownloadError) as caught:
            await at.downloader.save_all(task, tmp_path, "fox")
    assert caught.value.message.isprintable()
    assert caught.value.message.endswith("(task 2221, token tok)")


async def test_a_password_in_a_url_is_not_shown(tmp_path: Path) -> None:
    async with desk(tmp_path, answering(GONE)) as at:
        output = evolve(at.output(), url=f"http://me:hidden@127.0.0.1:{at.cdn.port}/0.png")
        with pytest.raises(DownloadError) as caught:
            await at.save(output)
    assert "hidden" not in caught.value.message
