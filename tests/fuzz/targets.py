"""The table of what is fuzzed. Each target takes any bytes, for whichever engine drives it."""

from __future__ import annotations

from tests.fuzz.answers import ANSWERS
from tests.fuzz.frames import FRAMES
from tests.fuzz.journals import JOURNALS
from tests.fuzz.laws import Target
from tests.fuzz.machines import MACHINES
from tests.fuzz.names import NAMES
from tests.fuzz.outages import OUTAGES
from tests.fuzz.patience import PATIENCE
from tests.fuzz.sources import SOURCES
from tests.fuzz.urls import URLS
from tests.fuzz.wires import WIRES

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *ANSWERS,
        *FRAMES,
        *NAMES,
        *SOURCES,
        *JOURNALS,
        *MACHINES,
        *OUTAGES,
        *PATIENCE,
        *URLS,
        *WIRES,
    )
}
