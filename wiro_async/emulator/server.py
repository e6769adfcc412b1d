"""The emulator as one object: opened, asked, closed.

It keeps nothing running that belongs to the asyncio task which opened it (no task group, no
cancel scope), so a fixture may open it in one task and close it in another, and any number
can run in one process, each on a port of its own. Closing waits until the sockets, the
workers and the temporary folder are gone.
"""

import asyncio
import importlib.util
import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import attrs
from aiohttp import web

from wiro_async.emulator.answers import Scribe
from wiro_async.emulator.app import Service
from wiro_async.emulator.auth import Doorkeeper
from wiro_async.emulator.books import BookedTask, Books, Fate
from wiro_async.emulator.callbacks import Caller
from wiro_async.emulator.catalog import CATALOG
from wiro_async.emulator.desk import Desk, Listing
from wiro_async.emulator.faults import Fault, Script
from wiro_async.emulator.herald import Herald
from wiro_async.emulator.limits import TokenBucket
from wiro_async.emulator.shelf import Shelf
from wiro_async.emulator.sockets import SocketManner, Sockets
from wiro_async.emulator.studio import Commission, Drawn, Studio
from wiro_async.emulator.world import Terms, World

# How long a client that does not read its answer holds up the closing.
_SECONDS_OF_GRACE = 0.1

_positive: Callable[[Any, Any, Any], Any] = attrs.validators.gt(0)
_not_negative: Callable[[Any, Any, Any], Any] = attrs.validators.ge(0)


def _drawable(_: object, __: object, pixels: int) -> None:
    if pixels and importlib.util.find_spec("PIL") is None:
        raise RuntimeError(
            "drawing pictures needs Pillow: install wiro-async[emulator], or give "
            "picture_pixels=0 for pictures of a single pixel"
        )


def _dollars(amount: Decimal | float | str) -> Decimal:
    # By way of text: Decimal(0.06) would be 0.0599999...
    return Decimal(str(amount))


