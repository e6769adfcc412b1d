"""A few kills: the batch stands them, and a client that does not is caught.

The proof itself takes hundreds: ``python -m tests.crash --kills 200``.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.aims import RANDOM, Aim, Picker, labels_in
from tests.crash.checker import identity
from tests.crash.plan import make_faults, make_rows
from tests.crash.processes import ROOT
from wiro_async.cli.values import read_faults

LABELS = labels_in(ROOT / "wiro_async")


def crash(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the proof in a process of its own: it forks, which no process with threads should."""
    return subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "tests.crash", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_killed_again_and_again_a_batch_pays_once_and_loses_nothing() -> None:
    ran = crash("--kills", "6", "--prompts", "8", "--seed", "1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # It would not exit with 0 if there were an instant that no run passed.
    assert re.search(r"^6 kills$", ran.stdout, re.MULTILINE)
    assert re.search(r"^0 violations$", ran.stdout, re.MULTILINE)
    assert re.search(r"\d+ passed, 0 failed\n\Z", ran.stdout)


def test_a_client_that_tries_a_run_again_is_caught() -> None:
    options = ("--client", "naive", "--kills", "8", "--prompts", "8")
    ran = crash(*options, "--must-fail")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^laws were broken in \d+ of \d+ scenarios", ran.stdout, re.MULTILINE)
    assert ran.stdout.endswith("1 passed, 0 failed\n")


def test_there_are_instants_enough_to_aim_at() -> None:
    assert len(LABELS) >= 25


def test_labels_are_read_off_the_source(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    one, other = tmp_path / "one.py", tmp_path / "inside" / "other.py"
    one.write_text('passing("a.first")\nif passing("a.second"): surpassing("not.this")\n')
    other.write_text('def f():\n    crashpoints.passing("b.third")\n')
    assert labels_in(tmp_path) == {"a.first", "a.second", "b.third"}
    other.write_text('\npassing(f"a.{1}")\n')
    with pytest.raises(ValueError, match=r"other\.py:2: the label has to be a literal"):
        labels_in(tmp_path)


def victim(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A process with aims; the command is one that ends at once where it is not killed."""
    program = (
        "import sys; from tests.crash import victim; from wiro_async import crashpoints\n"
        "victim.run_app = lambda: [crashpoints.passing(f'at.{n % 2}') for n in range(9)] and 7\n"
        "sys.exit(victim.main())"
    )
    return subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-c", program, *words, "--", "--version"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_victim_dies_at_the_passing_that_it_is_told(tmp_path: Path) -> None:
    assert victim(tmp_path, "trace:passed", "at.1:2").returncode == -9
    passed = (tmp_path / "passed").read_text().split()
    assert passed == ["at.0", "at.1", "at.0", "at.1"]
    assert victim(tmp_path, "at.1:5", "time:0").returncode == 7
    assert "'at.1' is no aim" in victim(tmp_path, "at.1").stderr


def test_what_was_struck_least_is_struck_next() -> None:
    picker = Picker(rng=random.Random(3))  # noqa: S311 - no secret
    passed = Counter({"a": 3, "b": 1, "c": 1})
    picker.learn("first", Aim(), passed, 2.0)
    for _ in range(400):
        aim = picker.pick("first")
        assert aim.number <= passed[aim.label or "a"]
        assert aim.seconds is not None
        assert 0 <= aim.seconds <= (4.0 if aim.label else 2.0)
        # One is never reached, whatever was seen once: it must not take all the turns.
        is_reached = aim.label != "c"
        reached = Counter({aim.label: aim.number} if aim.label and is_reached else {})
        picker.learn("first", aim, reached, None if is_reached else 2.0)
    struck = picker.struck
    assert abs(struck["a"] - struck["b"]) <= 1
    assert 20 < struck[RANDOM] < 100
    assert struck.keys() == {"a", "b", RANDOM}
    assert picker.missed["first", "c"] < 2 * struck["a"] + 2


def test_a_run_that_does_not_get_to_its_instant_is_struck_all_the_same() -> None:
    aim = Aim(label="a", number=2, seconds=1.0)
    assert aim.name(Counter({"a": 2})) == "a"
    assert aim.name(Counter({"a": 1})) == RANDOM
    assert [str(aim), str(Aim(seconds=1.5))] == ["a:2", "time:1.5"]


def test_rows_ask_for_the_same_now_and_then() -> None:
    rows = make_rows(5, 12, random.Random(1))  # noqa: S311 - no secret
    assert len(rows) == 12
    kinds = Counter(map(identity, rows.values()))
    assert len(kinds) == 8
    assert max(kinds.values()) > 1
    assert len({params["prompt"] for params in rows.values()}) == 4


def test_the_faults_are_such_that_the_emulator_knows() -> None:
    for seed in range(30):
        faults = read_faults(make_faults(random.Random(seed)))  # noqa: S311 - no secret
        assert len(faults) == 6
        assert all(fault.times is None and fault.every for fault in faults)
