import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

import attrs
import pytest

from wiro_async.emulator import studio as studio_module
from wiro_async.emulator.studio import PAINTER, Commission, Drawn, Studio

ECHO = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"size": len(line), "sha256": json.loads(line)["prompt"]}), flush=True)
"""


def commission(number: int, folder: Path, due: float = 0.0) -> Commission:
    return Commission(
        task_id=str(number),
        due=due,
        path=folder / f"{number}.png",
        prompt=f"prompt {number}",
        model="a/b",
        seed="42",
        aspect="16:9",
        file_format="png",
        pixels=32,
    )


class Gallery:
    def __init__(self) -> None:
        self.drawn: list[str] = []
        self.changed = asyncio.Event()

    def hang(self, order: Commission, _: Drawn) -> None:
        self.drawn.append(order.task_id)
        self.changed.set()

    async def wait_for(self, count: int) -> None:
        while len(self.drawn) < count:
            await self.changed.wait()
            self.changed.clear()


def painter(folder: Path, program: str) -> Path:
    path = folder / "painter.py"
    path.write_text(program)
    return path


async def failure_of(studio: Studio) -> str:
    # What breaks a studio happens in another process: there is no event to wait for.
    while studio.failure is None:  # noqa: ASYNC110 (there is no event for it)
        await asyncio.sleep(0.001)
    return studio.failure


async def test_pictures_are_drawn_by_real_workers(tmp_path: Path) -> None:
    gallery = Gallery()
    studio = Studio(2, gallery.hang)
    for number in range(6):
        studio.draw(commission(number, tmp_path))
    await gallery.wait_for(6)
    began = time.monotonic()
    await studio.aclose()
    # The workers end with their input, not because patience with them does.
    assert time.monotonic() - began < studio_module.SECONDS_TO_CLOSE / 2
    assert sorted(gallery.drawn) == list("012345")
    assert len(os.listdir(tmp_path)) == 6  # noqa: PTH208 (pathlib blocks, says ruff)
    assert studio.failure is None


async def test_what_is_due_first_is_drawn_first(tmp_path: Path) -> None:
    gallery = Gallery()
    studio = Studio(1, gallery.hang, painter(tmp_path, ECHO))
    for number, due in enumerate([3.0, 1.0, 2.0]):
        studio.draw(commission(number, tmp_path, due))
    await gallery.wait_for(3)
    await studio.aclose()
    assert gallery.drawn == ["1", "2", "0"]


async def test_a_studio_without_work_starts_nothing() -> None:
    studio = Studio(2, Gallery().hang)
    await studio.aclose()
    assert studio._tasks == []


DIES_ONCE = (
    """
import os, pathlib, sys
mark = pathlib.Path(__file__).with_name("died")
if not mark.exists():
    mark.touch()
    sys.stdin.readline()
    os._exit(1)
"""
    + ECHO
)


async def test_a_worker_that_dies_is_replaced_and_its_picture_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Gallery()
    studio = Studio(1, gallery.hang, painter(tmp_path, DIES_ONCE))
    studio.draw(commission(1, tmp_path))
    studio.draw(commission(2, tmp_path))
    await gallery.wait_for(2)
    await studio.aclose()
    assert studio.failure is None
    assert "a drawing worker died and is replaced" in caplog.text


async def test_a_worker_that_dies_twice_is_told_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studio = Studio(1, Gallery().hang, painter(tmp_path, "import os; os._exit(3)"))
    studio.draw(commission(1, tmp_path))
    assert await failure_of(studio) == "The emulator cannot go on: its drawing worker died twice"
    await studio.aclose()
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]


DIES_IDLE = """
import json, sys
print(json.dumps({"size": 1, "sha256": sys.stdin.readline()}), flush=True)
"""


async def test_a_worker_that_dies_between_two_pictures_is_noticed_at_the_next(
    tmp_path: Path,
) -> None:
    gallery = Gallery()
    studio = Studio(1, gallery.hang, painter(tmp_path, DIES_IDLE))
    studio.draw(commission(1, tmp_path))
    await gallery.wait_for(1)
    # Time for the pipe to be seen closed; should it take longer, the test passes all the same.
    await asyncio.sleep(0.2)
    studio.draw(commission(2, tmp_path))
    await gallery.wait_for(2)
    await studio.aclose()
    assert gallery.drawn == ["1", "2"]
    assert studio.failure is None


async def test_a_job_larger_than_a_pipe_for_a_dead_worker(tmp_path: Path) -> None:
    big = attrs.evolve(commission(1, tmp_path), prompt="x" * 1_000_000)
    studio = Studio(1, Gallery().hang, painter(tmp_path, "import os; os._exit(3)"))
    studio.draw(big)
    assert "worker" in await failure_of(studio)
    await studio.aclose()


async def test_a_picture_that_cannot_be_drawn_is_told_aloud(tmp_path: Path) -> None:
    studio = Studio(1, Gallery().hang)
    studio.draw(commission(7, tmp_path / "missing"))
    assert "task 7 cannot be drawn: FileNotFoundError" in await failure_of(studio)
    await studio.aclose()


async def test_a_second_failure_does_not_hide_the_first(tmp_path: Path) -> None:
    studio = Studio(1, Gallery().hang)
    studio.draw(commission(7, tmp_path / "missing"))
    first = await failure_of(studio)
    studio._fail("something else")
    assert studio.failure == first
    await studio.aclose()


async def test_a_worker_that_will_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio_module, "SECONDS_TO_CLOSE", 0.01)
    gallery = Gallery()
    note = tmp_path / "pid"
    own_name = f"import os\nopen({str(note)!r}, 'w').write(str(os.getpid()))\n"
    stubborn = own_name + ECHO + "import time\ntime.sleep(3600)\n"
    studio = Studio(1, gallery.hang, painter(tmp_path, stubborn))
    studio.draw(commission(1, tmp_path))
    await gallery.wait_for(1)
    await asyncio.wait_for(studio.aclose(), 10)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process there")
async def test_the_worker_ignores_ctrl_c_and_ends_with_its_input(tmp_path: Path) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(PAINTER), stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for number in (1, 2):
        process.stdin.write(commission(number, tmp_path).line())
        assert b"sha256" in await process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
    await process.communicate(b"")
    assert process.returncode == 0


async def test_the_worker_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    program = (
        f"import runpy, sys; runpy.run_path({str(PAINTER)!r}); "
        "sys.exit(' '.join({'aiohttp', 'attrs', 'asyncio', 'wiro_async'} & set(sys.modules)))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", program, stderr=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    _, complaint = await process.communicate()
    assert complaint.decode().strip() == ""
