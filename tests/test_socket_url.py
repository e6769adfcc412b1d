"""Where the socket is: said, in the environment, or known of the official service."""

from __future__ import annotations

import pytest

from tests.scripted_service import KEY, SECRET
from wiro_async import ConfigurationError, WiroSession
from wiro_async.settings import DEFAULT_BASE_URL, DEFAULT_SOCKET_URL, find_socket_url

OTHER = "https://elsewhere.test/v1"
SAID = "wss://said.test/v1"


@pytest.mark.parametrize(
    ("said", "base_url", "environment", "expected"),
    [
        (None, DEFAULT_BASE_URL, {}, DEFAULT_SOCKET_URL),
        (None, OTHER, {}, None),
        ("", OTHER, {"WIRO_SOCKET_URL": "  "}, None),
        (None, OTHER, {"WIRO_SOCKET_URL": SAID}, SAID),
        (f" {SAID}/ ", DEFAULT_BASE_URL, {"WIRO_SOCKET_URL": "wss://other.test"}, SAID),
        ("WSS://said.test/v1", OTHER, {}, SAID),
        ("ws://127.0.0.1:8080/v1", OTHER, {}, "ws://127.0.0.1:8080/v1"),
        ("ws://[::1]:8080", OTHER, {}, "ws://[::1]:8080"),
    ],
)
def test_where_it_is(
    said: str | None, base_url: str, environment: dict[str, str], expected: str | None
) -> None:
    assert find_socket_url(said, base_url, environment) == expected


@pytest.mark.parametrize(
    "said", ["https://said.test", "said.test/v1", "ws://said.test/v1", "wss://", "ws:"]
)
def test_what_cannot_be_one_is_refused(said: str) -> None:
    with pytest.raises(ConfigurationError):
        find_socket_url(said, OTHER, {})


def test_plain_ws_to_another_machine_has_to_be_asked_for() -> None:
    url = "ws://emulator.test:8080/v1"
    assert find_socket_url(url, OTHER, {}, allow_http=True) == url


@pytest.mark.parametrize("scheme", ["wss", "https"])
def test_a_password_in_it_is_refused_and_not_shown(scheme: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_socket_url(f"{scheme}://me:hidden@said.test", OTHER, {})
    assert "hidden" not in str(caught.value)


def test_a_session_that_is_to_use_one_has_to_know_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WIRO_SOCKET_URL", raising=False)
    with pytest.raises(ConfigurationError, match="WIRO_SOCKET_URL"):
        WiroSession(KEY, SECRET, base_url=OTHER, tracking="socket")
    WiroSession(KEY, SECRET, base_url=OTHER)
    WiroSession(KEY, SECRET, base_url=OTHER, tracking="socket", socket_url=SAID)


async def test_a_session_that_asks_nobody_opens_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WIRO_SOCKET_URL", raising=False)
    for tracking, is_there in (("auto", True), ("socket", True), ("sweep", False), ("poll", False)):
        session = WiroSession(KEY, SECRET, tracking=tracking)  # type: ignore[arg-type] # a row
        async with session:
            assert (session._hub is not None) == is_there
