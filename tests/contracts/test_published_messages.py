"""The contract with other systems: every message that is told to them (see `published_gate`)."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from domain.published_messages import PUBLISHED
from tests.contracts.event_gate import Goldens, goldens
from tests.contracts.published_gate import changed, not_told, unreadable, update

DIRECTORY = Path(__file__).with_name("published")


@pytest.fixture(scope="module")
def known(request: pytest.FixtureRequest) -> Goldens:
    """All that was promised; an update only adds to it."""
    if request.config.getoption("--update-contracts"):
        update(DIRECTORY, PUBLISHED)
    return goldens(DIRECTORY)


def nothing_of(problems: Iterable[str]) -> None:
    if found := list(problems):
        pytest.fail("\n\n".join(found), pytrace=False)


def test_a_message_is_told_as_it_was_agreed(known: Goldens) -> None:
    nothing_of(changed(PUBLISHED, known))


def test_what_was_promised_is_still_told(known: Goldens) -> None:
    nothing_of(not_told(PUBLISHED, known))


def test_what_was_ever_told_can_be_read(known: Goldens) -> None:
    nothing_of(unreadable(PUBLISHED, known))
