"""A batch that is started, killed, stopped and started again, against a model of what must hold.

After whatever has happened: no Run was sent again that may have made a task, unless a person
chose so; each task that exists is known by its name, or its item is known to be in doubt; what
the journal calls saved is whole on the disk; and the two files of results say what it says.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import ExitStack, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define, frozen
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.batch.in_turns import TurnsLoop, taking_turns
from tests.batch.world_runner import MODEL, PRICE, Plan, Step, World, WorldRunner, WorldTask
from wiro_async import crashpoints
from wiro_async.batch.engine import Batch
from wiro_async.batch.entries import JOURNAL_NAME
from wiro_async.batch.results import BatchItem
from wiro_async.batch.runner import Choices, OnUnknown

# Two pairs of ids ask for the same picture.
PROMPTS = {"a": "a fox", "b": "a fox", "c": "a hen", "d": "an owl", "e": "an owl", "f": "an elk"}
IDS = list(PROMPTS)

STEPS = st.builds(
    Step,
    answer=st.sampled_from(
        [
            *("answered", "answered", "answered", "made and lost", "made and lost"),
            *("not made and lost", "refused", "no balance", "not sent"),
        ]
    ),
    fate=st.sampled_from(["well", "well", "well", "fails", "is cancelled", "download fails"]),
    slot_seconds=st.integers(0, 2),
    trip_seconds=st.integers(0, 2),
    task_seconds=st.integers(0, 5),
)
PLANS = st.builds(
    Plan,
    steps=st.dictionaries(st.sampled_from(IDS), st.tuples(STEPS) | st.tuples(STEPS, STEPS)),
    listed=st.sampled_from(["all", "all", "all", "none", "absent", "by token"]),
)


@frozen(kw_only=True)
class Ending:
    """What cuts a batch short, when so many instants have passed."""

    kind: str
    instant: int


ENDINGS = st.builds(
    Ending,
    kind=st.sampled_from(["crash", "crash", "crash", "interrupt", "leave", "stop", "cancel"]),
    instant=st.integers(1, 120),
)


@frozen(kw_only=True)
class BatchRun:
    """One run of the batch, as it is drawn."""

    plan: Plan = Plan()
    on_unknown: OnUnknown = "resubmit"
    retry_failed: bool = True
    max_in_flight: int = 2
    ending: Ending | None = None


RUNS = st.builds(
    BatchRun,
    plan=PLANS,
    on_unknown=st.sampled_from(["hold", "hold", "skip", "resubmit"]),
    retry_failed=st.booleans(),
    max_in_flight=st.integers(1, 3),
    ending=st.none() | ENDINGS,
)


@define
class Row:
    """An item as it stands in the journal's file."""

    position: int
    custom_id: str
    state: str
    facts: dict[str, Any]

    @property
    def names(self) -> set[str]:
        return {self.facts[name] for name in ("task_id", "token") if name in self.facts}

    def holds(self, task: WorldTask) -> bool:
        return bool(self.names & {task.id, task.token})


