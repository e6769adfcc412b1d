"""Streams that are closed, full, or of another encoding: no traceback, and a sensible exit code."""

from __future__ import annotations

import http.client
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import pytest
from attrs import frozen

from tests.cli.conftest import FLUX, emulating, variables
from wiro_async.emulator import Emulator, Fault

WIRO = (sys.executable, "-m", "wiro_async")
FAST = ("--first-look", "0.02")
TEXT = ("run", "wiro-emulator/echo-llm", "-p", "prompt=a 猫 and a Füchsin", *FAST)
PICTURE = ("run", FLUX, "-p", "prompt=a fox", *FAST)
NOWHERE = "wiro: standard output cannot be written: No space left on device"
EVIL = "\x1b[31mred\x1b]8;;https://evil.test/\x1b\\\x9b2J\u202e\u200b\x07\nnext line"


@frozen
class Ended:
    code: int
    out: bytes
    err: str


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    with emulating() as one:
        yield one


class Bash(Protocol):
    """Runs ``wiro``, or another program, with streams as a shell's words lead them."""

    def __call__(
        self, *arguments: str, to: str = "", program: tuple[str, ...] = WIRO, **variables: str
    ) -> Ended: ...


@pytest.fixture
def bash(service: Emulator, tmp_path: Path) -> Bash:
    # Nothing of how this machine has its streams.
    ours = ("LC_", "LANG", "PYTHONIOENCODING", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def run(*arguments: str, to: str = "", program: tuple[str, ...] = WIRO, **more: str) -> Ended:
        reader, writer = os.pipe()
        os.close(reader)  # a pipe whose reader has left
        script = f'exec "$@" {to.format(left=writer)}'
        try:
            ran = subprocess.run(  # noqa: S603 - this very program
                ["/bin/bash", "-c", script, "bash", *program, *arguments],
                env={**kept, "PYTHONUTF8": "0", **variables(service), **more},
                cwd=tmp_path,
                capture_output=True,
                pass_fds=(writer,),
                timeout=60,
                check=False,
            )
        finally:
            os.close(writer)
        err = ran.stderr.decode()
        for sign in ("Traceback", "Exception ignored", "should not have happened"):
            assert sign not in err
        return Ended(ran.returncode, ran.stdout, err)

    return run


def pictures(directory: Path) -> list[Path]:
    return [*directory.rglob("*.png")]


@pytest.mark.parametrize(
    ("arguments", "to"),
    [
        *((TEXT, to) for to in (">&{left}", ">&-", "2>&{left}")),
        *((PICTURE, to) for to in (">&{left}", ">&{left} 2>&1", ">&- 2>&-", "2>&-")),
    ],
)
def test_a_stream_that_nobody_reads_ends_nothing(
    bash: Bash, tmp_path: Path, arguments: tuple[str, ...], to: str
) -> None:
    ended = bash(*arguments, to=to)
    assert ended.code == 0
    assert bool(ended.out) == to.startswith("2")
    assert ("cost $0.0" in ended.err) == ("2>" not in to)
    assert len(pictures(tmp_path)) == (arguments is PICTURE)


@pytest.mark.parametrize("arguments", [TEXT, PICTURE])
def test_a_full_disk_is_told_with_the_names_of_what_is_paid(
    bash: Bash, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    ended = bash(*arguments, to="> /dev/full")
    assert ended.code == 1
    assert f"{NOWHERE}. task " in ended.err
    assert "(token " in ended.err
    assert len(pictures(tmp_path)) == (arguments is PICTURE)


def test_a_full_disk_under_what_a_person_reads_ends_nothing(bash: Bash, tmp_path: Path) -> None:
    ended = bash(*PICTURE, to="2> /dev/full")
    assert ended.code == 0
    assert ended.out.decode() == f"{pictures(tmp_path)[0].name}\n"


@pytest.mark.parametrize("to", [">&{left} 2>&1", ">&- 2>&-", "2> /dev/full"])
def test_a_batch_that_lost_its_terminal_goes_on(bash: Bash, tmp_path: Path, to: str) -> None:
    (tmp_path / "p.txt").write_text("".join(f"fox {n}\n" for n in range(5)))
    ended = bash("batch", "p.txt", "-m", FLUX, "-o", "out", *FAST, to=to)
    assert (ended.code, ended.out, ended.err) == (0, b"", "")
    assert len(pictures(tmp_path)) == 5
    assert (tmp_path / "out" / "results.jsonl").read_text().count("\n") == 5


@pytest.mark.parametrize("to", ["2>&{left}", "2>&-"])
def test_the_exit_code_says_what_was_wrong_where_nobody_can_be_told(
    bash: Bash, service: Emulator, to: str
) -> None:
    assert bash("run", "flux", to=to) == Ended(2, b"", "")
    service.add_fault(Fault(endpoint="Run", action="fail_task"))
    assert bash(*PICTURE, to=to) == Ended(1, b"", "")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"PYTHONIOENCODING": "ascii"}, rb"a \u732b and a F\xfcchsin"),
        ({"PYTHONIOENCODING": "latin-1"}, b"a \\u732b and a F\xfcchsin"),
        ({"PYTHONIOENCODING": "utf-8"}, "a 猫 and a Füchsin".encode()),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, rb"a \u732b and a F\xfcchsin"),
        ({"LC_ALL": "C.UTF-8"}, "a 猫 and a Füchsin".encode()),
    ],
)
def test_an_encoding_has_not_all_characters(
    bash: Bash, tmp_path: Path, settings: dict[str, str], text: bytes
) -> None:
    # In a file, so that the prompt is the same whatever the arguments are taken for.
    (tmp_path / "p.py").write_text(
        "import sys\nfrom wiro_async.__main__ import main\n"
        f"sys.argv = {['wiro', *TEXT]!a}\nmain()\n"
    )
    ended = bash("p.py", program=(sys.executable,), **settings)
    assert ended.code == 0
    assert text in ended.out


