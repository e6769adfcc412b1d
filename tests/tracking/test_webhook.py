"""The receiver of callbacks: what a call does to a task, and what it does to nobody."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle
import warnings
from collections import Counter
from contextlib import AbstractAsyncContextManager

import pytest
from attrs import define, field

from tests.scripted_service import FLUX, Asked, ScriptedTransport, record, refused, started
from tests.tracking.hooks import BASE, call
from tests.virtual_session import PROMPT, joined
from tests.virtual_time import now, run_virtual, settle
from wiro_async.errors import ConfigurationError, InvalidRequest, RequestRefused
from wiro_async.handle import TaskHandle
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.responses import Answer
from wiro_async.session import WiroSession
from wiro_async.tracking import webhook
from wiro_async.tracking.watch import Watch
from wiro_async.tracking.webhook import CallbackUrl, WebhookReceiver

# Nobody looks by himself as long as these tests are awake.
SELDOM = PollSchedule(first_seconds=1000.0, max_seconds=1000.0, jitter=0.0)


@define
class Service:
    """Starts tasks that run until they are ended by hand.

    Attributes:
        ended: the ids of those that have ended.
        urls: what each Run named as its url.
        early: whether a task calls before its Run is answered.
        refusal: what a Run is answered with instead.
    """

    receiver: WebhookReceiver = field(factory=lambda: WebhookReceiver(BASE))
    ended: set[str] = field(factory=set)
    urls: list[str] = field(factory=list)
    early: bool = False
    refusal: Answer | None = None
    looks: Counter[str] = field(factory=Counter)
    look_seconds: float = 0.0

    async def __call__(self, asked: Asked) -> Answer:
        if asked.endpoint == "/Run":
            return await self.start(asked)
        task_id = asked.fields["taskid"]
        self.looks[task_id] += 1
        is_ended = task_id in self.ended
        await asyncio.sleep(self.look_seconds)
        return record(task_id, "task_postprocess_end" if is_ended else "task_start", pexit="0")

    async def start(self, asked: Asked) -> Answer:
        self.urls.append(str(asked.fields.get("callbackUrl")))
        if self.refusal is not None:
            return self.refusal
        task_id = str(len(self.urls))
        if self.early:
            await self.end(task_id)
        return started(task_id)

    async def end(self, task_id: str) -> int | None:
        """End a task, and call; the answer's status."""
        self.ended.add(task_id)
        return await self.call(task_id)

    async def call(self, task_id: str) -> int | None:
        return await call(self.receiver, self.urls[int(task_id) - 1])

    def session(self) -> AbstractAsyncContextManager[WiroSession]:
        return joined(ScriptedTransport(self), poll_schedule=SELDOM)


async def let_run(service: Service, session: WiroSession, count: int = 1) -> list[TaskHandle]:
    return [
        await session.run(FLUX, PROMPT, callback_url=service.receiver.url_for())
        for _ in range(count)
    ]


def test_a_call_has_the_task_looked_at_and_no_other() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            first = await session.run(FLUX, PROMPT, callback_url=service.receiver.url_for())
            second = await session.run(FLUX, PROMPT, callback_url=service.receiver.url_for())
            assert await service.end("2") == 200
            assert (await second).succeeded
            assert now() == 0.0
            assert service.looks == {"2": 1}
            assert not first.is_done

    run_virtual(scene())


def test_a_call_decides_nothing() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            (handle,) = await let_run(service, session)
            assert await service.call("1") == 200
            await settle()
            assert (handle.status, handle.is_done, service.looks["1"]) == ("task_start", False, 1)
            assert await service.end("1") == 200
            assert (await handle).succeeded

    run_virtual(scene())


def test_a_call_that_is_faster_than_the_answer_to_the_run_is_kept() -> None:
    async def scene() -> None:
        service = Service(early=True)
        async with service.session() as session:
            (handle,) = await let_run(service, session)
            assert (await handle).succeeded
            assert now() == 0.0

    run_virtual(scene())


def test_without_a_call_a_task_is_looked_at_as_ever() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            (handle,) = await let_run(service, session)
            service.ended.add("1")
            await handle
            assert now() == 1000.0

    run_virtual(scene())


