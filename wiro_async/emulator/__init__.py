"""The Wiro API on a port of your own machine: for tests, for benchmarks, for trying things.

```python
async with Emulator(speed=100, failure_rate=0.1) as emulator:
    ...  # a client of emulator.base_url, with emulator.api_key and emulator.api_secret
    assert emulator.books.most_in_flight <= 5
```

It answers like the real service as far as that is documented, draws a real picture of every
prompt, and knows afterwards what really happened (`Emulator.books`). What goes wrong is
scripted with `Fault`. It is built from the documentation of the service and shares no code
with the client in this package, so that a misreading of one cannot be hidden by the same
misreading in the other. Needs the extra `wiro-async[emulator]` to draw.
"""

from wiro_async.emulator.books import BookedFile, BookedTask, Books, Fate
from wiro_async.emulator.faults import Fault, parse_fault
from wiro_async.emulator.server import Emulator

__all__ = ["BookedFile", "BookedTask", "Books", "Emulator", "Fate", "Fault", "parse_fault"]
