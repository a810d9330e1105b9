"""The same changes of address, told in both ways: what each costs, and what it is worth in need.

1. The thin recipient hears a notice and asks back by its link, as the shipping desk does. The fat
   one hears the customer's state. Each knows a change once it holds the new address.
2. One change after the other; time runs from the moment when its command is sent.
3. In need: the source has told both of one more change and is killed before they look. Time runs
   from then on; it is started again after a while.
4. Bytes of a message are its key, headers and value; those of a call its two bodies.
"""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import orjson

from api.patterns_source import Source, open_source
from api.shipping_desk.calling import PATH
from api.shipping_desk.calls import Away, asking, data_of
from domain.decider import message
from domain.published_messages import (
    CUSTOMER_ADDRESS_CHANGED,
    CUSTOMER_REGISTERED,
    CUSTOMER_STATE,
    CUSTOMERS_TOPIC,
    NOTIFICATIONS_TOPIC,
    Link,
    MessageType,
)
from infra.cloud_events import Received, decoded
from infra.gateways import TryLater
from infra.http_gateway import HttpGateway, HttpRequest, Patience, open_http_gateway
from infra.kafka import KafkaUnavailable, open_consumer
from infra.settings import SettingInvalid, Settings

AGAIN_SECONDS: Final = 0.1
"""After which the thin recipient asks again when nobody has answered."""

_IMPATIENT: Final = Patience(attempts=1, open_seconds=AGAIN_SECONDS)

_FETCH_MS: Final = 20
"""A partition that has just been read is asked for with the next request, not with the one that is
under way: so that must not take long."""

_REGISTER: Final = """mutation ($input: RegisterCustomerInput!) { registerCustomer(input: $input) {
    errors { message } receipt { aggregateId position } } }"""
_MOVE: Final = """mutation ($input: ChangeCustomerAddressInput!) {
    changeCustomerAddress(input: $input) { errors { message } receipt { position } } }"""


@message
class Cost:
    """What one change has cost one recipient: seconds until it has `heard`, and until it `knows`;
    calls that were answered, and those `in_vain`."""

    message_bytes: int
    heard: float
    knows: float
    calls: int = 0
    call_bytes: int = 0
    in_vain: int = 0


@message
class InNeed:
    """What a change has cost after the source was killed, which was `away` so many seconds."""

    thin: Cost
    fat: Cost
    away: float


@message
class Comparison:
    thin: tuple[Cost, ...]
    fat: tuple[Cost, ...]
    in_need: InNeed


async def compare(settings: Settings, changes: int, down_seconds: float) -> Comparison:
    """Raises `SettingInvalid` without Kafka."""
    if settings.kafka is None:
        raise SettingInvalid("KAFKA_BOOTSTRAP_SERVERS is not set: there is nowhere to publish.")
    try:
        async with (
            open_source(settings, settings.kafka) as source,
            open_consumer(
                source.kafka, NOTIFICATIONS_TOPIC, fetch_max_wait_ms=_FETCH_MS
            ) as notices,
            open_consumer(source.kafka, CUSTOMERS_TOPIC, fetch_max_wait_ms=_FETCH_MS) as states,
            open_http_gateway("the source", source.url, source.token, _IMPATIENT) as gateway,
        ):
            told = Told(source, gateway, Ear(notices), Ear(states))
            await told.begin()
            both = [await told.change(f"Mint Lane {number}") for number in range(changes)]
            in_need = await told.change_in_need("Long Lane 1", down_seconds)
    except KafkaUnavailable as error:
        raise SettingInvalid(str(error)) from error
    thin, fat = zip(*both, strict=True)
    return Comparison(thin=thin, fat=fat, in_need=in_need)


