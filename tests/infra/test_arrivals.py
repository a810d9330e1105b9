"""What arrives on a partition, and how much of it may be folded."""

from typing import Any

from infra.feeding.arrivals import Arrival, Partition, Place


def event(offset: int, position: int) -> Arrival:
    recorded: Any = f"event {position}"
    return Arrival(offset=offset, position=position, events=(recorded,))


def marker(offset: int, position: int) -> Arrival:
    return Arrival(offset=offset, position=position)


def folded(partition: Partition, goal: int, most: int = 100) -> tuple[list[Any], Place]:
    """The events of the next portion, which is done, and the place after it."""
    portion = partition.portion(goal, most)
    partition.done(portion)
    return list(portion.events), partition.place


def begun(offset: int = 0, position: int = 0) -> Partition:
    return Partition(3, Place(offset=offset, position=position))


def test_nothing_beyond_the_goal_is_folded_and_what_is_beyond_says_that_it_is_reached() -> None:
    partition = begun()
    partition.take_in([event(0, 2), event(1, 5), event(2, 9)])
    assert folded(partition, 6) == (["event 2", "event 5"], Place(offset=2, position=6))
    assert folded(partition, 8) == ([], Place(offset=2, position=8))
    assert folded(partition, 9) == (["event 9"], Place(offset=3, position=9))


def test_without_more_it_is_known_only_up_to_the_last_event() -> None:
    partition = begun()
    partition.take_in([event(0, 2)])
    assert folded(partition, 6) == (["event 2"], Place(offset=1, position=2))
    partition.take_in([marker(1, 6)])
    assert folded(partition, 6) == ([], Place(offset=2, position=6))


def test_what_is_told_again_is_passed_over() -> None:
    partition = begun()
    partition.take_in([event(0, 2), event(1, 5), event(2, 2), event(3, 5), event(4, 7)])
    assert folded(partition, 9)[0] == ["event 2", "event 5", "event 7"]
    partition.take_in([event(5, 5), marker(6, 3), event(7, 8)])
    assert folded(partition, 9) == (["event 8"], Place(offset=8, position=8))


def test_what_is_fetched_again_is_passed_over() -> None:
    partition = begun(offset=2, position=4)
    partition.take_in([event(0, 2), event(1, 4), event(2, 6)])
    partition.take_in([event(2, 6), event(3, 8)])
    assert partition.waiting == 2
    assert folded(partition, 9) == (["event 6", "event 8"], Place(offset=4, position=8))


def test_a_portion_is_no_larger_than_wanted_and_stays_until_it_is_done() -> None:
    partition = begun()
    partition.take_in(event(number, number + 1) for number in range(10))
    first = partition.portion(20, 3)
    assert first == partition.portion(20, 3)
    assert first.after == Place(offset=3, position=3)
    partition.done(first)
    assert folded(partition, 20, 3)[0] == ["event 4", "event 5", "event 6"]
