"""One scenario: a batch whose process is killed again and again, and then left to end.

It is begun, killed, begun again with the same command, killed again, and so on, at instants
that the picker gives. Then it is run unkilled until it exits with 0. Where it says instead that
the outcome of some Runs is not known, a person's part is played: those are chosen to be run
again (and that run may be killed once more). In the end the laws are applied.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from attrs import define

from tests.crash.aims import Aim, Picker
from tests.crash.checker import ERRORS, RESULTS, Scene, check, identity, is_charged, read_lines
from tests.crash.plan import Plan, Settings, draw_plan, plan_tour
from tests.crash.processes import Program, Service, emulating, start
from tests.crash.story import Story

_MOST_RUNS = 15
_MOST_ENDED = 3
_SECONDS_UNTIL_HUNG = 60.0
_SHARE_KILLED_WHEN_CHOSEN = 0.5
_SHARE_HELD_TWICE = 0.25
_SHARE_OF_LOST_FILES = 0.15

Standing: TypeAlias = Mapping[str, tuple[str, str | None]]
"""How the items stand, by custom_id: status and task."""


class Trouble(Exception):
    """Raised when a run does what no run may: it hangs, or ends with an exit code of its own."""


@define
class Scenario:
    """One batch, from its first run to the verdict."""

    plan: Plan
    picker: Picker
    rng: random.Random
    story: Story
    folder: Path
    service: Service
    fresh: bool

    def play(self, kills: int, first: Sequence[Aim] = ()) -> None:
        """Kill it so often, first as is said, then as the picker wants; let it end, and judge."""
        try:
            for aim in first:
                self._run(aim)
                self._lose_files(len(self.plan.rows))
            self._disturb(kills)
            self._finish(kills)
        except Trouble as trouble:
            self.story.trouble = str(trouble)
        books = self._judge()
        tasks = books["tasks"].values()
        self.story.runs_sent = books["requests"].get("Run", 0)
        self.story.tasks_made = len(tasks)
        self.story.tasks_charged = sum(map(is_charged, tasks))

    def _judge(self) -> dict[str, Any]:
        """Apply the laws to how everything is now; what the books say."""
        books = self.service.books()
        scene = Scene(
            rows=self.plan.rows,
            books=books,
            files=read_files(self.folder / "out"),
            resubmitted=tuple(self.story.resubmitted),
            secrets=self.service.secrets,
        )
        self.story.sentences += set(check(scene)) - set(self.story.sentences)
        return books

    def _disturb(self, kills: int) -> None:
        ended = 0
        retry_failed = self.rng.random() < 0.5
        while self.story.kills < kills and ended < _MOST_ENDED:
            ended += (
                self._run(self.picker.pick(self._kind()), retry_failed=retry_failed) is not None
            )
            if self.rng.random() < _SHARE_OF_LOST_FILES:
                self._lose_files(1)

    def _finish(self, kills: int) -> None:
        for _ in range(_MOST_RUNS):
            code = self._run(Aim())
            standing = self._standing()
            if code == 0:
                self._run_once_more(standing)
                return
            if self._is_held(standing) and self.rng.random() > _SHARE_HELD_TWICE:
                self._choose(standing)
                may_kill = self.story.kills < kills
                may_kill &= self.rng.random() < _SHARE_KILLED_WHEN_CHOSEN
                aim = self.picker.pick("chosen") if may_kill else Aim()
                self._run(aim, kind="chosen", on_unknown="resubmit")
        raise Trouble(f"it is not through after {_MOST_RUNS} more runs: {self._standing()}")

    def _is_held(self, standing: Standing) -> bool:
        """Whether a person's choice is all that is wanting.

        Before that nobody chooses: a run with that choice also runs again what it loses itself.
        """
        statuses = {status for status, _ in standing.values()}
        return statuses == {"succeeded", "unknown"} and len(standing) == len(self.plan.rows)

    def _run_once_more(self, before: Standing) -> None:
        """What is done is well, and stays so; an exit code of 0 as well."""
        self._judge()
        code = self._run(Aim())
        if code != 0 or self._standing() != before:
            raise Trouble(f"run once more when all was done, it exits with {code}")

    def _kind(self) -> str:
        """How far it is, by the pictures that are there: what a run will pass depends on it."""
        if not self.story.lengths:
            return "first"
        done = len(self._pictures()) / len(self.plan.rows)
        return "early" if done < 0.5 else "late" if done < 1 else "done"

    def _lose_files(self, most: int) -> None:
        """Somebody deletes pictures, between two runs."""
        pictures = self._pictures()
        for picture in self.rng.sample(pictures, min(most, len(pictures))):
            picture.unlink()

    def _pictures(self) -> list[Path]:
        return sorted(self.folder.glob("out/s*"))

    def _choose(self, standing: Standing) -> None:
        """Be the person who has all that stays unknown run again, knowing what that can cost."""
        unknown = [custom_id for custom_id, (status, _) in standing.items() if status == "unknown"]
        self.story.held += len(unknown)
        self.story.held_made += self._count_made(unknown)
        self.story.resubmitted += unknown

    def _count_made(self, unknown: list[str]) -> int:
        """Ask the books how many of these have a task that no line knows."""
        known = {line.get("task_id") for line in self._lines()}
        orphans = Counter(
            identity(task["parameters"])
            for task_id, task in self.service.books()["tasks"].items()
            if task_id not in known
        )
        return (orphans & Counter(identity(self.plan.rows[name]) for name in unknown)).total()

    def _run(
        self,
        aim: Aim,
        *,
        kind: str | None = None,
        on_unknown: str = "hold",
        retry_failed: bool = True,
    ) -> int | None:
        """Run it and strike it; its exit code, None if it died of the strike."""
        kind = kind or self._kind()
        trace, log = self.folder / "trace", self.folder / "log"
        trace.unlink(missing_ok=True)
        number = len(self.story.lengths) + 1
        with log.open("a") as file:
            file.write(f"== run {number}, {kind}, --on-unknown {on_unknown}, {aim}\n")
        program = Program(
            arguments=self.plan.command(on_unknown, retry_failed=retry_failed),
            folder=self.folder,
            log=log,
            environment=self.service.environment,
            aims=(f"trace:{trace}", str(aim)),
        )
        began = time.monotonic()
        child = start(program, fresh=self.fresh)
        code = child.wait(_SECONDS_UNTIL_HUNG if aim.seconds is None else aim.seconds)
        is_hung = code is None and aim.seconds is None
        if code is None:
            code = child.end()
        seconds = time.monotonic() - began
        self.story.lengths.append(seconds)
        passed = Counter(trace.read_text().split() if trace.exists() else ())
        self.story.passed += passed
        was_struck = code == -signal.SIGKILL and not is_hung
        self.picker.learn(kind, aim, passed, None if was_struck else seconds)
        if was_struck:
            self.story.struck[aim.name(passed)] += 1
            return None
        if is_hung or code not in (0, 1):
            raise Trouble(f"run {number} {'hangs' if is_hung else f'exits with {code}'}")
        return code

    def _standing(self) -> Standing:
        """How each item stands: its status and its task."""
        return {line["custom_id"]: (line["status"], line.get("task_id")) for line in self._lines()}

    def _lines(self) -> list[Mapping[str, Any]]:
        files = read_files(self.folder / "out")
        return [line for name in (RESULTS, ERRORS) for line in read_lines(files.get(name, b""))[0]]


def play(settings: Settings, picker: Picker, number: int, kills: int) -> Story:
    """Play one scenario; its folder is kept if anything is wrong with it."""
    with staged(settings, draw_plan(settings, number), picker) as scenario:
        scenario.play(kills)
    return scenario.story


def tour(settings: Settings, picker: Picker, number: int) -> Story:
    """Play a scenario with two kills, which is made so that it passes every instant there is."""
    # Once before a Run has gone out, and once with an item in each state.
    aims = Aim(label="item.after_intent"), Aim(label="item.after_saved", number=3)
    with staged(settings, plan_tour(settings, number), picker) as scenario:
        scenario.play(len(aims), aims)
    return scenario.story


@contextmanager
def staged(settings: Settings, plan: Plan, picker: Picker) -> Iterator[Scenario]:
    """Make the folder and the service of a scenario; both go when all was well."""
    folder = settings.folder / f"scenario-{plan.number}"
    folder.mkdir(parents=True)
    plan.write_prompts(folder / "prompts.csv")
    emulator = Program(
        arguments=plan.emulator_options(), folder=folder, log=folder / "emulator.log"
    )
    story = Story(number=plan.number)
    with emulating(emulator, fresh=settings.fresh) as service:
        yield Scenario(plan, picker, picker.rng, story, folder, service, settings.fresh)
    if story.is_well and not settings.keeps_all:
        shutil.rmtree(folder)


def read_files(folder: Path) -> dict[str, bytes]:
    """Read everything in a folder, by relative path."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
