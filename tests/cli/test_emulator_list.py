"""The emulator's options for Task/List, from the command line to the emulator."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Wiro
from wiro_async.cli.service import EmulatorOptions


def options_of(wiro: Wiro, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> EmulatorOptions:
    """What the emulator would have been started with."""
    seen: list[EmulatorOptions] = []

    async def serve(options: EmulatorOptions) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr("wiro_async.cli.emulator.serve", serve)
    ran = wiro("emulator", *arguments)
    assert ran.code == 0, ran.err
    (options,) = seen
    return options


def test_what_is_said_of_the_list_reaches_the_emulator(
    wiro: Wiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--list-lag", "2.5", "--list-page", "7", "--no-list")
    options = options_of(wiro, monkeypatch, *asked)
    assert (options.list_lag_seconds, options.list_page_limit, options.list_absent) == (
        2.5,
        7,
        True,
    )


def test_the_list_is_right_unless_something_is_said(
    wiro: Wiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_of(wiro, monkeypatch)
    assert (options.list_lag_seconds, options.list_page_limit, options.list_absent) == (
        0.0,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("option", "value"), [("--list-lag", "-1"), ("--list-lag", "many"), ("--list-page", "0")]
)
def test_a_list_that_cannot_be_is_refused(wiro: Wiro, option: str, value: str) -> None:
    ran = wiro("emulator", option, value)
    assert ran.code == 2
    assert option in ran.err
