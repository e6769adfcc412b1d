"""What a scenario is: what is asked for, how the client is called, and what goes wrong meanwhile.

All of it follows from a seed and the scenario's number. When things happen does not: a process
that is killed at the same instant twice has not got equally far twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, frozen

_SHARE_OF_COPIES = 0.3
_FAULTS_AT_ONCE = 6
# Few at once make a batch of many short steps: more of it is left when it is killed.
_TASKS_AT_ONCE = (2, 3, 20)
# Service seconds; with the largest, the client looks in vain for what is there.
_LIST_LAGS = (0.0, 0.5, 2.0, 30.0)
_EMULATOR = ("--port", "0", "--median", "2", "--speed", "20", "--balance", "1000000")
_MODEL = "black-forest-labs/flux-pro-1-1-ultra"
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
# One Run each, in this order: not made and not known; made and not known; put off; failed.
_FAULTS_OF_THE_TOUR = ("Run:drop_before", "Run:drop_after", "Run:limit", "Run:fail_task")


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


@frozen(kw_only=True)
class Plan:
    """One scenario, before anything has happened."""

    number: int
    client: str
    rows: Mapping[str, Mapping[str, str]]
    """What is asked for: the parameters by custom_id."""
    tasks_at_once: int
    faults: tuple[str, ...]
    list_lag: float
    """Service seconds."""
    picture_pixels: int = 0

    def command(self, on_unknown: str, *, retry_failed: bool) -> tuple[str, ...]:
        """Give what the client is called with: the same each time, but for a person's choices."""
        if self.client == "naive":
            return ("naive", "prompts.csv", "out")
        places = ("batch", "prompts.csv", "--model", _MODEL, "--out", "out")
        pace = ("-n", str(self.tasks_at_once), "--first-look", "0.05")
        recovery = ("--settle", "0.2", "--on-unknown", on_unknown)
        return (*places, *pace, *recovery, *(["--retry-failed"] if retry_failed else []))

    def emulator_options(self) -> tuple[str, ...]:
        """Give what ``wiro emulator`` is called with."""
        credentials = (f"--api-key=key-{self.number}-of-it", f"--api-secret=secret-{self.number}")
        faults = (f"--fault={fault}" for fault in self.faults)
        pictures = f"--picture-pixels={self.picture_pixels}"
        return (*_EMULATOR, *credentials, *faults, pictures, f"--list-lag={self.list_lag}")

    def write_prompts(self, path: Path) -> None:
        """Write the rows as the file of prompts."""
        lines = [",".join((custom_id, *params.values())) for custom_id, params in self.rows.items()]
        path.write_text("\n".join(["custom_id,prompt,outputFormat", *lines, ""]))


def draw_plan(settings: Settings, number: int) -> Plan:
    """Draw the plan of the scenario of this number."""
    rng = random.Random(f"{settings.seed} {number}")  # noqa: S311 - no secret
    return Plan(
        number=number,
        client=settings.client,
        rows=make_rows(number, settings.prompts, rng),
        tasks_at_once=rng.choice(_TASKS_AT_ONCE),
        faults=tuple(make_faults(rng)),
        list_lag=rng.choice(_LIST_LAGS),
        picture_pixels=settings.picture_pixels,
    )


def plan_tour(settings: Settings, number: int) -> Plan:
    """Plan a scenario in which everything happens once that can happen to an item."""
    plan = draw_plan(settings, number)
    faults = tuple(f"{fault}:times=1" for fault in _FAULTS_OF_THE_TOUR)
    return evolve(plan, tasks_at_once=2, faults=faults, list_lag=0.0)


def make_rows(number: int, prompts: int, rng: random.Random) -> dict[str, dict[str, str]]:
    """Make what is asked for: some rows ask for the very same as another."""
    kinds = max(1, round(prompts * (1 - _SHARE_OF_COPIES)))
    rows = {}
    for place in range(prompts):
        kind = place if place < kinds else rng.randrange(kinds)
        # Two kinds share each prompt, and differ in the format alone.
        rows[f"s{number}-{place:02}"] = {
            "prompt": f"scenario {number} picture {kind // 2}",
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
