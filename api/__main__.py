"""The command line. Each command says in one line what cannot work, and why."""

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from api.bench_cli import benching
from api.branch_cli import branching
from api.cli import is_refusal
from api.cli import run as _run
from api.cli import settings_with as _settings
from api.roles import Role
from api.sandbox_cli import sandbox
from infra.settings import SettingInvalid

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

loading = typer.Typer(no_args_is_help=True, help="Load sample data. Again: nothing happens twice.")
cli.add_typer(loading, name="load")

keeping = typer.Typer(no_args_is_help=True, help="Documents of read models: live, old and new.")
cli.add_typer(keeping, name="generations")
cli.add_typer(branching, name="branch")
cli.add_typer(benching, name="bench")
cli.command()(sandbox)

Via = Annotated[str | None, typer.Option(help="Load through this server's GraphQL (a URL).")]
Bearer = Annotated[str | None, typer.Option("--token", help="With --via: a token for staff.")]


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks one.")] = None,
    only: Annotated[str | None, typer.Option(help="`api`: leave the rest to others.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the port.")
    ] = None,
    memory_image: Annotated[
        list[str] | None,
        typer.Option(help="A read model to hold in memory; may be given several times."),
    ] = None,
) -> None:
    """Serve GraphQL, project and react, unless told otherwise."""
    from api.workers import counting_together  # noqa: PLC0415 the other commands start faster without

    if only not in (None, "api"):
        raise SettingInvalid(f"--only {only}: the one part that serves is `api`.")
    images = tuple(memory_image or ()) or None
    settings = _settings(host=host, port=port, workers=workers, memory_image=images)
    with counting_together(settings.workers):
        from api.serving import serve as serving  # noqa: PLC0415 it counts
        from api.web_server import AddressTaken  # noqa: PLC0415

        try:
            _run(serving(settings, project=only is None))
        except AddressTaken as taken:
            raise SettingInvalid(str(taken)) from taken


@cli.command()
def project(
    from_kafka: Annotated[
        list[str] | None,
        typer.Option(help="Share this read model over Kafka; may be given several times."),
    ] = None,
) -> None:
    """Keep the read models up to date, without serving; or some of them, fed over Kafka."""
    if from_kafka:
        from api.feeding import project_from_kafka  # noqa: PLC0415 as above

        _run(project_from_kafka(_settings(), from_kafka))
        return
    from api.operating import project as projecting  # noqa: PLC0415

    _run(projecting(_settings()))


@cli.command()
def react() -> None:
    """Run the processes and call the outside world, without serving."""
    from api.operating import react as reacting  # noqa: PLC0415

    _run(reacting(_settings()))


@cli.command()
def relay() -> None:
    """Publish the log to Kafka, without serving."""
    from api.operating import relay as relaying  # noqa: PLC0415

    _run(relaying(_settings()))


@cli.command()
def shipping() -> None:
    """Run the shipping desk: another system, with a copy of what it needs of ours."""
    from api.shipping_desk.serving import serve_desk  # noqa: PLC0415 as above
    from api.web_server import AddressTaken  # noqa: PLC0415

    try:
        _run(serve_desk(_settings()))
    except AddressTaken as taken:
        raise SettingInvalid(str(taken)) from taken


@cli.command()
def verify() -> None:
    """Check the log and every document; exit with 1 when something is wrong."""
    from api.operating import verify as verifying  # noqa: PLC0415

    if not _run(verifying(_settings())):
        raise typer.Exit(1)


@cli.command()
def rebuild(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    hold: Annotated[bool, typer.Option(help="Build and compare; --resume makes it live.")] = False,
    pause: Annotated[bool, typer.Option(help="Stop for now, wherever it runs.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on with what was paused or held.")] = False,
    cancel: Annotated[bool, typer.Option(help="Give up; what is live stays.")] = False,
) -> None:
    """Build read models anew from the log (all, or those named) and make them live."""
    from api import operating_generations as operating  # noqa: PLC0415

    chosen = [name for name, on in (("pause", pause), ("cancel", cancel), ("go on", resume)) if on]
    if len(chosen) > 1 or (chosen and (hold or not names)):
        raise SettingInvalid("Name read models, and one of --pause, --resume and --cancel.")
    match chosen:
        case []:
            went_well = _run(operating.rebuild(_settings(), names or [], hold=hold))
        case ["go on"]:
            went_well = _run(operating.go_on(_settings(), names or []))
        case [action]:
            went_well = _run(operating.steer(_settings(), action, names or []))
    if not went_well:
        raise typer.Exit(1)


