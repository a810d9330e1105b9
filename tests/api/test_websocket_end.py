"""What ends operations and sockets, and that nothing of them stays behind."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.api.live import (
    PATIENCE,
    eventually,
    largest_step,
    settled,
)
from tests.api.sockets import Live, close_code, cut, heard, live, say, subscribe


@pytest.fixture
async def server() -> AsyncIterator[Live]:
    async with live() as running:
        yield running


# The client's `complete`


async def test_complete_closes_the_source_and_nothing_more_is_said(server: Live) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "s", "subscription { silent }")
        await heard(client)
        await say(client, type="complete", id="s")
        await say(client, type="complete", id="s")  # not known any more: no fault
        await say(client, type="ping")
        assert await heard(client) == {"type": "pong"}
        assert server.toy.opened == 1
        assert server.toy.at_rest


async def test_an_endless_source_does_not_keep_the_loop_to_itself(server: Live) -> None:
    async with server.signed_in() as busy, server.signed_in() as other:
        await subscribe(busy, "s", "subscription { endless }")
        assert await largest_step(lambda: server.toy.produced) == 1
        await subscribe(other, "q", "{ hello }")
        assert (await heard(other))["type"] == "next"
        await say(busy, type="complete", id="s")
        await eventually(lambda: server.toy.at_rest)
        cut(busy)


async def test_a_thousand_quick_cycles_leave_nothing_behind(server: Live) -> None:
    async with server.signed_in() as client:
        tasks = len(asyncio.all_tasks())
        for number in range(1_000):
            await subscribe(client, "same", "subscription { silent }")
            if number % 2:
                assert (await heard(client))["type"] == "next"
            await say(client, type="complete", id="same")
        await say(client, type="ping")
        while (await heard(client))["type"] != "pong":
            pass
        assert server.toy.at_rest
        assert len(asyncio.all_tasks()) == tasks


# The end of the socket


async def test_the_socket_ends_with_its_token(server: Live) -> None:
    async with server.signed_in("short") as client:
        await subscribe(client, "s", "subscription { silent }")
        assert await close_code(client) == 4403
    await eventually(lambda: server.at_rest)


async def test_no_answer_leaves_after_the_token_has_ended(server: Live) -> None:
    async with server.signed_in("short") as client:
        await subscribe(client, "q", "{ outlastsTheToken }")
        with pytest.raises(ConnectionClosedError) as ended:
            await heard(client)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 4403


async def test_a_client_that_leaves_ends_its_operations(server: Live) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "s", "subscription { silent }")
        await subscribe(client, "q", "{ waits }")
        await eventually(lambda: server.toy.opened == 1 and server.toy.waiting == 1)
    await eventually(lambda: server.at_rest)


@pytest.mark.parametrize("query", ["silent", "endless(characters: 10000)"])
async def test_a_cut_connection_closes_the_sources(server: Live, query: str) -> None:
    async with server.signed_in(max_size=None) as client:
        await subscribe(client, "s", f"subscription {{ {query} }}")
        await heard(client)
        cut(client)
        await eventually(lambda: server.at_rest)
    assert server.toy.opened == 1


def narrow_socket(port: int) -> socket.socket:
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plug.connect(("127.0.0.1", port))
    return plug


async def test_a_client_that_stops_reading_holds_back_its_source_only(server: Live) -> None:
    async with (
        server.signed_in(sock=narrow_socket(server.port), max_queue=1) as slow,
        server.signed_in() as other,
    ):
        await subscribe(slow, "s", "subscription { endless(characters: 10000) }")
        produced = await settled(lambda: server.toy.produced)
        assert 0 < produced * 10_000 < 8_000_000  # what kernels and transports buffer
        await subscribe(other, "q", "{ hello }")
        assert (await heard(other))["type"] == "next"
        numbers = [
            int((await heard(slow))["payload"]["data"]["endless"].split(":")[0])
            for _ in range(produced + 10)
        ]
        cut(slow)
    assert numbers == list(range(1, produced + 11))


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    async with (
        live(stall_seconds=0.3) as server,
        server.signed_in(sock=narrow_socket(server.port), max_queue=1) as stuck,
    ):
        await subscribe(stuck, "s", "subscription { endless(characters: 10000) }")
        await eventually(lambda: server.toy.opened == 1)
        await eventually(lambda: server.at_rest)
        cut(stuck)


# Drain


async def test_a_drain_finishes_single_answers_and_asks_to_reconnect(server: Live) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "s", "subscription { silent }")
        await heard(client)
        await subscribe(client, "m", "mutation { waits }")
        await eventually(lambda: server.toy.waiting == 1)
        draining = asyncio.create_task(server.drain.finish(PATIENCE))
        await eventually(lambda: server.drain.begun)
        await subscribe(client, "late", "{ hello }")  # left to the next process
        await say(client, type="ping")
        assert await heard(client) == {"type": "pong"}
        server.toy.gate.set()
        assert (await heard(client))["payload"]["data"] == {"waits": "done"}
        assert await heard(client) == {"id": "m", "type": "complete"}
        assert await close_code(client) == 1012
        assert await draining


async def test_a_draining_process_sends_new_sockets_on(server: Live) -> None:
    server.drain.begin()
    async with server.connect() as client:
        assert await close_code(client) == 1012


async def test_a_drain_says_when_some_are_left(server: Live) -> None:
    async with server.signed_in() as client:
        await subscribe(client, "m", "mutation { waits }")
        await eventually(lambda: server.toy.waiting == 1)
        assert not await server.drain.finish(0.05)
        server.toy.gate.set()
        assert await close_code(client) == 1012
