"""The proof that a batch is paid once and never lost, whatever instant its process is killed at.

    python -m tests.crash --kills 200                             # the batch: all has to be well
    python -m tests.crash --client naive --kills 20 --must-fail   # and the proof can fail

Exits with 0 if what had to be is so, else with 1; then what was wrong is said, and the folders
of the scenarios in which it was are kept.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import asdict

from tests.crash.aims import Picker, labels_in
from tests.crash.plan import Settings
from tests.crash.processes import ROOT, Child, fork, warm_up
from tests.crash.runner import play, tour
from tests.crash.story import Story, describe, never_passed, summarize

_FEWEST_KILLS, _MOST_KILLS = 4, 8
_MOST_WITHOUT_A_KILL = 5
_LINES_OF_A_LOG = 40
_SECONDS_OF_A_JOB = 3 * 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Play scenarios until so many kills have happened; the exit code."""
    options = read_options(arguments)
    settings = Settings(
        folder=Path(options.keep or tempfile.mkdtemp(prefix="crash-")).absolute(),
        client=options.client,
        prompts=options.prompts,
        seed=options.seed,
        fresh=options.spawn,
        picture_pixels=options.picture_pixels,
        keeps_all=options.keep is not None,
    )
    began = time.monotonic()
    stories = play_all(settings, options.kills, options.jobs)
    say([*summarize(stories), f"{time.monotonic() - began:.1f} s"])
    is_kept = any(settings.folder.glob("scenario-*")) and not options.must_fail
    if settings.keeps_all or is_kept:
        say([f"kept in {settings.folder}"])
    else:
        shutil.rmtree(settings.folder)
    problems = [] if options.must_fail else list(find_gaps(stories, options.client, options.kills))
    say(problems)
    return conclude(stories, must_fail=options.must_fail, problems=len(problems))


def find_gaps(stories: Sequence[Story], client: str, kills: int) -> Iterator[str]:
    """Say what the stories, even if all of them are well, do not prove."""
    done = sum(story.kills for story in stories)
    if done < kills:
        yield f"only {done} of {kills} kills happened"
    if client == "wiro":
        labels = labels_in(ROOT / "wiro_async")
        yield from (f"no run passed {label}" for label in never_passed(stories, labels))


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=4, help="scenarios that are played at once")
    parser.add_argument("--prompts", type=int, default=12, help="of each scenario")
    parser.add_argument("--client", choices=("wiro", "naive"), default="wiro")
    parser.add_argument("--must-fail", action="store_true", help="violations are what is wanted")
    parser.add_argument("--spawn", action="store_true", help="an interpreter for each process")
    parser.add_argument("--picture-pixels", type=int, default=0, help="0 draws nothing")
    parser.add_argument("--keep", metavar="DIR", help="where all that is left behind stays")
    return parser.parse_args(arguments)


def play_all(settings: Settings, kills: int, jobs: int) -> list[Story]:
    """Play a scenario undisturbed, to know what a run is like; then the tour; then all others."""
    picker = Picker(rng=random.Random(settings.seed))  # noqa: S311 - no secret
    if not settings.fresh:
        warm_up()
    stories = [play(settings, picker, 0, 0)]
    tell(settings, stories[0])
    if kills and settings.client == "wiro":
        stories.append(tour(settings, picker, 1))
        tell(settings, stories[1])
    left = kills - sum(story.kills for story in stories)
    shares = [left // jobs + (job < left % jobs) for job in range(jobs)]
    children = [start_job(settings, picker, job, shares) for job in range(jobs)]
    for job, child in enumerate(children):
        stories += read_job(settings, job, child)
    return stories


def start_job(settings: Settings, picker: Picker, job: int, shares: Sequence[int]) -> Child:
    """Play every so-manieth scenario in a process of its own, until its share of kills is done."""

    def work() -> int:
        picker.rng.seed(f"{settings.seed} of job {job}")
        numbers = range(2 + job, sys.maxsize, len(shares))
        with job_file(settings, job).open("w") as file:
            for story in play_some(settings, picker, numbers, shares[job]):
                tell(settings, story)
                file.write(json.dumps(asdict(story)) + "\n")
        return 0

    return fork(work)


def play_some(
    settings: Settings, picker: Picker, numbers: Iterable[int], kills: int
) -> Iterator[Story]:
    """Play scenarios of these numbers until so many kills have happened, or none happens."""
    left, without = kills, 0
    for number in numbers:
        if left <= 0 or without >= _MOST_WITHOUT_A_KILL:
            return
        wanted = picker.rng.randint(_FEWEST_KILLS, _MOST_KILLS)
        story = play(settings, picker, number, min(wanted, left))
        left -= story.kills
        without = 0 if story.kills else without + 1
        yield story


def read_job(settings: Settings, job: int, child: Child) -> list[Story]:
    """Wait for a job and read what it has played."""
    code = child.wait(_SECONDS_OF_A_JOB)
    path = job_file(settings, job)
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    stories = [Story(**json.loads(line)) for line in lines]
    if code != 0:
        stories.append(Story(number=-1, trouble=f"job {job} ended with {code}"))
    return stories


def job_file(settings: Settings, job: int) -> Path:
    return settings.folder / f"job-{job}.jsonl"


def tell(settings: Settings, story: Story) -> None:
    """Tell of a scenario, with the end of its log if it did not come to its end."""
    say(describe(story))
    log = settings.folder / f"scenario-{story.number}" / "log"
    if story.trouble is not None and log.exists():
        say(f"    | {line}" for line in log.read_text().splitlines()[-_LINES_OF_A_LOG:])


def conclude(stories: Sequence[Story], *, must_fail: bool, problems: int) -> int:
    """Count each scenario as a test; or, where laws have to be broken, all of them as one."""
    if must_fail:
        caught = sum(bool(story.sentences) for story in stories)
        say([f"laws were broken in {caught} of {len(stories)} scenarios: one has to be"])
        passed, failed = (1, 0) if caught else (0, 1)
    else:
        passed = sum(story.is_well for story in stories)
        failed = len(stories) - passed + problems
    say([f"{passed} passed, {failed} failed"])
    return 1 if failed else 0


def say(lines: Iterable[str]) -> None:
    # One write, so that the lines of two jobs do not get mixed.
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
