"""The canary is seen wherever it shows, and whatever it wears: what the other tests rely on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.canary import DISGUISES, Canary, Recorder, canary, recording
from wiro_async.protocol.signing import Credentials, sign_attempt

__all__ = ["canary"]


class Holder:
    """Has the text in an attribute, and shows nothing of itself."""

    def __init__(self, text: str) -> None:
        self.text = text


def leak_in_a_frame(text: str, recorder: Recorder) -> None:
    """Raise from code that is none of the tests', with the text in a variable, far down."""
    space: dict[str, Callable[[str], None]] = {}
    source = "def leak(text):\n    held = {'a': [text]}\n    text = None\n    int('x')"
    exec(compile(source, "/leak.py", "exec"), space)  # noqa: S102 - a file name of its own
    try:
        try:
            space["leak"](text)
        finally:
            raise KeyError("another")
    except KeyError as error:
        recorder.see("error", ExceptionGroup("several", [error]))


def leak_into_a_file(text: str, recorder: Recorder, path: Path) -> None:
    path.write_bytes(b"\0\1" + text.encode())
    recorder.read(path.parent)


LEAKS: dict[str, Callable[[str, Recorder, Path], object]] = {
    "a line of a log": lambda text, *_: logging.getLogger("anybody").debug("sent %s", text),
    "an argument of a log": lambda text, *_: logging.getLogger("any").debug(
        "sent", extra={"headers": {"a": text}}
    ),
    "a warning": lambda text, *_: warnings.warn(text, stacklevel=2),
    "a variable of a frame": lambda text, recorder, _: leak_in_a_frame(text, recorder),
    "a repr": lambda text, recorder, _: recorder.see("thing", [text]),
    "an attribute": lambda text, recorder, _: recorder.see("thing", Holder(text)),
    "a file": lambda text, recorder, path: leak_into_a_file(text, recorder, path / "a"),
    "the name of a file": lambda text, recorder, path: leak_into_a_file(
        "", recorder, path / text.partition('"')[0]
    ),
    "an error": lambda text, recorder, _: recorder.see("error", ValueError(text)),
    "what a stranger heard": lambda text, recorder, _: recorder.hear("bytes", text.encode()),
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_what_leaks_on_purpose_is_found(
    canary: Canary, tmp_path: Path, leak: Callable[[str, Recorder, Path], object]
) -> None:
    for text in (canary.key, canary.secret):
        with recording(canary) as recorder:
            leak(text, recorder, tmp_path)
        assert recorder.findings()


@pytest.mark.parametrize("disguise", DISGUISES)
def test_every_disguise_is_seen_through(canary: Canary, disguise: str) -> None:
    for form in DISGUISES[disguise](canary.secret):
        assert canary.find(f"some {form} text")
        assert canary.find(f"some {form[: len(form) // 2]} text")
    assert not canary.find("some text of another kind, 0123456789abcdef, " * 100)


def test_a_signature_is_known_by_its_beginning(canary: Canary) -> None:
    credentials = Credentials(api_key=canary.key, api_secret=canary.secret)
    digest = sign_attempt(credentials, 5).headers()["x-signature"]
    assert not canary.find(f"x-signature: {digest}")
    canary.signatures.add(digest)
    for shown in (digest, digest.upper(), f"{digest[:20]}..."):
        assert canary.find(f"x-signature: {shown}") == {"a signature"}
