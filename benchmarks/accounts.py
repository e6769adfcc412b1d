"""The results of a batch on disk, held against the books of the emulator that it ran against."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import define


@define
class Account:
    """What the results on disk say, held against the emulator's books."""

    lines: Counter[str]
    cost: Decimal
    problems: list[str]
    unpriced: int = 0


def read_books(base_url: str) -> dict[str, Any]:
    """Read what really happened."""
    origin = base_url.removesuffix("/v1")
    with urllib.request.urlopen(f"{origin}/emulator/books") as answer:  # noqa: S310 - loopback
        books: dict[str, Any] = json.load(answer)
        return books


def read_lines(out: Path) -> Iterator[dict[str, Any]]:
    """Read both files of results, a line for each request."""
    for name in ("results.jsonl", "errors.jsonl"):
        with (out / name).open() as file:
            yield from map(json.loads, file)


def settle_accounts(books: dict[str, Any], out: Path, tasks: int) -> Account:
    """Hold the results against the books."""
    account = Account(Counter(), Decimal(0), list(books["violations"]))
    names: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    for line in read_lines(out):
        account.lines[line["status"]] += 1
        names[line["custom_id"]] += 1
        if line["task_id"] is not None:
            holders[line["task_id"]] += 1
            task = books["tasks"].get(line["task_id"])
            account.problems += check_line(line, task, out)
            # What the service's record did not tell, nobody can: it is not held against the line.
            account.unpriced += line["cost"] is None
            account.cost += Decimal(line["cost"] or (task or {}).get("cost", 0))
    if len(names) != tasks or names.total() != tasks:
        account.problems.append(f"{names.total()} lines of {len(names)} requests, of {tasks}")
    for prompt, made in books["tasks_by_prompt"].items():
        if len(made) > 1:
            account.problems.append(f"{prompt!r} was made {len(made)} times")
    account.problems += [f"task {name} is in no line" for name in books["tasks"].keys() - holders]
    account.problems += [f"task {name} has {n} lines" for name, n in holders.items() if n > 1]
    account.problems += [f"{path.name} was left" for path in out.glob(".*.part")]
    if account.cost != Decimal(books["spent"]):
        account.problems.append(f"${account.cost} by the results, ${books['spent']} by the books")
    return account


def check_line(line: Mapping[str, Any], task: Mapping[str, Any] | None, out: Path) -> list[str]:
    """Hold one line against the task that it names."""
    if task is None:
        return [f"task {line['task_id']} is not in the books"]
    if (line["status"] == "succeeded") != (Decimal(task["cost"]) > 0):
        return [f"task {line['task_id']} cost {task['cost']}, and is told as {line['status']}"]
    given = [output["sha256"] for output in task["outputs"]] if Decimal(task["cost"]) else []
    there = [
        hashlib.sha256((out / file["path"]).read_bytes()).hexdigest() for file in line["files"]
    ]
    return [] if there == given else [f"task {line['task_id']}: its files are not what was given"]
