"""The payment provider sandbox: a merchant's view of it, over sockets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.sandbox_behaviour import Behaviour, Rates, behaviour
from api.signatures import is_signed
from tests.api.live import eventually
from tests.api.provider import (
    HOLD_MS,
    SECRET,
    SETTINGS,
    Provider,
    free_port,
    merchant,
    receiver,
    sandbox,
    sandbox_program,
)


@pytest_asyncio.fixture
async def provider(tmp_path: Path) -> AsyncIterator[Provider]:
    async with sandbox(tmp_path / "sandbox.db") as running:
        yield running


async def euros(provider: Provider) -> Any:
    return (await provider.book())["currencies"]["EUR"]


# Payments


async def test_a_payment_is_authorised_captured_and_refunded(provider: Provider) -> None:
    authorised = await provider.authorise("a")
    assert authorised.status_code == 201
    assert authorised.json()["status"] == "authorised"
    reference = authorised.json()["reference"]
    assert (await provider.move(reference, "captures", "c1", 600)).json()["status"] == "captured"
    assert (await provider.move(reference, "captures", "c2", 400)).json()["status"] == "captured"
    assert (await provider.move(reference, "refunds", "r", 250)).json()["status"] == "refunded"
    payment = (await provider.http.get(f"/payments/{reference}")).json()
    assert (payment["captured"], payment["refunded"]) == (1_000, 250)
    assert await euros(provider) == {
        "authorised": 1_000,
        "captured": 1_000,
        "refunded": 250,
        "voided": 0,
    }


async def test_a_payment_is_voided_once(provider: Provider) -> None:
    reference = (await provider.authorise("a")).json()["reference"]
    assert (await provider.void(reference, "v")).json()["status"] == "voided"
    assert (await provider.void(reference, "again")).status_code == 422
    assert (await provider.move(reference, "captures", "c", 1)).status_code == 422
    assert (await euros(provider))["voided"] == 1_000


async def test_no_more_is_moved_than_there_is(provider: Provider) -> None:
    reference = (await provider.authorise("a")).json()["reference"]
    assert (await provider.move(reference, "captures", "c", 1_001)).status_code == 422
    await provider.move(reference, "captures", "d", 500)
    assert (await provider.move(reference, "refunds", "r", 501)).status_code == 422
    assert (await provider.void(reference, "v")).status_code == 422
    assert (await euros(provider))["captured"] == 500


# Idempotency


async def test_a_key_that_comes_again_gets_the_first_answer(provider: Provider) -> None:
    first = await provider.authorise("a")
    assert (await provider.authorise("a")).content == first.content
    book = await provider.book()
    assert (book["payments"], book["double_charges"], book["double_charges_prevented"]) == (1, 0, 1)


async def test_a_key_with_another_request_is_refused(provider: Provider) -> None:
    reference = (await provider.authorise("a")).json()["reference"]
    assert (await provider.authorise("a", amount=999)).status_code == 422
    assert (await provider.move(reference, "captures", "a", 1_000)).status_code == 422
    assert (await euros(provider))["captured"] == 0


async def test_a_key_that_comes_many_times_at_once_charges_once(tmp_path: Path) -> None:
    delayed = replace(SETTINGS, delay_ms=20)
    async with sandbox(tmp_path / "sandbox.db", delayed) as provider:
        answers = await asyncio.gather(*(provider.authorise("a") for _ in range(20)))
        assert len({answer.content for answer in answers}) == 1
        assert (await provider.book())["payments"] == 1


async def test_the_book_tells_of_a_merchant_that_charges_twice(provider: Provider) -> None:
    reference = (await provider.authorise("a")).json()["reference"]
    await provider.authorise("b")
    for key in ("c", "d"):
        path = f"/payments/{reference}/captures"
        await provider.post(path, key, merchant_reference="capture-1", amount=1)
    assert (await provider.book())["double_charges"] == 2


# Test cards


async def test_a_declined_card(provider: Provider) -> None:
    answer = (await provider.authorise("a", "declined")).json()
    assert (answer["status"], answer["reason"]) == ("declined", "The card was declined")
    assert (await provider.move(answer["reference"], "captures", "c", 1)).status_code == 422
    book = await provider.book()
    assert (book["declined"], book["currencies"]) == (1, {})


async def test_a_slow_card(provider: Provider) -> None:
    began = time.monotonic()
    first = await provider.authorise("a", "slow")
    assert time.monotonic() - began >= SETTINGS.slow_ms / 1000
    assert (await provider.authorise("a", "slow")).content == first.content


async def test_a_card_that_times_out_does_so_once_and_before_the_work(provider: Provider) -> None:
    async with merchant(provider.url, seconds=0.1) as hasty:
        with pytest.raises(httpx.ReadTimeout):
            await hasty.authorise("a", "timeout")
    assert (await provider.book())["payments"] == 0
    assert (await provider.authorise("a", "timeout")).status_code == 201


async def test_a_request_that_times_out_is_dropped_in_the_end(provider: Provider) -> None:
    began = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        await provider.authorise("a", "timeout")
    assert time.monotonic() - began >= HOLD_MS / 1000


async def test_a_card_with_an_error_has_it_once_and_before_the_work(provider: Provider) -> None:
    assert (await provider.authorise("a", "error-500")).status_code == 500
    assert (await provider.book())["payments"] == 0
    assert (await provider.authorise("a", "error-500")).status_code == 201


async def test_a_lost_answer_is_given_when_asked_again(provider: Provider) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await provider.authorise("a", "lost-answer")
    assert (await provider.book())["payments"] == 1
    again = await provider.authorise("a", "lost-answer")
    assert again.json()["status"] == "authorised"
    book = await provider.book()
    assert (book["payments"], book["double_charges_prevented"]) == (1, 1)


async def test_trouble_follows_the_card_to_its_captures(provider: Provider) -> None:
    assert (await provider.authorise("a", "error-500", payment="p")).status_code == 500
    reference = (await provider.authorise("a", "error-500", payment="p")).json()["reference"]
    assert (await provider.move(reference, "captures", "c", 10)).status_code == 500
    assert (await provider.move(reference, "captures", "c", 10)).status_code == 201


# Callbacks


async def test_callbacks_are_signed_and_say_what_was_answered(provider: Provider) -> None:
    async with receiver() as shop:
        answer = await provider.authorise("a", callback_url=shop.url)
        await eventually(lambda: len(shop.told) == 1)
    told = shop.told[0]
    assert is_signed(SECRET, told.signature, told.body, time.time())
    assert json.loads(told.body) == {
        "key": "a",
        "payment": "payment-1",
        "answer": answer.json(),
    }


async def test_a_duplicate_callback(provider: Provider) -> None:
    async with receiver() as shop:
        await provider.authorise("a", "duplicate-callback", callback_url=shop.url)
        await eventually(lambda: len(shop.told) == 2)
    assert shop.told[0].body == shop.told[1].body


async def test_a_callback_is_sent_until_it_is_taken(provider: Provider) -> None:
    async with receiver(deaf=True) as shop:
        await provider.authorise("a", callback_url=shop.url)
        await eventually(lambda: shop.refused == 1)
        shop.deaf = False
        await eventually(lambda: len(shop.told) == 1)


# Kills


async def test_a_kill_forgets_no_answer(tmp_path: Path) -> None:
    book = tmp_path / "sandbox.db"
    async with sandbox_program(book) as program, merchant(program.url) as provider:
        first = await provider.authorise("a")
        with pytest.raises(httpx.RemoteProtocolError):
            await provider.authorise("b", "lost-answer", "payment-2")
        await program.kill()
    async with sandbox_program(book) as program, merchant(program.url) as provider:
        assert (await provider.authorise("a")).content == first.content
        again = await provider.authorise("b", "lost-answer", "payment-2")
        assert again.json()["status"] == "authorised"
        totals = await provider.book()
    assert (totals["payments"], totals["double_charges_prevented"]) == (2, 2)
    assert totals["currencies"]["EUR"]["authorised"] == 2_000


async def test_a_kill_forgets_no_callback(tmp_path: Path) -> None:
    book = tmp_path / "sandbox.db"
    async with receiver(deaf=True) as shop:
        async with sandbox_program(book) as program, merchant(program.url) as provider:
            await provider.authorise("a", callback_url=shop.url)
            await program.kill()
        shop.deaf = False
        async with sandbox_program(book):
            await eventually(lambda: len(shop.told) == 1)


async def persistently(provider: Provider, key: str) -> httpx.Response:
    """The answer, however often the connection breaks."""
    while True:
        try:
            return await provider.authorise(key, "", f"payment-{key}")
        except httpx.TransportError:
            await asyncio.sleep(0.02)


async def test_requests_while_it_is_killed_again_and_again_charge_once_each(
    tmp_path: Path,
) -> None:
    book, port, wanted = tmp_path / "sandbox.db", free_port(), 60
    answered: dict[str, bytes] = {}

    async def ask(provider: Provider, key: str) -> None:
        for _ in range(2):
            answer = await persistently(provider, key)
            assert answered.setdefault(key, answer.content) == answer.content

    async with merchant(f"http://127.0.0.1:{port}") as provider:
        asking = asyncio.gather(*(ask(provider, f"key-{number}") for number in range(wanted)))
        for _ in range(3):
            options = ("--lost", "0.2", "--delay-ms", "30")
            async with sandbox_program(book, *options, port=port) as program:
                await asyncio.sleep(0.05)
                await program.kill()
        async with sandbox_program(book, port=port):
            await asyncio.wait_for(asking, 20)
            totals = await provider.book()
    assert (totals["payments"], totals["double_charges"]) == (wanted, 0)
    assert totals["currencies"]["EUR"]["authorised"] == wanted * 1_000


# Rates


def test_rates_strike_their_share_and_repeatably() -> None:
    rates = Rates(declines=0.1, timeouts=0.05, lost=0.02, duplicates=0.02)
    keys = [f"key-{number}" for number in range(20_000)]
    chosen = [behaviour("", key, 1, rates) for key in keys]
    assert chosen == [behaviour("", key, 1, rates) for key in keys]
    for kind, share in rates.shares:
        assert abs(chosen.count(kind) / len(keys) - share) < 0.01, kind
    other = [behaviour("", key, 1, replace(rates, seed=1)) for key in keys]
    assert other != chosen


def test_whoever_asks_again_gets_an_answer() -> None:
    worst = Rates(timeouts=0.4, errors=0.3, lost=0.3)
    for number in range(200):
        assert behaviour("", f"key-{number}", 1, worst) is not Behaviour.OK
        assert behaviour("", f"key-{number}", 2, worst) is Behaviour.OK


def test_a_test_card_knows_no_rates() -> None:
    assert behaviour("ok", "key", 1, Rates(declines=1)) is Behaviour.OK


@pytest.mark.parametrize("wrong", [{"declines": -0.1}, {"declines": 0.6, "lost": 0.6}])
def test_rates_are_shares(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Rates(**wrong)


# Strangers and rubbish


@pytest.mark.parametrize("key", ["", "another-key-that-is-long-enough"])
async def test_a_stranger_is_refused(provider: Provider, key: str) -> None:
    async with merchant(provider.url, key or "x") as stranger:
        assert (await stranger.authorise("a")).status_code == 401
        assert (await stranger.http.get("/book")).status_code == 401
        assert (await stranger.http.get("/payments/pay_1")).status_code == 401


BODY = {"merchant_reference": "p", "amount": 1, "currency": "EUR", "card": ""}


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/payments", b"", 400),
        ("/payments", b"[]", 400),
        ("/payments", b"\xff\xfe", 400),
        ("/payments", b'"\\ud800"', 400),
        ("/payments", json.dumps({**BODY, "card": "\ud800"}).encode(), 400),
        ("/payments", json.dumps({**BODY, "amount": -1}).encode(), 400),
        ("/payments", json.dumps({**BODY, "amount": 10**30}).encode(), 400),
        ("/payments", json.dumps({**BODY, "amount": 1.5}).encode(), 400),
        ("/payments", json.dumps({**BODY, "currency": "euro"}).encode(), 400),
        ("/payments", json.dumps({**BODY, "card": None}).encode(), 400),
        ("/payments", b"[" * 50_000, 400),
        ("/payments", b" " * 100_000, 413),
        ("/payments/none/captures", b'{"merchant_reference": "c", "amount": 1}', 404),
        ("/payments/none/voids", b'{"merchant_reference": "v"}', 404),
        ("/nowhere", b"{}", 404),
        ("/book", b"{}", 405),
    ],
)
async def test_rubbish_is_refused(
    provider: Provider, path: str, content: bytes, status: int
) -> None:
    headers = {"Idempotency-Key": "a"}
    answer = await provider.http.post(path, content=content, headers=headers)
    assert answer.status_code == status
    assert (await provider.book())["requests"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Idempotency-Key": "x" * 201},
        {"Idempotency-Key": "a", "Callback-Url": "file:///etc/passwd"},
        {"Idempotency-Key": "a", "Callback-Url": "http://["},
    ],
)
async def test_headers_must_make_sense(provider: Provider, headers: dict[str, str]) -> None:
    answer = await provider.http.post("/payments", json=BODY, headers=headers)
    assert answer.status_code == 400


# The command line


async def test_a_key_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    secrets = {"TIDINGS_PAYMENT_PROVIDER_KEY": "guess", "TIDINGS_PAYMENT_CALLBACK_SECRET": SECRET}
    async with sandbox_program(tmp_path / "sandbox.db", settings=secrets) as program:
        assert "TIDINGS_PAYMENT_PROVIDER_KEY must have" in program.url
        assert await program.process.wait() == 2


async def test_a_book_that_is_none_is_refused(tmp_path: Path) -> None:
    book = tmp_path / "sandbox.db"
    book.write_text("This is a letter, and no database at all. " * 100)
    async with sandbox_program(book) as program:
        assert "cannot be the book of the sandbox" in program.url
        assert await program.process.wait() == 2


async def test_rates_on_the_command_line(tmp_path: Path) -> None:
    book = tmp_path / "sandbox.db"
    strict = sandbox_program(book, "--declines", "1")
    async with strict as program, merchant(program.url) as provider:
        assert (await provider.authorise("a", "")).json()["status"] == "declined"
    async with sandbox_program(book, "--declines", "2") as program:
        assert "Rates are between 0 and 1" in program.url
