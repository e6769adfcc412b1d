"""Who tells that a task may have ended: the session's choices, and where the socket is."""

from __future__ import annotations

import pytest

from tests.scripted_service import WorldTransport
from tests.virtual_session import joined, make_session
from tests.virtual_time import run_virtual
from wiro_async.errors import ConfigurationError
from wiro_async.protocol.learning import Learned, Told
from wiro_async.protocol.polling import PollSchedule
from wiro_async.settings import DEFAULT_BASE_URL, DEFAULT_SOCKET_URL, find_socket_url

ELSEWHERE = "https://wiro.example/v1"


@pytest.mark.parametrize(
    ("tracking", "has_hub", "has_sweeps"),
    [
        ("poll", False, False),
        ("sweep", False, True),
        ("socket", True, False),
        ("auto", True, True),
    ],
)
def test_each_way_has_its_hints_and_no_others(
    tracking: str, *, has_hub: bool, has_sweeps: bool
) -> None:
    async def scenario() -> None:
        options = {"tracking": tracking, "socket_url": "wss://socket.example/v1"}
        async with joined(WorldTransport(), **options) as session:
            assert (session._hub is not None) is has_hub
            assert (session._sweeps is not None) is has_sweeps

    run_virtual(scenario())


def test_without_a_socket_there_is_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WIRO_SOCKET_URL", raising=False)

    async def scenario() -> None:
        async with joined(WorldTransport(), base_url=ELSEWHERE, tracking="auto") as session:
            assert session._hub is None
            assert session._sweeps is not None

    run_virtual(scenario())


def test_another_way_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="tracking is 'push': it is one of auto, poll"):
        make_session(tracking="push")


def test_a_session_learns_unless_it_was_told_when_to_look() -> None:
    async def scenario() -> None:
        async with joined(WorldTransport()) as session:
            assert isinstance(session._tracker.waits, Learned)
        schedule = PollSchedule(first_seconds=1)
        async with joined(WorldTransport(), poll_schedule=schedule) as session:
            assert session._tracker.waits == Told(schedule)

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("said", "base_url", "environment", "url"),
    [
        (None, DEFAULT_BASE_URL, {}, DEFAULT_SOCKET_URL),
        (None, ELSEWHERE, {}, None),
        (None, ELSEWHERE, {"WIRO_SOCKET_URL": " wss://s.example/v1/ "}, "wss://s.example/v1"),
        (None, DEFAULT_BASE_URL, {"WIRO_SOCKET_URL": "wss://s.example"}, "wss://s.example"),
        ("wss://t.example", ELSEWHERE, {"WIRO_SOCKET_URL": "wss://s.example"}, "wss://t.example"),
        ("ws://127.0.0.1:8089/v1", ELSEWHERE, {}, "ws://127.0.0.1:8089/v1"),
        ("ws://localhost:8089", ELSEWHERE, {}, "ws://localhost:8089"),
    ],
)
def test_where_the_socket_is(
    said: str | None, base_url: str, environment: dict[str, str], url: str | None
) -> None:
    assert find_socket_url(said, base_url, environment) == url


@pytest.mark.parametrize(
    "url", ["https://s.example", "s.example", "ws://s.example", "wss://", "wss://a:b@s.example"]
)
def test_a_socket_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_socket_url(url, DEFAULT_BASE_URL, {})
    assert "a:b" not in str(caught.value)


def test_a_socket_in_the_clear_is_for_who_has_asked_for_it() -> None:
    said = "ws://emulator.example:8089/v1"
    assert find_socket_url(said, DEFAULT_BASE_URL, {}, allow_http=True) == said