class BatchMachine(RuleBasedStateMachine):
    """The batch in a directory, the service, and the input so far."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.home = Path(self.stack.enter_context(TemporaryDirectory()))
        self.stack.enter_context(taking_turns())
        self.loop = self.stack.enter_context(asyncio.Runner(loop_factory=TurnsLoop))
        self.world = World()
        self.input: list[str] = []
        self.directory = self.home / "0"
        self.deaths = 0
        self.is_sound = True

    @rule(run=RUNS)
    def go_on(self, run: BatchRun) -> None:
        self.run(run)

    @rule(more=st.lists(st.sampled_from(IDS), min_size=1, max_size=4), run=RUNS)
    def go_on_with_more(self, more: list[str], run: BatchRun) -> None:
        self.input += more
        self.run(run)

    def run(self, run: BatchRun) -> None:
        """Start the batch and see how it ends; then hold everything against the model."""
        is_finished = self.is_finished(retry_failed=run.retry_failed)
        choices = Choices(
            journal=self.directory / JOURNAL_NAME,
            on_unknown=run.on_unknown,
            retry_failed=run.retry_failed,
        )
        self.world.allow(IDS, {row.custom_id: row.state for row in self.rows()}, choices)
        runner = WorldRunner(self.world, run.plan)
        self.is_sound = False
        batch, items = self.loop.run(self.go_through(runner, choices, run))
        if is_finished:
            assert not runner.asked, "there was nothing to do"
        self.check_ledger()
        rows = self.rows()
        self.check_journal(rows)
        if not runner.is_dead:
            is_whole = run.ending is None or run.ending.kind in ("stop", "cancel")
            self.check_files(rows, is_whole=is_whole)
        if run.ending is not None and run.ending.kind == "cancel":
            self.allow_what_was_cancelled(rows)
        if run.ending is None:
            self.check_summary(batch, items, rows)
        self.is_sound = True

    @rule(which=st.integers(0, 5), is_gone=st.booleans())
    def damage(self, which: int, is_gone: bool) -> None:  # noqa: FBT001 - drawn by its name
        """Somebody deletes a picture, or paints over it."""
        pictures = sorted(self.directory.glob("*.png"))
        if not pictures:
            return
        picture = pictures[which % len(pictures)]
        if is_gone or "-" in picture.name:  # with both its names taken it could never be saved
            picture.unlink()
        else:
            picture.write_bytes(b"moustache")

    def teardown(self) -> None:
        """Whatever it has been through, it comes to a good end, and then there is nothing to do."""
        try:
            if self.is_sound:
                self.come_to_a_good_end()
        finally:
            self.stack.close()

    def come_to_a_good_end(self) -> None:
        for _ in range(2):
            self.run(BatchRun())
        ends = {row.custom_id: row.state for row in self.rows()}
        assert set(ends) >= set(self.input)
        assert all(ends[name] in ("saved", "skipped") for name in self.input), ends
        assert self.is_finished(retry_failed=True)
        self.run(BatchRun())

    async def go_through(
        self, runner: WorldRunner, choices: Choices, run: BatchRun
    ) -> tuple[Batch, list[BatchItem]]:
        """Take all that a batch gives, until something cuts it short."""
        items: list[BatchItem] = []
        batch = Batch(
            runner,
            [{"custom_id": name, "prompt": PROMPTS[name]} for name in self.input],
            output_dir=self.directory,
            defaults=(MODEL, {}),
            max_in_flight=run.max_in_flight,
            choices=choices,
        )

        async def take() -> None:
            async with batch:
                async for item in batch:
                    items.append(item)  # noqa: PERF401 - those before a cancellation count

        taking = asyncio.create_task(take())
        ending = run.ending
        if ending is None:
            await taking
            return batch, items
        loop, passed = asyncio.get_running_loop(), 0
        helpers: list[asyncio.Task[None]] = []
        struck_at: list[str] = []

        def strike(label: str) -> None:
            nonlocal passed
            passed += 1
            if passed != ending.instant:
                return
            struck_at.append(label)
            match ending.kind:
                case "crash":
                    runner.is_dead = True
                    self.die()
                    loop.call_soon_threadsafe(taking.cancel)
                case "leave":
                    loop.call_soon_threadsafe(taking.cancel)
                case "cancel":
                    loop.call_soon_threadsafe(
                        lambda: helpers.append(asyncio.create_task(batch.cancel()))
                    )
                case _:
                    is_drained = ending.kind == "stop"
                    loop.call_soon_threadsafe(partial(batch.stop, drain=is_drained))

        crashpoints.hook = strike
        try:
            with suppress(asyncio.CancelledError):
                await taking
            await asyncio.gather(*helpers)
        finally:
            crashpoints.hook = None
            note(f"{ending.kind} at {struck_at}")
        return batch, items

    def die(self) -> None:
        """Go on with the files as they are at this instant; the dead may write the old ones."""
        self.deaths += 1
        old, self.directory = self.directory, self.home / str(self.deaths)
        if old.exists():
            shutil.copytree(old, self.directory)

    def allow_what_was_cancelled(self, rows: list[Row]) -> None:
        """What the batch itself has cancelled is planned again, and may be sent again."""
        stopped = {task.prompt for task in self.world.tasks.values() if task.is_cancelled}
        self.world.may_retry |= {
            row.custom_id
            for row in rows
            if row.state == "planned" and PROMPTS[row.custom_id] in stopped
        }

    def rows(self) -> list[Row]:
        """The journal, read from a copy: reading would change one that was left in a transaction."""
        if not (self.directory / JOURNAL_NAME).exists():
            return []
        with TemporaryDirectory(dir=self.home) as folder:
            for path in self.directory.glob(f"{JOURNAL_NAME}*"):
                shutil.copy(path, folder)
            connection = sqlite3.connect(Path(folder, JOURNAL_NAME))
            try:
                self.check_events(connection)
                return [
                    Row(position, name, state, json.loads(facts))
                    for position, name, state, facts in connection.execute(
                        "SELECT position, custom_id, state, facts FROM items"
                    )
                ]
            finally:
                connection.close()

    def check_events(self, connection: sqlite3.Connection) -> None:
        last: dict[int, str] = {}
        for position, state in connection.execute(
            "SELECT position, state FROM events ORDER BY seq"
        ):
            went = (last.get(position), state)
            assert went not in {("submitted", "planned"), ("terminal", "planned")}, went
            last[position] = state

    def is_finished(self, *, retry_failed: bool) -> bool:
        rows = {row.custom_id: row for row in self.rows()}
        settled = {"saved", "skipped", *([] if retry_failed else ["failed"])}
        left = {"intent", "unknown", "submitted", "terminal"}
        return (
            set(rows) >= set(self.input)
            and all(rows[name].state in settled for name in self.input)
            and not any(row.state in left for row in rows.values())
            and all(self.is_whole(row) for row in rows.values() if row.state == "saved")
        )

    def is_whole(self, row: Row) -> bool:
        (file,) = row.facts["files"]
        path = self.directory / file["path"]
        return path.exists() and path.read_bytes() == PROMPTS[row.custom_id].encode()

    def check_ledger(self) -> None:
        assert not self.world.violations, self.world.violations

    def check_journal(self, rows: list[Row]) -> None:
        """No task is lost, none is given to two, and none to somebody who asked for another."""
        held = Counter[str]()
        tasks = self.world.tasks.values()
        for row in rows:
            mine = [task for task in tasks if row.holds(task)]
            held.update(task.id for task in mine)
            assert all(task.prompt == PROMPTS[row.custom_id] for task in mine)
            if row.state in ("submitted", "terminal", "saved"):
                assert len(mine) == 1
            if row.state in ("terminal", "saved"):
                assert mine[0].is_good
            if row.state == "failed":
                assert not any(task.is_good for task in mine)
        assert set(held.values()) <= {1}
        for prompt in set(PROMPTS.values()):
            self.check_prompt(
                prompt, [row for row in rows if PROMPTS[row.custom_id] == prompt], held
            )

    def check_prompt(self, prompt: str, rows: list[Row], held: Counter[str]) -> None:
        """What is not known by its name has an item that is in doubt, or was given up or made up."""
        unheld = [
            task
            for task in self.world.tasks.values()
            if task.prompt == prompt and task.id not in held
        ]
        in_doubt = sum(row.state in ("intent", "unknown", "skipped") for row in rows)
        resubmitted = sum(self.world.resubmitted[row.custom_id] for row in rows)
        again = sum(not task.is_good for task in unheld)
        granted = [row for row in rows if row.state == "planned"]
        assert len(unheld) - again <= in_doubt + resubmitted + len(granted) * 0, (prompt, unheld)

    def check_files(self, rows: list[Row], *, is_whole: bool) -> None:
        """What is saved is on the disk, and the two files tell the same story as the journal."""
        saved = [row.custom_id for row in rows if row.state == "saved"]
        results = [line["custom_id"] for line in self.lines("results.jsonl")]
        errors = [
            line["custom_id"]
            for line in self.lines("errors.jsonl")
            if line["error"]["kind"] != "InvalidRequest"  # an id that came twice
        ]
        assert len(set(results)) == len(results)
        assert len(set(errors)) == len(errors)
        if is_whole:
            assert sorted(results) == sorted(saved)
            assert not set(errors) & set(saved)
        else:
            # One whose picture was gone may be on its way again.
            gone = {row.custom_id for row in rows if row.state == "terminal"}
            assert set(results) <= {*saved, *gone}
            assert not set(errors) & set(results)

    def check_summary(self, batch: Batch, items: list[BatchItem], rows: list[Row]) -> None:
        names = [item.custom_id for item in items if item.error is None or item.status != "refused"]
        assert len(set(names)) == len(names)
        assert batch.summary.total == len(items)
        paid = sum(row.state in ("terminal", "saved") for row in rows)
        assert batch.summary.cost == paid * PRICE
        for row in rows:
            if row.state == "saved":
                assert self.is_whole(row) or row.custom_id not in self.input

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.directory / name
        text = path.read_text() if path.exists() else ""  # it may not have come so far
        assert not text or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]


BatchMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestBatch = BatchMachine.TestCase
