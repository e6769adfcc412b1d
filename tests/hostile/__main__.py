"""Print the table, or try each row without the line of defence that it is about.

python -m tests.hostile               the table in Markdown, as docs/faults.md has it
python -m tests.hostile --sabotage    each row without its defence; those that stay green
"""

from __future__ import annotations

import sys

from tests.hostile.sabotage import is_missed
from tests.hostile.table import ROWS, render


def main(arguments: list[str]) -> int:
    if arguments[:1] != ["--sabotage"]:
        sys.stdout.write(render())
        return 0
    wanted = arguments[1:]
    rows = [row for row in ROWS if not wanted or row.sabotage in wanted or row.name in wanted]
    green = 0
    for row in rows:
        try:
            said = "red" if is_missed(row) else "GREEN"
        except Exception as error:  # noqa: BLE001 - told, and the next row tried
            said = f"BROKEN {error!r}"
        green += said != "red"
        sys.stdout.write(f"{said:6} {row.name}  [{row.sabotage}]\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(rows) - green} of {len(rows)} rows go red without their defence\n")
    return 1 if green else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
