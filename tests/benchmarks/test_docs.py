"""What docs/performance.md shows is there: its commands, and its pictures."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.__main__ import build_parser

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
COMMANDS = re.findall(r"^python -m (benchmarks\S*)(.*)$", PAGE.read_text(), re.MULTILINE)


def test_there_are_commands_on_the_page() -> None:
    assert len(COMMANDS) > 2


@pytest.mark.parametrize(("module", "arguments"), COMMANDS)
def test_every_command_of_the_page_exists(module: str, arguments: str) -> None:
    assert find_spec(module) is not None
    if module == "benchmarks":
        build_parser().parse_args(shlex.split(arguments))


def test_every_picture_of_the_page_exists() -> None:
    pictures = re.findall(r"\]\((images/[^)]+)\)", PAGE.read_text())
    assert pictures
    assert [name for name in pictures if not (PAGE.parent / name).exists()] == []
