"""The words of others, made fit to be shown.

A status, an error, a model's answer, a task's id: all of them are texts that somebody else chose,
and a terminal obeys some texts. It can be told to change its title, to show a link under other
words, to write into the clipboard, to go up and paint over what stands there. So a text of the
service's is shown by one of these functions and by none other.

Rules:

1. Whole sequences go, not only the character that begins them, or ``[31m`` would be left. What a
   sequence is stands in ECMA-48 (5th edition, sections 5.3 to 5.6): a control sequence (CSI), a
   control string (APC, DCS, OSC, PM, SOS) to its terminator, and any other that ESC begins; each
   also in its form of one character (U+0080 to U+009F). Beyond the standard, as terminals do:
   BEL ends a control string (xterm), ESC k begins one (screen), and CAN, SUB or the beginning
   of another sequence breaks one off (the VT500's state machine).
2. A control string without an end goes to the end of its line: a terminal would swallow all that
   follows, and the reader would never know what was said.
3. Then what cannot be seen goes: controls, format characters (bidi controls and zero-width ones
   among them; Unicode's category Cf) and half characters. A joiner (U+200C, U+200D) stays
   between two characters that are not ASCII, as emoji and the scripts of Asia need it there.
4. Any end of a line becomes a line feed, a lone carriage return too: it would write over the line.
5. A text of one line has no end of a line, no tab, and nothing that Python calls unprintable.

All of it takes time in proportion to the text, whatever the text is, and a text that was cleaned
stays as it is when it is cleaned again.
"""

from __future__ import annotations

import re
import unicodedata

_MAX_WORDS = 300
# What is gone through for them, as blanks and sequences count for nothing. An error of 20 MB would
# hold up the event loop.
_MAX_READ = 20 * _MAX_WORDS
_CUT = "..."

# Every part is possessive or stops at the next beginning: nothing is gone through twice.
_CONTROL_STRING = (
    r"(?:\x1b[PX\]^_k]|[\x90\x98\x9d\x9e\x9f])"
    r"(?:[^\x07\x18\x1a\x1b\x80-\x9f]*+(?:\x07|\x1b\\|\x9c)|[^\n\x07\x18\x1a\x1b\x80-\x9f]*+)"
)
_CONTROL_SEQUENCE = r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?+"
_ESCAPE_SEQUENCE = r"\x1b[ -/]*+[0-~]?+"
_SEQUENCE = re.compile(f"{_CONTROL_STRING}|{_CONTROL_SEQUENCE}|{_ESCAPE_SEQUENCE}")
_LINE_END = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs"})
_JOINERS = "\u200c\u200d"
_LOOSE_JOINER = re.compile(
    rf"(?<![^\x00-\x7f{_JOINERS}])[{_JOINERS}]|[{_JOINERS}](?![^\x00-\x7f{_JOINERS}])"
)


def visible_text(text: str) -> str:
    """A text of any number of lines as it can be shown: without what a terminal would obey.

    Line feeds and tabs stay. What can be seen of the text is not changed.
    """
    if text.isprintable():
        return text
    text = _SEQUENCE.sub("", _LINE_END.sub("\n", text))
    text = "".join(
        c
        for c in text
        if c.isprintable()
        or c in "\n\t"
        or c in _JOINERS
        or unicodedata.category(c) not in _INVISIBLE
    )
    return _LOOSE_JOINER.sub("", text)


def one_line(text: str | None) -> str:
    """The same on one line, for a message, a name or a status; blanks for what parted lines."""
    if text is None:
        return ""
    shown = (c for c in visible_text(text) if c.isprintable() or c.isspace())
    return " ".join("".join(shown).split())


def clean_words(text: str | None) -> str:
    """The service's words on one line, without control characters, at a readable length.

    That is 300 characters; where there are more, three dots stand behind the first 300.
    """
    text = text or ""
    words = one_line(text[:_MAX_READ])
    if len(words) <= _MAX_WORDS and len(text) <= _MAX_READ:
        return words
    return f"{words[:_MAX_WORDS]}{_CUT}"
