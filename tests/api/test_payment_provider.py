"""The adapter of the payment provider, against the sandbox and against servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.paying import open_payments
from api.payment_provider import AnswerMismatch, PaymentProvider, Requested, answered, asked
from api.provider_contract import Authorisation, Movement, ProviderAnswer, Void
from domain.payment import (
    AuthorisationRequested,
    CaptureRequested,
    RecordAuthorisation,
    RecordCapture,
    RecordDecline,
    RecordRefund,
    RecordVoid,
    RefundRequested,
    VoidRequested,
)
from infra.gateways import TryLater
from infra.http_gateway import HttpRefused, Patience, open_http_gateway
from infra.settings import SettingInvalid, Settings, check_payment_settings
from tests.api.live import served
from tests.api.provider import (
    KEY,
    SECRET,
    SETTINGS,
    Provider,
    free_port,
    merchant,
    sandbox,
    sandbox_program,
)

AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
HASTY: Final = Patience(seconds=3.0, first_wait=0.01, open_seconds=0.2)


def authorisation(card: str = "ok", payment_id: str = "payment-1") -> AuthorisationRequested:
    return AuthorisationRequested(
        payment_id=payment_id,
        order_id="order-1",
        customer_id="customer-1",
        amount=1_000,
        currency="EUR",
        card=card,
        at=AT,
    )


def capture(reference: str, amount: int = 600) -> CaptureRequested:
    return CaptureRequested(
        payment_id="payment-1",
        order_id="order-1",
        capture_id="capture-1",
        reference=reference,
        amount=amount,
        currency="EUR",
        at=AT,
    )


def void(reference: str) -> VoidRequested:
    return VoidRequested(payment_id="payment-1", order_id="order-1", reference=reference, at=AT)


def refund(reference: str, amount: int = 200) -> RefundRequested:
    return RefundRequested(
        payment_id="payment-1",
        order_id="order-1",
        refund_id="refund-1",
        reference=reference,
        amount=amount,
        currency="EUR",
        at=AT,
    )


@asynccontextmanager
async def adapter(url: str, patience: Patience = HASTY) -> AsyncIterator[PaymentProvider]:
    async with open_http_gateway("test provider", url, KEY, patience) as gateway:
        yield PaymentProvider(gateway)


@dataclass(frozen=True)
class Both:
    """The adapter, and the sandbox as another merchant's view."""

    provider: PaymentProvider
    sandbox: Provider


@pytest_asyncio.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    async with (
        sandbox(tmp_path / "sandbox.db", replace(SETTINGS, slow_ms=100)) as running,
        adapter(running.url) as provider,
    ):
        yield Both(provider, running)


# The mapping


@pytest.mark.parametrize(
    ("event", "path", "body"),
    [
        (
            authorisation("visa"),
            "/payments",
            Authorisation(
                merchant_reference="payment-1", amount=1_000, currency="EUR", card="visa"
            ),
        ),
        (
            capture("pay_1"),
            "/payments/pay_1/captures",
            Movement(merchant_reference="capture-1", amount=600),
        ),
        (void("pay_1"), "/payments/pay_1/voids", Void(merchant_reference="payment-1")),
        (
            refund("../book?a"),
            "/payments/..%2Fbook%3Fa/refunds",
            Movement(merchant_reference="refund-1", amount=200),
        ),
    ],
)
def test_a_request_is_asked_over_http(event: Requested, path: str, body: Any) -> None:
    assert asked(event) == (path, body)


def answer(status: Any) -> ProviderAnswer:
    return ProviderAnswer(status=status, reference="pay_1", at=AT, reason="No" * 200)


@pytest.mark.parametrize(
    ("event", "status", "command"),
    [
        (
            authorisation(),
            "authorised",
            RecordAuthorisation(payment_id="payment-1", reference="pay_1", at=AT),
        ),
        (
            authorisation(),
            "declined",
            RecordDecline(payment_id="payment-1", reason="No" * 100, at=AT),
        ),
        (
            capture("pay_1"),
            "captured",
            RecordCapture(payment_id="payment-1", capture_id="capture-1", at=AT),
        ),
        (void("pay_1"), "voided", RecordVoid(payment_id="payment-1", at=AT)),
        (
            refund("pay_1"),
            "refunded",
            RecordRefund(payment_id="payment-1", refund_id="refund-1", at=AT),
        ),
    ],
)
def test_an_answer_is_recorded(event: Requested, status: str, command: Any) -> None:
    assert answered(event, answer(status)) == command


def test_an_answer_to_something_else_is_none() -> None:
    with pytest.raises(AnswerMismatch):
        answered(capture("pay_1"), answer("refunded"))


# Against the sandbox


