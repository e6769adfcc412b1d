"""The commands and their options.

Exit codes: 0 all well, 1 some items failed, 2 wrong use (nothing was submitted),
130 interrupted.

What a command runs is imported once it is called: who asks for help, or has mistyped an option,
waits for the options alone.

Longer than the other files because every option of every command is told here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from wiro_async import __version__
from wiro_async.batch.requests import Format, SourceOptions
from wiro_async.batch.runner import OnUnknown
from wiro_async.catalog import check_request
from wiro_async.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from wiro_async.cli.service import EmbeddedEmulator, EmulatorOptions, ServiceOptions
from wiro_async.cli.streams import complain
from wiro_async.cli.values import read_columns, read_cost, read_faults, read_params, read_size
from wiro_async.errors import ConfigurationError, InvalidRequest, OutputDirectoryError, WiroError
from wiro_async.settings import Tracking, check_choice, check_positive

if TYPE_CHECKING:  # as in `service`
    from wiro_async.emulator import Fault

# Fast enough for a first try, slow enough to see something happen.
_EMBEDDED_SPEED = 20.0
_MEDIAN_SECONDS = 8.0
_MAX_OUTPUT = "1G"
# Here, since the emulator is not imported for a help text.
_SOCKETS = ("many", "one", "silent", "absent")

app = typer.Typer(
    name="wiro",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; may be repeated."),
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="Where the service is. [env: WIRO_BASE_URL]")
]
FirstLook = Annotated[
    float | None,
    typer.Option("--first-look", metavar="SECONDS", min=0.01, help="Wait before the first look."),
]
AllowHttp = Annotated[
    bool,
    typer.Option("--allow-http", help="Let --base-url be plain http to another machine."),
]
MaxOutputBytes = Annotated[
    str,
    typer.Option("--max-output-bytes", metavar="SIZE", help="Largest output, such as 500M or 2G."),
]
TrackBy = Annotated[
    str,
    typer.Option(
        "--tracking",
        metavar="auto|poll|sweep|socket",
        help="Who tells that a task may have ended, beside looking at it.",
    ),
]
OnEmulator = Annotated[
    bool, typer.Option("--emulator", help="Run on an embedded emulator: no key, no cost.")
]
Speed = Annotated[
    float | None,
    typer.Option("--speed", min=0.01, help="Emulator: how many times as fast."),
]
Median = Annotated[
    float | None,
    typer.Option("--median", metavar="SECONDS", min=0.001, help="Emulator: median duration."),
]
FailureRate = Annotated[
    float,
    typer.Option("--failure-rate", min=0, max=1, help="Emulator: share of tasks that fail."),
]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="ENDPOINT:ACTION[:OPTIONS]",
        help="Emulator: a scripted fault, such as Run:rate_limit:times=1,retry_after=0.2.",
    ),
]


@app.callback()
def main_command(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Run models of the Wiro AI generation API: one, or thousands from a file."""
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("run")
def run_command(
    model: Annotated[str, typer.Argument(help="owner/model")],
    *,
    param: Params = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where its files go.")] = Path(),
    max_output_bytes: MaxOutputBytes = _MAX_OUTPUT,
    base_url: BaseUrl = None,
    allow_http: AllowHttp = False,
    first_look: FirstLook = None,
    tracking: TrackBy = "auto",
    emulator: OnEmulator = False,
    speed: Speed = None,
) -> None:
    """Run one model and save what it makes."""
    params = read_params(param or [])
    check_request(model, params)
    service = ServiceOptions(
        base_url=base_url,
        first_look_seconds=first_look,
        tracking=check_choice("--tracking", tracking, get_args(Tracking)),
        max_in_flight=1,
        max_output_bytes=read_size("--max-output-bytes", max_output_bytes),
        allow_http=allow_http,
        emulator=_embed(emulator=emulator, base_url=base_url, speed=speed),
    )

    def work() -> int:
        from wiro_async.cli.run import run_one  # noqa: PLC0415 - see the head of the file

        return asyncio.run(run_one(service, model, params, out))

    _finish(work)


