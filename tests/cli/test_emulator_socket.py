"""The emulator's option for its websocket, and what it says of it."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Wiro
from tests.cli.test_emulator_list import options_of
from wiro_async.emulator.sockets import SocketManner

MANNERS = [manner.value for manner in SocketManner]


@pytest.mark.parametrize("manner", MANNERS)
def test_each_manner_reaches_the_emulator(
    manner: str, wiro: Wiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options_of(wiro, monkeypatch, "--socket", manner).socket_manner == manner


def test_many_unless_something_is_said(wiro: Wiro, monkeypatch: pytest.MonkeyPatch) -> None:
    assert options_of(wiro, monkeypatch).socket_manner == "many"


def test_a_manner_that_is_none_is_refused(wiro: Wiro) -> None:
    ran = wiro("emulator", "--socket", "shy")
    assert ran.code == 2
    assert f"--socket is 'shy': it is one of {', '.join(MANNERS)}" in ran.err
