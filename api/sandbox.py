"""A payment provider to try things with: `api/provider_contract.py`, with trouble on demand.

1. It is a program of its own with a book of its own; `GET /book` says what it believes was charged.
2. Trouble comes by test card or by rates (`api/sandbox_behaviour.py`).
3. A time-out and a 500 happen before the work, a lost answer after it.
4. Nothing that a client sends gives a 5xx, except where one was ordered.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.bodies import read_body
from api.posted import bearer_token
from api.provider_contract import (
    CALLBACK_HEADER,
    KEY_HEADER,
    Authorisation,
    Movement,
    ProviderAnswer,
    ProviderCallback,
    Void,
)
from api.sandbox_behaviour import Behaviour, Rates, behaviour
from api.sandbox_book import Book, Callback, KeyReused, Payment
from api.sandbox_callbacks import CallbackSender, callback_sender
from infra.codec import now

MOST_KEY: Final = 200

Asked: TypeAlias = Authorisation | Movement | Void


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """`hold_ms` is how long a request that times out is held before its connection is dropped."""

    key: str = field(repr=False)
    callback_secret: str = field(repr=False)
    rates: Rates = field(default_factory=Rates)
    delay_ms: float = 0.0
    slow_ms: float = 1_000.0
    hold_ms: float = 30_000.0


@dataclass(frozen=True)
class _Asked:
    """A request that is well formed. `reference` is empty for a new payment."""

    key: str
    kind: str
    reference: str
    body: Asked
    callback_url: str | None

    @property
    def fingerprint(self) -> str:
        text = f"{self.kind}/{self.reference}/".encode() + msgspec.json.encode(self.body)
        return hashlib.blake2b(text, digest_size=16).hexdigest()


@dataclass(frozen=True)
class _Done:
    """What becomes of a request; no answer where nothing was done."""

    behaviour: Behaviour
    answer: str | None
    callback: Callback | None = None


def create_sandbox(settings: SandboxSettings, book: Book) -> Starlette:
    """The application; its lifespan sends callbacks."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with callback_sender(book, settings.callback_secret) as sender:
            app.state.sandbox = _Sandbox(settings, book, sender)
            yield

    def route(path: str, kind: str, body: type[Asked]) -> Route:
        async def endpoint(request: Request) -> ASGIApp:
            _check_key(request, settings.key)
            sandbox: _Sandbox = request.app.state.sandbox
            return await sandbox.respond(request, await _asked(request, kind, body))

        return Route(path, endpoint, methods=["POST"])

    async def payment(request: Request) -> Response:
        _check_key(request, settings.key)
        found = _known(book.payment(request.path_params["reference"]))
        return Response(msgspec.json.encode(found), media_type="application/json")

    async def totals(request: Request) -> Response:
        _check_key(request, settings.key)
        return JSONResponse(book.totals())

    return Starlette(
        routes=[
            route("/payments", "authorise", Authorisation),
            route("/payments/{reference}/captures", "capture", Movement),
            route("/payments/{reference}/refunds", "refund", Movement),
            route("/payments/{reference}/voids", "void", Void),
            Route("/payments/{reference}", payment),
            Route("/book", totals),
        ],
        exception_handlers={HTTPException: _refused},
        lifespan=lifespan,
    )


