"""A batch before a service in virtual time, and what has to be true where it was left."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.cancel.threads import journal_threads
from tests.scripted_service import FLUX, Asked, WorldTransport, full
from tests.wire import SIGNED
from wiro_async.batch.engine import Batch
from wiro_async.batch.journal.entries import Entry
from wiro_async.batch.journal.lock import take_lock
from wiro_async.batch.journal.opening import open_store
from wiro_async.batch.journal.states import State
from wiro_async.batch.requests import BatchRequest
from wiro_async.emulator.world import Terms
from wiro_async.errors import OutcomeUnknown
from wiro_async.protocol.records import keep_record
from wiro_async.protocol.requests import Request, build_detail, build_run
from wiro_async.protocol.responses import Answer, Started, decode_run, decode_task
from wiro_async.protocol.signing import Signature
from wiro_async.session import WiroSession
from wiro_async.task import JsonValue, Task
from wiro_async.transport import Stream

EPOCH = 1_800_000_000.0
CONNECTING, TRIP, ON_CDN, RUNNING = 0.25, 0.25, 0.5, 6.0
# A Run that is on the wire is waited for.
LONGEST_ATTEMPT = TRIP

_KEPT = frozenset({"batch.sqlite", "batch.sqlite.lock", "batch.sqlite.sent"})
_RESULTS = frozenset({"results.jsonl", "errors.jsonl"})


class Service(WorldTransport):
    """The emulator's world; some answers get lost, some Runs do not find room, once each."""

    def __init__(self, lost: tuple[str, ...] = (), full: tuple[str, ...] = ()) -> None:
        terms = Terms(epoch=EPOCH, median_seconds=RUNNING, sigma=0.0)
        super().__init__(terms, trip_seconds=TRIP)
        self.lost, self.full = list(lost), list(full)
        self.open_streams = 0

    @property
    def prompts(self) -> list[str]:
        """Of all Runs that went out."""
        return [asked.fields["prompt"] for asked in self.asked if asked.endpoint == "/Run"]

    async def send(
        self,
        request: Request,
        signature: Signature,
        **notes: Any,  # noqa: ANN401 - handed on
    ) -> Answer:
        if request.is_billable:
            await asyncio.sleep(CONNECTING)
        answer = await super().send(request, signature, **notes)
        prompt = json.loads(request.body).get("prompt")
        if request.is_billable and prompt in self.lost:
            self.lost.remove(prompt)
            raise OutcomeUnknown("/Run: cut off", endpoint="/Run", evidence="the headers went out")
        return answer

    async def _answer(self, asked: Asked) -> Answer:
        if asked.endpoint == "/Run" and (prompt := asked.fields["prompt"]) in self.full:
            self.full.remove(prompt)
            await asyncio.sleep(TRIP)
            return full(5)
        return await super()._answer(asked)

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        assert url
        assert headers
        await asyncio.sleep(ON_CDN)
        self.open_streams += 1
        try:
            yield Stream(http_status=200, headers={"Content-Length": "1"}, chunks=self._chunks())
        finally:
            self.open_streams -= 1

    async def _chunks(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(ON_CDN)
        yield b"x"

    async def look(self, started: Started) -> Task:
        """The record of a task."""
        answer = await super().send(build_detail(task_id=started.task_id, token=None), SIGNED)
        return decode_task(answer, "/Task/Detail", task_id=started.task_id, token=None)

    async def make_task(self, prompt: str) -> Started:
        """A task that somebody made before."""
        answer = await super().send(build_run(FLUX, {"prompt": prompt}), SIGNED)
        return decode_run(answer, "/Run")


@contextmanager
def wall_clock() -> Iterator[None]:
    """The wall's clock goes with the loop's."""
    loop = asyncio.get_running_loop()
    with mock.patch.object(time, "time", side_effect=lambda: EPOCH + loop.time()):
        yield


def open_batch(
    session: WiroSession,
    directory: Path,
    prompts: list[str],
    **choices: Any,  # noqa: ANN401 - handed on
) -> Batch:
    return session.batch(
        prompts,
        output_dir=directory,
        model=FLUX,
        max_in_flight=2,
        journal=directory / "batch.sqlite",
        **choices,
    )


def entries(directory: Path) -> dict[str, Entry]:
    """What the journal says, by prompt; the lock has to be free."""
    path = directory / "batch.sqlite"
    if not path.exists():
        return {}
    lock = take_lock(path)
    try:
        store = open_store(path)
        try:
            return {str(one.request.params["prompt"]): one for one in store.entries(*State)}
        finally:
            store.close()
    finally:
        lock.release()


def count_intents(directory: Path) -> Counter[str]:
    """How often the journal says that a Run was about to go out, by prompt."""
    path = directory / "batch.sqlite"
    if not path.exists():
        return Counter()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT params FROM events JOIN items USING (position) WHERE events.state = 'intent'"
        )
        return Counter(json.loads(params)["prompt"] for (params,) in rows)


