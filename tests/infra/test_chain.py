"""The hash chain, on bytes alone."""

from datetime import UTC, datetime
from typing import Any

import bson
from hypothesis import given
from hypothesis import strategies as st

from infra.chain import GENESIS, chained, holds

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 bounds are naive
)
NAMES = st.text("abc_", min_size=1, max_size=5)
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    NAMES, SCALARS | st.dictionaries(NAMES, SCALARS) | st.lists(SCALARS), max_size=6
)


@given(DOCUMENTS, st.binary(min_size=32, max_size=32))
def test_what_is_chained_holds_and_is_the_document_with_its_hash(
    document: dict[str, Any], previous: bytes
) -> None:
    raw, digest = chained(previous, document)
    assert holds(previous, raw) == digest
    decoded = bson.decode(raw)
    assert list(decoded)[-1] == "hash"
    assert decoded.pop("hash") == digest
    assert bson.encode(decoded) == bson.encode(document)


@given(DOCUMENTS, st.data())
def test_any_changed_bit_breaks_it(document: dict[str, Any], data: st.DataObject) -> None:
    raw, _ = chained(GENESIS, document)
    place = data.draw(st.integers(4, len(raw) - 2))
    bit = 1 << data.draw(st.integers(0, 7))
    assert holds(GENESIS, raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]) is None


def test_it_holds_after_its_predecessor_only() -> None:
    first, digest = chained(GENESIS, {"_id": 1})
    second, _ = chained(digest, {"_id": 2})
    assert holds(GENESIS, first) == digest
    assert holds(digest, second) is not None
    assert holds(GENESIS, second) is None


def test_an_event_without_a_hash_does_not_hold() -> None:
    assert holds(GENESIS, bson.encode({"_id": 1})) is None
    assert holds(GENESIS, bson.encode({"_id": 1, "hash": "x" * 32})) is None
