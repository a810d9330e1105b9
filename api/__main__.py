"""The command line. Each command says in one line what cannot work, and why."""

import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from api.auth import Role, dev_token
from api.logs import configure_logs
from api.sandbox_book import BookUnusable
from infra.embedded import EmbeddedUnavailable
from infra.garbage import collect_rarely
from infra.mongo import Unavailable
from infra.settings import SettingInvalid, Settings, read_settings

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

loading = typer.Typer(no_args_is_help=True, help="Load sample data. Again: nothing happens twice.")
cli.add_typer(loading, name="load")

Via = Annotated[str | None, typer.Option(help="Load through this server's GraphQL (a URL).")]
Bearer = Annotated[str | None, typer.Option("--token", help="With --via: a token for staff.")]


def _settings(**overrides: Any) -> Settings:
    settings = replace(
        read_settings(), **{name: value for name, value in overrides.items() if value is not None}
    )
    configure_logs(settings.log_level)
    return settings


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    import uvloop  # noqa: PLC0415 only commands that run an event loop need it

    collect_rarely()
    return uvloop.run(work)


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks one.")] = None,
    only: Annotated[str | None, typer.Option(help="`api`: leave the rest to others.")] = None,
) -> None:
    """Serve GraphQL, project and react, unless told otherwise."""
    from api.serving import AddressTaken  # noqa: PLC0415 the other commands start faster without
    from api.serving import serve as serving  # noqa: PLC0415

    if only not in (None, "api"):
        raise SettingInvalid(f"--only {only}: the one part that serves is `api`.")
    try:
        _run(serving(_settings(host=host, port=port), project=only is None))
    except AddressTaken as taken:
        raise SettingInvalid(str(taken)) from taken


@cli.command()
def project() -> None:
    """Keep the read models up to date, without serving."""
    from api.operating import project as projecting  # noqa: PLC0415

    _run(projecting(_settings()))


@cli.command()
def react() -> None:
    """Run the processes and call the outside world, without serving."""
    from api.operating import react as reacting  # noqa: PLC0415

    _run(reacting(_settings()))


@cli.command()
def verify() -> None:
    """Check the log and every document; exit with 1 when something is wrong."""
    from api.operating import verify as verifying  # noqa: PLC0415

    if not _run(verifying(_settings())):
        raise typer.Exit(1)


@cli.command()
def rebuild(names: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Build read models anew from the log (all, or those named) and make them live."""
    from api.operating import rebuild as rebuilding  # noqa: PLC0415

    _run(rebuilding(_settings(), names or []))


@cli.command()
def parked(
    action: Annotated[str, typer.Argument(help="`list`, `retry` or `skip`.")] = "list",
    projection: Annotated[str | None, typer.Argument()] = None,
    key: Annotated[str | None, typer.Argument()] = None,
) -> None:
    """List what waits because an event or a command failed; retry it or skip it."""
    from api.operating import parked as waiting  # noqa: PLC0415

    _run(waiting(_settings(), action, projection, key))


@cli.command()
def token(
    role: Annotated[list[Role], typer.Option(help="May be given several times.")],
    customer: Annotated[str | None, typer.Option(help="For the role customer: whose.")] = None,
    subject: Annotated[str, typer.Option(help="Who is acting.")] = "developer",
    hours: Annotated[float, typer.Option(help="How long it is good for.")] = 12.0,
) -> None:
    """Print a development token, for the embedded default only."""
    print(dev_token(_settings(), subject, role, customer, hours * 3600))  # noqa: T201 the output


@cli.command()
def sandbox(
    key: Annotated[str, typer.Option(envvar="TIDINGS_PAYMENT_PROVIDER_KEY")],
    callback_secret: Annotated[str, typer.Option(envvar="TIDINGS_PAYMENT_CALLBACK_SECRET")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks one.")] = 8001,
    book: Annotated[Path, typer.Option(help="The file of its book.")] = Path("sandbox.db"),
    declines: Annotated[float, typer.Option(help="Share of payments, as 0.1.")] = 0.0,
    timeouts: Annotated[float, typer.Option(help="Share held and dropped before the work.")] = 0.0,
    errors: Annotated[float, typer.Option(help="Share answered with 500 before the work.")] = 0.0,
    lost: Annotated[float, typer.Option(help="Share dropped after the work.")] = 0.0,
    duplicates: Annotated[float, typer.Option(help="Share with a callback sent twice.")] = 0.0,
    delay_ms: Annotated[float, typer.Option(help="Before each answer.")] = 0.0,
    hold_ms: Annotated[float, typer.Option(help="How long a time-out is held.")] = 30_000.0,
    seed: Annotated[int, typer.Option(help="Another seed strikes other payments.")] = 0,
) -> None:
    """Run a payment provider to try things with, in good and bad weather."""
    from api.sandbox_serving import (  # noqa: PLC0415 the other commands start faster without
        Rates,
        SandboxSettings,
        serve_sandbox,
    )

    try:
        rates = Rates(
            declines=declines,
            timeouts=timeouts,
            errors=errors,
            lost=lost,
            duplicates=duplicates,
            seed=seed,
        )
    except ValueError as error:
        raise SettingInvalid(str(error)) from error
    settings = SandboxSettings(
        key=key, callback_secret=callback_secret, rates=rates, delay_ms=delay_ms, hold_ms=hold_ms
    )
    serve_sandbox(settings, book, host, port)


@cli.command()
def schema() -> None:
    """Print the GraphQL schema."""
    from api.schema import SCHEMA  # noqa: PLC0415

    print(SCHEMA.as_str())  # noqa: T201 the output


@loading.command("demo")
def load_demo(via: Via = None, bearer: Bearer = None) -> None:
    """A small shop for a first look."""
    from api.loading.demo import demo  # noqa: PLC0415 the other commands start faster without

    _load(demo(), via, bearer)


@loading.command("tpch")
def load_tpch(
    scale: Annotated[float, typer.Option(help="0.01 is 15,000 orders.")] = 0.01,
    via: Via = None,
    bearer: Bearer = None,
) -> None:
    """The TPC-H data: customers, products, stock, and orders with what became of them."""
    from api.loading.tpch import tpch  # noqa: PLC0415 the other commands start faster without

    _load(tpch(scale), via, bearer)


def _load(source: Any, via: str | None, bearer: str | None) -> None:
    from api.loading.running import load  # noqa: PLC0415 the other commands start faster without

    try:
        if not _run(load(_settings(), source, via, bearer)):
            raise typer.Exit(1)
    except KeyboardInterrupt:
        print("Stopped. Run it again: it goes on where it was.", file=sys.stderr)  # noqa: T201
        raise typer.Exit(130) from None


def main() -> None:
    """The console script."""
    try:
        cli()
    except (SettingInvalid, EmbeddedUnavailable, Unavailable, BookUnusable) as refused:
        print(f"tidings: {refused}", file=sys.stderr)  # noqa: T201 the one clear line
        sys.exit(2)


if __name__ == "__main__":
    main()
