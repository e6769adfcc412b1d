"""One scenario: a batch whose process is killed again and again, and then left to end.

It is begun, killed, begun again with the same command, killed again, and so on, at instants
that the picker gives. Then it is run unkilled until it exits with 0. Where it says instead that
the outcome of some Runs is not known, a person's part is played: those are chosen to be run
again (and that run may be killed once more). In the end the laws are applied.
"""

from __future__ import annotations

import csv
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.crash.aims import Aim, Picker
from tests.crash.checker import ERRORS, RESULTS, Scene, check, identity, is_charged, read_lines
from tests.crash.processes import Program, Service, emulating, start

MODEL = "black-forest-labs/flux-pro-1-1-ultra"
_MOST_RUNS = 15
_MOST_MISSES = 3
_SECONDS_UNTIL_HUNG = 60.0
_SHARE_OF_COPIES = 0.3
_SHARE_GOING_ON_WHEN_DONE = 0.3
_SHARE_KILLED_WHEN_CHOSEN = 0.5
_SHARE_HELD_TWICE = 0.25
_SHARE_OF_LOST_FILES = 0.15
_FAULTS_AT_ONCE = 6
# Few at once make a batch of many short steps: more of it is left when it is killed.
_TASKS_AT_ONCE = (2, 3, 20)
# Service seconds; the largest is longer than the client waits before it looks.
_LIST_LAGS = (0.0, 0.5, 2.0, 10.0)
_EMULATOR = ("--port", "0", "--median", "2", "--speed", "20", "--balance", "1000000")
_FAULTS = (
    "Run:drop_after",
    "Run:drop_before",
    "Run:status:status=502",
    "Run:status:status=502,task_made=true",
    "Run:truncate",
    "Run:rate_limit:retry_after=0.1",
    "Run:limit",
    "Run:no_balance",
    "Run:fail_task",
    "Run:error_task",
    "Task/Detail:drop_after",
    "Task/Detail:not_found",
    "Task/List:drop_after",
    "Task/List:status:status=502",
    "cdn:truncate",
    "cdn:status:status=503",
)


@frozen(kw_only=True)
class Settings:
    """What all scenarios of a session share."""

    folder: Path
    client: str = "wiro"
    prompts: int = 12
    seed: int = 0
    fresh: bool = False
    """Whether each process gets an interpreter of its own."""
    picture_pixels: int = 0
    keeps_all: bool = False
    """Whether the folders of scenarios stay in which all is well."""


@define(kw_only=True)
class Story:
    """What happened in one scenario."""

    number: int
    struck: Counter[str] = field(factory=Counter, converter=Counter)
    """Kills by label; those at random times under a name of their own."""
    runs: int = 0
    lengths: list[float] = field(factory=list)
    """Of the runs, in seconds."""
    runs_sent: int = 0
    tasks_made: int = 0
    tasks_charged: int = 0
    held: int = 0
    """Items of which the client did not know whether a task was made, when it had looked."""
    held_made: int = 0
    """And of these, how many had a task that nobody knew."""
    resubmitted: list[str] = field(factory=list)
    passed: Counter[str] = field(factory=Counter, converter=Counter)
    sentences: list[str] = field(factory=list)
    """The laws that were broken."""
    trouble: str | None = None
    """What kept it from its end."""

    @property
    def kills(self) -> int:
        return self.struck.total()


class Trouble(Exception):
    """Raised when a run does what no run may: it hangs, or ends with an exit code of its own."""


@frozen(kw_only=True)
class Manner:
    """How the client is called in one scenario; what a person changes between runs aside."""

    client: str = "wiro"
    tasks_at_once: int = 20

    def command(self, on_unknown: str, *, retry_failed: bool) -> tuple[str, ...]:
        """Give what `victim.run` is called with."""
        if self.client == "naive":
            return ("naive", "prompts.csv", "out")
        places = ("batch", "prompts.csv", "--model", MODEL, "--out", "out")
        pace = ("-n", str(self.tasks_at_once), "--first-look", "0.05")
        recovery = ("--settle", "0.2", "--on-unknown", on_unknown)
        return (*places, *pace, *recovery, *(["--retry-failed"] if retry_failed else []))


