"""Older shapes become today's: chains, renames and splits, and what an old order means now."""

import pytest

from domain.upcasting import Data, Shape, Upcaster, by_old_shape, newest, upcast

A1, A2, B1, C1 = Shape("A", 1), Shape("A", 2), Shape("B", 1), Shape("C", 1)


def more(data: Data) -> tuple[Data]:
    return ({"n": data["n"] + 1},)


def twice(data: Data) -> tuple[Data, Data]:
    return {"n": data["n"]}, {"n": -data["n"]}


CHAIN = by_old_shape([Upcaster(A1, (A2,), more), Upcaster(A2, (B1, C1), twice)])


def test_a_shape_that_nothing_reads_stays_as_it_is() -> None:
    assert list(upcast(CHAIN, B1, {"n": 1})) == [(B1, {"n": 1})]


def test_a_chain_is_followed_to_its_end_and_its_parts_keep_their_order() -> None:
    assert list(upcast(CHAIN, A1, {"n": 1})) == [(B1, {"n": 2}), (C1, {"n": -2})]
    assert list(newest(CHAIN, A1)) == [B1, C1]


def test_a_part_may_be_read_further() -> None:
    longer = by_old_shape([*CHAIN.values(), Upcaster(B1, (Shape("B", 2),), more)])
    assert list(upcast(longer, A1, {"n": 1})) == [(Shape("B", 2), {"n": 3}), (C1, {"n": -2})]


def test_what_an_upcaster_gives_is_what_it_says() -> None:
    wrong = by_old_shape([Upcaster(A1, (B1, C1), more)])
    with pytest.raises(ValueError, match="shorter"):
        list(upcast(wrong, A1, {"n": 1}))


def test_a_shape_is_read_by_one_upcaster() -> None:
    with pytest.raises(ValueError, match="two upcasters read A/1"):
        by_old_shape([Upcaster(A1, (A2,), more), Upcaster(A1, (B1,), more)])


def test_nothing_that_has_happened_is_dropped() -> None:
    with pytest.raises(ValueError, match="A/1 becomes nothing"):
        by_old_shape([Upcaster(A1, (), more)])


def test_a_chain_does_not_come_back() -> None:
    with pytest.raises(ValueError, match="A/1 becomes itself again"):
        by_old_shape([Upcaster(A1, (A2,), more), Upcaster(A2, (A1,), more)])
