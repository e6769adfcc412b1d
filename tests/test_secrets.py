"""Neither key, secret nor signature gets anywhere but to the service: all that can be told is read.

Everything happens that can happen to a task, with a key and a secret that are like nothing else,
and with all of asyncio's own debugging. Then every file, log line, text of an object, traceback
with variables and byte that a stranger heard is searched for them.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.canary import SPEED, Canary, Recorder, canary, debug_the_loop, emulator, recorder
from tests.cli.conftest import emulating
from tests.loopback import answering, serve
from tests.scripted_service import FLUX
from wiro_async.batch.journal.entries import JOURNAL_NAME
from wiro_async.emulator import Emulator, Fault
from wiro_async.emulator.faults import ACTIONS
from wiro_async.errors import RunOutcomeUnknown, WiroError
from wiro_async.protocol.polling import PollSchedule
from wiro_async.protocol.retry import RetryPolicy
from wiro_async.protocol.signing import Credentials, sign_attempt
from wiro_async.session import WiroSession

__all__ = ["canary", "emulator", "recorder"]


def make_session(canary: Canary, base_url: str, **options: object) -> WiroSession:
    whole = {
        "base_url": base_url,
        "poll_schedule": PollSchedule().faster(SPEED),
        "retry_policy": RetryPolicy(
            max_attempts=2,
            max_download_attempts=2,
            max_failed_looks=3,
            base_seconds=0.01,
            cap_seconds=0.05,
            max_outage_seconds=0.5,
        ),
        "max_looks_per_second": 2000.0,
        "request_timeout_seconds": 5.0,
        "silence_timeout_seconds": 5.0,
        "settle_seconds": 0.05,
        **options,
    }
    return WiroSession(canary.key, canary.secret, **whole)  # type: ignore[arg-type] # handed on


async def run_one(session: WiroSession, prompt: str, out: Path, recorder: Recorder) -> None:
    """Run a task, to whatever end; all that comes of it is seen."""
    try:
        handle = await session.run(FLUX, {"prompt": prompt})
    except RunOutcomeUnknown as error:
        recorder.see("unknown Run", error)
        found = await error.find()
        if found is None:
            return
        handle = found
    async for event in handle.stream():
        recorder.see("event", event)
    recorder.see("task", await handle.wait())
    recorder.hear("handle", repr(handle))
    for saved in await handle.save_outputs(out):
        recorder.see("saved file", saved)


async def tell_of(work: Awaitable[object], recorder: Recorder) -> BaseException | None:
    try:
        async with asyncio.timeout(3.0):
            await work
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it is read
        recorder.see(type(error).__name__, error)
        return error
    return None


def see_session(recorder: Recorder, session: WiroSession) -> None:
    recorder.hear("session", f"{session} {session!r} {vars(session)!r}")
    with suppress(WiroError):
        recorder.see("statistics", session.statistics)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - how it fails does not matter here
        pickle.dumps(session)
    recorder.see("pickle of a session", caught.value)


FAULTS = [
    (endpoint, action, is_made)
    for endpoint in ("Run", "Task/Detail", "Task/List", "cdn")
    for action, where in ACTIONS.items()
    for is_made in (False, True)
    if endpoint in where
    if not is_made or action in ("status", "html", "empty")
]


# Faults of parts of files, which nobody asks for here, and those behind the end of a session.
NEVER_ASKED = 3


@pytest.mark.parametrize(
    ("endpoint", "times"),
    [
        *(("Run", 1), ("Run", None), ("Task/Detail", 1), ("Task/Detail", None)),
        *(("Task/List", 1), ("cdn", 1), ("cdn", None)),
    ],
)
async def test_whatever_the_service_does(
    recorder: Recorder,
    emulator: Emulator,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    endpoint: str,
    times: int | None,
) -> None:
    debug_the_loop()
    canary = recorder.canary
    async with make_session(canary, emulator.base_url) as session:

        async def meet(number: int, action: str, *, is_made: bool) -> None:
            prompt = f"prompt {number} of them"
            if endpoint == "Task/List":
                lost = Fault(endpoint="Run", action="drop_after", match=prompt)
                emulator.add_fault(lost)
            fault = Fault(
                endpoint=endpoint,
                action=action,
                match=None if endpoint == "Task/List" else prompt,
                times=times,
                task_made=is_made,
                retry_after=0.05 if number % 2 else 3600.0,
            )
            emulator.add_fault(fault)
            await tell_of(run_one(session, prompt, tmp_path, recorder), recorder)

        faults = [
            (number, action, is_made)
            for number, (where, action, is_made) in enumerate(FAULTS)
            # A full account is waited for without an end, as it should be.
            if where == endpoint and (times is not None or action != "limit")
        ]
        await asyncio.gather(
            *(
                meet(number, action, is_made=is_made)
                for number, action, is_made in faults
                if action != "unauthorized"  # it ends all others
            )
        )
        for number, action, is_made in faults:
            if action == "unauthorized":
                await meet(number, action, is_made=is_made)
        see_session(recorder, session)
    see_session(recorder, session)
    recorder.read(tmp_path)
    recorder.hear("output", "".join(capfd.readouterr()))
    struck = {kind.removeprefix("fault ") for kind in emulator.books.answers}
    assert len({action for _, action, _ in faults} - struck) <= NEVER_ASKED
    assert canary.signatures, "nothing was signed, so nothing was tried"
    assert len(recorder.heard) > 100


async def test_all_that_can_be_done_with_a_task(
    canary: Canary, recorder: Recorder, emulator: Emulator
) -> None:
    debug_the_loop()
    async with make_session(canary, emulator.base_url) as session:
        see_session(recorder, session)
        handle = await session.run(FLUX, {"prompt": "a fox"}, callback_url="https://example.com")
        recorder.see("task", await handle)
        await handle.delete_files()
        await tell_of(handle.cancel(), recorder)
        await tell_of(handle.kill(), recorder)
        recorder.see("stopped", await (await session.run(FLUX, {"prompt": "b"})).stop())
        recorder.see("list", await session.list_tasks())
        recorder.see("price", await session.price(FLUX, {"prompt": "a fox"}))
        await tell_of(session.task(task_id="77").wait(), recorder)
        await tell_of(session.run("no slug", {}), recorder)
        await tell_of(session.run(FLUX, {"prompt": 5j}), recorder)  # type: ignore[dict-item] # on purpose
        await tell_of(session.run("nobody/nothing", {}), recorder)
        waiting = asyncio.ensure_future(session.run(FLUX, {"prompt": "cancelled"}))
        await asyncio.sleep(0)
        waiting.cancel()
        await tell_of(waiting, recorder)
        left = await session.run(FLUX, {"prompt": "left"})
    await tell_of(left.wait(), recorder)
    await tell_of(session.run(FLUX, {"prompt": "too late"}), recorder)
    see_session(recorder, session)
    assert {"a fox", "b", "left"} <= {task.prompt for task in emulator.books.tasks.values()}
    assert canary.signatures, "nothing was signed, so nothing was tried"


async def test_a_batch_with_a_journal(
    canary: Canary, recorder: Recorder, emulator: Emulator, tmp_path: Path
) -> None:
    debug_the_loop()
    for number, action in enumerate(ACTIONS):
        endpoint = next(
            where for where in ("Run", "Task/Detail", "cdn") if where in ACTIONS[action]
        )
        if action not in ("unauthorized", "no_balance"):
            emulator.add_fault(
                Fault(endpoint=endpoint, action=action, skip=number, retry_after=0.1)
            )
    emulator.add_fault(Fault(endpoint="Run", action="no_balance", skip=60))
    for _ in range(2):
        async with (
            make_session(canary, emulator.base_url) as session,
            session.batch(
                (f"prompt {number}" for number in range(80)),
                output_dir=tmp_path,
                model=FLUX,
                journal=tmp_path / JOURNAL_NAME,
                max_in_flight=5,
            ) as batch,
        ):
            async for item in batch:
                recorder.see("item", item)
                recorder.see("error of an item", item.error)
                if batch.summary.total % 20 == 0:
                    recorder.read(tmp_path)
            recorder.hear("batch", f"{batch!r} {vars(batch)!r}")
            recorder.see("summary", batch.summary)
        recorder.read(tmp_path)
    assert (tmp_path / JOURNAL_NAME).exists()


@pytest.mark.parametrize("code", [200, 401, 500])
async def test_a_service_that_repeats_what_it_was_sent(
    canary: Canary, recorder: Recorder, code: int
) -> None:
    body = '{"result":false,"errors":[{"code":1,"message":"%s is no key"}]}'
    said = body % canary.key.replace("\\", "\\\\").replace('"', '\\"')
    answer = f"HTTP/1.1 {code} X\r\nContent-Length: {len(said)}\r\n\r\n{said}".encode()
    async with (
        serve(answering(*[answer] * 9)) as service,
        make_session(canary, service.base_url) as session,
    ):
        error = await tell_of(session.list_tasks(), recorder)
        assert isinstance(error, WiroError)
        assert "is no key" in str(error), "the rest of the message is of use"
        await tell_of(session.run(FLUX, {"prompt": "a fox"}), recorder)


async def test_strangers_hear_nothing_of_them(
    canary: Canary, recorder: Recorder, tmp_path: Path
) -> None:
    debug_the_loop()
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
    async with serve(answering(*[body] * 9)) as stranger:
        elsewhere = f"http://127.0.0.1:{stranger.port}/"
        with emulating(api_key=canary.key, api_secret=canary.secret, speed=SPEED) as emulator:
            for endpoint in ("Run", "Task/Detail", "Task/List"):
                emulator.add_fault(
                    Fault(endpoint=endpoint, action="redirect", match="api", location=elsewhere)
                )
            emulator.add_fault(
                Fault(endpoint="cdn", action="redirect", times=None, location=elsewhere)
            )
            async with make_session(canary, emulator.base_url) as session:
                for prompt in ("api", "api", "cdn"):
                    await tell_of(run_one(session, prompt, tmp_path, recorder), recorder)
        heard = b"".join(connection.heard for connection in stranger.connections)
    assert heard.startswith(b"GET "), "the redirect of an output is followed"
    assert b"POST" not in heard
    assert b"x-nonce" not in heard.lower()
    recorder.hear("a stranger", heard)


WRONG: dict[str, Callable[[Canary], object]] = {
    "a blank in the key": lambda c: WiroSession(f"{c.key} ", c.secret),
    "a line end in the secret": lambda c: WiroSession(c.key, f"{c.secret}\n"),
    "a letter of another script": lambda c: WiroSession(f"{c.key}é", c.secret),
    "a key that is bytes": lambda c: WiroSession(c.key.encode(), c.secret),  # type: ignore[arg-type] # on purpose
    "a secret that is a list": lambda c: WiroSession(c.key, [c.secret]),  # type: ignore[arg-type] # on purpose
    "no key": lambda c: WiroSession(api_secret=c.secret),
    "a base url with a password": lambda c: WiroSession(
        c.key, c.secret, base_url=f"https://me:{c.secret}@example.com/v1"
    ),
    "a base url that is none": lambda c: WiroSession(c.key, c.secret, base_url="example.com"),
    "credentials that are none": lambda c: Credentials(api_key=f"{c.key} ", api_secret=c.secret),
    "another argument": lambda c: WiroSession(c.key, c.secret, max_in_flight=-1),
    "an argument that there is not": lambda c: WiroSession(c.key, c.secret, retries=3),  # type: ignore[call-arg] # on purpose
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_settings_that_cannot_work(
    canary: Canary,
    recorder: Recorder,
    wrong: Callable[[Canary], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WIRO_API_KEY", raising=False)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what it says is looked at
        wrong(canary)
    recorder.see("error", caught.value)


def test_credentials_tell_nothing_of_themselves(canary: Canary, recorder: Recorder) -> None:
    credentials = Credentials(api_key=canary.key, api_secret=canary.secret)
    signature = sign_attempt(credentials, 5)
    canary.signatures.add(signature.headers()["x-signature"])
    for one in (credentials, signature):
        recorder.see("credentials", one, with_variables=False)
    group = ExceptionGroup("both", [ValueError(credentials), ValueError({"a": [signature]})])
    recorder.see("group", group)
    assert recorder.findings() == {}
