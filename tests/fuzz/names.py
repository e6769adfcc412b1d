"""Targets: names of files, from whatever a person or the service calls a thing."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

from tests.fuzz.draws import TEXTS, Draw
from tests.fuzz.laws import Target, require
from wiro_async.filenames import output_names, safe_stem
from wiro_async.task import Output

# Of ext4, NTFS and APFS alike; what stands before the name of a part file counts too.
_LONGEST_NAME = 255 - len(".") - len(".00000000.part")
_FOLDER = Path("/somewhere/out")
_RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"{one}{d}" for one in ("com", "lpt") for d in "0123456789¹²³"))
)
# Separators, drives and streams, wildcards, what a shell or a url reads otherwise.
_MEANINGFUL = frozenset("/\\:*?\"<>|%~$ '`&;")


def check_name(data: bytes) -> None:
    """A file's name is one component, that every system takes, and the same every time."""
    draw = Draw(data)
    text = draw.text() if draw.flag() else draw.rest().decode(errors="surrogateescape")
    outputs = tuple(
        Output(name=draw.text(), url=draw.pick((None, draw.text())), content_type=draw.text())
        for _ in range(draw.below(4))
    )
    stem = safe_stem(text)
    names = output_names(stem, outputs)
    require(names == output_names(safe_stem(text), outputs), "another name the second time")
    require(len(set(names)) == len(names), "two outputs of one name")
    for name in (stem, *names):
        _check_component(name)


def _check_component(name: str) -> None:
    shown = repr(name)
    require(PurePosixPath(name).name == name, f"{shown} is no component")
    require(PureWindowsPath(name).name == name, f"{shown} is no component on Windows")
    require((_FOLDER / name).resolve().parent == _FOLDER, f"{shown} leaves its folder")
    require(not set(name) & _MEANINGFUL, f"{shown} means something to a system")
    require(not name.startswith(".") and not name.endswith("."), f"{shown} has a dot at an end")
    require(name.partition(".")[0].lower() not in _RESERVED, f"{shown} is a device")
    require(len(name.encode()) <= _LONGEST_NAME, f"{shown} is too long")
    kinds = {unicodedata.category(character)[0] for character in name}
    require(not kinds & {"C", "Z"}, f"{shown} holds what cannot be seen")


def _name_seeds() -> list[bytes]:
    made = ("fox", "con", "com¹.png", "a/../b", "..", ".hidden", "é" * 80, "e\u0301", "a" * 200)
    texts = (*made, *TEXTS)
    return [b"\0" + text.encode(errors="surrogatepass") for text in texts]


NAMES = (Target(name="names", check=check_name, seeds=_name_seeds),)
