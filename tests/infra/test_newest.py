"""Which moment is read at, where read models belong to two groups."""

from bson.timestamp import Timestamp

from infra.newest import PATIENCE, Newest, Snapshot

FED = {"fed": 7}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def main(position: int) -> Snapshot:
    return Snapshot(position=position, at=Timestamp(position, 1), generations={"own": 1})


def common(position: int) -> Snapshot:
    return Snapshot(
        position=position,
        at=Timestamp(position, 1),
        generations={"own": 1, **FED},
        fed=frozenset(FED),
        fed_at=Timestamp(position, 9),
    )


def chosen(newest: Newest) -> tuple[int, bool]:
    """The position, and whether what is fed over Kafka can be read at it."""
    assert newest.chosen
    return newest.chosen.position, "fed" in newest.chosen.generations


def test_where_nothing_is_fed_over_kafka_it_is_the_main_group() -> None:
    newest = Newest()
    newest.begin(main(1), {}, None)
    newest.main_moved(main(5))
    newest.main_moved(main(4))
    assert chosen(newest) == (5, False)


def test_the_common_snapshot_is_read_at_as_long_as_it_moves() -> None:
    clock = Clock()
    newest = Newest(clock)
    newest.begin(main(3), FED, common(3))
    for position in range(4, 10):
        newest.main_moved(main(position))
        assert chosen(newest) == (position - 1, True)
        clock.now += PATIENCE / 2
        newest.round_ended(common(position))
        assert chosen(newest) == (position, True)
        clock.now += PATIENCE * 9  # nothing happens: nobody lags behind


def test_when_it_stands_still_the_main_group_goes_on_and_nothing_goes_back() -> None:
    clock = Clock()
    newest = Newest(clock)
    newest.begin(main(3), FED, common(3))
    newest.main_moved(main(4))
    clock.now += PATIENCE
    newest.choose()
    assert chosen(newest) == (4, False)
    newest.main_moved(main(8))
    assert chosen(newest) == (8, False)
    newest.round_ended(common(4))
    newest.main_moved(main(9))
    assert chosen(newest) == (8, False)
    newest.round_ended(common(8))
    assert chosen(newest) == (8, True)


def test_a_round_of_what_was_fed_before_does_not_count() -> None:
    newest = Newest()
    newest.begin(main(3), FED, common(3))
    newest.begin(main(4), {}, None)
    newest.round_ended(common(5))
    assert chosen(newest) == (4, False)
    newest.begin(main(6), {"fed": 7, "other": 1}, None)
    newest.round_ended(common(7))
    assert chosen(newest) == (6, False)


def test_each_group_is_read_at_its_own_time() -> None:
    assert common(5).time_of("fed") == Timestamp(5, 9)
    assert common(5).time_of("own") == Timestamp(5, 1)
    assert main(5).time_of("fed") == Timestamp(5, 1)
