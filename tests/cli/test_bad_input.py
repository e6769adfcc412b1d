"""What cannot work is said in one message before anything is submitted, paid or written."""

from __future__ import annotations

import shlex
import socket
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import FLUX, Deaf, Wiro

GOOD = "prompt\na fox\na hen\n"
MODEL = ("--model", FLUX)

# A file's name, what is in it, further options, and what the message has to say.
FILES: dict[str, tuple[str, str | bytes | None, tuple[str, ...], list[str]]] = {
    "not there": ("nope.csv", None, MODEL, ["nope.csv: there is no such file"]),
    "nearly there": ("prompt.csv", None, MODEL, ["did you mean 'prompts.csv'?"]),
    "empty": ("p.csv", "", MODEL, ["p.csv: there are no requests in it"]),
    "only a header": ("p.csv", "prompt\n", MODEL, ["only a header"]),
    "blank lines": ("p.txt", "\n  \n", MODEL, ["p.txt: there are no requests"]),
    "not text": ("p.txt", b"fox\n\xff\xfe\x00", MODEL, ["p.txt, line 2, column 1", "not UTF-8"]),
    "utf-16": ("p.csv", GOOD.encode("utf-16-le"), MODEL, ["line 1, column 2", "iconv"]),
    "unknown ending": ("p.xlsx", GOOD, MODEL, ["'.xlsx' does not say", "--format"]),
    "a folder": (".", None, MODEL, ["this is a folder"]),
    "no prompt column": (
        "p.csv",
        "text,seed\nfox,1\n",
        MODEL,
        ["p.csv, line 1", "--prompt-column"],
    ),
    "a cell too many": ("p.csv", "prompt\nfox, red\n", MODEL, ["p.csv, line 2", "2 cells"]),
    "no json": ("p.jsonl", '{"prompt": "fox"}\n{"prompt": }\n', MODEL, ["line 2, column 12"]),
    "an id twice": (
        "p.csv",
        "id,prompt\nfox,a\nhen,b\nfox,c\n",
        MODEL,
        ["p.csv, line 4", "'fox' is already that of line 2"],
    ),
    "an empty prompt": ("p.csv", "prompt,seed\nfox,1\n,2\n", MODEL, ["line 3", "prompt is empty"]),
    "an unknown parameter": (
        "p.jsonl",
        '{"body": {"prompt": "fox", "aspectRation": "1:1"}}\n',
        MODEL,
        ["p.jsonl, line 1", "no parameter 'aspectRation' (did you mean 'aspectRatio'?)"],
    ),
    "a parameter in another spelling": (
        "p.csv",
        "prompt,aspect_ratio\nfox,1:1\n",
        MODEL,
        ["p.csv, line 2", "aspect_ratio", "aspectRatio"],
    ),
    "an unlisted value": (
        "p.csv",
        "prompt,aspectRatio\nfox,16x9\n",
        MODEL,
        ["line 2", "cannot be '16x9' (did you mean '16:9'?)", "allowed: 1:1, 16:9"],
    ),
    "no number": ("p.csv", "prompt,seed\nfox,many\n", MODEL, ["seed cannot be 'many'"]),
    "no model": ("p.csv", GOOD, (), ["no model is named", "--model"]),
    "no slug": ("p.csv", GOOD, ("--model", "flux"), ["'flux' is not a model", "owner/model"]),
    "a pasted url": (
        "p.csv",
        GOOD,
        ("--model", f"https://wiro.ai/models/{FLUX}"),
        [f"did you mean {FLUX}?"],
    ),
    "no column": (
        "p.csv",
        GOOD,
        (*MODEL, "--prompt-column", "text"),
        ["'text'", "--prompt-column"],
    ),
    "no id column": ("p.csv", GOOD, (*MODEL, "--id-column", "key"), ["'key'", "--id-column"]),
    "no mapped column": ("p.csv", GOOD, (*MODEL, "--column", "seed=s"), ["'s'", "--column"]),
    "a default that is none": (
        "p.csv",
        GOOD,
        (*MODEL, "-p", "outputFormat=gif"),
        ["cannot be 'gif'", "allowed: jpeg, png"],
    ),
}
# Options of a file that is right, and what the message has to say.
OPTIONS = {
    "--max-in-flight 0": "--max-in-flight",
    "--max-in-flight many": "--max-in-flight",
    "--max-downloads 0": "--max-downloads",
    "--first-look 0": "--first-look",
    "--first-look nan": "first",
    "--param seed": "--param 'seed' cannot be read: write --param NAME=VALUE",
    "--param =1": "--param '=1' cannot be read",
    "--param seed=1 -p seed=2": "--param gives 'seed' twice",
    "--param seed=1 -p 'seed =2'": "--param gives 'seed' twice",
    "--column seed=a --column ' seed=b'": "--column gives 'seed' twice",
    "--column seed": "--column 'seed' cannot be read: write --column NAME=VALUE",
    "--format xml": "--format is 'xml': it is one of csv, tsv, txt, jsonl",
    "--fault": "--fault",
    "--emulator --fault Run": "--fault: 'Run' is no fault: write ENDPOINT:ACTION",
    "--emulator --fault Run:explode": "no action 'explode'",
    "--emulator --fault Run:limit:often=1": "no option 'often'",
    "--fault Run:limit": "add --emulator",
    "--failure-rate 0.5": "add --emulator",
    "--speed 2": "add --emulator",
    "--median 2": "add --emulator",
    "--books b.json": "add --emulator",
    "--emulator --books .": "--books . is a folder: name a file",
    "--emulator --books p.csv/b.json": "p.csv is a file",
    "--failure-rate 2": "--failure-rate",
    "--emulator --base-url http://127.0.0.1:1/v1": "--base-url",
    "--speed 0": "--speed",
    "--median 0": "--median",
    "--base-url http://example.org/v1": "has to begin with https://",
    "--base-url nonsense": "has to begin with https://",
    "--frobnicate": "--frobnicate",
    "twice.csv": "unexpected extra argument",
}


