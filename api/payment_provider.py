"""The payment provider behind its port: requests of ours become HTTP, its answers become commands.

1. `asked` and `answered` are pure, so a callback and an answer come to the same command.
2. Times are the provider's: the answer to a repeat is the same command.
3. An answer that cannot be understood is no answer: `TryLater`.
"""

from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec

from api.provider_contract import (
    CALLBACK_HEADER,
    Authorisation,
    Movement,
    ProviderAnswer,
    Void,
)
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
from infra.codec import milliseconds
from infra.gateways import TryLater
from infra.http_gateway import HttpGateway, HttpRequest

Requested: TypeAlias = AuthorisationRequested | CaptureRequested | VoidRequested | RefundRequested
Record: TypeAlias = RecordAuthorisation | RecordDecline | RecordCapture | RecordVoid | RecordRefund

MOST_REASON: Final = 200


class AnswerMismatch(Exception):
    """The provider answers something else than it was asked."""


class PaymentProvider:
    """What `infra.gateways` calls."""

    def __init__(self, gateway: HttpGateway, callback_url: str | None = None) -> None:
        self._gateway = gateway
        self._headers = {} if callback_url is None else {CALLBACK_HEADER: callback_url}

    async def call(self, event: Requested, key: str) -> Record:
        """Raises `TryLater`, or `HttpRefused`."""
        path, body = asked(event)
        content = await self._gateway.send(
            HttpRequest(path, msgspec.json.encode(body), self._headers), key
        )
        try:
            return answered(event, msgspec.json.decode(content, type=ProviderAnswer))
        except (msgspec.ValidationError, AnswerMismatch) as error:
            raise TryLater(f"the answer cannot be understood: {error}") from error


def asked(event: Requested) -> tuple[str, Authorisation | Movement | Void]:
    """The path and the body of a request."""
    match event:
        case AuthorisationRequested():
            return "/payments", Authorisation(
                merchant_reference=event.payment_id,
                amount=event.amount,
                currency=event.currency,
                card=event.card,
            )
        case CaptureRequested():
            movement = Movement(merchant_reference=event.capture_id, amount=event.amount)
            return _path(event.reference, "captures"), movement
        case RefundRequested():
            movement = Movement(merchant_reference=event.refund_id, amount=event.amount)
            return _path(event.reference, "refunds"), movement
        case VoidRequested():
            return _path(event.reference, "voids"), Void(merchant_reference=event.payment_id)


def _path(reference: str, what: str) -> str:
    return f"/payments/{quote(reference, safe='')}/{what}"


def answered(event: Requested, answer: ProviderAnswer) -> Record:
    """The command that records the answer; raises `AnswerMismatch`."""
    payment_id, at = event.payment_id, milliseconds(answer.at)
    match event, answer.status:
        case AuthorisationRequested(), "authorised":
            return RecordAuthorisation(payment_id=payment_id, reference=answer.reference, at=at)
        case AuthorisationRequested(), "declined":
            return RecordDecline(payment_id=payment_id, reason=answer.reason[:MOST_REASON], at=at)
        case CaptureRequested(), "captured":
            return RecordCapture(payment_id=payment_id, capture_id=event.capture_id, at=at)
        case VoidRequested(), "voided":
            return RecordVoid(payment_id=payment_id, at=at)
        case RefundRequested(), "refunded":
            return RecordRefund(payment_id=payment_id, refund_id=event.refund_id, at=at)
        case _:
            raise AnswerMismatch(f"{type(event).__name__} is answered with {answer.status!r}")
