"""``--max-output-bytes`` and ``--allow-http``: what they accept, and what they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.test_engine import lines
from tests.cli.conftest import FLUX, Wiro
from wiro_async.cli.values import read_size
from wiro_async.emulator import Emulator
from wiro_async.errors import ConfigurationError
from wiro_async.protocol.retry import RetryPolicy

BATCH = ("batch", "p.txt", "-m", FLUX, "--out", "out", "--first-look", "0.02")
RUN = ("run", FLUX, "-p", "prompt=a fox", "--out", "out", "--first-look", "0.02")
NAME = "--max-output-bytes"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("500000", 500_000),
        ("2k", 2048),
        (" 500M ", 500 * 1024**2),
        ("2G", 2 * 1024**3),
        ("2GB", 2 * 1024**3),
    ],
)
def test_a_size_is_a_number_of_bytes_or_of_their_multiples(text: str, size: int) -> None:
    assert read_size(NAME, text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0M", "-1", "1.5G", "much", "1T", "1e9", "\u0661", "9" * 30]
)
def test_what_is_no_size_is_told_with_the_option_and_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{NAME} is .*such as 500000, 500M or 2G"):
        read_size(NAME, text)


@pytest.mark.parametrize("command", [RUN, BATCH])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((NAME, "much"), f"wiro: {NAME} is 'much': it is a number of bytes"),
        (("--base-url", "http://wiro.example/v1"), "http"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_made(
    wiro: Wiro,
    emulator: Emulator,
    tmp_path: Path,
    command: tuple[str, ...],
    *,
    options: tuple[str, ...],
    words: str,
) -> None:
    (tmp_path / "p.txt").write_text("a fox\n")
    ran = wiro(*command, *options)
    assert ran.code == 2
    assert words in ran.err
    assert ran.err.count("wiro: ") == 1
    assert emulator.books.requests.total() == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("patience", ["0", "-1", "soon", "nan", "inf"])
def test_a_patience_is_more_than_nothing(wiro: Wiro, tmp_path: Path, patience: str) -> None:
    (tmp_path / "p.txt").write_text("a fox\n")
    ran = wiro(*BATCH, "--emulator", f"--disk-patience={patience}")
    assert ran.code == 2
    assert "--disk-patience" in ran.err
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_too_large_is_not_saved_and_is_when_it_may_be(
    wiro: Wiro, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a fox\n")
    ran = wiro(*BATCH, NAME, "20")
    assert ran.code == 1
    assert NAME in ran.err
    (line,) = lines(tmp_path / "out", "errors.jsonl")
    assert line["status"] == "unsaved"
    assert [*(tmp_path / "out").glob("*.png")] == []
    assert wiro(*BATCH, NAME, "20k").code == 0
    assert emulator.books.requests["Run"] == 1
    ran = wiro(*RUN, NAME, "20")
    assert ran.code == 1
    assert NAME in ran.err


def test_plain_http_elsewhere_has_to_be_allowed(
    wiro: Wiro, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allowed, it goes as far as to a machine that is not there."""
    (tmp_path / "p.txt").write_text("a fox\n")
    assert emulator.books.requests.total() == 0
    monkeypatch.setattr(RetryPolicy, "backoff_seconds", lambda *_: 0.0)
    ran = wiro(
        *BATCH, "--allow-http", "--base-url", "http://wiro.invalid/v1", "--disk-patience", "1"
    )
    assert ran.code == 1
    assert "could not be reached" in ran.err
