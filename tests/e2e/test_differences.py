"""A document that somebody changed in the database: found, told and healed while all goes on."""

import asyncio
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pymongo import MongoClient

from tests.e2e.client import OPERATOR, STAFF, Client, anonymous
from tests.e2e.server import Server, serving
from tests.e2e.shop import Shop

WITHIN: Final = 30.0
"""Seconds: for the few documents here, at half a core, far more than the sampler promises."""

DIFFERENCES: Final = """{
  differences(first: 5) {
    projection key what repaired fields { name stored expected setBy setAt }
  }
}"""


def directory(db: Any) -> Any:
    """The live documents of the customer directory."""
    generation = db["checkpoints"].find_one({"_id": "main"})["generations"]["customer_directory"]
    return db[f"rm_customer_directory_{generation}"]


async def told(operator: Client) -> list[Any]:
    """What differed, once there is something."""
    async with asyncio.timeout(WITHIN):
        while True:
            found: list[Any] = (await operator.run(DIFFERENCES))["differences"]
            if found:
                return found
            await asyncio.sleep(0.1)


async def test_a_document_changed_by_hand_is_found_told_and_healed(
    mongodb_uri: str, tmp_path: Path
) -> None:
    database = f"e2e-{uuid4().hex}"
    settings = {
        "MONGODB_URI": mongodb_uri,
        "TIDINGS_DATABASE": database,
        "TIDINGS_SAMPLER_SHARE": "0.5",
    }
    with serving(tmp_path, settings) as server, MongoClient[Any](mongodb_uri) as mongo:
        async with anonymous(server.graphql, server.home) as client:
            await _heals(server, client, mongo[database])
        mongo.drop_database(database)


async def _heals(server: Server, client: Client, db: Any) -> None:
    shop = Shop(client.signed_in(STAFF))
    customer = await shop.customer(name="Ann Smith")
    await shop.order(customer, await shop.product())
    changed = directory(db).update_one({"_id": customer}, {"$set": {"name": "Eve"}})
    assert changed.modified_count == 1
    (difference,) = await told(client.signed_in(OPERATOR))
    assert (difference["projection"], difference["key"]) == ("customer_directory", customer)
    assert difference["repaired"]
    (field,) = difference["fields"]
    assert (field["name"], field["setBy"], field["setAt"]) == ("name", "CustomerRegistered", "0:1")
    assert "Eve" in field["stored"]
    assert "Ann Smith" in field["expected"]
    assert directory(db).find_one({"_id": customer})["name"] == "Ann Smith"
    assert server.process.poll() is None