def assert_refused(folder: Path, service: Deaf, before: set[Path]) -> None:
    assert not service.was_asked
    assert set(folder.rglob("*")) == before, "nothing was made"


def assert_one_message(err: str, *parts: str) -> None:
    assert err.count("wiro: ") + err.count("Error: ") == 1
    assert "Traceback" not in err
    for part in parts:
        assert part.lower() in err.lower()


@pytest.mark.parametrize("case", FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_used(
    wiro: Wiro,
    service: Deaf,
    tmp_path: Path,
    case: tuple[str, str | bytes | None, tuple[str, ...], list[str]],
) -> None:
    name, content, options, parts = case
    (tmp_path / "prompts.csv").write_text(GOOD)
    if content is not None:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = set(tmp_path.rglob("*"))
    ran = wiro("batch", name, "--out", "out", *options)
    assert ran.code == 2
    assert ran.out == ""
    assert_one_message(ran.err, *parts)
    assert_refused(tmp_path, service, before)


@pytest.mark.parametrize("options", OPTIONS)
def test_an_option_that_cannot_work(
    wiro: Wiro, service: Deaf, tmp_path: Path, options: str
) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    before = set(tmp_path.rglob("*"))
    ran = wiro("batch", "p.csv", "--out", "out", *MODEL, *shlex.split(options))
    assert ran.code == 2
    assert_one_message(ran.err, OPTIONS[options])
    assert_refused(tmp_path, service, before)


def test_without_a_key(wiro: Wiro, service: Deaf, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    before = set(tmp_path.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WIRO_API_KEY")
        secret_only = wiro("batch", "p.csv", "--out", "out", *MODEL)
        one = wiro("run", FLUX, "-p", "prompt=fox")
        patch.delenv("WIRO_API_SECRET")
        nothing = wiro("batch", "p.csv", "--out", "out", *MODEL)
    for ran in (secret_only, one, nothing):
        assert ran.code == 2
        assert_one_message(ran.err, "WIRO_API_KEY")
    assert "a secret without a key" in secret_only.err
    assert "there is no API key" in nothing.err
    assert_refused(tmp_path, service, before)


@pytest.mark.parametrize("below", ["", "/deep/er"])
def test_a_file_in_the_way_of_the_output(
    wiro: Wiro, service: Deaf, tmp_path: Path, below: str
) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    (tmp_path / "out").write_bytes(b"mine")
    before = set(tmp_path.rglob("*"))
    for ran in (
        wiro("batch", "p.csv", "--out", f"out{below}", *MODEL),
        wiro("run", FLUX, "-p", "prompt=fox", "--out", f"out{below}"),
    ):
        assert ran.code == 2
        assert_one_message(ran.err, "out is a file")
        assert_refused(tmp_path, service, before)


@pytest.mark.parametrize("name", ["results.jsonl", "errors.jsonl"])
def test_results_that_are_there_are_not_paid_again(
    wiro: Wiro, service: Deaf, tmp_path: Path, name: str
) -> None:
    (tmp_path / "p.csv").write_text(GOOD)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"{}\n")
    before = set(tmp_path.rglob("*"))
    ran = wiro("batch", "p.csv", "--out", "out", *MODEL)
    assert ran.code == 2
    assert_one_message(ran.err, "already holds the results of a batch", name)
    assert_refused(tmp_path, service, before)
    assert (tmp_path / "out" / name).read_bytes() == b"{}\n"


def test_standard_input_is_not_waited_for_in_vain(
    wiro: Wiro, service: Deaf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # reading it would be an error of another kind
    (tmp_path / "out").write_bytes(b"mine")
    before = set(tmp_path.rglob("*"))
    for ran, part in (
        (wiro("batch", "-", "--out", "out", *MODEL), "out is a file"),
        (wiro("batch", "-", "--out", "new", "--model", "flux"), "'flux' is not a model"),
    ):
        assert ran.code == 2
        assert_one_message(ran.err, part)
        assert_refused(tmp_path, service, before)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("flux", "-p", "prompt=fox"), "'flux' is not a model"),
        ((FLUX,), "needs the parameter 'prompt'"),
        ((FLUX, "-p", "prompt= "), "the prompt is empty"),
        ((FLUX, "-p", "prompt=fox", "-p", "sed=1"), "no parameter 'sed' (did you mean 'seed'?)"),
        ((FLUX, "-p", "prompt=fox", "-p", "aspectRatio=3:1"), "allowed: 1:1, 16:9"),
        ((FLUX, "-p", "prompt"), "--param 'prompt' cannot be read"),
        ((FLUX, "-p", "prompt=fox", "--first-look", "0"), "--first-look"),
        ((FLUX, "-p", "prompt=fox", "--base-url", "ftp://x"), "has to begin with https://"),
        ((), "missing argument"),
    ],
)
def test_run_refuses_what_cannot_work(
    wiro: Wiro, service: Deaf, tmp_path: Path, arguments: tuple[str, ...], part: str
) -> None:
    ran = wiro("run", *arguments)
    assert ran.code == 2
    assert_one_message(ran.err, part)
    assert_refused(tmp_path, service, set())


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--port 70000", "--port"),
        ("--failure-rate -1", "--failure-rate"),
        ("--fault Run:explode", "no action 'explode'"),
        ("--picture-pixels -1", "--picture-pixels"),
        ("--host 203.0.113.1", "cannot listen on 203.0.113.1"),
    ],
)
def test_the_emulator_refuses_what_cannot_work(wiro: Wiro, options: str, part: str) -> None:
    ran = wiro("emulator", *shlex.split(options))
    assert ran.code == 2
    assert_one_message(ran.err, part)
    assert ran.out == ""


def test_a_port_that_is_taken(wiro: Wiro) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = wiro("emulator", "--port", str(port), "--picture-pixels", "0")
    assert ran.code == 2
    assert_one_message(ran.err, f"cannot listen on 127.0.0.1:{port}", "choose another --port")
