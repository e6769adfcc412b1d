"""The process in which one target is driven: ``ENGINE TARGET SECONDS SEED DIRECTORY``.

Nothing of the library is imported at the top: atheris counts the branches only of what is
imported while it looks.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

# A prompt of a megabyte finds nothing that one of a hundred letters does not.
_LONGEST_INPUT = 8_192
_LONGEST_SECONDS = 10
_MOST_MEGABYTES = 2_048


def main(arguments: list[str]) -> int:
    engine, name, seconds, seed, keep = arguments
    drive = drive_with_atheris if engine == "atheris" else drive_with_hypothesis
    return drive(name, float(seconds), int(seed), Path(keep))


def drive_with_hypothesis(name: str, seconds: float, seed: int, keep: Path) -> int:
    from tests.fuzz.engine import Driven, drive_for  # noqa: PLC0415 - see the module
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    target = TARGETS[name]
    driven = Driven(target.check)
    code = 0
    try:
        for data in target.seeds():
            driven(data)
        drive_for(driven, target, seconds=seconds, first_seed=seed)
    except Exception:  # noqa: BLE001 - whatever it is, it is a finding
        traceback.print_exc()
        keep_input(keep, name, driven.failing or b"")
        code = 1
    # In the words of the other engine.
    sys.stdout.write(f"\nstat::number_of_executed_units: {driven.executions}\n")
    return code


def drive_with_atheris(name: str, seconds: float, seed: int, keep: Path) -> int:
    # Without stubs, and not installed everywhere.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["wiro_async"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - see the module

    target = TARGETS[name]
    corpus = keep / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:40]).write_bytes(data)
    limits = (
        f"-max_total_time={max(1, round(seconds))}",
        f"-timeout={_LONGEST_SECONDS}",
        f"-rss_limit_mb={_MOST_MEGABYTES}",
        f"-max_len={_LONGEST_INPUT}",
    )
    told = (f"-artifact_prefix={keep}/{name}-", f"-seed={seed}", "-print_final_stats=1")
    atheris.Setup([sys.argv[0], *limits, *told, str(corpus)], target.check)
    atheris.Fuzz()
    return 0


def keep_input(keep: Path, name: str, data: bytes) -> None:
    """Keep what shows a finding, under a name that the same input has again."""
    (keep / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