def check_left(directory: Path, service: Service) -> None:
    """See that a batch that was left has written down all that went out, and closed all."""
    assert journal_threads() == set()
    assert service.open_streams == 0
    names = {path.name for path in directory.iterdir()}
    assert {name for name in names if not name.endswith(".png")} <= _KEPT | _RESULTS
    known = entries(directory)
    assert not Counter(service.prompts) - count_intents(directory)
    for prompt in service.prompts:
        assert known[prompt].state is not State.INTENT, "an outcome is not written down"
    for task in service.tasks:
        one = known[task.prompt]
        # An intent is one that was left by an earlier run, and not looked for yet.
        is_open = one.state in (State.UNKNOWN, State.INTENT)
        assert one.facts.get("task_id") == task.id or is_open, one


def check_complete(directory: Path, service: Service, prompts: list[str]) -> None:
    """See that everything was made once and is there."""
    assert {prompt: one.state for prompt, one in entries(directory).items()} == dict.fromkeys(
        prompts, State.SAVED
    )
    assert Counter(task.prompt for task in service.tasks) == Counter(prompts)
    pictures = [path for path in directory.iterdir() if path.suffix == ".png"]
    assert len(pictures) == len(prompts)
    lines = (directory / "results.jsonl").read_text().splitlines()
    assert len(lines) == len(prompts)
    assert (directory / "errors.jsonl").read_text() == ""


# Where an earlier life has left them: prompt, state, whether a task was made.
LEFT = (
    ("was sent", State.INTENT, True),
    ("was not sent", State.INTENT, False),
    ("has ended", State.TERMINAL, True),
    ("file is gone", State.SAVED, True),
    ("was refused", State.FAILED, False),
    ("runs", State.SUBMITTED, True),
)
_GONE: dict[str, JsonValue] = {
    "path": "gone.png",
    "size_bytes": 1,
    "sha256": "0" * 64,
    "url": "https://gone.test",
}
_ENDED = (State.TERMINAL, State.SAVED)
_WAY = (State.INTENT, State.SUBMITTED, State.TERMINAL, State.SAVED)
_WAYS = {state: _WAY[: place + 1] for place, state in enumerate(_WAY)} | {
    State.FAILED: (State.FAILED,)
}


async def live_before(directory: Path, service: Service) -> list[str]:
    """Leave a journal that has an item in every state that can be gone on from; the prompts."""
    made: dict[str, Started] = {}
    for prompt, state, is_made in LEFT:
        if state is State.SUBMITTED:
            await asyncio.sleep(RUNNING)  # the others have ended, this one runs
        if is_made:
            made[prompt] = await service.make_task(prompt)
    store = open_store(directory / "batch.sqlite")
    store.begin()
    for number, (prompt, state, _) in enumerate(LEFT, 1):
        request = BatchRequest(custom_id=f"{number:06}", model=FLUX, params={"prompt": prompt})
        entry = store.plan(request)
        assert entry is not None
        task = await service.look(made[prompt]) if state in _ENDED else None
        facts: dict[str, JsonValue] = {}
        for step in _WAYS[state]:
            facts |= _facts(step, made.get(prompt), task)
            store.change(entry.position, step, facts)
    store.commit()
    store.close()
    service.asked.clear()
    return [prompt for prompt, *_ in LEFT]


def _facts(state: State, started: Started | None, task: Task | None) -> dict[str, JsonValue]:
    """What is noted of an item on its way to a state."""
    match state:
        case State.INTENT:
            return {"sent_at": EPOCH}
        case State.SUBMITTED:
            assert started is not None
            return {"task_id": started.task_id, "token": started.token}
        case State.TERMINAL:
            assert task is not None
            return {"record": keep_record(task)}
        case State.SAVED:
            return {"files": [_GONE]}
        case _:
            return {"status": "refused", "error": {"kind": "RequestRefused", "message": "no"}}