class _Sandbox:
    def __init__(self, settings: SandboxSettings, book: Book, sender: CallbackSender) -> None:
        self._settings = settings
        self._book = book
        self._sender = sender

    async def respond(self, request: Request, asked: _Asked) -> ASGIApp:
        await asyncio.sleep(self._settings.delay_ms / 1000)
        done = self._carry_out(asked)
        if done.callback:
            self._sender.send(done.callback)
        match done.behaviour:
            case Behaviour.TIMEOUT:
                await _hold(request, self._settings.hold_ms / 1000)
                return _drop
            case Behaviour.LOST_ANSWER:
                return _drop
            case Behaviour.ERROR_500:
                return JSONResponse({"error": "Something went wrong here."}, 500)
            case Behaviour.SLOW:
                await asyncio.sleep(self._settings.slow_ms / 1000)
        return Response(done.answer, 201, media_type="application/json")

    def _carry_out(self, asked: _Asked) -> _Done:
        """Raises `HTTPException` for what cannot be done; then nothing has been."""
        try:
            with self._book.transaction():
                return self._entered(asked)
        except KeyReused:
            raise HTTPException(422, "The key has been used for another request.") from None

    def _entered(self, asked: _Asked) -> _Done:
        attempt, known = self._book.arrived(asked.key, asked.fingerprint)
        if known is not None:
            return _Done(Behaviour.OK, known)
        payment = self._payment_of(asked)
        chosen = behaviour(payment.card, asked.key, attempt, self._settings.rates)
        if chosen in (Behaviour.TIMEOUT, Behaviour.ERROR_500):
            return _Done(chosen, None)
        answer = _WORK[asked.kind](self._book, payment, asked.body, chosen)
        text = msgspec.json.encode(answer).decode()
        self._book.answer(asked.key, text)
        if asked.callback_url is None:
            return _Done(chosen, text)
        told = ProviderCallback(key=asked.key, payment=payment.merchant_reference, answer=answer)
        copies = 2 if chosen is Behaviour.DUPLICATE_CALLBACK else 1
        body = msgspec.json.encode(told).decode()
        return _Done(chosen, text, self._book.call_back(asked.callback_url, body, copies))

    def _payment_of(self, asked: _Asked) -> Payment:
        """The payment that is meant, or the one that is to be opened."""
        if not isinstance(asked.body, Authorisation):
            return _known(self._book.payment(asked.reference))
        return Payment(
            reference=f"pay_{hashlib.blake2b(asked.key.encode(), digest_size=12).hexdigest()}",
            merchant_reference=asked.body.merchant_reference,
            currency=asked.body.currency,
            amount=asked.body.amount,
            card=asked.body.card,
            status="authorised",
        )


# -- the work: each enters what was done, and answers


def _authorise(book: Book, payment: Payment, _: Any, chosen: Behaviour) -> ProviderAnswer:
    if chosen is Behaviour.DECLINED:
        book.open(replace(payment, status="declined"))
        return ProviderAnswer(
            status="declined", reference=payment.reference, at=now(), reason="The card was declined"
        )
    book.open(payment)
    return ProviderAnswer(status="authorised", reference=payment.reference, at=now())


def _capture(book: Book, payment: Payment, asked: Movement, _: Behaviour) -> ProviderAnswer:
    if payment.status != "authorised" or asked.amount > payment.amount - payment.captured:
        raise HTTPException(422, f"{asked.amount} cannot be captured.")
    book.move(payment.reference, "capture", asked.merchant_reference, asked.amount)
    return ProviderAnswer(status="captured", reference=payment.reference, at=now())


def _refund(book: Book, payment: Payment, asked: Movement, _: Behaviour) -> ProviderAnswer:
    if asked.amount > payment.captured - payment.refunded:
        raise HTTPException(422, f"{asked.amount} cannot be refunded.")
    book.move(payment.reference, "refund", asked.merchant_reference, asked.amount)
    return ProviderAnswer(status="refunded", reference=payment.reference, at=now())


def _void(book: Book, payment: Payment, asked: Void, _: Behaviour) -> ProviderAnswer:
    if payment.status != "authorised" or payment.captured:
        raise HTTPException(422, "The payment cannot be voided.")
    book.move(payment.reference, "void", asked.merchant_reference, payment.amount)
    return ProviderAnswer(status="voided", reference=payment.reference, at=now())


_WORK: Final[dict[str, Callable[..., ProviderAnswer]]] = {
    "authorise": _authorise,
    "capture": _capture,
    "refund": _refund,
    "void": _void,
}


# -- requests and answers


def _check_key(request: Request, key: str) -> None:
    token = bearer_token(request.scope["headers"]) or ""
    if not hmac.compare_digest(token.encode(), key.encode()):
        raise HTTPException(401, "The key is not accepted.", {"WWW-Authenticate": "Bearer"})


async def _asked(request: Request, kind: str, body: type[Asked]) -> _Asked:
    key = request.headers.get(KEY_HEADER, "")
    if not 0 < len(key) <= MOST_KEY:
        raise HTTPException(400, f"{KEY_HEADER} must have 1 to {MOST_KEY} characters.")
    url = request.headers.get(CALLBACK_HEADER)
    if url is not None and not _is_web(url):
        raise HTTPException(400, f"{CALLBACK_HEADER} must be an http(s) URL.")
    try:
        content = msgspec.json.decode(await read_body(request), type=body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPException(400, str(error)) from None
    return _Asked(key, kind, request.path_params.get("reference", ""), content, url)


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _known(payment: Payment | None) -> Payment:
    if payment is None:
        raise HTTPException(404, "There is no such payment.")
    return payment


async def _hold(request: Request, seconds: float) -> None:
    """Until the client has gone, or that long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _gone(request.receive)


async def _drop(scope: Scope, receive: Receive, _: Send) -> None:
    """Close the connection without an answer."""
    scope["extensions"]["drop"]["now"]()
    await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)
