"""What was found once, as the input that showed it: each stays right from then on."""

from __future__ import annotations

_NAMES = ("batch.sqlite", "lock", "sent", "journal", "new", "sent.new", "wal")
_FOLDER, _PIPE, _LINK_TO_A_FILE, _LINK_TO_NOTHING, _, _, _FILE, _ = range(8)
_A_JOURNAL = bytes((0, _FILE, 1))


def _places(*things: bytes) -> bytes:
    """An input of the target ``journal-folder``: what stands where."""
    return bytes((len(things) - 1,)) + b"".join(things)


def _at(name: str, kind: int) -> bytes:
    return bytes((_NAMES.index(name), kind))


# What was wrong -> the target, and the input.
FINDINGS: dict[str, tuple[str, bytes]] = {
    "a link to a disk that is not there was replaced by a new journal": (
        *("journal-folder", _places(_at("batch.sqlite", _LINK_TO_NOTHING))),
    ),
    "a pipe in place of SQLite's own journal was waited for": (
        *("journal-folder", _places(_A_JOURNAL, _at("journal", _PIPE))),
    ),
    "a pipe in place of the log of what was sent was waited for": (
        *("journal-folder", _places(_at("sent", _PIPE))),
    ),
    "a journal was begun beside a write-ahead log, and then refused": (
        *("journal-folder", _places(_at("wal", _FOLDER))),
    ),
    "a number of five thousand digits as the id ended the batch": (
        *("iterables", b"\0\1\1\1\0\0\1"),
    ),
    "a task's id with half a character stopped the journal": (
        "task-record",
        b"\0\0\0\3\0\0\0\0\1\0\1\6\3"
        + bytes(12)
        + b"\6\3"
        + bytes(12)
        + b"\3\0\0\0\1\0\1\0\1\1\x80",
    ),
    "a wait without an end": (*("polling", b"\1\0\x0e\1\2\0\2\1\0\x0e\1\0\x0b" + b"\xff" * 5),),
    "a first wait that no float can hold": (*("polling", b"\1\0\2\1\2\0\2\1\0\2\1\0\x0b"),),
    "a stream that ended twice": (*("watch", bytes(range(255, -1, -1))),),
}