async def test_a_payment_from_authorisation_to_refund(both: Both) -> None:
    authorised = await both.provider.call(authorisation(), "a")
    assert isinstance(authorised, RecordAuthorisation)
    captured = await both.provider.call(capture(authorised.reference), "c")
    assert isinstance(captured, RecordCapture)
    assert isinstance(await both.provider.call(refund(authorised.reference), "r"), RecordRefund)
    sums = (await both.sandbox.book())["currencies"]["EUR"]
    assert sums == {"authorised": 1_000, "captured": 600, "refunded": 200, "voided": 0}


async def test_a_payment_is_voided(both: Both) -> None:
    authorised = await both.provider.call(authorisation(), "a")
    assert isinstance(authorised, RecordAuthorisation)
    assert isinstance(await both.provider.call(void(authorised.reference), "v"), RecordVoid)


async def test_a_decline_is_an_answer(both: Both) -> None:
    assert isinstance(await both.provider.call(authorisation("declined"), "a"), RecordDecline)


@pytest.mark.parametrize("card", ["slow", "timeout", "error-500", "lost-answer"])
async def test_trouble_that_passes_is_not_noticed(both: Both, card: str) -> None:
    command = await both.provider.call(authorisation(card), "a")
    assert isinstance(command, RecordAuthorisation)
    assert await both.provider.call(authorisation(card), "a") == command
    book = await both.sandbox.book()
    assert (book["payments"], book["double_charges"]) == (1, 0)


async def test_a_definite_refusal_is_for_an_operator(both: Both) -> None:
    authorised = await both.provider.call(authorisation(), "a")
    assert isinstance(authorised, RecordAuthorisation)
    with pytest.raises(HttpRefused, match=r"422: .*cannot be captured"):
        await both.provider.call(capture(authorised.reference, 5_000), "c")


async def test_a_key_of_ours_that_is_wrong_is_a_refusal(both: Both) -> None:
    wrong = open_http_gateway("test provider", both.sandbox.url, "x" * 20, HASTY)
    async with wrong as gateway:
        with pytest.raises(HttpRefused, match="401"):
            await PaymentProvider(gateway).call(authorisation(), "a")


async def test_a_kill_between_the_answer_and_the_retry_charges_once(tmp_path: Path) -> None:
    book, port = tmp_path / "sandbox.db", free_port()
    url = f"http://127.0.0.1:{port}"
    async with adapter(url) as provider, merchant(url) as other:
        async with sandbox_program(book, port=port) as program:
            first = await provider.call(authorisation(payment_id="payment-1"), "a")
            await program.kill()
        with pytest.raises(TryLater):
            await provider.call(authorisation(payment_id="payment-1"), "a")
        async with sandbox_program(book, port=port):
            assert await provider.call(authorisation(payment_id="payment-1"), "a") == first
            totals = await other.book()
    assert (totals["payments"], totals["double_charges"]) == (1, 0)
    assert totals["double_charges_prevented"] >= 1


# Against servers that misbehave


@dataclass
class Counted:
    """Answers all requests alike, and counts them."""

    respond: Callable[[], Response]
    requests: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)

    async def endpoint(self, request: Request) -> Response:
        self.requests += 1
        self.headers.append(dict(request.headers))
        return self.respond()


@asynccontextmanager
async def answering(respond: Callable[[], Response]) -> AsyncIterator[tuple[Counted, str]]:
    counted = Counted(respond)
    routes = [Route("/{path:path}", counted.endpoint, methods=["POST"])]
    async with served(Starlette(routes=routes)) as port:
        yield counted, f"http://127.0.0.1:{port}"


GOOD: Final = msgspec.json.encode(answer("authorised"))


@pytest.mark.parametrize(
    ("status", "content", "requests"),
    [
        (500, GOOD, 3),
        (503, b"", 3),
        (408, b"", 3),
        (409, b"", 3),
        (429, b"", 1),
        (200, b"", 3),
        (200, b"<html>", 3),
        (200, b"{}", 1),
        (200, b'{"status": "perhaps", "reference": "pay_1", "at": "2026-03-01T12:00:00Z"}', 1),
        (200, b'{"status": "authorised", "reference": "pay_1", "at": "2026-03-01T12:00:00"}', 1),
        (200, msgspec.json.encode(answer("captured")), 1),
    ],
)
async def test_what_says_nothing_is_asked_later(status: int, content: bytes, requests: int) -> None:
    async with answering(lambda: Response(content, status)) as (server, url):
        async with adapter(url) as provider:
            with pytest.raises(TryLater):
                await provider.call(authorisation(), "a")
        assert server.requests == requests
        assert {headers["idempotency-key"] for headers in server.headers} == {"a"}


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
async def test_what_is_definite_is_asked_once(status: int) -> None:
    async with answering(lambda: Response(b"no", status)) as (server, url):
        async with adapter(url) as provider:
            with pytest.raises(HttpRefused, match=str(status)):
                await provider.call(authorisation(), "a")
        assert server.requests == 1