def test_calls_while_a_look_is_asked_for_are_one() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            (handle,) = await let_run(service, session)
            assert [await service.end("1") for _ in range(5)] == [200] * 5
            await handle
            await settle()
            assert service.looks == {"1": 1}

    run_virtual(scene())


def test_a_call_that_says_nothing_new_is_no_work_for_the_tracker() -> None:
    receiver = WebhookReceiver(BASE)
    url = receiver.url_for()
    asked: list[Watch] = []

    def look_now(watch: Watch) -> None:
        asked.append(watch)
        watch.wants_look = True

    async def scene() -> None:
        assert isinstance(url, CallbackUrl)
        url.follow(Watch(started_at=0.0), look_now)
        for _ in range(5):
            await call(receiver, url)

    run_virtual(scene())
    assert len(asked) == 1


def test_a_call_during_a_look_is_followed_by_one_more() -> None:
    async def scene() -> None:
        service = Service(look_seconds=1.0)
        async with service.session() as session:
            (handle,) = await let_run(service, session)
            await service.call("1")
            await asyncio.sleep(0.5)
            await service.end("1")  # the look that is under way has missed it
            await handle
            assert (now(), service.looks["1"]) == (2.0, 2)

    run_virtual(scene())


def test_a_flood_on_a_url_costs_few_looks() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            (handle,) = await let_run(service, session)
            for _ in range(100):
                assert await service.call("1") == 200
                await settle()
            assert service.looks["1"] == webhook._MOST_CALLS
            service.ended.add("1")
            assert (await handle).succeeded

    run_virtual(scene())


def test_a_forged_path_is_told_nothing_and_does_nothing() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            await let_run(service, session)
            (url,) = service.urls
            for forged in (url[:-1], url + "A", url.swapcase(), BASE, f"{BASE}/", f"{url}/", "/"):
                assert await call(service.receiver, forged) == 404, forged
            assert not await flood(service.receiver, 10_000) - {404}
            await settle()
            assert not service.looks

    run_virtual(scene())


async def flood(receiver: WebhookReceiver, count: int) -> set[int | None]:
    answers = {await call(receiver, f"{BASE}/{number}") for number in range(count)}
    assert len(receiver._urls) + len(receiver._ended) <= 1
    return answers


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "post"])
def test_another_method_is_told_the_same_of_every_path(method: str) -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            await let_run(service, session)
            for url in (service.urls[0], f"{BASE}/forged"):
                assert await call(service.receiver, url, method) == 405
            await settle()
            assert not service.looks

    run_virtual(scene())


def test_no_two_urls_are_alike_or_can_be_guessed() -> None:
    receiver = WebhookReceiver(f"{BASE}/")
    urls = [receiver.url_for() for _ in range(1000)]
    keys = {url.removeprefix(f"{BASE}/") for url in urls}
    assert len(keys) == 1000
    # 256 bits, six to a letter
    assert {len(key) for key in keys} == {43}
    assert all(key.isascii() and "/" not in key for key in keys)


def test_a_url_is_known_until_its_task_has_ended_and_told_200_after_it() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            (handle,) = await let_run(service, session)
            assert len(service.receiver._urls) == 1
            await service.end("1")
            await handle
            assert len(service.receiver._urls) == 0
            assert await service.call("1") == 200
            await settle()
            assert service.looks["1"] == 1

    run_virtual(scene())


def test_of_ended_tasks_only_the_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_MOST_ENDED", 2)

    async def scene() -> None:
        service = Service(early=True)
        async with service.session() as session:
            for handle in await let_run(service, session, 4):
                await handle
            assert [await service.call(str(number)) for number in (1, 2, 3, 4)] == [
                *(404, 404),
                *(200, 200),
            ]

    run_virtual(scene())


def test_a_url_that_is_dropped_or_whose_run_fails_takes_no_memory() -> None:
    async def scene() -> None:
        service = Service(refusal=refused(0, "Request parameter [prompt] required"))
        receiver = service.receiver
        for _ in range(100):
            receiver.url_for()
        async with service.session() as session:
            with pytest.raises(RequestRefused):
                await session.run(FLUX, PROMPT, callback_url=receiver.url_for())
        with warnings.catch_warnings():  # the garbage of other tests is not looked into here
            warnings.simplefilter("ignore")
            gc.collect()  # the error's traceback goes in circles
        assert len(receiver._urls) == 0
        assert await call(receiver, service.urls[0]) == 404

    run_virtual(scene())


