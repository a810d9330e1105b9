"""Values and what MongoDB stores of them."""

from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum

import pytest

from domain.decider import DomainError, domain_error, message
from infra.answers import Accepted, AnswerCodec, Rejected, VersionConflict
from infra.codec import (
    ErrorCodec,
    EventCodec,
    Unreadable,
    fingerprint,
    from_stored,
    milliseconds,
    now,
    schema_of,
    to_stored,
)
from tests.infra import toy
from tests.infra.parts import asked


class Shade(Enum):
    DARK = "dark"


@message
class Glass:
    """One field of each kind that events have."""

    SCHEMA = 3
    at: datetime
    on: date
    shade: Shade
    parts: tuple[int, ...]
    inner: toy.Jar
    note: str | None = None


GLASS = Glass(
    at=datetime(2026, 3, 1, 12, 30, 15, 123_000, UTC),
    on=date(2026, 3, 1),
    shade=Shade.DARK,
    parts=(1, 2),
    inner=toy.Jar(marbles=2),
)
CODEC = EventCodec([Glass])


def test_times_stay_times_and_dates_become_text() -> None:
    stored = to_stored(GLASS)
    assert stored["at"] == GLASS.at
    assert stored["on"] == "2026-03-01"
    assert stored["shade"] == "dark"
    assert from_stored(Glass, stored) == GLASS
    assert CODEC.decode("Glass", 3, stored) == (GLASS,)


def test_a_wrong_type_is_an_error_with_its_path() -> None:
    stored = to_stored(GLASS)
    stored["inner"]["marbles"] = "two"
    with pytest.raises(Unreadable, match=r"Glass: .*`\$\.inner\.marbles`"):
        CODEC.decode("Glass", 3, stored)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(Unreadable, match="nothing is called 'Cup'"):
        CODEC.decode("Cup", 1, {})


def test_a_shape_has_number_one_until_it_has_changed() -> None:
    assert schema_of(Glass) == 3
    assert schema_of(toy.JarSealed) == 1


def test_times_are_cut_to_what_is_stored() -> None:
    summer = timezone(timedelta(hours=2))
    cut = milliseconds(datetime(2026, 7, 1, 12, 0, 0, 999_999, summer))
    assert cut == datetime(2026, 7, 1, 10, 0, 0, 999_000, UTC)
    assert cut.tzinfo is UTC
    assert now().microsecond % 1000 == 0


def test_a_fingerprint_tells_repeats_from_others() -> None:
    assert fingerprint(toy.Put(jar="a")) == fingerprint(toy.Put(jar="a"))
    assert fingerprint(toy.Put(jar="a")) != fingerprint(toy.Put(jar="b"))


def test_an_identity_is_of_the_command_its_kind_and_its_actor() -> None:
    identity = asked(toy.Seal(jar="a")).identity()
    assert asked(toy.Seal(jar="a"), "other").identity() == identity
    assert asked(toy.Seal(jar="a"), actor="eve").identity() != identity
    assert asked(toy.Take(jar="a", marbles=1), input_id="i").identity() != (
        asked(toy.Put(jar="a", marbles=1), input_id="i").identity()
    )
    assert asked(toy.Put(jar="a"), input_id="i").identity() == (
        asked(toy.Put(jar="b"), input_id="i").identity()
    )


REFUSALS: list[DomainError] = [
    toy.TooFewMarbles(wanted=2, there=1),
    toy.JarIsSealed(jar="a", path=("lines", "0", "jar")),
    VersionConflict(stream="jar-a", expected=1, actual=2),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
def test_a_remembered_refusal_reads_the_same(refusal: DomainError) -> None:
    codec = AnswerCodec(toy.JAR.errors)
    rejected = Rejected(command_id="c", errors=(refusal,), position=4)
    again = codec.recorded(codec.record("identity", rejected))
    assert again == rejected
    assert isinstance(again, Rejected)
    assert (again.errors[0].path, str(again.errors[0])) == (refusal.path, str(refusal))


def test_a_remembered_acceptance_reads_the_same() -> None:
    codec = AnswerCodec(())
    accepted = Accepted(command_id="c", stream="jar-a", version=2, position=4)
    assert codec.recorded(codec.record("identity", accepted)) == accepted


def test_a_refusal_that_no_registry_knows_cannot_be_read() -> None:
    stored = ErrorCodec(toy.JAR.errors).encode(REFUSALS[0])
    with pytest.raises(Unreadable, match="TooFewMarbles"):
        ErrorCodec([toy.JarIsSealed]).decode(stored)


@domain_error
class Lost(DomainError):
    text = "Lost at {place}."
    place: str
    path: tuple[str, ...] = ()


def test_a_refusal_keeps_its_facts_apart_from_its_path() -> None:
    stored = ErrorCodec([Lost]).encode(Lost(place="x", path=("a", "b")))
    assert stored == {"kind": "Lost", "facts": {"place": "x"}, "path": ["a", "b"]}
