"""How near does each client come to the time that the tasks need anyway, and what does it cost?

Lets this library, a floor that knows the future, two loops written by hand and the clients of
other services run the same tasks against the same simulated service, and prints the tables of
docs/performance.md. Each arm is a process of its own, and so is the service that it meets; rounds
are interleaved; a figure is the median of the rounds, and CPU is told against the floor's of the
same round. Figures:

* makespan / ideal: the time it took, over the time that it would take if a slot were never empty;
* requests a task: of every kind, files and connections of websockets among them;
* lag: from the end of a task to its file on disk; p95 also in durations of its task;
* CPU a task: of the client's process, in milliseconds, imports not counted;
* kB a task in flight: by which the peak of its memory grew, imports not counted.

    pip install -e '.[benchmarks]' -r benchmarks/peers.txt
    python -m benchmarks                              # all but the long ones: 45 minutes
    python -m benchmarks --quick                      # a smoke test without peers
    python -m benchmarks --only short hot --rounds 5
    python -m benchmarks --only scale-1k scale-10k scale-100k
    python -m benchmarks --only file --file prompts.csv
    python -m benchmarks --only short --plot docs/images/clients.svg
    python -m benchmarks.rows                         # a million rows, read and planned
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
import tempfile
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from attrs import define, evolve, field

from benchmarks.arms import EVERYBODY
from benchmarks.backend import Kind, backend
from benchmarks.contender import call, is_installed
from benchmarks.figures import FINISHED, Figures, judge, medians, with_ratio
from benchmarks.jobs import Job
from benchmarks.peer_service import MODEL
from benchmarks.settings import FLOOR, PROMISES, SETTINGS, Setting, quick
from benchmarks.tables import figures_table, promises_table
from wiro_async import SourceOptions, check_source

_PROMPTS = Path("docs/examples/prompts.csv")
_PACKAGES = ("aiohttp", "fal-client", "replicate", "runwayml", "httpx")


@define
class Contest:
    """The rounds of one setting.

    Attributes:
        setting: what is run.
        rounds: how often.
        limit: seconds for one arm.
        scratch: where the arms save what they have made.
        file: the prompts, if they are not made up.
        results: each arm's figures, round by round.
        errors: what went wrong, by arm.
    """

    setting: Setting
    rounds: int
    limit: float
    scratch: Path
    file: Path | None = None
    results: dict[str, list[Figures]] = field(init=False, factory=dict)
    errors: dict[str, Counter[str]] = field(init=False, factory=dict)

    def run(self) -> dict[str, Figures]:
        """Run every round; the medians of each arm."""
        for number in range(1, self.rounds + 1):
            floor: Figures | None = None
            for name in self.setting.arms:
                figures = with_ratio(self._measure(name), floor)
                if name == FLOOR:
                    floor = figures
                    figures = with_ratio(figures, floor)
                self.results.setdefault(name, []).append(figures)
                _tell(f"round {number} of {self.rounds}, {name}: {figures[FINISHED]:.0f} done")
        return {name: dict(medians(rounds)) for name, rounds in self.results.items()}

    def _measure(self, name: str) -> Figures:
        setting = self.setting
        kind: Kind = "peers" if EVERYBODY[name].is_peer else "wiro"
        with backend(kind, setting.median) as service:
            job = Job(
                base_url=service.address.base_url,
                socket_url=service.address.socket_url,
                tasks=setting.tasks,
                in_flight=setting.in_flight,
                median=setting.median,
                out=Path(tempfile.mkdtemp(dir=self.scratch)),
                file=self.file,
            )
            performance = call(name, service.address, job, self.limit)
        if performance is None:
            return {FINISHED: 0.0}
        self.errors.setdefault(name, Counter()).update(performance.errors)
        assert service.account is not None  # noqa: S101 - it has ended
        return judge(performance, service.account, setting.in_flight)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _prepare(setting: Setting, options: argparse.Namespace) -> Setting:
    """Fit a setting to the options and to what is installed."""
    if options.quick:
        setting = quick(setting)
    elif setting.takes_file:
        source = SourceOptions(model=MODEL)
        setting = evolve(setting, tasks=check_source(options.file, source).requests)
    names = [name for name in setting.arms if not options.arms or name in {FLOOR, *options.arms}]
    for name in names:
        if not is_installed(EVERYBODY[name]):
            print(f"{name} is left out: {EVERYBODY[name].package} is not installed")
    return evolve(setting, arms=tuple(name for name in names if is_installed(EVERYBODY[name])))


def _hold(setting: Setting, options: argparse.Namespace, scratch: Path) -> dict[str, Figures]:
    """Run one setting and print its table; the medians."""
    rounds = min(options.rounds, setting.rounds or options.rounds)
    contest = Contest(
        setting,
        rounds,
        options.limit if setting.limit is None else setting.limit,
        scratch,
        options.file if setting.takes_file and not options.quick else None,
    )
    measured = contest.run()
    print(
        f"\n{setting.title}: {setting.tasks:,} tasks, {setting.in_flight:,} in flight, median "
        f"{setting.median:g} s; {'one round' if rounds == 1 else f'medians of {rounds} rounds'}\n"
    )
    print("\n".join(figures_table(measured, setting.columns, setting.tasks)), flush=True)
    for name, errors in contest.errors.items():
        if errors:
            shown = ", ".join(f"{count} {kind}" for kind, count in errors.most_common())
            print(f"{name}, errors in all rounds: {shown}")
    return measured


def _versions() -> str:
    shown = [f"Python {platform.python_version()}", f"{platform.system()}, {os.cpu_count()} cores"]
    if hasattr(os, "getloadavg"):  # Windows has none
        # All that is measured here keeps a service and a client busy: about 2.
        shown.append(f"load {os.getloadavg()[1]:.1f}")
    for package in _PACKAGES:
        try:
            shown.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(shown)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=SETTINGS, help="these tables")
    parser.add_argument("--arms", nargs="+", choices=EVERYBODY, help="these, and the floor")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for an arm in a round")
    parser.add_argument("--quick", action="store_true", help="a smoke test, without peers")
    parser.add_argument("--file", type=Path, default=_PROMPTS, help="of the setting `file`")
    parser.add_argument("--plot", type=Path, help="a file for a picture of the first table")
    return parser


def main() -> None:
    """Read the options, run the settings, print the tables."""
    parser = build_parser()
    options = parser.parse_args()
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install -e '.[benchmarks]'")
    usual = [name for name, setting in SETTINGS.items() if not setting.is_long]
    names = options.only or (["short", "hot"] if options.quick else usual)
    # All that was saved stays until the end: for minutes after many files were removed ext4 takes
    # several times as long to make a new one, and the next arm would pay for it.
    with tempfile.TemporaryDirectory() as scratch:
        measured = {
            name: _hold(_prepare(SETTINGS[name], options), options, Path(scratch)) for name in names
        }
    if not options.quick:
        print("\n" + "\n".join(promises_table(PROMISES, measured)))
    print(f"\n{_versions()}.")
    if options.plot is not None:
        from benchmarks.plots import plot_clients  # noqa: PLC0415 - matplotlib where asked for

        plot_clients(measured[names[0]], options.plot)


if __name__ == "__main__":
    main()
