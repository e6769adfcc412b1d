import pytest

from benchmarks.arms import EVERYBODY
from benchmarks.figures import CPU, FINISHED, LAG, MAKESPAN, TO_IDEAL
from benchmarks.peers import PEERS
from benchmarks.plots import label_heights
from benchmarks.settings import FLOOR, PROMISES, SETTINGS, Promise, quick
from benchmarks.tables import figures_table, promises_table, table, write_number


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.0, "0.000"),
        (0.0123, "0.012"),
        (0.123, "0.12"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (-0.02, "-0.020"),
    ],
)
def test_numbers_have_the_digits_that_count(value: float | None, shown: str) -> None:
    assert write_number(value) == shown


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert [*table([["a long name", "1"], ["b", "12345"]], ["who", "n"])] == [
        "| who         | n     |",
        "|---|---|",
        "| a long name |     1 |",
        "| b           | 12345 |",
    ]


def test_an_arm_that_did_not_finish_says_how_far_it_came() -> None:
    medians = {
        "floor": {FINISHED: 5000.0, MAKESPAN: 30.0, CPU: 0.6},
        "peer": {FINISHED: 701.0, CPU: 50.0},
        "hung": {FINISHED: 0.0},
    }
    lines = [*figures_table(medians, [MAKESPAN, CPU], 5000)]
    assert lines[2] == "| floor                    |       30.0 |          0.60 |"
    assert [line.split("|")[1].strip() for line in lines[3:]] == [
        "peer (701 of 5,000 done)",
        "hung (0 of 5,000 done)",
    ]
    assert lines[3].split("|")[2].strip() == "-"


def test_no_label_lies_over_another_and_none_is_higher_than_its_point() -> None:
    points = {
        "floor": (3.0, 0.001),
        "peer": (3.0, 1.0),
        "same": (2.0, 1.0),
        "close": (8.5, 0.95),
        "far": (18.0, 0.99),
    }
    heights = label_heights(points)
    line = 1000 ** (1 / 32)
    assert heights["peer"] == 1.0
    assert heights["same"] == pytest.approx(1 / line)
    assert heights["close"] == pytest.approx(1 / line**2)
    assert heights["far"] == 0.99
    assert heights["floor"] == 0.001


def test_promises_are_held_against_what_was_measured() -> None:
    promises = [
        Promise(setting="short", arm="a", figure=TO_IDEAL, bound=1.015),
        Promise(setting="short", arm="b", figure=LAG, bound=0.03),
        Promise(setting="many", arm="a", figure=TO_IDEAL, bound=1.0),
    ]
    measured = {"short": {"a": {TO_IDEAL: 1.02}, "b": {LAG: 0.03}, "c": {}}}
    lines = [*promises_table(promises, measured)]
    assert [[cell.strip() for cell in line.split("|")[4:-1]] for line in lines[2:]] == [
        ["1.015", "1.02", "missed"],
        ["0.03", "0.030", "reached"],
    ]


def test_every_arm_of_a_setting_exists_and_its_promises_are_of_its_own_columns() -> None:
    for name, setting in SETTINGS.items():
        assert setting.arms[0] == FLOOR, name
        assert set(setting.arms) <= EVERYBODY.keys(), name
    for promise in PROMISES:
        assert promise.arm in SETTINGS[promise.setting].arms
        assert promise.figure in SETTINGS[promise.setting].columns


def test_a_quick_setting_is_small_and_needs_no_peer() -> None:
    for setting in SETTINGS.values():
        small = quick(setting)
        assert small.tasks * small.median / small.in_flight <= 1.0
        assert PEERS.keys().isdisjoint(small.arms)
        assert small.rounds == 1
