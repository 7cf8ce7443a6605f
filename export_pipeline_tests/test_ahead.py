"""Reading ahead: the same items in the same order, errors in their place, and nobody left reading when it ends."""

import time
from collections.abc import Iterator
from threading import Event

import pytest

from export_pipeline.ahead import ahead, reading_ahead


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_items_when_all_are_taken_then_in_their_order_and_nobody_is_stopped(depth: int) -> None:
    stopped = Event()
    with reading_ahead(range(100), depth, stopped.set) as items:
        assert list(items) == list(range(100))
    assert not stopped.is_set()


def test_items_when_one_fails_then_raised_in_its_place() -> None:
    def failing() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("the third")

    with reading_ahead(failing(), 3, lambda: None) as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(ValueError, match="the third"):
            next(items)


def test_items_when_one_was_taken_then_only_so_many_are_read_ahead() -> None:
    asked: list[int] = []
    third = Event()

    def counting() -> Iterator[int]:
        for number in range(10):
            asked.append(number)
            if number == 2:
                third.set()
            yield number

    with reading_ahead(counting(), 2, lambda: None) as items:
        assert next(items) == 0
        # The second was there before, the third is asked for since the first was taken.
        assert third.wait(10)
    assert asked == [0, 1, 2]


def test_reader_when_it_still_reads_at_the_end_then_stopped_and_waited_for() -> None:
    stopped, reading, left = Event(), Event(), Event()

    def blocked() -> Iterator[int]:
        yield 1
        reading.set()
        stopped.wait(10)
        left.set()
        raise OSError("the query was cancelled")

    with reading_ahead(blocked(), 2, stopped.set) as items:
        assert next(items) == 1
        assert reading.wait(10)
    assert left.is_set()


def test_error_of_whoever_takes_when_stopping_fails_then_comes_out() -> None:
    def failing() -> None:
        raise OSError("no way to stop it")

    reading = Event()

    def slow() -> Iterator[int]:
        yield 1
        reading.set()
        time.sleep(0.3)
        yield 2

    with pytest.raises(ValueError, match="no room"), reading_ahead(slow(), 2, failing) as items:
        assert next(items) == 1
        assert reading.wait(10)
        raise ValueError("no room")


def test_items_when_not_all_are_taken_then_the_rest_is_let_go_of() -> None:
    closed = Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    for _ in ahead(endless()):
        break
    assert closed.wait(10)
