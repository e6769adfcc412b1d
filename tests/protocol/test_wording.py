"""The words of others: no sequence, no control, nothing unseen, and what can be read as it was."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.wording import clean_words, one_line, visible_text

ST = "\x1b\\"
# Sequences, each of which is nothing to the reader. ECMA-48, 5.3 to 5.6 and 8.3, unless said.
SEQUENCES = {
    "colour": "\x1b[31;1m",
    "colour of 24 bits": "\x1b[38:2::255:0:0m",
    "screen cleared": "\x1b[2J",
    "cursor home": "\x1b[H",
    "private mode": "\x1b[?1049h",
    "intermediate": "\x1b[!p",
    "cursor's shape": "\x1b[5 q",
    "status asked for": "\x1b[6n",
    "8 bits": "\x9b31m",
    "8 bits, private": "\x9b?25l",
    "title": "\x1b]0;mine\x07",
    "title, ended by ST": f"\x1b]2;mine{ST}",
    "title in 8 bits": "\x9d0;mine\x9c",
    "title in 8 bits, ended by BEL": "\x9d0;mine\x07",
    "link": f"\x1b]8;id=1;https://evil.test/{ST}",
    "end of a link": f"\x1b]8;;{ST}",
    "clipboard (xterm)": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "picture (iTerm)": f"\x1b]1337;File=inline=1:{'QUJD' * 100}\x07",
    "string over two lines": f"\x1b]0;a\nb{ST}",
    "string over two lines, ended by BEL": "\x1b]0;a\nb\x07",
    "string over two lines, in 8 bits": "\x9d0;a\nb\x9c",
    "device control": f"\x1bPq#0;2;0;0;0{ST}",
    "device control in 8 bits": "\x90q#0\x9c",
    "application": f"\x1b_Gf=100;AAAA{ST}",
    "application in 8 bits": "\x9fG\x9c",
    "privacy": f"\x1b^x{ST}",
    "privacy in 8 bits": "\x9ex\x9c",
    "start of string": f"\x1bXx{ST}",
    "start of string in 8 bits": "\x98x\x9c",
    "title (screen)": f"\x1bkmine{ST}",
    "reset": "\x1bc",
    "character set": "\x1b(0",
    "alignment (DEC)": "\x1b#8",
    "eight bit answers": "\x1b G",
    "cursor saved (DEC)": "\x1b7",
    "keypad (DEC)": "\x1b=",
    "index": "\x84",
    "terminator alone": ST,
    "terminator alone in 8 bits": "\x9c",
    "string broken off by CAN": "\x1b]0;mine\x18",
    "string broken off by SUB": "\x1bPmine\x1a",
    "within tmux": f"\x1bPtmux;\x1b\x1b]0;mine\x07{ST}",
    "twice begun": "\x1b\x1b[31m",
    "begun within another": "\x1b[3\x1b[31m",
    "string begun within another": "\x1b]0;a\x1b]0;b\x07",
}
# What is left of a text with a sequence that has no end.
CUT_OFF = {
    "a\x1b": "a",
    "a\x1b[": "a",
    "a\x1b[31": "a",
    "a\x9b31;": "a",
    "a\x1b(": "a",
    "a\x1b[31\nb": "a\nb",
    "a\x1b\nb": "a\nb",
    "a\x1b]0;mine": "a",
    "a\x1b]0;mine\nb": "a\nb",
    "a\x9d0;mine\r\nb": "a\nb",
    "a\x1bPx\x1b[1mb": "ab",
    "a\x1b]8;;http://x\nb\x1b]8;;\x07c": "a\nbc",
}
LEFT_AS_IT_IS = [
    "a fox, 2 foxes; [31m and ]0;x and 0x9b",
    "Füchse, лисы, キツネ, 狐, ثعالب, שועלים",
    "name\tprice\n  1\t2\n\n",
    "e\u0301 \u0939\u093f\u0928\u094d\u0926\u0940",
    "🦊 👍🏽 ❤️ 1️⃣ 🇹🇷",
    "👩‍👩‍👧‍👦 🏳️‍🌈 ❤️‍🔥 👩🏽‍🚀",
    "می‌خواهم क्‍ष",
    "a\u00a0b\u3000c\u2026",
    "\ue0b0 \U0010fffd",
    "",
]
# Each of them is not seen, or moves what is.
UNSEEN = [
    *map(chr, (*range(9), *range(0x0E, 0x20), 0x7F, *range(0x80, 0x85), *range(0x86, 0xA0))),
    *("\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u2060", "\u2064", "\ufeff", "\u00ad"),
    *("\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"),
    *("\u061c", "\u180e", "\ufff9", "\U000e0001", "\U000e0041", "\ud800", "\udcff"),
]
FUNCTIONS = [visible_text, one_line, clean_words]

pieces = st.lists(
    st.sampled_from([*SEQUENCES.values(), *CUT_OFF, *UNSEEN, *"[]P;m0\\ \n\r\té猫", "🦊", "\x1b"])
    | st.text(st.characters(codec=None), max_size=5),
    max_size=30,
).map("".join)


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
@pytest.mark.parametrize("clean", FUNCTIONS)
def test_a_sequence_goes_whole(sequence: str, clean: Callable[[str], str]) -> None:
    assert clean(f"a {sequence}fox") == "a fox"
    assert clean(f"{sequence}a{sequence * 3} fox{sequence}") == "a fox"


@pytest.mark.parametrize(("text", "left"), CUT_OFF.items())
def test_a_sequence_without_an_end_takes_no_other_line_along(text: str, left: str) -> None:
    assert visible_text(text) == left


@pytest.mark.parametrize("text", LEFT_AS_IT_IS)
def test_what_can_be_seen_stays(text: str) -> None:
    assert visible_text(text) == text


@pytest.mark.parametrize("unseen", UNSEEN, ids=ascii)
@pytest.mark.parametrize("clean", FUNCTIONS)
def test_what_cannot_be_seen_goes(unseen: str, clean: Callable[[str], str]) -> None:
    if unseen in "\x1b\x90\x98\x9b\x9d\x9e\x9f":  # what follows would be a part of it
        assert clean(f"pay{unseen}") == "pay"
    else:
        assert clean(f"pay{unseen}pal") == "paypal"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("👩\u200d\u200d👧", "👩👧"),
        ("\u200d👩\u200d", "👩"),
        ("👩\u200d a", "👩 a"),
        ("a\u200d👩", "a👩"),
        ("👩\u200b\u200d👧", "👩\u200d👧"),
        ("👩\x1b[m\u200d\x9b0m👧", "👩\u200d👧"),
        ("\u200c" * 1000, ""),
    ],
)
def test_a_joiner_stays_between_two_that_it_can_join(text: str, left: str) -> None:
    assert visible_text(text) == left


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_every_end_of_a_line_is_one(end: str) -> None:
    assert visible_text(f"a{end}b") == "a\nb"
    assert one_line(f"{end}a{end}{end} b{end}") == "a b"


def test_one_line_has_nothing_that_is_not_printed() -> None:
    assert one_line("a\tb\u00a0c\u3000d \ue0b0 e\u0378\u200d👩\u200d👧") == "a b c d e👩👧"
    assert one_line(None) == clean_words(None) == clean_words("") == ""


@pytest.mark.parametrize("length", [300, 301, 5000, 1_000_000])
def test_words_are_cut_at_a_readable_length(length: int) -> None:
    words = clean_words("x" * length)
    assert words == ("x" * 300 if length == 300 else "x" * 300 + "...")
    assert len(one_line("x" * length)) == length


def test_words_are_cut_where_blanks_hide_how_long_they_are() -> None:
    assert clean_words("a" + " " * 5000 + "b") == "a b"
    assert clean_words("a" + " " * 1_000_000 + "b") == "a..."


@given(pieces)
def test_nothing_gets_through_that_a_terminal_obeys(text: str) -> None:
    for clean in FUNCTIONS:
        for character in clean(text):
            category = unicodedata.category(character)
            assert category not in {"Cc", "Cs", "Zl", "Zp"} or character in "\n\t"
            assert category != "Cf" or character in "\u200c\u200d"
    for line in (one_line(text), clean_words(text)):
        assert line.isprintable()
        assert line == line.strip()
        assert "  " not in line
    assert len(clean_words(text)) <= 303


@given(pieces)
def test_what_was_cleaned_stays_as_it_is(text: str) -> None:
    for clean in FUNCTIONS:
        assert clean(clean(text)) == clean(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "M", "Zs"]) | st.just("\n")))
def test_a_text_without_controls_is_not_touched(text: str) -> None:
    assert visible_text(text) == text


@given(pieces, pieces)
def test_a_line_tells_the_same_whatever_is_on_the_next_one(text: str, other: str) -> None:
    ends = any(end in text + other for end in ("\x07", "\x9c", ST, "\x1b"))
    if not ends:  # or a string may go on over the line's end
        text += " "  # or a carriage return at its end would be one with the line feed
        assert visible_text(f"{text}\n{other}") == f"{visible_text(text)}\n{visible_text(other)}"


@pytest.mark.parametrize(
    "unit",
    [
        *("\x1b", "\x1b]", "\x1b]a", "\x1b]0;\n", "\x1b[", "\x1b[0", "\x9b0", "\x9d", "\x90\n"),
        *("\x1bP\x18", "\x1b ", "0;", " ", "\u200d", "é\u200d", "\r", "\x1b\x07", "\x9d\x1b"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("beginning", ["", "\x1b]", "\x1b[", "\x1b", "\x9d\n", "\x9b"], ids=ascii)
def test_no_text_takes_more_time_than_its_length(unit: str, beginning: str) -> None:
    text = beginning + unit * (250_000 // len(unit))
    before = time.process_time()  # what else the machine does is not counted
    visible_text(text)
    # It takes a tenth of a second; what looked ahead to the end at every character, hours.
    assert time.process_time() - before < 1