def test_a_url_is_taken_for_one_task_only() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            url = service.receiver.url_for()
            runs = [session.run(FLUX, PROMPT, callback_url=url) for _ in range(3)]
            made = await asyncio.gather(*runs, return_exceptions=True)
            assert [isinstance(one, InvalidRequest) for one in made] == [False, True, True]
            assert len(service.urls) == 1
            await service.end("1")
            with pytest.raises(InvalidRequest, match="another Run's"):
                await session.run(FLUX, PROMPT, callback_url=url)

    run_virtual(scene())


def test_a_url_whose_run_made_no_task_can_be_used_again() -> None:
    async def scene() -> None:
        service = Service(refusal=refused(0, "Request parameter [prompt] required"))
        async with service.session() as session:
            url = service.receiver.url_for()
            with pytest.raises(RequestRefused):
                await session.run(FLUX, PROMPT, callback_url=url)
            service.refusal = None
            handle = await session.run(FLUX, PROMPT, callback_url=url)
            service.ended.add("2")
            assert await call(service.receiver, url) == 200
            await handle
            assert now() == 0.0

    run_virtual(scene())


def test_one_receiver_serves_several_sessions() -> None:
    async def scene() -> None:
        one = Service()
        other = Service(receiver=one.receiver)
        async with one.session() as first, other.session() as second:
            mine = await first.run(FLUX, PROMPT, callback_url=one.receiver.url_for())
            yours = await second.run(FLUX, PROMPT, callback_url=one.receiver.url_for())
            await one.end("1")
            await mine
            await other.end("1")
            await yours
            assert (now(), one.looks, other.looks) == (0.0, {"1": 1}, {"1": 1})

    run_virtual(scene())


def test_a_closed_session_s_tasks_are_forgotten() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            await let_run(service, session, 3)
        assert len(service.receiver._urls) == 0
        assert await service.call("1") == 200

    run_virtual(scene())


def test_a_call_reaches_a_session_on_another_loop() -> None:
    asyncio.run(call_from_another_loop())


async def call_from_another_loop() -> None:
    service = Service()
    is_started = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def elsewhere() -> bool:
        async with service.session() as session:
            (handle,) = await let_run(service, session)
            loop.call_soon_threadsafe(is_started.set)
            return (await handle.wait(timeout_seconds=10)).succeeded

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await is_started.wait()
    assert await service.end("1") == 200
    assert await other


def test_a_call_for_a_loop_that_is_over_is_answered() -> None:
    receiver = WebhookReceiver(BASE)
    url = receiver.url_for()
    watch = Watch(started_at=0.0)
    looked: list[Watch] = []

    async def follow() -> None:
        assert isinstance(url, CallbackUrl)
        url.follow(watch, looked.append)

    asyncio.run(follow())
    assert asyncio.run(call(receiver, url)) == 200
    assert not looked


def test_the_url_goes_out_as_plain_text_and_a_copy_of_it_is_one() -> None:
    async def scene() -> None:
        service = Service()
        async with service.session() as session:
            await session.run(FLUX, {**PROMPT, "callbackUrl": service.receiver.url_for()})
            await service.end("1")
            await settle()
            assert service.looks == {"1": 1}

    run_virtual(scene())
    url = WebhookReceiver(BASE).url_for()
    for same in (copy.deepcopy(url), pickle.loads(pickle.dumps(url)), json.loads(json.dumps(url))):  # noqa: S301 - our own
        assert type(same) is str
        assert same == url


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "my.app/hooks",
        "ftp://my.app",
        "https://",
        "https://my.app/hooks?a=b",
        "https://my.app/#hooks",
        "https://ann:secret@my.app/hooks",
        "https://my.app/two words",
    ],
)
def test_a_base_url_that_cannot_work_is_refused_without_being_shown(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="base url of a receiver") as caught:
        WebhookReceiver(base_url)
    assert "secret" not in str(caught.value)


def test_a_receiver_shows_no_url() -> None:
    receiver = WebhookReceiver(BASE)
    url = receiver.url_for()
    assert repr(receiver) == "<WebhookReceiver of 1 urls>"
    assert url.startswith(BASE)
