"""The doors to the outside world that the domain knows of."""

from typing import Final

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
from domain.process import Gateway

PAYMENT_PROVIDER: Final = Gateway(
    "payment_provider",
    {
        AuthorisationRequested: (RecordAuthorisation, RecordDecline),
        CaptureRequested: (RecordCapture,),
        VoidRequested: (RecordVoid,),
        RefundRequested: (RecordRefund,),
    },
)