def make_rows(number: int, prompts: int, rng: random.Random) -> dict[str, dict[str, str]]:
    """Make what is asked for, by custom_id: some rows ask for the very same as another."""
    kinds = max(1, round(prompts * (1 - _SHARE_OF_COPIES)))
    rows = {}
    for place in range(prompts):
        kind = place if place < kinds else rng.randrange(kinds)
        # Half of them share their prompt with a row that wants another format.
        prompt = f"scenario {number}, picture {kind // 2}"
        rows[f"s{number}-{place:02}"] = {
            "prompt": prompt,
            "outputFormat": ("png", "jpeg")[kind % 2],
        }
    return rows


def make_faults(rng: random.Random) -> list[str]:
    """Choose what goes wrong at the service, and how often."""
    chosen = rng.sample(_FAULTS, _FAULTS_AT_ONCE)
    return [
        f"{fault}{',' if fault.count(':') > 1 else ':'}times=always,every={rng.randint(5, 20)}"
        for fault in chosen
    ]


@define
class Scenario:
    """One batch, from its first run to the verdict."""

    settings: Settings
    manner: Manner
    picker: Picker
    rng: random.Random
    story: Story
    rows: Mapping[str, Mapping[str, str]]
    folder: Path
    service: Service

    def play(self, kills: int) -> None:
        """Kill it so often, let it end, and judge."""
        try:
            self._disturb(kills)
            self._finish(kills)
        except Trouble as trouble:
            self.story.trouble = str(trouble)
        books = self.service.books()
        scene = Scene(
            rows=self.rows,
            books=books,
            files=read_files(self.folder / "out"),
            resubmitted=tuple(self.story.resubmitted),
            secrets=self.service.secrets,
        )
        self.story.sentences += check(scene)
        tasks = books["tasks"].values()
        self.story.runs_sent = books["requests"].get("Run", 0)
        self.story.tasks_made = len(tasks)
        self.story.tasks_charged = sum(map(is_charged, tasks))

    def _disturb(self, kills: int) -> None:
        kind, misses = "first", 0
        retry_failed = self.rng.random() < 0.5
        while self.story.kills < kills and misses < _MOST_MISSES:
            code = self._run(kind, self.picker.pick(kind), retry_failed=retry_failed)
            if self.rng.random() < _SHARE_OF_LOST_FILES:
                self._lose_a_file()
            kind = "done" if code == 0 else "again"
            misses += code is not None
            if code == 0 and self.rng.random() > _SHARE_GOING_ON_WHEN_DONE:
                return

    def _finish(self, kills: int) -> None:
        before: dict[str, str] | None = None
        for _ in range(_MOST_RUNS):
            code = self._run("again" if self.story.runs else "first", Aim())
            now = self._statuses()
            if code == 0:
                self._run_once_more(now)
                return
            is_held = set(now.values()) == {"succeeded", "unknown"}
            if now == before or (is_held and self.rng.random() > _SHARE_HELD_TWICE):
                self._choose(now)
                may_kill = self.story.kills < kills
                may_kill &= self.rng.random() < _SHARE_KILLED_WHEN_CHOSEN
                aim = self.picker.pick("resubmit") if may_kill else Aim()
                self._run("resubmit", aim, on_unknown="resubmit")
            before = now
        raise Trouble(f"it is not through after {_MOST_RUNS} more runs: {self._statuses()}")

    def _lose_a_file(self) -> None:
        """Somebody deletes a picture, between two runs."""
        pictures = sorted(self.folder.glob("out/s*"))
        if pictures:
            self.rng.choice(pictures).unlink()

    def _run_once_more(self, before: Mapping[str, str]) -> None:
        """Whatever is done has to stay so, and an exit code of 0 as well."""
        code = self._run("done", Aim())
        if code != 0 or self._statuses() != before:
            raise Trouble(f"run once more when all was done, it exits with {code}")

    def _choose(self, statuses: Mapping[str, str]) -> None:
        """Be the person who has all that stays unknown run again; knowing what that can cost."""
        unknown = [custom_id for custom_id, status in statuses.items() if status == "unknown"]
        if not unknown and self.settings.client != "naive":
            raise Trouble(f"it does not get any further: {statuses}")
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
        return (orphans & Counter(identity(self.rows[name]) for name in unknown)).total()

    def _run(
        self, kind: str, aim: Aim, *, on_unknown: str = "hold", retry_failed: bool = True
    ) -> int | None:
        """Run it and strike it; its exit code, None if it died of the strike."""
        self.story.runs += 1
        trace, log = self.folder / "trace", self.folder / "log"
        trace.unlink(missing_ok=True)
        with log.open("a") as file:
            file.write(f"== run {self.story.runs}, {kind}, --on-unknown {on_unknown}, {aim}\n")
        program = Program(
            arguments=self.manner.command(on_unknown, retry_failed=retry_failed),
            folder=self.folder,
            log=log,
            environment=self.service.environment,
            aims=(f"trace:{trace}", str(aim)),
        )
        began = time.monotonic()
        child = start(program, fresh=self.settings.fresh)
        code = child.wait(_SECONDS_UNTIL_HUNG if aim.seconds is None else aim.seconds)
        is_hung = code is None and aim.seconds is None
        if code is None:
            code = child.end()
        self.story.lengths.append(time.monotonic() - began)
        passed = Counter(trace.read_text().split() if trace.exists() else ())
        was_struck = code == -signal.SIGKILL and not is_hung
        self.story.passed += passed
        self.picker.learn(kind, aim, passed, was_struck=was_struck)
        if was_struck:
            self.story.struck[aim.name] += 1
            return None
        if is_hung or code not in (0, 1):
            raise Trouble(f"run {self.story.runs} {'hangs' if is_hung else f'exits with {code}'}")
        return code

    def _statuses(self) -> dict[str, str]:
        return {line.get("custom_id", ""): line.get("status", "") for line in self._lines()}

    def _lines(self) -> list[Mapping[str, Any]]:
        files = read_files(self.folder / "out")
        return [line for name in (RESULTS, ERRORS) for line in read_lines(files.get(name, b""))[0]]


