from __future__ import annotations

import math

import pytest

from tests.scripted_service import (
    KEY,
    SECRET,
)
from tests.virtual_session import make_session
from wiro_async.errors import (
    ConfigurationError,
    CredentialsError,
)
from wiro_async.session import WiroSession
from wiro_async.settings import DEFAULT_BASE_URL, check_base_url, find_credentials


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WIRO_API_KEY", "WIRO_API_SECRET", "WIRO_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


class TestCredentials:
    def test_arguments_win_and_are_not_mixed_with_the_environment(self) -> None:
        environment = {"WIRO_API_KEY": "other", "WIRO_API_SECRET": "other-secret"}
        found = find_credentials("key", None, environment)
        assert (found.api_key, found.api_secret) == ("key", None)
        found = find_credentials("key", "secret", environment)
        assert (found.api_key, found.api_secret) == ("key", "secret")

    def test_the_environment_is_read_without_its_blanks(self) -> None:
        environment = {"WIRO_API_KEY": " key\n", "WIRO_API_SECRET": "\tsecret "}
        found = find_credentials(None, None, environment)
        assert (found.api_key, found.api_secret) == ("key", "secret")
        found = find_credentials("", "", {"WIRO_API_KEY": "key", "WIRO_API_SECRET": " "})
        assert (found.api_key, found.api_secret) == ("key", None)

    @pytest.mark.parametrize(
        ("arguments", "environment", "said"),
        [
            ((None, None), {}, "there is no API key: set WIRO_API_KEY"),
            ((None, None), {"WIRO_API_SECRET": "s"}, "secret without a key in the environment"),
            ((None, "s"), {"WIRO_API_KEY": "k"}, "secret without a key among the arguments"),
            (("a b", "s"), {}, "blanks"),
            (("kéy", None), {}, "no key of the service has"),
            (("key\r\nX: 1", "s"), {}, "api key has blanks, line breaks"),
            (("key", "s\n"), {}, "api secret has blanks, line breaks"),
            (("key", "s\0"), {}, "api secret has blanks, line breaks"),
        ],
    )
    def test_what_is_missing_is_said(
        self, arguments: tuple[str | None, str | None], environment: dict[str, str], said: str
    ) -> None:
        with pytest.raises(CredentialsError, match=said):
            find_credentials(*arguments, environment)

    def test_a_session_reads_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(CredentialsError):
            WiroSession()
        monkeypatch.setenv("WIRO_API_KEY", KEY)
        monkeypatch.setenv("WIRO_API_SECRET", SECRET)
        monkeypatch.setenv("WIRO_BASE_URL", "https://elsewhere.test/v1/")
        session = WiroSession()
        assert repr(session) == "<WiroSession https://elsewhere.test/v1 not opened>"
        assert KEY not in f"{session!r} {session._credentials!r}"
        assert SECRET not in f"{session!r} {session._credentials!r}"
        assert "own.test" in repr(WiroSession(base_url="https://own.test"))


class TestArguments:
    @pytest.mark.parametrize(
        ("given", "base_url"),
        [
            (DEFAULT_BASE_URL, DEFAULT_BASE_URL),
            ("https://host.test/v1//", "https://host.test/v1"),
            (" https://host.test:8443/v1\n", "https://host.test:8443/v1"),
            ("http://localhost:80/v1", "http://localhost:80/v1"),
            ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
            ("http://[::1]:9/v1", "http://[::1]:9/v1"),
            ("http://127.8.9.1/v1", "http://127.8.9.1/v1"),
            ("http://wiro.localhost/v1", "http://wiro.localhost/v1"),
        ],
    )
    def test_base_urls_that_work(self, given: str, base_url: str) -> None:
        assert check_base_url(given) == base_url

    @pytest.mark.parametrize(
        "given",
        [
            "ftp://host.test",
            "//host.test/v1",
            "https://host.test/v1\r\nX: 1",
            "https://host.test/\x1b[2J",
            "api.wiro.ai/v1",
            "https://",
            "https:///v1",
            "https://host.test/v1?a=b",
            "https://host.test/v1#a",
            "https://[::1/v1",
            "https://host.test:99999/v1",
            "https://host.test:0/v1",
            "https://host.test:port/v1",
            "wss://socket.wiro.ai/v1",
        ],
    )
    def test_base_urls_that_do_not(self, given: str) -> None:
        with pytest.raises(ConfigurationError, match="has to begin with https://"):
            make_session(base_url=given)

    @pytest.mark.parametrize(
        "given",
        [
            "http://api.wiro.ai/v1",
            "http://127.0.0.1.evil.test/v1",
            "http://10.0.0.1/v1",
            "http://notlocalhost/v1",
            "http://emulator:8080/v1",
            "http://0.0.0.0:8080/v1",
        ],
    )
    def test_plain_http_to_another_machine_has_to_be_asked_for(self, given: str) -> None:
        with pytest.raises(ConfigurationError, match="only with allow_http=True"):
            make_session(base_url=given)
        assert given in repr(make_session(base_url=given, allow_http=True))

    @pytest.mark.parametrize("given", ["ftp://host.test", "http://me:hidden@host", "http://h?x"])
    def test_allowing_plain_http_allows_nothing_else(self, given: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            make_session(base_url=given, allow_http=True)
        assert "hidden" not in str(caught.value)

    def test_an_environment_may_not_ask_for_plain_http(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WIRO_BASE_URL", "http://emulator/v1")
        with pytest.raises(ConfigurationError, match="allow_http=True"):
            make_session()

    def test_a_password_has_no_place_in_a_base_url_and_is_not_shown(self) -> None:
        with pytest.raises(ConfigurationError, match="must not hold") as caught:
            make_session(base_url="https://me:hidden@host.test/v1")
        assert "hidden" not in str(caught.value)

    @pytest.mark.parametrize(
        "name",
        [
            "max_in_flight",
            "max_downloads",
            "max_looks_per_second",
            "request_timeout_seconds",
            "silence_timeout_seconds",
            "task_timeout_seconds",
            "settle_seconds",
            "max_output_bytes",
        ],
    )
    @pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
    def test_numbers_are_above_nought(self, name: str, value: float) -> None:
        with pytest.raises(ConfigurationError, match=f"{name} is {value}: it has to be a number"):
            make_session(**{name: value})
