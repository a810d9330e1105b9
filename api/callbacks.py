"""What the payment provider tells us without being asked: POST /callbacks/payments.

1. Only what the provider has signed, and not long ago, is looked at; all else is 401.
2. A callback answers a request of ours, named by its idempotency key, which is the event's id.
3. It is sent as the same command, under the same id, as the answer would be: whichever comes first
   is recorded, and the other, or any repeat, changes nothing.
"""

import logging
import time
from typing import Final

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.bodies import read_body
from api.payment_provider import AnswerMismatch, answered
from api.provider_contract import ProviderCallback
from api.signatures import SIGNATURE_HEADER, is_signed
from domain.gateways import PAYMENT_PROVIDER
from domain.recorded import Recorded
from infra.answers import Rejected, Request
from infra.commands import CommandHandler
from infra.following import fact_of, gateway_follower, react
from infra.log import Log
from infra.mongo import Unavailable
from infra.sending import request

log = logging.getLogger("tidings.callbacks")

PATH: Final = "/callbacks/payments"
MOST_BYTES: Final = 16 * 1024

_FOLLOWER: Final = gateway_follower(PAYMENT_PROVIDER)


def callback_route(events: Log, handler: CommandHandler, secret: str) -> Route:
    """Takes callbacks that are signed with this secret."""

    async def receive(http: HttpRequest) -> Response:
        body = await read_body(http, MOST_BYTES)
        if not is_signed(secret, http.headers.get(SIGNATURE_HEADER, ""), body, time.time()):
            return JSONResponse({"error": "The signature is not accepted."}, 401)
        try:
            callback = msgspec.json.decode(body, type=ProviderCallback)
            return await _received(callback)
        except (msgspec.DecodeError, UnicodeDecodeError, AnswerMismatch) as error:
            return JSONResponse({"error": str(error)}, 400)
        except Unavailable:
            return JSONResponse({"error": "Come again later."}, 503, {"Retry-After": "1"})

    async def _received(callback: ProviderCallback) -> Response:
        asked = await _asked(callback)
        if asked is None:
            return JSONResponse({"error": "There is no such request."}, 404)
        sent = command_of(asked, callback)
        if await events.commands([sent.command_id]):  # mostly the answer was here before
            return JSONResponse({"status": "known"})
        answer = await handler.handle(sent)
        if isinstance(answer, Rejected):
            log.warning("the answer to %s is refused: %s", callback.key, answer.errors)
        return JSONResponse({"status": "recorded"})

    async def _asked(callback: ProviderCallback) -> Recorded | None:
        """The request of ours that is answered."""
        happened = (await events.streams([callback.payment]))[callback.payment]
        return next(
            (
                recorded
                for recorded in happened
                if recorded.meta.event_id == callback.key
                and isinstance(recorded.event, PAYMENT_PROVIDER.requests)
            ),
            None,
        )

    return Route(PATH, receive, methods=["POST"])


def command_of(asked: Recorded, callback: ProviderCallback) -> Request:
    """The command as the gateway would send it for an answer; raises `AnswerMismatch`."""
    fact = fact_of(_FOLLOWER, asked)
    assert fact is not None, "a gateway follows all its requests"
    row = react(_FOLLOWER, {}, [fact], 0).rows[0]
    return request(row, answered(asked.event, callback.answer), input_id=row.id)