@app.command("batch")
def batch_command(
    file: Annotated[
        str, typer.Argument(help="A .jsonl, .csv, .tsv or .txt file of prompts; - for stdin.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where everything goes.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="owner/model for rows that name none.")
    ] = None,
    param: Params = None,
    prompt_column: Annotated[
        str | None, typer.Option("--prompt-column", help="The column or key with the prompt.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id-column", help="The column or key with the custom_id.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="PARAM=COLUMN", help="The column that holds PARAM."),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|tsv|txt|jsonl", help="If the ending does not say."),
    ] = None,
    max_in_flight: Annotated[
        int, typer.Option("--max-in-flight", "-n", min=1, help="Tasks that may run at once.")
    ] = 100,
    max_downloads: Annotated[
        int, typer.Option("--max-downloads", min=1, help="Files that are downloaded at once.")
    ] = 64,
    max_cost: Annotated[
        str | None,
        typer.Option("--max-cost", metavar="DOLLARS", help="Submit nothing that could pass it."),
    ] = None,
    on_unknown: Annotated[
        str,
        typer.Option(
            "--on-unknown",
            metavar="hold|skip|resubmit",
            help="What becomes of a Run that may have made a task, and is not found.",
        ),
    ] = "hold",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed in an earlier run.")
    ] = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="Ctrl-C lets what is in flight finish.")
    ] = False,
    cancel_on_interrupt: Annotated[
        bool, typer.Option("--cancel-on-interrupt", help="Ctrl-C cancels what is in flight.")
    ] = False,
    settle: Annotated[
        float | None,
        typer.Option(
            "--settle",
            metavar="SECONDS",
            min=0.01,
            help="Wait before a Run whose answer was lost is looked for.",
        ),
    ] = None,
    max_output_bytes: MaxOutputBytes = _MAX_OUTPUT,
    disk_patience: Annotated[
        float,
        typer.Option(
            "--disk-patience", metavar="SECONDS", min=0.01, help="How long to wait on a full disk."
        ),
    ] = 600.0,
    uvloop: Annotated[
        bool, typer.Option("--uvloop", help="Run on uvloop, if it is installed.")
    ] = False,
    base_url: BaseUrl = None,
    allow_http: AllowHttp = False,
    first_look: FirstLook = None,
    tracking: TrackBy = "auto",
    emulator: OnEmulator = False,
    speed: Speed = None,
    median: Median = None,
    failure_rate: FailureRate = 0.0,
    fault: Faults = None,
    books: Annotated[
        Path | None, typer.Option("--books", help="Emulator: write what really happened, as JSON.")
    ] = None,
) -> None:
    """Run a file of prompts and save what comes of each.

    The file is checked whole before anything is submitted. The same command started again, after
    whatever end, goes on where it was. Ctrl-C submits nothing more and leaves what is in flight
    to the service; a second one leaves at once.
    """
    options = SourceOptions(
        format=_read_format(file_format),
        prompt_column=prompt_column,
        id_column=id_column,
        columns=read_columns(column or []),
        model=model,
        params=read_params(param or []),
    )
    embedded = _embed(
        emulator=emulator,
        base_url=base_url,
        speed=speed,
        median=median,
        failure_rate=failure_rate,
        faults=read_faults(fault or []),
        books=books,
    )
    service = ServiceOptions(
        base_url=base_url,
        first_look_seconds=first_look,
        tracking=check_choice("--tracking", tracking, get_args(Tracking)),
        max_in_flight=max_in_flight,
        max_downloads=max_downloads,
        settle_seconds=settle,
        max_output_bytes=read_size("--max-output-bytes", max_output_bytes),
        allow_http=allow_http,
        emulator=embedded,
    )
    if drain and cancel_on_interrupt:
        raise ConfigurationError("--drain and --cancel-on-interrupt are two ways: give one of them")
    check_positive("--disk-patience", disk_patience)

    def work() -> int:
        from wiro_async.cli.batch import (  # noqa: PLC0415 - see the head of the file
            BatchOptions,
            run_batch,
        )

        wanted = BatchOptions(
            max_cost=read_cost(max_cost),
            on_unknown=check_choice("--on-unknown", on_unknown, get_args(OnUnknown)),
            retry_failed=retry_failed,
            drain=drain,
            cancel=cancel_on_interrupt,
            disk_patience_seconds=disk_patience,
            uvloop=uvloop,
        )
        return run_batch(service, file, options, out, wanted)

    _finish(work)


