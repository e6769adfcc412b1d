import asyncio
import gc
import importlib.util
import io
import socket
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

import wiro_async.emulator as package
from tests.emulator.asking import FLUX, Asker, asking
from wiro_async.emulator import Emulator, studio


def test_all_is_what_there_is() -> None:
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


async def test_a_real_picture_comes_through() -> None:
    async with asking(picture_pixels=64, seed=5) as ask:
        task = await ask.finish(await ask.run(aspectRatio="1:1", outputFormat="jpeg"))
        (output,) = task["outputs"]
        file = await ask.get(output["url"])
        image = Image.open(io.BytesIO(file.body))
        assert (image.format, image.size) == ("JPEG", (64, 64))
        (booked,) = ask.emulator.books.tasks.values()
        assert booked.drawn is not None
        assert booked.outputs == (booked.drawn,)
        assert (booked.drawn.size, output["name"]) == (len(file.body), "0.jpeg")


async def test_the_same_prompt_is_the_same_file_in_two_emulators() -> None:
    async with asking(picture_pixels=32) as one, asking(picture_pixels=32, seed=1) as other:
        assert one.emulator.port != other.emulator.port
        files = []
        for ask in (one, other):
            task = await ask.finish(await ask.run("the same"))
            files.append((await ask.get(task["outputs"][0]["url"])).body)
        assert files[0] == files[1]


async def test_it_is_opened_in_one_task_and_closed_in_another() -> None:
    emulator = Emulator(picture_pixels=0)
    await asyncio.create_task(emulator.start())
    socket.create_connection((emulator.host, emulator.port), timeout=1).close()
    await asyncio.create_task(emulator.aclose())
    await emulator.aclose()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((emulator.host, emulator.port), timeout=1)
    gc.collect()


async def test_an_emulator_never_opened_is_closed_without_ado() -> None:
    emulator = Emulator(picture_pixels=0)
    await emulator.aclose()
    assert emulator.books.tasks == {}


async def test_it_cannot_be_opened_twice() -> None:
    async with Emulator(picture_pixels=0) as emulator:
        with pytest.raises(RuntimeError, match="make another one"):
            await emulator.start()


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
async def test_at_every_address_files_are_where_the_caller_came_by(host: str) -> None:
    async with asking(host=host) as ask:
        here = f"http://127.0.0.1:{ask.emulator.port}"
        assert ask.emulator.origin == here
        assert ask.emulator.base_url == f"{here}/v1"
        task = await ask.finish(await ask.run())
        url = task["outputs"][0]["url"]
        assert url.startswith(f"{here}/cdn/")
        assert (await ask.get(url)).status == 200
        # As from another container.
        elsewhere = {"Host": "emulator:9000"}
        for endpoint in ("Task/Detail", "Task/List"):
            told = await ask(endpoint, {"taskid": task["id"]}, headers=elsewhere)
            assert told.task["outputs"][0]["url"] == url.replace(here, "http://emulator:9000")
        form = aiohttp.FormData({"file": io.BytesIO(b"bytes")})
        stored = await ask("File/Upload", data=form, headers=elsewhere)
        assert stored.json["list"][0]["url"].startswith("http://emulator:9000/cdn/")


async def test_at_one_address_files_are_there_whatever_a_caller_calls_it() -> None:
    async with asking() as ask:
        task_id = await ask.run()
        await ask.finish(task_id)
        told = await ask("Task/Detail", {"taskid": task_id}, headers={"Host": "emulator:9000"})
        assert told.task["outputs"][0]["url"].startswith(f"{ask.emulator.origin}/cdn/")


async def test_a_port_that_is_taken_leaves_nothing_behind() -> None:
    async with Emulator(picture_pixels=0) as emulator:
        other = Emulator(picture_pixels=0, port=emulator.port)
        with pytest.raises(OSError, match=r"[Aa]ddress"):
            await other.start()
        await other.aclose()


async def test_closing_ends_the_drawing_and_deletes_the_files() -> None:
    async with asking(picture_pixels=640, speed=0.001) as ask:
        for number in range(20):
            await ask.run(str(number))
        root = ask.emulator._shelf.root
        assert root.is_dir()
    assert not root.exists()
    books = ask.emulator.books
    assert len(books.tasks) == books.in_flight == 20
    # The clock stands still after the end.
    assert ask.emulator._now() == ask.emulator._now()


async def test_a_download_that_nobody_reads_does_not_hold_up_the_closing() -> None:
    async with aiohttp.ClientSession() as http:
        emulator = Emulator(picture_pixels=0)
        await emulator.start()
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("file", io.BytesIO(bytes(32_000_000)), filename="large.bin")
        (stored,) = (await Asker(emulator, http)("File/Upload", data=form)).json["list"]
        response = await http.get(stored["url"])
        began = time.monotonic()
        await emulator.aclose()
        assert time.monotonic() - began < 5
        response.close()
        assert not emulator._shelf.root.exists()


async def test_broken_drawing_is_told_by_every_answer_and_by_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    painter = tmp_path / "painter.py"
    painter.write_text("import os; os._exit(3)")
    monkeypatch.setattr(studio.Studio.__init__, "__defaults__", (painter,))
    async with asking(picture_pixels=0) as ask:
        broken = Emulator(picture_pixels=32)
        await broken.start()
        asker = Asker(broken, ask.http)
        await asker.run()
        while (reply := await asker(FLUX, {"prompt": "x"})).status == 200:
            pass
        assert reply.status == 500
        assert b"its drawing worker died twice" in reply.body
        with pytest.raises(RuntimeError, match="its drawing worker died twice"):
            await broken.aclose()


async def test_a_task_of_a_model_that_does_not_draw_needs_no_worker() -> None:
    async with asking(picture_pixels=64) as ask:
        reply = await ask("Run/wiro-emulator/echo-llm", {"prompt": "hello"})
        await ask.finish(reply.json["taskid"])
        assert ask.emulator._studio._tasks == []


async def test_urls_of_an_ipv6_host_are_bracketed() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with asking(host="::1") as ask:
        assert ask.emulator.base_url.startswith("http://[::1]:")
        await ask.run()


async def test_starting_is_quick() -> None:
    began = time.perf_counter()
    async with Emulator():
        assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    "setting",
    [
        {"speed": 0},
        {"median_seconds": 0},
        {"sigma": -1},
        {"failure_rate": 1.5},
        {"rate_limit": 0},
        {"picture_pixels": -1},
        {"picture_workers": 0},
    ],
)
def test_settings_out_of_range(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Emulator(**setting)


def test_money_is_exact_however_it_is_given() -> None:
    assert Emulator(price=0.06).price == Decimal("0.06")
    assert Emulator(balance="12.5").balance == Decimal("12.5")


def test_without_pillow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match=r"install wiro-async\[emulator\]"):
        Emulator()
    Emulator(picture_pixels=0)


def test_no_secret_is_in_the_repr() -> None:
    emulator = Emulator(api_key="key-1", api_secret="secret-1")
    assert "key-1" not in repr(emulator)
    assert "secret-1" not in repr(emulator)