@keeping.command("list")
def list_generations(names: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """What is live, what is kept, what is being built."""
    from api import operating_generations as operating  # noqa: PLC0415

    _run(operating.list_generations(_settings(), names or []))


@keeping.command("rollback")
def roll_back(
    name: str,
    to: Annotated[int | None, typer.Option(help="Which one; the latest unless told.")] = None,
) -> None:
    """Bring an old generation up to date and make it live."""
    from api import operating_generations as operating  # noqa: PLC0415

    if not _run(operating.rollback(_settings(), name, to)):
        raise typer.Exit(1)


@keeping.command("remove")
def remove_generations(
    name: str, generation: Annotated[int | None, typer.Argument()] = None
) -> None:
    """Remove an old generation, or all old ones of a read model."""
    from api import operating_generations as operating  # noqa: PLC0415

    _run(operating.remove_generations(_settings(), name, generation))


@cli.command()
def history(id: Annotated[str, typer.Argument(help="Such as order-… or stock_item-…")]) -> None:
    """Print every version of one thing: what changed, who changed it, and why."""
    from api.operating_history import print_history  # noqa: PLC0415

    if not _run(print_history(_settings(), id)):
        raise SettingInvalid(f"Nothing has happened to {id}.")


@cli.command()
def export(
    file: Annotated[Path, typer.Argument(help="Such as `log.ndjson.zst`; it must not exist.")],
    after: Annotated[
        int, typer.Option("--from", min=1, help="The first position that is told.")
    ] = 1,
    without_personal_data: Annotated[
        bool, typer.Option(help="Put placeholders for personal data: for bug reports.")
    ] = False,
) -> None:
    """Write the log to a file, to back it up or to move it. Again: it goes on where it was."""
    from api.moving import export as exporting  # noqa: PLC0415

    _going_on(exporting(_settings(), file, after - 1, redacted=without_personal_data))


@cli.command("import")
def import_(file: Annotated[Path, typer.Argument(help="What `tidings export` wrote.")]) -> None:
    """Read the log from a file, into an empty database. Again: it goes on where it was."""
    from api.moving import import_file  # noqa: PLC0415

    _going_on(import_file(_settings(), file))


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
    from api.auth import dev_token  # noqa: PLC0415 as above

    print(dev_token(_settings(), subject, role, customer, hours * 3600))  # noqa: T201 the output


@cli.command()
def schema() -> None:
    """Print the GraphQL schema."""
    from api.schema import SCHEMA  # noqa: PLC0415

    print(SCHEMA.as_str())  # noqa: T201 the output


@cli.command()
def asyncapi() -> None:
    """Print the contract with other systems: what is told over Kafka (AsyncAPI 3)."""
    from api.contract import contract_text  # noqa: PLC0415 as above

    print(contract_text(), end="")  # noqa: T201 the output


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

    if not _going_on(load(_settings(), source, via, bearer)):
        raise typer.Exit(1)


def _going_on(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what may be stopped and goes on when it is run again."""
    try:
        return _run(work)
    except KeyboardInterrupt:
        print("Stopped. Run it again: it goes on where it was.", file=sys.stderr)  # noqa: T201
        raise typer.Exit(130) from None


def main() -> None:
    """The console script."""
    try:
        cli()
    except Exception as refused:
        if not is_refusal(refused):
            raise
        print(f"tidings: {refused}", file=sys.stderr)  # noqa: T201 the one clear line
        sys.exit(2)


if __name__ == "__main__":
    main()