class Ear:
    """Hears each message of a topic once: repeats are behind what has been heard."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._position = 0

    async def next(self, kind: MessageType) -> tuple[int, Received]:
        """The next one of its type, and its bytes."""
        while True:
            record = await self._consumer.getone()
            received = decoded(record)
            if received.type == kind.name and received.position > self._position:
                self._position = received.position
                return _bytes_of(record), received


def _bytes_of(record: Any) -> int:
    headers = sum(len(name.encode()) + len(value) for name, value in record.headers)
    return len(record.key) + headers + len(record.value)


class Told:
    """One customer at the source, and the two that are told of their addresses."""

    def __init__(self, source: Source, gateway: HttpGateway, notices: Ear, states: Ear) -> None:
        self._source = source
        self._gateway = gateway
        self._notices = notices
        self._states = states
        self._customer_id = ""

    async def begin(self) -> None:
        """Have the customer registered, and both hear of it."""
        who = {"name": "Ann Smith", "email": "ann@example.com", "address": _address("First Lane")}
        self._customer_id = (await self._command(_REGISTER, who))["aggregateId"]
        await self._notices.next(CUSTOMER_REGISTERED)
        await self._states.next(CUSTOMER_STATE)

    async def change(self, street: str) -> tuple[Cost, Cost]:
        """What it costs the thin recipient and the fat one."""
        began = perf_counter()
        _, thin, fat = await asyncio.gather(
            self._move(street), self._thin(street, began), self._fat(street, began)
        )
        return thin, fat

    async def change_in_need(self, street: str, down_seconds: float) -> InNeed:
        position = await self._move(street)
        await self._source.has_told(position)
        await self._source.kill()
        began = perf_counter()
        thin, fat, away = await asyncio.gather(
            self._thin(street, began), self._fat(street, began), self._revive(began, down_seconds)
        )
        return InNeed(thin=thin, fat=fat, away=away)

    async def _revive(self, began: float, down_seconds: float) -> float:
        await asyncio.sleep(down_seconds)
        away = perf_counter() - began
        await self._source.start()
        return away

    # -- the source

    async def _move(self, street: str) -> int:
        """The position of the change."""
        moved = {"customerId": self._customer_id, "address": _address(street)}
        receipt = await self._command(_MOVE, moved)
        return int(receipt["position"].partition(":")[2])

    async def _command(self, document: str, told: Mapping[str, Any]) -> Any:
        """Its receipt."""
        command_id = str(uuid4())
        body = {"query": document, "variables": {"input": {"commandId": command_id, **told}}}
        answer = await self._gateway.send(HttpRequest(PATH, orjson.dumps(body)), command_id)
        (payload,) = data_of(orjson.loads(answer)).values()
        assert not payload["errors"], payload["errors"]
        return payload["receipt"]

    # -- the recipients

    async def _fat(self, street: str, began: float) -> Cost:
        size, state = await self._states.next(CUSTOMER_STATE)
        assert state.data.address.street == street, "it is told of this change"
        knows = perf_counter() - began
        return Cost(message_bytes=size, heard=knows, knows=knows)

    async def _thin(self, street: str, began: float) -> Cost:
        size, notice = await self._notices.next(CUSTOMER_ADDRESS_CHANGED)
        heard = perf_counter() - began
        data, call_bytes, in_vain = await self._asked(notice.data.link, notice.id)
        assert data["customer"]["address"]["street"] == street, "no answer is older than its notice"
        return Cost(
            message_bytes=size,
            heard=heard,
            knows=perf_counter() - began,
            calls=1,
            call_bytes=call_bytes,
            in_vain=in_vain,
        )

    async def _asked(self, link: Link, key: str) -> tuple[Mapping[str, Any], int, int]:
        """What is answered, the bytes of that call, and how many calls before it were in vain."""
        body, in_vain = orjson.dumps(asking(link)), 0
        while True:
            try:
                answer = await self._gateway.send(HttpRequest(PATH, body), key)
                return data_of(orjson.loads(answer)), len(body) + len(answer), in_vain
            except (TryLater, Away):
                in_vain += 1
                await asyncio.sleep(AGAIN_SECONDS)


def _address(street: str) -> dict[str, str]:
    return {
        "street": street,
        "city": "Hull",
        "postalCode": "HU1 1AA",
        "country": "United Kingdom",
        "region": "North",
    }
