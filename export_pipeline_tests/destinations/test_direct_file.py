"""Files written past the page cache: every byte, whatever the pieces, the file system and the disk."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from export_pipeline.destinations._direct_file import DirectFile, read

BLOCK = 4 << 20


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def written(path: Path, data: bytes, piece: int) -> bytes:
    with opened(path) as descriptor, DirectFile(descriptor) as file:
        for start in range(0, len(data), piece):
            assert file.write(memoryview(data)[start : start + piece]) == len(data[start : start + piece])
        file.end()
    found = path.read_bytes()
    assert b"".join(read(path)) == found
    return found


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK // 2 + 7])
@pytest.mark.parametrize("piece", [100_003, BLOCK, 4 * BLOCK])
def test_file_when_written_in_pieces_then_has_every_byte(tmp_path: Path, size: int, piece: int) -> None:
    data = os.urandom(size)
    assert written(tmp_path / "file", data, piece) == data


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory here")
def test_file_when_the_file_system_is_in_memory_then_has_every_byte() -> None:
    data = os.urandom(2 * BLOCK + 5)
    path = Path("/dev/shm", f"export-{os.getpid()}")
    try:
        assert written(path, data, 1 << 20) == data
    finally:
        path.unlink()


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system writes through its cache only")
def test_file_when_the_disk_wants_other_blocks_then_written_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = os.write, []

    def particular(descriptor: int, data: memoryview) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(len(data))
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, data)

    monkeypatch.setattr("os.write", particular)
    data = os.urandom(3 * BLOCK + 5)
    assert written(tmp_path / "file", data, 1 << 20) == data
    assert refused == [BLOCK]


def test_file_when_the_disk_takes_a_part_at_a_time_then_has_every_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr("os.write", lambda descriptor, data: real(descriptor, data[: 1 << 20]))
    data = os.urandom(2 * BLOCK + 5)
    assert written(tmp_path / "file", data, BLOCK) == data


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_file_when_the_disk_fails_behind_its_back_then_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    def full(descriptor: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path / "file", bytes(blocks * BLOCK), BLOCK)


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system reads through its cache only")
def test_file_when_the_disk_wants_other_blocks_then_read_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.readv

    def particular(descriptor: int, blocks: list[bytearray]) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, blocks)

    data = os.urandom(2 * BLOCK + 5)
    (tmp_path / "file").write_bytes(data)
    monkeypatch.setattr("os.readv", particular)
    assert b"".join(read(tmp_path / "file")) == data
