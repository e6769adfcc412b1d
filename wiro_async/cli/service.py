"""The service that a command talks to: the real one, or an emulator in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from attrs import asdict, frozen

from wiro_async.batch.record import check_directory
from wiro_async.errors import ConfigurationError
from wiro_async.protocol.polling import PollSchedule
from wiro_async.session import WiroSession
from wiro_async.settings import DEFAULT_LOOKS_PER_SECOND, Tracking

if TYPE_CHECKING:  # it brings a web server: imported only when there is to be one
    from wiro_async.emulator import Emulator, Fault

# Enough money for no limit of tasks at once, whatever a batch spends: see the facts of the API.
_EMULATED_BALANCE = Decimal(100_000)
_SETTLE_SECONDS = 10.0


@frozen(kw_only=True)
class EmulatorOptions:
    """What the emulator is told; its own arguments, by their names."""

    port: int = 0
    host: str = "127.0.0.1"
    api_key: str = "emulator-key"
    api_secret: str | None = "emulator-secret"  # noqa: S105 - opens nothing
    balance: Decimal = _EMULATED_BALANCE
    price: Decimal = Decimal("0.06")
    speed: float = 1.0
    median_seconds: float = 8.0
    failure_rate: float = 0.0
    rate_limit: float | None = None
    list_lag_seconds: float = 0.0
    list_page_limit: int | None = None
    list_absent: bool = False
    socket_manner: str = "many"
    faults: tuple[Fault, ...] = ()
    picture_pixels: int = 640


@frozen(kw_only=True)
class EmbeddedEmulator:
    """An emulator in this process, and where its books are written when it ends."""

    options: EmulatorOptions
    books: Path | None = None


@frozen(kw_only=True)
class ServiceOptions:
    """Where the service is and how it is used."""

    base_url: str | None = None
    first_look_seconds: float | None = None
    tracking: Tracking = "auto"
    max_in_flight: int = 100
    max_downloads: int = 64
    settle_seconds: float | None = None
    max_output_bytes: int = 1 << 30
    allow_http: bool = False
    emulator: EmbeddedEmulator | None = None


@asynccontextmanager
async def open_emulator(options: EmulatorOptions) -> AsyncIterator[Emulator]:
    """An emulator for as long as the context is open.

    Raises:
        ConfigurationError: if it cannot draw, or the port cannot be had.
    """
    from wiro_async.emulator import Emulator  # noqa: PLC0415 - see the head of the file

    try:
        emulator = Emulator(**asdict(options, recurse=False))
        await emulator.start()
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(f"the emulator cannot start: {error}") from None
    except OSError as error:
        raise ConfigurationError(
            f"the emulator cannot listen on {options.host}:{options.port}: {error.strerror}; "
            "choose another --port, or none for a free one"
        ) from None
    try:
        yield emulator
    finally:
        await emulator.aclose()


@asynccontextmanager
async def open_session(options: ServiceOptions) -> AsyncIterator[WiroSession]:
    """A session with the service, with an emulator beneath it if one is asked for.

    An emulator's clock runs faster, and so may the looks follow each other.

    Raises:
        ConfigurationError: if there are no credentials, or a setting cannot work.
        OutputDirectoryError: if there is no place for the emulator's books.
    """
    if options.emulator is None:
        async with _session(options, speed=1.0) as session:
            yield session
        return
    embedded = options.emulator
    if embedded.books is not None:
        _check_books(embedded.books)
    async with open_emulator(embedded.options) as emulator:
        try:
            async with _session(options, speed=emulator.speed, emulator=emulator) as session:
                yield session
        finally:
            if embedded.books is not None:
                text = json.dumps(emulator.books.to_dict(), indent=1)
                path = anyio.Path(embedded.books)
                await path.parent.mkdir(parents=True, exist_ok=True)
                await path.write_text(text)


def _check_books(path: Path) -> None:
    if path.is_dir():
        raise ConfigurationError(f"--books {path} is a folder: name a file")
    check_directory(path.parent)


def _session(
    options: ServiceOptions, *, speed: float, emulator: Emulator | None = None
) -> WiroSession:
    first, schedule = options.first_look_seconds, None
    if first is not None:
        slowest = PollSchedule().faster(speed).max_seconds
        schedule = PollSchedule(first_seconds=first, max_seconds=max(first, slowest))
    return WiroSession(
        api_key=None if emulator is None else emulator.api_key,
        api_secret=None if emulator is None else emulator.api_secret,
        base_url=options.base_url if emulator is None else emulator.base_url,
        socket_url=None if emulator is None else emulator.socket_url,
        tracking=options.tracking,
        max_in_flight=options.max_in_flight,
        max_downloads=options.max_downloads,
        max_looks_per_second=DEFAULT_LOOKS_PER_SECOND * speed,
        poll_schedule=schedule,
        settle_seconds=options.settle_seconds or _SETTLE_SECONDS / speed,
        allow_http=options.allow_http,
        max_output_bytes=options.max_output_bytes,
    )
