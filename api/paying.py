"""The payment provider of this process: the one that is set, or else the sandbox beside it.

1. Settings that are incomplete, or open to strangers, stop the start, and say why.
2. The sandbox beside is for trying things out: never in production. Both its ends are in this
   process, so its keys are made anew each time; its book stays, in `sandbox.db`.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from api.payment_provider import PaymentProvider
from api.sandbox import SandboxSettings
from api.sandbox_serving import sandbox_beside
from domain.gateways import PAYMENT_PROVIDER
from infra.gateways import Call
from infra.http_gateway import Patience, open_http_gateway
from infra.settings import Settings, check_payment_settings


@dataclass(frozen=True)
class Payments:
    """`provider` is None where another process calls it; `callback_secret` is what callbacks are
    signed with, and without one none are taken."""

    provider: PaymentProvider | None
    callback_secret: str | None

    @property
    def calls(self) -> dict[str, Call]:
        """What reactions may call."""
        return {PAYMENT_PROVIDER.name: self.provider.call} if self.provider else {}


@asynccontextmanager
async def open_payments(
    settings: Settings, callback_url: str | None, *, calls: bool
) -> AsyncIterator[Payments]:
    """`callback_url` is where the sandbox beside us sends its callbacks, `calls` whether this
    process calls the provider. Raises `SettingInvalid`, or `BookUnusable`."""
    check_payment_settings(settings, calls=calls)
    if not calls:
        yield Payments(None, settings.payment_callback_secret)
        return
    url, key = settings.payment_provider_url, settings.payment_provider_key
    if url is not None and key is not None:
        patience = Patience(seconds=settings.payment_provider_seconds)
        async with open_http_gateway("payment provider", url, key, patience) as gateway:
            provider = PaymentProvider(gateway, settings.payment_callback_url)
            yield Payments(provider, settings.payment_callback_secret)
        return
    beside = SandboxSettings(key=secrets.token_hex(32), callback_secret=secrets.token_hex(32))
    async with (
        sandbox_beside(beside, settings.home / "sandbox.db") as sandbox,
        open_http_gateway("payment sandbox", sandbox, beside.key) as gateway,
    ):
        yield Payments(PaymentProvider(gateway, callback_url), beside.callback_secret)
