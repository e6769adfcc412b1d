from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scripted_service import (
    FLUX,
    Asked,
    ScriptedTransport,
    WorldTransport,
    answered,
    full,
    record,
    refused,
    started,
)
from tests.virtual_session import joined, make_session
from tests.virtual_time import VirtualLoop, now, run_virtual
from wiro_async.emulator.world import Terms
from wiro_async.errors import (
    AuthenticationFailed,
    ConfigurationError,
    InsufficientBalance,
    InvalidRequest,
    NotFound,
    RunOutcomeUnknown,
    SessionStateError,
    WiroError,
)
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession
from wiro_async.settings import DEFAULT_BASE_URL

PROMPT = {"prompt": "a lighthouse"}


class TestState:
    def test_before_opening_and_after_closing_it_says_what_to_do(self, tmp_path: Path) -> None:
        async def check(session: WiroSession, said: str) -> None:
            uses: list[Callable[[], object]] = [
                lambda: session.task(task_id="1"),
                lambda: session.statistics,
                lambda: session.batch([], output_dir=tmp_path),
            ]
            for use in uses:
                with pytest.raises(SessionStateError, match=said):
                    use()
            with pytest.raises(SessionStateError, match=said):
                await session.run(FLUX, PROMPT)
            with pytest.raises(SessionStateError, match=said):
                await session.list_tasks()

        async def scenario() -> None:
            session = make_session()
            await check(session, "inside `async with WiroSession")
            await session.open()
            assert repr(session) == f"<WiroSession {DEFAULT_BASE_URL} open>"
            with pytest.raises(SessionStateError, match="opened before; make a new"):
                await session.open()
            await session.aclose()
            await session.aclose()
            assert repr(session) == f"<WiroSession {DEFAULT_BASE_URL} closed>"
            await check(session, "closed; open a new one")
            with pytest.raises(SessionStateError, match="opened before; make a new"):
                await session.open()
            unopened = make_session()
            await unopened.aclose()
            await check(unopened, "closed; open a new one")

        run_virtual(scenario())

    def test_it_belongs_to_its_loop(self) -> None:
        with (
            asyncio.Runner(loop_factory=VirtualLoop) as first,
            asyncio.Runner(loop_factory=VirtualLoop) as second,
        ):
            session = make_session()
            first.run(session.open())
            with pytest.raises(SessionStateError, match="another event loop"):
                second.run(session.run(FLUX, PROMPT))
            with pytest.raises(SessionStateError, match="another event loop"):
                second.run(session.aclose())
            with pytest.raises(SessionStateError, match="another event loop"):
                session.task(task_id="1")
            first.run(session.aclose())


class TestRun:
    @pytest.mark.parametrize(
        ("model", "params", "said"),
        [
            ("flux", PROMPT, "owner/model"),
            ("../x", PROMPT, "owner/model"),
            (FLUX, {"promt": "x"}, "promt"),
            (FLUX, {"prompt": " "}, "prompt"),
            (FLUX, {**PROMPT, "aspectRatio": "17:3"}, "aspectRatio"),
            (FLUX, {**PROMPT, "seed": "many"}, "seed"),
            (FLUX, None, "prompt"),
        ],
    )
    def test_what_cannot_work_is_refused_before_sending(
        self, model: str, params: dict[str, str] | None, said: str
    ) -> None:
        async def scenario() -> None:
            transport = WorldTransport()
            async with joined(transport) as session:
                with pytest.raises(InvalidRequest, match=said):
                    await session.run(model, params)
                assert session.statistics.in_flight == 0
            assert transport.asked == []

        run_virtual(scenario())

    def test_the_callback_url_is_a_parameter_of_the_run(self) -> None:
        async def scenario() -> None:
            transport = WorldTransport()
            async with joined(transport) as session:
                await session.run(FLUX, PROMPT, callback_url="https://me.test/hook")
            assert transport.asked[0].fields["callbackUrl"] == "https://me.test/hook"
            assert transport.asked[0].request.path == f"/Run/{FLUX}"

        run_virtual(scenario())

    def test_an_account_of_five_places_runs_five_at_once(self) -> None:
        async def scenario() -> None:
            transport = WorldTransport(Terms(balance=50, sigma=0.0), trip_seconds=0.1)  # type: ignore[arg-type] # dollars
            async with joined(transport) as session:
                handles = await asyncio.gather(*[session.run(FLUX, PROMPT) for _ in range(40)])
                tasks = await asyncio.gather(*handles)
                assert all(task.succeeded for task in tasks)
                statistics = session.statistics
                assert statistics.in_flight == 0
                assert statistics.rejections == statistics.requests["/Run"] - 40
                assert statistics.rejections <= 4
                assert statistics.most_in_flight == 5 + statistics.rejections
            assert len(transport.tasks) == 40
            assert transport.world.books.most_in_flight == 5

        run_virtual(scenario())

    def test_a_full_account_is_asked_again_until_there_is_a_place(self) -> None:
        async def script(asked: Asked) -> Answer:
            if asked.endpoint == "/Run":
                return full(5) if asked.at < 100 else started()
            return record("2221", "task_start")

        async def scenario() -> None:
            transport = ScriptedTransport(script)
            async with joined(transport) as session:
                await session.run(FLUX, PROMPT)
                assert 100 <= now() <= 115
                assert session.statistics.rejections == len(transport.times("/Run")) - 1
                assert session.statistics.in_flight == 1
            assert len(transport.times("/Run")) <= 16

        run_virtual(scenario())

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(97, "Insufficient balance"), InsufficientBalance),
            (answered({}, http_status=401), AuthenticationFailed),
            (answered({}, http_status=500), RunOutcomeUnknown),
        ],
    )
    def test_whatever_a_run_ends_with_its_slot_comes_back(
        self, answer: Answer, kind: type[WiroError]
    ) -> None:
        async def script(_: Asked) -> Answer:
            return answer

        async def scenario() -> None:
            async with joined(ScriptedTransport(script), max_in_flight=1) as session:
                for _ in range(3):
                    with pytest.raises(kind):
                        await session.run(FLUX, PROMPT)
                assert session.statistics.in_flight == 0

        run_virtual(scenario())


def test_a_task_is_named_by_something() -> None:
    async def scenario() -> None:
        async with joined(WorldTransport()) as session:
            with pytest.raises(ConfigurationError, match="task_id= or token="):
                session.task()
            with pytest.raises(ConfigurationError, match="task_id= or token="):
                session.task(task_id="", token="")
            with pytest.raises(NotFound):
                await session.task(task_id="77")

    run_virtual(scenario())


def test_a_page_of_tasks_newest_first() -> None:
    async def scenario() -> None:
        transport = WorldTransport()
        async with joined(transport) as session:
            for number in range(5):
                await session.run(FLUX, {"prompt": str(number)})
            page = await session.list_tasks(start=1, limit=2, model="flux-pro")
            assert [task.id for task in page] == ["2224", "2223"]
            assert len(await session.list_tasks()) == 5
            assert await session.list_tasks(model="nobody/nothing") == ()
        assert transport.asked[5].fields["modelName"] == "flux-pro"

    run_virtual(scenario())


def test_a_batch_can_ask_for_more_places_but_not_for_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(WorldTransport(), max_in_flight=2) as session:
            with pytest.raises(ConfigurationError, match="max_in_flight is 0"):
                session.batch([], output_dir=tmp_path, max_in_flight=0)
            session.batch([], output_dir=tmp_path)
            assert session._slots.limit == 2
            session.batch([], output_dir=tmp_path, max_in_flight=9)
            assert session._slots.limit == 9

    run_virtual(scenario())
