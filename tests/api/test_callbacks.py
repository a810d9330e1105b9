"""Callbacks of the payment provider: they answer a request once, with the answer or without it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from api.callbacks import PATH, callback_route, command_of
from api.command_errors import ERRORS
from api.payment_provider import PaymentProvider
from api.provider_contract import ProviderAnswer, ProviderCallback
from api.runtime import CODEC
from api.signatures import SIGNATURE_HEADER, TOLERANCE_SECONDS, is_signed, sign
from domain.gateways import PAYMENT_PROVIDER
from domain.payment import AuthorisePayment, CapturePayment
from domain.recorded import Recorded
from domain.registry import AGGREGATES, JOINT_DECISIONS
from infra.answers import Accepted, Request
from infra.commands import CommandHandler
from infra.following import Row, fact_of, gateway_follower, react
from infra.gateways import caller
from infra.http_gateway import Patience, open_http_gateway
from infra.log import Log
from infra.mongo import open_mongo
from infra.outcomes import Done
from tests.api.live import served
from tests.api.provider import KEY, SECRET, SETTINGS, sandbox

AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAYMENT: Final = "payment-1"
ANSWER: Final = ProviderAnswer(status="authorised", reference="pay_1", at=AT)


@dataclass(frozen=True)
class Shop:
    """A log with a handler, and the route that the provider calls."""

    url: str
    http: httpx.AsyncClient
    log: Log
    handler: CommandHandler

    async def handle(self, command: Any, name: str) -> None:
        answer = await self.handler.handle(Request(command=command, command_id=name, actor="test"))
        assert isinstance(answer, Accepted), answer

    async def asked(self, card: str = "ok") -> Recorded:
        """An authorisation that has been requested."""
        command = AuthorisePayment(
            payment_id=PAYMENT,
            order_id="order-1",
            customer_id="customer-1",
            amount=1_000,
            currency="EUR",
            card=card,
            at=AT,
        )
        await self.handle(command, "authorise")
        return (await self.happened())[-1]

    async def happened(self) -> list[Recorded]:
        return (await self.log.streams([PAYMENT]))[PAYMENT]

    async def names(self) -> list[str]:
        return [type(recorded.event).__name__ for recorded in await self.happened()]

    async def told(
        self, body: bytes, secret: str = SECRET, at: float | None = None
    ) -> httpx.Response:
        signature = sign(secret, body, time.time() if at is None else at)
        return await self.http.post(self.url, content=body, headers={SIGNATURE_HEADER: signature})


def callback(key: str, answer: ProviderAnswer = ANSWER, payment: str = PAYMENT) -> bytes:
    return msgspec.json.encode(ProviderCallback(key=key, payment=payment, answer=answer))


def row_of(asked: Recorded) -> Row:
    """The request as the reactor puts it into the outbox of the gateway."""
    fact = fact_of(gateway_follower(PAYMENT_PROVIDER), asked)
    assert fact is not None
    return react(gateway_follower(PAYMENT_PROVIDER), {}, [fact], 1).rows[0]


@asynccontextmanager
async def handling(log: Log) -> AsyncIterator[CommandHandler]:
    handler = CommandHandler(log, AGGREGATES, JOINT_DECISIONS, ERRORS)
    task = asyncio.create_task(handler.run())
    yield handler
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest_asyncio.fixture
async def shop(mongodb_uri: str, database_name: str) -> AsyncIterator[Shop]:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        log = Log(mongo, CODEC)
        await log.prepare()
        async with handling(log) as handler, httpx.AsyncClient(trust_env=False) as http:
            app = Starlette(routes=[callback_route(log, handler, SECRET)])
            async with served(app) as port:
                yield Shop(f"http://127.0.0.1:{port}{PATH}", http, log, handler)


# Answers


async def test_a_callback_records_the_answer_with_where_it_came_from(shop: Shop) -> None:
    asked = await shop.asked()
    answer = await shop.told(callback(asked.meta.event_id))
    assert (answer.status_code, answer.json()) == (200, {"status": "recorded"})
    assert await shop.names() == ["AuthorisationRequested", "PaymentAuthorised"]
    meta = (await shop.happened())[-1].meta
    assert meta.correlation_id == asked.meta.correlation_id
    assert meta.causation_id == asked.meta.event_id
    assert meta.cause == "AuthorisationRequested"


async def test_a_callback_that_comes_again_changes_nothing(shop: Shop) -> None:
    asked = await shop.asked()
    body = callback(asked.meta.event_id)
    answers = await asyncio.gather(*(shop.told(body) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await shop.told(body)).json() == {"status": "known"}
    assert len(await shop.happened()) == 2


async def test_a_decline(shop: Shop) -> None:
    asked = await shop.asked()
    declined = replace(ANSWER, status="declined", reason="No")
    await shop.told(callback(asked.meta.event_id, declined))
    assert await shop.names() == ["AuthorisationRequested", "PaymentDeclined"]


async def test_the_first_answer_counts(shop: Shop) -> None:
    asked = await shop.asked()
    await shop.told(callback(asked.meta.event_id))
    declined = replace(ANSWER, status="declined")
    assert (await shop.told(callback(asked.meta.event_id, declined))).status_code == 200
    assert await shop.names() == ["AuthorisationRequested", "PaymentAuthorised"]


async def test_the_answer_and_its_callback_are_one_command(shop: Shop) -> None:
    asked = await shop.asked()
    row = row_of(asked)
    told = ProviderCallback(key=asked.meta.event_id, payment=PAYMENT, answer=ANSWER)
    assert command_of(asked, told).command_id == row.id

    async def call(_: Any, key: str) -> Any:
        assert key == asked.meta.event_id
        return command_of(asked, told).command

    carry = caller(shop.handler, PAYMENT_PROVIDER, call, shop.log.codec)
    body = callback(asked.meta.event_id)
    outcomes = await asyncio.gather(carry(row), shop.told(body), carry(row), shop.told(body))
    assert outcomes[0] == outcomes[2] == Done()
    assert await shop.names() == ["AuthorisationRequested", "PaymentAuthorised"]


@pytest.mark.parametrize("card", ["ok", "lost-answer", "duplicate-callback", "timeout"])
async def test_the_sandbox_answers_and_calls_back(shop: Shop, tmp_path: Path, card: str) -> None:
    patience = Patience(seconds=3.0, first_wait=0.01)
    async with (
        sandbox(tmp_path / "sandbox.db", replace(SETTINGS, hold_ms=100)) as running,
        open_http_gateway("test provider", running.url, KEY, patience) as gateway,
    ):
        provider = PaymentProvider(gateway, shop.url)
        carry = caller(shop.handler, PAYMENT_PROVIDER, provider.call, shop.log.codec)
        asked = await shop.asked(card)
        assert await carry(row_of(asked)) == Done()
        capture = CapturePayment(payment_id=PAYMENT, capture_id="capture-1", amount=700, at=AT)
        await shop.handle(capture, "capture")
        assert await carry(row_of((await shop.happened())[-1])) == Done()
        book = await running.book()
    assert await shop.names() == [
        "AuthorisationRequested",
        "PaymentAuthorised",
        "CaptureRequested",
        "PaymentCaptured",
    ]
    assert (book["payments"], book["double_charges"]) == (1, 0)
    assert book["currencies"]["EUR"]["captured"] == 700


# Forgeries and rubbish


async def test_what_is_forged_or_old_is_not_looked_at(shop: Shop) -> None:
    asked = await shop.asked()
    body, now = callback(asked.meta.event_id), time.time()
    good = sign(SECRET, body, now)
    late, early = now - TOLERANCE_SECONDS - 5, now + TOLERANCE_SECONDS + 5
    for signature in (
        "",
        "nonsense",
        good.replace("v1=", "v0="),
        good[:-1],
        good + "0",
        good.upper(),
        sign("another-secret-of-somebody", body, now),
        sign(SECRET, body + b" ", now),
        good.replace(f"t={int(now)}", f"t={int(now) - 1}"),
        sign(SECRET, body, late),
        sign(SECRET, body, early),
        f"t={'9' * 5_000},v1={'0' * 64}",
        good.encode().replace(b"t=", b"t=\xb2"),
    ):
        headers = [(SIGNATURE_HEADER.encode(), _bytes(signature))]
        answer = await shop.http.post(shop.url, content=body, headers=headers)
        assert answer.status_code == 401, signature
    assert (await shop.http.post(shop.url, content=body)).status_code == 401
    assert await shop.names() == ["AuthorisationRequested"]


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b'{"key": {"$ne": 1}, "payment": "payment-1", "answer": {}}', 400),
        (b"[" * 10_000, 400),
        (b" " * 20_000, 413),
        (callback("another-event"), 404),
        (callback("event", payment="payment-unknown"), 404),
        (callback("event", payment="$where"), 404),
    ],
)
async def test_signed_rubbish_is_refused(shop: Shop, body: bytes, status: int) -> None:
    await shop.asked()
    assert (await shop.told(body)).status_code == status
    assert len(await shop.happened()) == 1


async def test_an_answer_to_something_else_is_refused(shop: Shop) -> None:
    asked = await shop.asked()
    captured = replace(ANSWER, status="captured")
    assert (await shop.told(callback(asked.meta.event_id, captured))).status_code == 400
    assert len(await shop.happened()) == 1


async def test_an_event_that_is_no_request_has_no_answer(shop: Shop) -> None:
    asked = await shop.asked()
    await shop.told(callback(asked.meta.event_id))
    authorised = (await shop.happened())[-1]
    assert (await shop.told(callback(authorised.meta.event_id))).status_code == 404


async def test_only_posts_are_taken(shop: Shop) -> None:
    assert (await shop.http.get(shop.url)).status_code == 405


def test_a_signature_is_good_for_five_minutes() -> None:
    signature = sign(SECRET, b"body", 1_000)
    assert is_signed(SECRET, signature, b"body", 1_000 + TOLERANCE_SECONDS)
    assert is_signed(SECRET, signature, b"body", 1_000 - TOLERANCE_SECONDS)
    assert not is_signed(SECRET, signature, b"body", 1_001 + TOLERANCE_SECONDS)
    assert not is_signed(SECRET, signature, b"body", 999 - TOLERANCE_SECONDS)
