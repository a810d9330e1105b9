"""`tidings sandbox`: the payment provider to try things with."""

from pathlib import Path
from typing import Annotated

import typer

from infra.settings import SettingInvalid


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
