"""Leaving personal data out of a log: each value is replaced by a placeholder.

1. Equal values have equal placeholders, in all exports of a database: what matched still matches.
2. Placeholders come from a secret that never leaves the database: nobody can try values out.
3. Which fields of which events are personal is for the domain to say; what surrounds an event
   (who acted, and why in their words) is personal too, unless a process acted.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pymongo import ReturnDocument

from infra.log import COUNTERS, Log
from infra.mongo import Document, SyncDatabase

_META: Final = ("actor", "reason")


@dataclass(frozen=True)
class Redaction:
    """`fields` are dotted paths in the data of events, by stored name."""

    key: bytes
    fields: Mapping[str, tuple[str, ...]]

    def event(self, event: Document) -> Document:
        """The event without personal data, and without its hash, which would tell."""
        redacted = {name: value for name, value in event.items() if name != "hash"}
        for path in self.fields.get(event["type"], ()):
            redacted["data"] = self._without(redacted["data"], path.split("."))
        for name in _META:
            redacted["meta"] = self._without(redacted["meta"], [name])
        return redacted

    def command(self, record: Document) -> Document:
        """The record; of the input it was given for only equality is left."""
        redacted = {**record, "identity": self._placeholder("identity", record["identity"])}
        if "errors" in record:
            redacted["errors"] = [
                {**error, "facts": {k: self._placeholder(k, v) for k, v in error["facts"].items()}}
                for error in record["errors"]
            ]
        return redacted

    def _without(self, value: Any, path: list[str]) -> Any:
        name, *rest = path
        if not isinstance(value, dict) or name not in value:
            return value
        held = value[name]
        return {**value, name: self._without(held, rest) if rest else self._placeholder(name, held)}

    def _placeholder(self, name: str, value: Any) -> Any:
        """In place of a text; what is empty, no text, or the name of a process stays."""
        if not isinstance(value, str) or not value or value.startswith(("process/", "gateway/")):
            return value
        digest = hashlib.blake2b(value.encode(), key=self.key, digest_size=6).hexdigest()
        return f"{name}-{digest}"


async def redaction_of(log: Log, fields: Mapping[str, tuple[str, ...]]) -> Redaction:
    """The redaction of this database, whose secret is made where there is none yet."""

    def secret(db: SyncDatabase) -> bytes:
        found: Any = db[COUNTERS].find_one_and_update(
            {"_id": "redaction"},
            {"$setOnInsert": {"key": secrets.token_bytes(32)}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return bytes(found["key"])

    return Redaction(await log.mongo.run(secret), fields)
