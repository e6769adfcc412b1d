from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NoReturn

import aiohttp
import pytest
from aioresponses import aioresponses

from tests.wire import DETAIL, RUN, SIGNED, assert_clean, opened
from wiro_async.errors import OutcomeUnknown, TransportError


class AnswerOfAnyVersion(aiohttp.ClientResponse):
    """aiohttp 3.14 wants a `stream_writer` that aioresponses does not give yet."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - handed on
        try:
            super().__init__(*args, **options)
        except TypeError:
            options["stream_writer"] = SimpleNamespace(output_size=0)
            super().__init__(*args, **options)


class TestWithoutTrace:
    """With aioresponses aiohttp's trace never fires: there is no proof, so there is no claim."""

    async def test_an_answer_is_an_answer(self) -> None:
        async with opened("https://api.test/v1") as transport:
            with aioresponses() as mocked:
                mocked.post(
                    "https://api.test/v1/Run/o/m",
                    payload={"taskid": "1"},
                    headers={"Retry-After": "3"},
                    response_class=AnswerOfAnyVersion,
                )
                answer = await transport.send(RUN, SIGNED)
        assert (answer.http_status, answer.retry_after) == (200, "3")
        assert answer.body == b'{"taskid": "1"}'

    @pytest.mark.parametrize(
        "error",
        [aiohttp.ClientConnectionError("no"), ConnectionRefusedError("no"), TimeoutError()],
        ids=lambda error: type(error).__name__,
    )
    async def test_a_failure_is_unknown(self, error: Exception) -> None:
        async with opened("https://api.test/v1") as transport:
            with aioresponses() as mocked:
                mocked.post("https://api.test/v1/Run/o/m", exception=error)
                with pytest.raises(OutcomeUnknown) as caught:
                    await transport.send(RUN, SIGNED)
        assert "nothing was seen of the attempt" in caught.value.evidence
        assert_clean(caught.value)


def exceptions_below(kind: type[BaseException]) -> set[type[BaseException]]:
    below = {inner for sub in kind.__subclasses__() for inner in exceptions_below(sub)}
    return {kind} | below


OF_AIOHTTP = {
    kind for kind in exceptions_below(aiohttp.ClientError) if kind.__module__.startswith("aiohttp.")
}
OF_THE_SYSTEM = {
    OSError,
    ConnectionError,
    ConnectionResetError,
    BrokenPipeError,
    ssl.SSLError,
    ssl.SSLCertVerificationError,
    TimeoutError,
    ValueError,
    UnicodeDecodeError,
}


def bare(kind: type[BaseException]) -> BaseException:
    """An instance that knows the request's headers, as aiohttp's own do, and has no text."""

    class Bare(kind):  # type: ignore[misc, valid-type] # made to try every class alike
        headers: Mapping[str, str] = SIGNED.headers()

        def __init__(self) -> None:
            return

        def __str__(self) -> str:
            return ""

    Bare.__name__ = kind.__name__
    return Bare()


class FailingPool:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def post(self, *_: object, **__: object) -> NoReturn:
        raise self.error

    async def get(self, *_: object, **__: object) -> NoReturn:
        raise self.error


@pytest.mark.parametrize(
    "kind", sorted(OF_AIOHTTP | OF_THE_SYSTEM, key=str), ids=lambda kind: kind.__name__
)
async def test_no_exception_of_the_library_gets_through(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened("https://api.test/v1") as transport:
        for owner, pool in ((transport, "_runs"), (transport, "_reads"), (transport._cdn, "_pool")):
            monkeypatch.setattr(owner, pool, FailingPool(bare(kind)))
        for request in (RUN, DETAIL):
            with pytest.raises(OutcomeUnknown) as caught:
                await transport.send(request, SIGNED)
            assert_clean(caught.value)
        with pytest.raises(TransportError) as failed:
            async with transport.stream("https://cdn.test/0.png", {}):
                pass
        assert_clean(failed.value)
        monkeypatch.undo()