def play(settings: Settings, picker: Picker, number: int, kills: int) -> Story:
    """Play one scenario; its folder is kept if anything is wrong with it."""
    rng = random.Random(f"{settings.seed} {number}")  # noqa: S311 - no secret
    folder = settings.folder / f"scenario-{number}"
    folder.mkdir(parents=True)
    rows = make_rows(number, settings.prompts, rng)
    with (folder / "prompts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["custom_id", "prompt", "outputFormat"])
        writer.writerows([custom_id, *params.values()] for custom_id, params in rows.items())
    story = Story(number=number)
    options = [f"--list-lag={rng.choice(_LIST_LAGS)}"]
    options += [f"--fault={fault}" for fault in make_faults(rng)]
    options += ["--picture-pixels", str(settings.picture_pixels)]
    options += ["--api-key", f"key-{number}-of-the-proof", "--api-secret", f"secret-{number}-of-it"]
    emulator = Program(arguments=(*_EMULATOR, *options), folder=folder, log=folder / "emulator.log")
    with emulating(emulator, fresh=settings.fresh) as service:
        manner = Manner(client=settings.client, tasks_at_once=rng.choice(_TASKS_AT_ONCE))
        Scenario(settings, manner, picker, rng, story, rows, folder, service).play(kills)
    if not (story.sentences or story.trouble or settings.keeps_all):
        shutil.rmtree(folder)
    return story


def read_files(folder: Path) -> dict[str, bytes]:
    """Read everything in a folder, by relative path."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
