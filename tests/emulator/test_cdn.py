import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.asking import asking
from wiro_async.emulator.cdn import Span, span_of
from wiro_async.emulator.shelf import Shelf


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("", None),
        ("bytes=0-9", Span(0, 10)),
        (" bytes=3- ", Span(3, 100)),
        ("bytes=-30", Span(70, 100)),
        ("bytes=-300", Span(0, 100)),
        ("bytes=90-900", Span(90, 100)),
        ("bytes=100-", Span(100, 100)),
        ("bytes=500-600", Span(100, 100)),
        ("bytes=-0", Span(100, 100)),
        ("bytes=7-3", Span(4, 4)),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
    ],
)
def test_ranges(text: str, span: Span | None) -> None:
    assert span_of(text, 100) == span


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 40))
def test_a_span_never_leaves_the_file(first: int, last: int, size: int) -> None:
    for text in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        span = span_of(text, size)
        assert span is not None
        assert 0 <= span.start <= size
        assert span.stop <= size


async def test_a_file_can_be_resumed() -> None:
    async with asking() as ask:
        url = (await ask.finish(await ask.run()))["outputs"][0]["url"]
        whole = await ask.get(url)
        tag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
        size = len(whole.body)
        assert whole.headers["Accept-Ranges"] == "bytes"
        for condition in ({}, {"If-Range": tag}, {"If-Range": date}):
            rest = await ask.get(url, headers={"Range": "bytes=10-", **condition})
            assert (rest.status, rest.body) == (206, whole.body[10:])
            assert rest.headers["Content-Range"] == f"bytes 10-{size - 1}/{size}"
            assert rest.headers["ETag"] == tag
        for condition in ({"If-Range": '"other"'}, {"If-Range": "Thu, 01 Jan 1970 00:00:00 GMT"}):
            again = await ask.get(url, headers={"Range": "bytes=10-", **condition})
            assert (again.status, again.body) == (200, whole.body)
        beyond = await ask.get(url, headers={"Range": f"bytes={size}-"})
        assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
        assert ask.emulator.books.answers["http 416"] == 1


async def test_head_tells_the_size() -> None:
    async with asking() as ask:
        url = (await ask.finish(await ask.run()))["outputs"][0]["url"]
        async with ask.http.head(url) as response:
            assert (response.status, response.headers["Content-Length"]) == (200, "67")


async def test_every_first_file_has_the_same_name_and_a_folder_of_its_own() -> None:
    async with asking() as ask:
        urls = []
        for file_format in ("png", "png", "jpeg"):
            task = await ask.finish(await ask.run(outputFormat=file_format))
            urls.append(task["outputs"][0]["url"].rsplit("/", 2)[1:])
        assert [name for _, name in urls] == ["0.png", "0.png", "0.jpeg"]
        folders = {folder for folder, _ in urls}
        assert len(folders) == 3
        assert all(
            [len(group) == 8 for group in folder.split("-")] == [True] * 8 for folder in folders
        )


async def test_what_does_not_lie_there() -> None:
    async with asking(speed=1.0, median_seconds=1e6) as ask:
        task_id = await ask.run()
        folder = ask.emulator._shelf._folder_of(task_id)
        # The task exists and even its picture, but it is not done.
        for path in (f"{folder}/0.png", f"{folder[:-1]}x/0.png", "short/0.png", "9/0.png"):
            assert (await ask.get(f"{ask.emulator.origin}/cdn/{path}")).status == 404


async def test_another_name_in_the_folder_of_a_task_is_not_there() -> None:
    async with asking() as ask:
        url = (await ask.finish(await ask.run()))["outputs"][0]["url"]
        assert (await ask.get(url.replace("0.png", "1.png"))).status == 404


async def test_credentials_at_the_cdn_are_a_violation() -> None:
    async with asking() as ask:
        url = (await ask.finish(await ask.run()))["outputs"][0]["url"]
        await ask.get(url)
        assert ask.emulator.books.violations == []
        assert (
            await ask.get(url, headers={"x-api-key": "secret", "x-signature": "s"})
        ).status == 200
        (violation,) = ask.emulator.books.violations
        assert violation.startswith("x-api-key, x-signature sent to the CDN for /cdn/")
        assert "secret" not in violation


def test_folders_can_be_computed_back() -> None:
    shelf = Shelf(seed=3)
    try:
        for number in (2221, 99999, 1234567):
            assert shelf.task_of(shelf._folder_of(str(number))) == str(number)
        assert shelf.task_of("not hexadecimal") == ""
    finally:
        shelf.clear()
