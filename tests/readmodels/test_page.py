"""Pages against a naive sort of everything in memory."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readmodels.page import (
    FIRST_PAGE,
    CursorInvalid,
    Page,
    PageSizeInvalid,
    Sort,
    SortInvalid,
    select,
    slice_of,
)
from tests.readmodels.matching import Document
from tests.readmodels.sample_documents import (
    BY_NUMBER,
    FIELDS,
    SORTABLE,
    ask,
    documents,
    itself,
    sorted_naively,
)

ORDERS = st.lists(
    st.builds(Sort, st.sampled_from(SORTABLE), st.booleans()),
    min_size=1,
    max_size=3,
    unique_by=lambda by: by.field,
).map(tuple)


# -- pages


@settings(deadline=None)
@given(documents(), ORDERS, st.integers(1, 5))
def test_pages_forwards_make_the_whole(
    everything: list[Document], order_by: tuple[Sort, ...], size: int
) -> None:
    read: list[Document] = []
    after = None
    while True:
        page = ask(everything, select(FIELDS, (), order_by, Page(first=size, after=after)))
        assert page.has_previous == (after is not None)
        read += page.found
        if not page.has_next:
            break
        after = page.cursors[-1]
    assert read == sorted_naively(everything, order_by)


@settings(deadline=None)
@given(documents(), ORDERS, st.integers(1, 5))
def test_pages_backwards_make_the_whole(
    everything: list[Document], order_by: tuple[Sort, ...], size: int
) -> None:
    read: list[Document] = []
    before = None
    while True:
        page = ask(everything, select(FIELDS, (), order_by, Page(last=size, before=before)))
        assert page.has_next == (before is not None)
        read = page.found + read
        if not page.has_previous:
            break
        before = page.cursors[0]
    assert read == sorted_naively(everything, order_by)


@settings(deadline=None)
@given(documents().filter(lambda all_: len(all_) > 1), ORDERS, st.data())
def test_both_bounds_hold(
    everything: list[Document], order_by: tuple[Sort, ...], data: st.DataObject
) -> None:
    whole = ask(everything, select(FIELDS, (), order_by, FIRST_PAGE))
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(everything) - 1)] * 2)))
    bounds = Page(after=whole.cursors[low], before=whole.cursors[high])
    page = ask(everything, select(FIELDS, (), order_by, bounds))
    assert page.found == whole.found[low + 1 : high]


@settings(deadline=None)
@given(documents().filter(bool), ORDERS, st.data())
def test_a_cursor_outlives_its_document(
    everything: list[Document], order_by: tuple[Sort, ...], data: st.DataObject
) -> None:
    whole = ask(everything, select(FIELDS, (), order_by, FIRST_PAGE))
    gone = data.draw(st.integers(0, len(everything) - 1))
    left = [each for each in everything if each is not whole.found[gone]]
    page = ask(left, select(FIELDS, (), order_by, Page(after=whole.cursors[gone])))
    assert page.found == whole.found[gone + 1 :]


def test_a_page_has_twenty_documents_unless_asked_otherwise() -> None:
    assert select(FIELDS, (), BY_NUMBER, FIRST_PAGE).limit == 21


@pytest.mark.parametrize(
    "page", [Page(first=0), Page(last=-1), Page(first=101), Page(first=1, last=1)]
)
def test_a_size_out_of_range_is_refused(page: Page) -> None:
    with pytest.raises(PageSizeInvalid):
        select(FIELDS, (), BY_NUMBER, page)


@pytest.mark.parametrize(
    "order_by",
    [
        (),
        (Sort("number"), Sort("number")),
        (Sort("$where"),),
        (Sort("words"),),
        tuple(map(Sort, SORTABLE)),
    ],
)
def test_an_order_that_is_not_foreseen_is_refused(order_by: tuple[Sort, ...]) -> None:
    with pytest.raises(SortInvalid):
        select(FIELDS, (), order_by, FIRST_PAGE)


# -- cursors


def cursor(*values: Any, order_by: tuple[Sort, ...] = BY_NUMBER) -> str:
    """A cursor as a client would forge it, who knows how they are made."""
    document = dict(zip([by.field for by in order_by] + ["_id"], values, strict=True))
    query = select(FIELDS, (), order_by, FIRST_PAGE)
    return slice_of(query, [document], itself).cursors[0]


def refused(text: str, order_by: tuple[Sort, ...] = BY_NUMBER) -> bool:
    with pytest.raises(CursorInvalid):
        select(FIELDS, (), order_by, Page(after=text))
    return True


@given(st.text())
def test_any_text_is_refused_as_cursor(text: str) -> None:
    assert refused(text)


@given(st.binary())
def test_any_encoded_text_is_refused_as_cursor(content: bytes) -> None:
    assert refused(base64.urlsafe_b64encode(content).decode())


def test_a_cursor_of_another_order_is_refused() -> None:
    mine = cursor(1, "a")
    assert refused(mine, (Sort("number", descending=True),))
    assert refused(mine, (Sort("text"),))


@pytest.mark.parametrize(
    ("order_by", "values"),
    [
        (BY_NUMBER, ("1", "a")),
        (BY_NUMBER, (True, "a")),
        (BY_NUMBER, ({"$gt": 1}, "a")),
        (BY_NUMBER, (2**63, "a")),
        (BY_NUMBER, (1, None)),
        (BY_NUMBER, (1.5, "a")),
        ((Sort("time"),), ("yesterday", "a")),
        ((Sort("time"),), (5, "a")),
        ((Sort("time"),), ("0001-01-01T00:00:00+12:00", "a")),
        ((Sort("day"),), (None, "a")),
    ],
)
def test_a_forged_cursor_is_refused(order_by: tuple[Sort, ...], values: tuple[Any, ...]) -> None:
    assert refused(cursor(*values, order_by=order_by), order_by)


def test_a_cursor_says_nothing_about_operators() -> None:
    content = base64.urlsafe_b64decode(cursor(1, "a") + "==")[4:]
    assert json.loads(content) == [1, "a"]
