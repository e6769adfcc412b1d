"""A batch that is started, killed, stopped and started again, against a model of what must hold.

After whatever has happened: no Run was sent again that may have made a task, unless a person
chose so; each task that exists is known by its name, or its item is known to be in doubt; what
the journal calls saved is whole on the disk; and the two files of results say what it says.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import ExitStack, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field, frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.batch.in_turns import TurnsLoop, taking_turns
from tests.batch.standing import PROMPTS, Standing, look
from tests.batch.world import MODEL, PRICE, Plan, Step, World
from tests.batch.world_runner import WorldRunner
from wiro_async import batch as batch_package
from wiro_async import crashpoints
from wiro_async.batch.engine import Batch
from wiro_async.batch.journal.entries import JOURNAL_NAME
from wiro_async.batch.results import BatchItem
from wiro_async.batch.runner import Choices, OnUnknown

IDS = list(PROMPTS)

STEPS = st.builds(
    Step,
    answer=st.sampled_from(
        [
            *("answered", "answered", "answered", "made and lost", "made and lost"),
            *("not made and lost", "refused", "no balance", "not sent"),
        ]
    ),
    fate=st.sampled_from(
        ["well", "well", "well", "fails", "is cancelled", "download fails", "disk is full"]
    ),
    slot_seconds=st.integers(0, 2),
    trip_seconds=st.integers(0, 2),
    task_seconds=st.integers(0, 5),
)
PLANS = st.builds(
    Plan,
    steps=st.lists(STEPS, min_size=1, max_size=6).map(tuple),
    listed=st.sampled_from(["all", "all", "all", "none", "absent", "by token"]),
)


# All the instants of a batch that have a name.
LABELS = sorted(
    {
        label
        for file in Path(batch_package.__file__).parent.glob("*.py")
        for label in re.findall(r'passing\("([a-z_.]+)"\)', file.read_text())
    }
)


@frozen(kw_only=True)
class Ending:
    """What cuts a batch short, when an instant (or any) is passed for the so-manieth time."""

    kind: str
    label: str | None = None
    number: int


KINDS = st.sampled_from(["crash", "crash", "crash", "cancel", "stop", "interrupt", "leave"])
ENDINGS = st.one_of(
    st.builds(Ending, kind=KINDS, number=st.integers(1, 90)),
    st.builds(Ending, kind=KINDS, label=st.sampled_from(LABELS), number=st.integers(1, 3)),
)


@frozen(kw_only=True)
class BatchRun:
    """One run of the batch, as it is drawn."""

    plan: Plan = field(factory=Plan)
    on_unknown: OnUnknown = "resubmit"
    retry_failed: bool = True
    max_cost: Decimal | None = None
    max_in_flight: int = 2
    ending: Ending | None = None

    @property
    def is_through(self) -> bool:
        """Whether all that was begun is brought to its end."""
        return self.ending is None or self.ending.kind in ("stop", "cancel")

    def choices(self, directory: Path) -> Choices:
        return Choices(
            journal=directory / JOURNAL_NAME,
            on_unknown=self.on_unknown,
            retry_failed=self.retry_failed,
            max_cost=self.max_cost,
        )


RUNS = st.builds(
    BatchRun,
    plan=PLANS,
    on_unknown=st.sampled_from(["hold", "hold", "skip", "resubmit"]),
    retry_failed=st.booleans(),
    max_cost=st.sampled_from([None, None, None, PRICE, 3 * PRICE]),
    max_in_flight=st.integers(1, 3),
    ending=ENDINGS | st.none(),
)


@define(eq=False)
class Stroke:
    """Cuts a batch short at its instant; called at every one, on whichever thread."""

    machine: BatchMachine
    ending: Ending
    batch: Batch
    runner: WorldRunner
    taking: asyncio.Task[None]
    loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)
    helpers: list[asyncio.Task[None]] = field(factory=list)
    passed: int = 0

    def __call__(self, label: str) -> None:
        if self.ending.label in (None, label):
            self.passed += 1
            if self.passed == self.ending.number:
                self.strike()

    def strike(self) -> None:
        match self.ending.kind:
            case "crash":
                self.runner.is_dead = True
                self.machine.die()
                self.loop.call_soon_threadsafe(self.taking.cancel)
            case "leave":
                self.loop.call_soon_threadsafe(self.taking.cancel)
            case "cancel":
                self.loop.call_soon_threadsafe(self.cancel)
            case _:
                is_drained = self.ending.kind == "stop"
                self.loop.call_soon_threadsafe(partial(self.batch.stop, drain=is_drained))

    def cancel(self) -> None:
        self.helpers.append(asyncio.create_task(self.batch.cancel()))


class BatchMachine(RuleBasedStateMachine):
    """The batch in its directory, the service, and the input so far."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.home = Path(self.stack.enter_context(TemporaryDirectory()))
        self.stack.enter_context(taking_turns())
        self.loop = self.stack.enter_context(asyncio.Runner(loop_factory=TurnsLoop))
        self.world = World()
        self.input = IDS[:3]
        self.copy = self.home / "copy"
        self.copy.mkdir()
        self.directory = self.home / "0"
        self.standing = Standing(self.directory, self.world)
        self.deaths = 0
        self.is_sound = True

    @rule(more=st.integers(1, 4), again=st.integers(0, 9), run=RUNS)
    def go_on(self, more: int, again: int, run: BatchRun) -> None:
        """Start the same batch again, with rows more, and perhaps with one that came before."""
        known = len(set(self.input))
        self.input += IDS[known : known + more]
        self.input += self.input[again : again + 1]
        self.run(run)

    @rule(rows=st.integers(0, 3), run=RUNS)
    def go_on_with_few(self, rows: int, run: BatchRun) -> None:
        """Start it with its first rows only."""
        whole, self.input = self.input, self.input[:rows]
        self.run(run)
        self.input = whole

    @rule(more=st.integers(1, 4), answers=st.integers(1, 3), instant=st.integers(1, 30))
    def die_and_die_again(self, more: int, answers: int, instant: int) -> None:
        """Die with an answer in one's hands, and then soon after the new beginning."""
        ending = Ending(kind="crash", label="item.before_submitted", number=answers)
        self.go_on(more, 99, BatchRun(on_unknown="hold", max_in_flight=3, ending=ending))
        ending = Ending(kind="crash", number=instant)
        self.run(BatchRun(on_unknown="hold", max_in_flight=1, ending=ending))

    @rule(which=st.integers(0, 5), is_gone=st.booleans(), run=RUNS)
    def go_on_damaged(self, which: int, is_gone: bool, run: BatchRun) -> None:  # noqa: FBT001 - drawn by its name
        """Somebody deletes a picture, or paints over it."""
        pictures = sorted(self.directory.glob("*.png"))[which:]
        for picture in pictures[:1]:
            # With both its names taken it could never be saved.
            if is_gone or "-" in picture.name.removeprefix("id-"):
                picture.unlink()
            else:
                picture.write_bytes(b"moustache")
        self.run(run)

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.come_to_a_good_end()
        finally:
            self.stack.close()

    def come_to_a_good_end(self) -> None:
        """Whatever it has been through, all is saved in the end, and then nothing is left to do."""
        for _ in range(2):
            self.run(BatchRun())
        states = self.standing.states
        assert all(states[name] in ("saved", "skipped") for name in self.input), states
        assert self.standing.is_finished(self.input, retry_failed=True)
        self.run(BatchRun())

    def run(self, run: BatchRun) -> None:
        """Start the batch and see how it ends; then hold everything against the model."""
        was_finished = self.standing.is_finished(self.input, retry_failed=run.retry_failed)
        choices = run.choices(self.directory)
        self.world.allow(IDS, self.standing.states, choices)
        owed_before = self.world.owed
        runner = WorldRunner(self.world, run.plan)
        self.is_sound = False
        batch, items = self.loop.run(self.go_through(runner, choices, run))
        # What may have to be paid of earlier runs has a price, and somebody has to tell it.
        assert not was_finished or not set(runner.asked) - {"price"}, "there was nothing to do"
        assert not self.world.violations, self.world.violations
        self.standing = look(self.directory, self.world, self.copy)
        self.standing.check_journal()
        if run.max_cost is not None:
            # What is unknown, was skipped or is sent again counts for good: it may have to be paid.
            assert self.world.owed <= max(run.max_cost, owed_before)
        if not runner.is_dead:
            self.standing.check_files(is_through=run.is_through)
        if run.ending is None:
            self.standing.check_summary(batch.summary, items, self.input)
        elif run.ending.kind == "cancel":
            self.world.may_retry |= self.standing.planned_again
        self.is_sound = True

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
        if run.ending is None:
            await taking
            return batch, items
        stroke = Stroke(self, run.ending, batch, runner, taking)
        crashpoints.hook = stroke
        try:
            with suppress(asyncio.CancelledError):
                await taking
            await asyncio.gather(*stroke.helpers)
        finally:
            crashpoints.hook = None
        return batch, items

    def die(self) -> None:
        """Go on with the files as they are at this instant; the dead may write the old ones."""
        self.deaths += 1
        old, self.directory = self.directory, self.home / str(self.deaths)
        if old.exists():
            shutil.copytree(old, self.directory)


TestBatch = BatchMachine.TestCase
TestBatch.settings = settings(
    max_examples=80,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    # Without the explanation, which takes minutes where each example is a dozen batches.
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