def test_a_path_that_is_no_text_is_given_out_as_its_bytes(bash: Bash, tmp_path: Path) -> None:
    folder = os.fsdecode(b"\xff-out")
    ended = bash(*PICTURE, "-o", folder, LC_ALL="C.UTF-8", PYTHONIOENCODING="utf-8:strict")
    assert ended.code == 0
    assert ended.out.startswith(b"\xff-out/")
    assert pictures(tmp_path) == [tmp_path / os.fsdecode(ended.out.strip())]


def test_a_text_goes_into_a_pipe_as_it_is(bash: Bash) -> None:
    evil = ("run", "wiro-emulator/echo-llm", "-p", f"prompt={EVIL}", *FAST)
    assert EVIL.encode() in bash(*evil, PYTHONIOENCODING="utf-8").out


def test_a_text_is_shown_on_a_terminal_and_not_obeyed(bash: Bash) -> None:
    terminal, other_end = pty.openpty()
    evil = ("run", "wiro-emulator/echo-llm", "-p", f"prompt={EVIL}", *FAST)
    try:
        ended = bash(*evil, to=f"> {os.ttyname(other_end)}", PYTHONIOENCODING="utf-8")
        shown = os.read(terminal, 65536).decode()
    finally:
        os.close(other_end)
        os.close(terminal)
    assert ended.code == 0
    assert "red\r\nnext line\r\n" in shown  # the terminal's own carriage returns
    assert shown.replace("\r\n", "").isprintable()


def test_the_emulator_serves_on_where_nobody_reads_how_to_reach_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(  # noqa: S603 - this very program
        [*WIRO, "emulator", "--picture-pixels", "0", "--port", str(address[1])],
        stdout=writer,
        stderr=subprocess.PIPE,
    ) as server:
        os.close(writer)
        while server.poll() is None and not is_there(address):
            time.sleep(0.05)
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=20)
    assert (server.returncode, err) == (0, b"")


def is_there(address: tuple[str, int]) -> bool:
    """Whether it answers: only then it has seen to its signals, which it does after listening."""
    connection = http.client.HTTPConnection(*address)
    try:
        connection.request("GET", "/emulator/books")
        return connection.getresponse().status == HTTPStatus.OK
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()


def test_the_emulator_does_not_serve_what_nobody_can_find(bash: Bash) -> None:
    ended = bash("emulator", "--picture-pixels", "0", to="> /dev/full")
    assert ended.code == 2
    assert ended.err.startswith(f"{NOWHERE}; ")
