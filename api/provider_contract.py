"""The API of the payment provider, as the adapter and the sandbox both read it.

POST /payments                        Authorisation
POST /payments/{reference}/captures   Movement
POST /payments/{reference}/refunds    Movement
POST /payments/{reference}/voids      Void

1. `Idempotency-Key` names a request: sent again, it gets the first answer; with another body, 422.
2. An answer is 201 with `ProviderAnswer`. 4xx is definite; with 408, 409, 425, 429, 5xx and silence
   nobody knows what happened, and the request is sent again.
3. With `Callback-Url` the answer is also sent there, as `ProviderCallback`, signed, at least once.
4. Amounts are minor units. `merchant_reference` is what the merchant calls it.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta

from domain.decider import message

KEY_HEADER: Final = "Idempotency-Key"
CALLBACK_HEADER: Final = "Callback-Url"

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Amount = Annotated[int, Meta(ge=0, le=2**53)]


@message
class Authorisation:
    merchant_reference: Name
    amount: Amount
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    card: Annotated[str, Meta(max_length=200)]


@message
class Movement:
    merchant_reference: Name
    amount: Amount


@message
class Void:
    merchant_reference: Name


@message
class ProviderAnswer:
    """`reference` is the provider's name for the payment."""

    status: Literal["authorised", "declined", "captured", "voided", "refunded"]
    reference: Name
    at: Annotated[datetime, Meta(tz=True)]
    reason: str = ""


@message
class ProviderCallback:
    """What was answered to the request with this key; `payment` is the merchant's reference."""

    key: Name
    payment: Name
    answer: ProviderAnswer
