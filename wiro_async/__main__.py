"""`wiro` and ``python -m wiro_async``: the command line, if its extra is installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line; says what to install where its libraries are missing."""
    # Looked for, not tried: the second of them is imported when a command has something to show.
    if any(find_spec(name) is None for name in ("typer", "rich")):
        sys.stderr.write(
            "wiro: the command line needs its extra; install it with: "
            "pip install 'wiro-async[cli]'\n"
        )
        sys.exit(2)
    from wiro_async.cli.app import run_app  # noqa: PLC0415 - it needs them

    sys.exit(run_app())


if __name__ == "__main__":
    main()
