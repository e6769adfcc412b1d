"""The project's promises about itself: its names, its lower bounds, its README, its imports."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import wiro_async
from tests.batch.source_cases import FLUX
from wiro_async import SourceOptions, check_source

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_all_is_sorted_exact_and_importable() -> None:
    names = wiro_async.__all__
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    tree = ast.parse(Path(wiro_async.__file__).read_text())
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wiro_async.")
        for alias in node.names
    }
    assert set(names) == imported | {"__version__"}
    for name in names:
        assert getattr(wiro_async, name) is not None


def test_every_error_is_offered() -> None:
    errors = importlib.import_module("wiro_async.errors")
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, wiro_async.WiroError):
            assert name in wiro_async.__all__


def test_the_emulator_s_public_names_are_sorted_and_importable() -> None:
    namespace = importlib.import_module("wiro_async.emulator")
    assert namespace.__all__ == sorted(namespace.__all__)
    assert all(hasattr(namespace, name) for name in namespace.__all__)


def test_the_version_is_the_project_s() -> None:
    assert wiro_async.__version__ == version("wiro-async")


def lower_bounds() -> set[str]:
    """What pyproject.toml asks for at least; the docs are built with the newest."""
    groups = [PROJECT["dependencies"]]
    untested = {"docs", "benchmarks", "uvloop"}
    extras = PROJECT["optional-dependencies"].items()
    groups += [group for name, group in extras if name not in untested]
    found = set()
    for line in (line for group in groups for line in group):
        requirement = Requirement(line)
        if requirement.name == "wiro-async":
            continue
        (bound,) = requirement.specifier
        assert bound.operator == ">=", line
        found.add(f"{requirement.name}=={bound.version}")
    return found


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert listed == sorted(listed, key=lambda line: line.split("==")[0].lower())
    assert len(set(listed)) == len(listed)
    assert set(listed) == lower_bounds()


def readme_line(mark: str) -> str:
    """The one line of the block that follows the comment."""
    found = re.search(
        rf"^<!-- {mark} -->\n```sh\n(.+)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert found, mark
    return found[1]


def test_the_readme_gives_one_line_for_each() -> None:
    job, tests = readme_line("the main job"), readme_line("the tests")
    assert f"wiro batch docs/examples/prompts.csv --model {FLUX} --emulator --out out" in job
    assert "python -m pytest" in tests
    assert "\n" not in job + tests


def test_the_example_prompts_can_be_run() -> None:
    count = check_source(ROOT / "docs/examples/prompts.csv", SourceOptions(model=FLUX))
    assert count.requests >= 200
    assert count.models == {FLUX: count.requests}
    assert "prompt" in count.parameters


@pytest.mark.parametrize(
    ("module", "left_alone"),
    [
        (
            "wiro_async",
            [
                *["aiohttp", "yarl", "typer", "rich", "PIL", "pytest", "sqlite3"],
                *["wiro_async.emulator", "wiro_async.cli"],
            ],
        ),
        ("wiro_async.emulator", ["typer", "rich", "PIL", "pytest", "wiro_async.cli"]),
        # rich is left out: an old typer imports it by itself.
        (
            "wiro_async.cli.app",
            ["aiohttp", "PIL", "pytest", "sqlite3", "wiro_async.emulator", "wiro_async.cli.show"],
        ),
    ],
)
def test_importing_takes_only_what_is_needed(module: str, left_alone: list[str]) -> None:
    program = (
        f"import sys; before = {{*sys.modules}}; import {module}; "
        f"print([name for name in {left_alone!r} if name in {{*sys.modules}} - before])"
    )
    ran = subprocess.run(  # noqa: S603 - a program of our own
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


def test_importing_starts_nothing() -> None:
    program = (
        "import threading, logging; before = logging.getLogger().handlers[:]; "
        "import wiro_async; print(threading.active_count(), logging.getLogger().handlers == before)"
    )
    ran = subprocess.run(  # noqa: S603 - a program of our own
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "1 True\n"