@app.command("emulator")
def emulator_command(
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    api_key: Annotated[str, typer.Option("--api-key")] = "emulator-key",
    api_secret: Annotated[
        str, typer.Option("--api-secret", help="An empty one makes a key-only project.")
    ] = "emulator-secret",  # noqa: S107 - opens nothing
    balance: Annotated[float, typer.Option("--balance", min=0, help="Dollars.")] = 1000.0,
    price: Annotated[float, typer.Option("--price", min=0, help="Dollars a task.")] = 0.06,
    speed: Speed = None,
    median: Median = None,
    failure_rate: FailureRate = 0.0,
    rate_limit: Annotated[
        float | None, typer.Option("--rate-limit", min=0.1, help="Requests a second.")
    ] = None,
    fault: Faults = None,
    list_lag: Annotated[
        float,
        typer.Option("--list-lag", metavar="SECONDS", min=0, help="How late Task/List shows."),
    ] = 0.0,
    list_page: Annotated[
        int | None, typer.Option("--list-page", min=1, help="Most rows of a page of Task/List.")
    ] = None,
    no_list: Annotated[bool, typer.Option("--no-list", help="There is no Task/List.")] = False,
    socket: Annotated[
        str,
        typer.Option(
            "--socket",
            metavar="|".join(_SOCKETS),
            help="Tasks that a websocket follows: many, one a connection, or none of them.",
        ),
    ] = "many",
    picture_pixels: Annotated[
        int, typer.Option("--picture-pixels", min=0, help="Long side; 0 for one pixel.")
    ] = 640,
) -> None:
    """Serve the emulator of the service until Ctrl-C."""
    options = EmulatorOptions(
        port=port,
        host=host,
        api_key=api_key,
        api_secret=api_secret or None,
        balance=Decimal(str(balance)),
        price=Decimal(str(price)),
        speed=speed or 1.0,
        median_seconds=median or _MEDIAN_SECONDS,
        failure_rate=failure_rate,
        rate_limit=rate_limit,
        list_lag_seconds=list_lag,
        list_page_limit=list_page,
        list_absent=no_list,
        socket_manner=check_choice("--socket", socket, _SOCKETS),
        faults=read_faults(fault or []),
        picture_pixels=picture_pixels,
    )

    def work() -> int:
        from wiro_async.cli.emulator import serve  # noqa: PLC0415 - see the head of the file

        return asyncio.run(serve(options))

    _finish(work)


def run_app() -> int:
    """Run the command line of this process; the exit code."""
    try:
        app()
    except SystemExit as exit_:  # how typer ends, also when all is well
        return exit_.code if isinstance(exit_.code, int) else EXIT_USAGE
    except (ConfigurationError, InvalidRequest, OutputDirectoryError) as error:
        complain(error.message)
        return EXIT_USAGE
    except WiroError as error:
        complain(error.message)
        return EXIT_FAILED
    except Exception as error:
        if "WIRO_DEBUG" in os.environ:
            raise
        complain(
            f"this should not have happened ({type(error).__name__}: {error}); set WIRO_DEBUG=1 to "
            "see where, and please report it"
        )
    return EXIT_FAILED


def _finish(work: Callable[[], int]) -> None:
    try:
        code = work()
    except (KeyboardInterrupt, asyncio.CancelledError):
        complain("interrupted")
        code = EXIT_INTERRUPTED
    raise typer.Exit(code)


def _embed(
    *,
    emulator: bool,
    base_url: str | None,
    speed: float | None = None,
    median: float | None = None,
    failure_rate: float = 0.0,
    faults: tuple[Fault, ...] = (),
    books: Path | None = None,
) -> EmbeddedEmulator | None:
    """The emulator that was asked for; what is meant for one is not paid for elsewhere."""
    if not emulator:
        if speed or median or failure_rate or faults or books:
            raise ConfigurationError(
                "--speed, --median, --failure-rate, --fault and --books are the emulator's: add "
                "--emulator, or leave them out"
            )
        return None
    if base_url is not None:
        raise ConfigurationError("--emulator and --base-url name two services: give one of them")
    options = EmulatorOptions(
        speed=speed or _EMBEDDED_SPEED,
        median_seconds=median or _MEDIAN_SECONDS,
        failure_rate=failure_rate,
        faults=faults,
    )
    return EmbeddedEmulator(options=options, books=books)


def _read_format(name: str | None) -> Format | None:
    match name:
        case None | "csv" | "tsv" | "txt" | "jsonl":
            return name
        case _:
            raise ConfigurationError(f"--format is {name!r}: it is one of csv, tsv, txt, jsonl")