@attrs.define(kw_only=True, eq=False)
class Emulator:
    """The Wiro API on a port of this machine, with an account of play money.

    An async context manager; `start()` and `aclose()` do the same by hand. It can be
    opened once. The books stay readable after it is closed.

    Raises:
        ValueError: for a setting out of its range.
        RuntimeError: if pictures are to be drawn and Pillow is missing; from `aclose()`, if
            the drawing broke down in the meantime.
    """

    api_key: str = attrs.field(default="emulator-key", repr=False)
    api_secret: str | None = attrs.field(default="emulator-secret", repr=False)
    """`None` makes a project that wants the key alone and no signature."""
    balance: Decimal = attrs.field(default=Decimal(1000), converter=_dollars)
    """Dollars to begin with; what is left is in the books."""
    price: Decimal = attrs.field(default=Decimal("0.06"), converter=_dollars)
    """Dollars for each task that succeeds."""
    median_seconds: float = attrs.field(default=8.0, validator=_positive)
    """The median of the tasks' durations in service seconds."""
    sigma: float = attrs.field(default=0.5, validator=_not_negative)
    """The spread of the durations (lognormal); 0 makes them all the median."""
    speed: float = attrs.field(default=1.0, validator=_positive)
    """Service seconds that pass in one real second."""
    failure_rate: float = attrs.field(
        default=0.0, validator=[_not_negative, attrs.validators.le(1)]
    )
    """The share of tasks that end with `pexit` "1", from 0 to 1."""
    rate_limit: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_positive)
    )
    """Requests in a real second beyond which HTTP 429 is answered; `None` for no limit."""
    list_lag_seconds: float = attrs.field(default=0.0, validator=_not_negative)
    """How many service seconds behind Task/List is: tasks, and how they stand, show that late."""
    list_page_limit: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_positive)
    )
    """The most rows that a page of Task/List has, whatever is asked for; `None` for any."""
    list_absent: bool = False
    """Whether Task/List answers like a path that does not exist."""
    socket_manner: SocketManner = attrs.field(default=SocketManner.MANY, converter=SocketManner)
    """How the websocket behaves; also as its name: `many`, `one`, `silent`, `absent`."""
    socket_life_seconds: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_positive)
    )
    """Real seconds after which a websocket is cut; `None` for never."""
    faults: Iterable[Fault] = ()
    picture_pixels: int = attrs.field(default=640, validator=[_not_negative, _drawable])
    """The long side; 0 gives every task the same picture of one pixel, undrawn."""
    picture_workers: int = attrs.field(default=1, validator=_positive)
    seed: int = 0
    """Another seed is another world: other durations, other failures, other tokens."""
    host: str = "127.0.0.1"
    """At `0.0.0.0` and `::` each caller is given urls of the address by which it came."""
    port: int = 0
    """0 takes any free port; after the start it is the one taken."""
    _is_everywhere: bool = attrs.field(init=False, default=False, repr=False)
    _script: Script = attrs.field(init=False, repr=False)
    _world: World = attrs.field(init=False, repr=False)
    _born: float = attrs.field(init=False, factory=time.monotonic, repr=False)
    _stopped: float | None = attrs.field(init=False, default=None, repr=False)
    _runner: web.AppRunner | None = attrs.field(init=False, default=None, repr=False)
    _service: Service = attrs.field(init=False, repr=False)
    _herald: Herald = attrs.field(init=False, repr=False)
    _caller: Caller = attrs.field(init=False, repr=False)
    _telling: asyncio.Task[None] = attrs.field(init=False, repr=False)
    _shelf: Shelf = attrs.field(init=False, repr=False)
    _studio: Studio = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._script = Script(self.faults)
        self._world = World(
            Terms(
                seed=self.seed,
                epoch=time.time(),
                balance=self.balance,
                price=self.price,
                median_seconds=self.median_seconds,
                sigma=self.sigma,
                failure_rate=self.failure_rate,
            )
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port, without a slash at the end; as this machine reaches it."""
        host = self.host
        if self._is_everywhere:  # which is no address that a client may ask
            host = "::1" if ":" in host else "127.0.0.1"
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What a client is given as the API's base url."""
        return f"{self.origin}/v1"

    @property
    def socket_url(self) -> str:
        """What a client is given as the websocket's url."""
        return f"ws{self.base_url.removeprefix('http')}"

    @property
    def _listing(self) -> Listing:
        return Listing(
            lag_seconds=self.list_lag_seconds,
            page_limit=self.list_page_limit,
            is_absent=self.list_absent,
        )

    @property
    def books(self) -> Books:
        """The ledger, brought up to date."""
        return self._world.look(self._now())

    def add_fault(self, fault: Fault) -> None:
        """Put one more fault at the end of the script; it counts requests from now on."""
        self._script.add(fault)

    async def start(self) -> None:
        """Open the port and answer.

        Raises:
            RuntimeError: when it has been started before.
            OSError: when the port is taken.
        """
        if self._runner is not None:
            raise RuntimeError("an Emulator is started once: make another one")
        # Bound by hand: the urls in the answers name the port, so it has to be known first.
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family)
        bound, self.port = listener.getsockname()[:2]
        self._is_everywhere = ipaddress.ip_address(bound).is_unspecified
        self._shelf = Shelf(self.seed)
        self._studio = Studio(self.picture_workers, self._on_drawn)
        closing = asyncio.get_running_loop().create_future()
        scribe = Scribe(epoch=self._world.terms.epoch, origin=self.origin)
        self._herald = Herald(self._world, self._now, self.speed)
        self._caller = Caller(scribe, self._world.books, self._now, self.speed)
        self._service = Service(
            world=self._world,
            desk=Desk(self._world, self.origin, self._listing),
            doorkeeper=Doorkeeper(self.api_key, self.api_secret),
            bucket=None if self.rate_limit is None else TokenBucket(self.rate_limit),
            script=self._script,
            shelf=self._shelf,
            sockets=Sockets(
                world=self._world,
                herald=self._herald,
                scribe=scribe,
                now=self._now,
                manner=self.socket_manner,
                life_seconds=self.socket_life_seconds,
                origin_for=self._origin_for,
                closing=closing,
            ),
            now=self._now,
            clock=time.monotonic,
            failure=lambda: self._studio.failure,
            on_run=self._on_run,
            on_stop=self._herald.nudge,
            origin_for=self._origin_for,
            closing=closing,
        )
        self._runner = web.AppRunner(
            self._service.application(), access_log=None, shutdown_timeout=_SECONDS_OF_GRACE
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        self._telling = asyncio.create_task(self._herald.run(), name="wiro emulator herald")

    async def aclose(self) -> None:
        """Close the port, end the workers and delete the files; once is enough, twice is fine.

        Raises:
            RuntimeError: when pictures could not be drawn, so that the answers in between
                were not what they should have been.
        """
        if self._runner is None or self._stopped is not None:
            return
        self._stopped = time.monotonic()
        async with AsyncExitStack() as stack:
            stack.callback(self._shelf.clear)
            stack.push_async_callback(self._studio.aclose)
            stack.push_async_callback(self._caller.aclose)
            self._telling.cancel()
            # aiohttp waits for the handlers of open connections only: one whose client has
            # gone would go on with its delay.
            self._service.closing.set_result(None)
            await self._runner.cleanup()
        if self._studio.failure is not None:
            raise RuntimeError(self._studio.failure)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _now(self) -> float:
        end = time.monotonic() if self._stopped is None else self._stopped
        return (end - self._born) * self.speed

    def _origin_for(self, request: web.Request) -> str | None:
        host = request.headers.get("Host") if self._is_everywhere else None
        return f"http://{host}" if host else None

    def _on_run(self, task: BookedTask) -> None:
        if task.callback_url:
            self._herald.follow(task, self._caller)
        model = CATALOG[task.model]
        if not model.draws or task.fate is not Fate.SUCCEED:
            return
        file_format = model.value("outputFormat", task.parameters) or "png"
        if not self.picture_pixels:
            self._world.picture_drawn(task.id, self._shelf.pixel(task.id, file_format), self._now())
            return
        self._studio.draw(
            Commission(
                task_id=task.id,
                due=task.due,
                path=self._shelf.picture_path(task.id, file_format),
                prompt=task.prompt,
                model=task.model,
                seed=model.value("seed", task.parameters),
                aspect=model.value("aspectRatio", task.parameters) or "16:9",
                file_format=file_format,
                pixels=self.picture_pixels,
            )
        )

    def _on_drawn(self, commission: Commission, drawn: Drawn) -> None:
        picture = self._shelf.picture(
            commission.task_id, commission.file_format, drawn.size, drawn.sha256
        )
        self._world.picture_drawn(commission.task_id, picture, self._now())
