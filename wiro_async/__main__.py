"""`wiro` and ``python -m wiro_async``: the command line, if its extra is installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; says what to install where its libraries are missing."""
    try:
        from wiro_async.cli.app import run_app  # noqa: PLC0415 - an extra may be missing
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.stderr.write(
            "wiro: the command line needs its extra; install it with: "
            "pip install 'wiro-async[cli]'\n"
        )
        sys.exit(2)
    sys.exit(run_app())


if __name__ == "__main__":
    main()