async def test_nobody_there() -> None:
    async with adapter(f"http://127.0.0.1:{free_port()}") as provider:
        with pytest.raises(TryLater, match="ConnectError"):
            await provider.call(authorisation(), "a")


async def test_silence() -> None:
    connections: list[asyncio.Task[Any] | None] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with adapter(url, replace(HASTY, seconds=0.1)) as provider:
            with pytest.raises(TryLater, match="ReadTimeout"):
                await provider.call(authorisation(), "a")
        await asyncio.gather(*(task for task in connections if task is not None))


async def test_the_circuit_opens_and_closes() -> None:
    state = {"status": 500}
    answers = answering(lambda: Response(GOOD, state["status"]))
    async with answers as (server, url), adapter(url) as provider:
        for _ in range(HASTY.failures):
            with pytest.raises(TryLater):
                await provider.call(authorisation(), "a")
        assert server.requests == HASTY.failures
        with pytest.raises(TryLater, match="circuit is open"):
            await provider.call(authorisation(), "a")
        await asyncio.sleep(HASTY.open_seconds * 1.1)
        with pytest.raises(TryLater):  # one is let through to see, and it opens again
            await provider.call(authorisation(), "a")
        assert server.requests == HASTY.failures + 1
        state["status"] = 200
        await asyncio.sleep(HASTY.open_seconds * 1.1)
        for _ in range(3):
            assert isinstance(await provider.call(authorisation(), "a"), RecordAuthorisation)


async def test_refusals_and_callers_that_give_up_open_no_circuit() -> None:
    state = {"status": 422}
    answers = answering(lambda: Response(GOOD, state["status"]))
    async with answers as (_, url), adapter(url) as provider:
        for _ in range(HASTY.failures + 1):
            with pytest.raises(HttpRefused):
                await provider.call(authorisation(), "a")
        for _ in range(HASTY.failures + 1):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(provider.call(authorisation(), "a"), 0)
        state["status"] = 200
        await provider.call(authorisation(), "a")


# Settings


URL: Final = "https://pay.example.com"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"production": True}, "not for production"),
        ({"payment_provider_key": KEY}, "no use without"),
        ({"payment_provider_url": URL}, "PROVIDER_KEY"),
        ({"payment_provider_url": URL, "payment_provider_key": "short"}, "PROVIDER_KEY"),
        ({"payment_provider_url": URL, "payment_provider_key": "x" * 20 + "\n"}, "PROVIDER_KEY"),
        ({"payment_provider_url": "ftp://x", "payment_provider_key": KEY}, "PROVIDER_URL"),
        ({"payment_provider_url": "http://[", "payment_provider_key": KEY}, "PROVIDER_URL"),
        (
            {
                "production": True,
                "payment_provider_url": "http://pay.example.com",
                "payment_provider_key": KEY,
            },
            "must be an https URL",
        ),
        (
            {
                "payment_provider_url": URL,
                "payment_provider_key": KEY,
                "payment_callback_url": URL,
            },
            "CALLBACK_SECRET",
        ),
        (
            {
                "payment_provider_url": URL,
                "payment_provider_key": KEY,
                "payment_provider_seconds": 0.0,
            },
            "PROVIDER_SECONDS",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingInvalid, match=why):
        check_payment_settings(Settings(**settings), calls=True)


def test_whoever_does_not_call_needs_no_provider() -> None:
    check_payment_settings(Settings(production=True), calls=False)


async def test_without_a_provider_there_is_a_sandbox_with_a_book(tmp_path: Path) -> None:
    async with open_payments(Settings(home=tmp_path), None, calls=True) as payments:
        assert payments.provider is not None
        first = await payments.provider.call(authorisation(), "a")
    async with open_payments(Settings(home=tmp_path), None, calls=True) as payments:
        assert payments.provider is not None
        assert await payments.provider.call(authorisation(), "a") == first
    assert (tmp_path / "sandbox.db").exists()


async def test_the_provider_that_is_set_is_called(tmp_path: Path) -> None:
    async with sandbox(tmp_path / "sandbox.db") as running:
        settings = Settings(
            home=tmp_path / "home",
            payment_provider_url=running.url,
            payment_provider_key=KEY,
            payment_callback_secret=SECRET,
        )
        async with open_payments(settings, None, calls=True) as payments:
            assert payments.provider is not None
            assert payments.callback_secret == SECRET
            await payments.provider.call(authorisation(), "a")
        assert (await running.book())["payments"] == 1
    assert not (tmp_path / "home").exists()
