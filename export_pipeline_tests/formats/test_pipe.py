"""Bytes through a named pipe: all of them, whoever reads, and nobody waits for ever."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from export_pipeline.formats._pipe import piped


def chunks_of(number: int, size: int = 1 << 18) -> Iterator[bytes]:
    for index in range(number):
        yield bytes([index % 251]) * size


@pytest.mark.parametrize("number", [0, 1, 50])
def test_pipe_when_read_then_yields_every_byte_and_goes(number: int) -> None:
    with piped(chunks_of(number)) as path:
        found = path.read_bytes()
    assert found == b"".join(chunks_of(number))
    assert not path.parent.exists()


def test_pipe_when_nobody_opens_it_then_ends() -> None:
    with piped(chunks_of(50)):
        pass


def test_pipe_when_its_reader_has_seen_enough_then_ends_and_the_rest_is_not_asked_for() -> None:
    asked = []

    def chunks() -> Iterator[bytes]:
        for index in range(1000):
            asked.append(index)
            yield b"x" * (1 << 18)

    with piped(chunks()) as path, path.open("rb") as file:
        assert file.read(10) == b"x" * 10
    assert len(asked) < 100


def test_pipe_when_opened_once_more_then_there_is_nothing_left() -> None:
    with piped(chunks_of(3)) as path:
        path.read_bytes()
        assert path.read_bytes() == b""


def failing() -> Iterator[bytes]:
    yield b"x" * (1 << 20)
    raise ValueError("the store has gone")


def test_pipe_when_the_chunks_fail_then_their_error_comes_out_at_the_end() -> None:
    with pytest.raises(ValueError, match="the store has gone"), piped(failing()) as path:
        assert len(path.read_bytes()) == 1 << 20


def test_pipe_when_its_reader_fails_for_it_then_the_chunks_error_is_the_better_one() -> None:
    def read(path: Path) -> None:
        path.read_bytes()
        raise RuntimeError("ends too early")

    with pytest.raises(ValueError, match="the store has gone"), piped(failing()) as path:
        read(path)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_pipe_when_its_reader_fails_then_that_comes_out_and_no_thread_stays(error: type[BaseException]) -> None:
    before = threading.active_count()
    with pytest.raises(error, match="of its own"), piped(chunks_of(50)):
        raise error("of its own")
    assert threading.active_count() == before


def test_pipe_when_the_chunks_break_a_pipe_of_their_own_then_that_comes_out() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise BrokenPipeError("of the store's")

    with pytest.raises(BrokenPipeError, match="of the store's"), piped(chunks()) as path:
        path.read_bytes()
