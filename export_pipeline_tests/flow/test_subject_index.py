"""The index file: sorted, the same whether it fits in memory or not, and read without being believed."""

from pathlib import Path

import numpy as np
import pytest

from export_pipeline.destinations.local import LocalFolder
from export_pipeline.flow.subject_index import INDEX, Lookup, SubjectIndex, look_up, publish_index
from export_pipeline.flow.subject_key import SubjectKey

KEY = SubjectKey("k" * 32)
OTHER = SubjectKey("o" * 32)


def filled(most_held: int, batches: int = 20) -> SubjectIndex:
    index = SubjectIndex(KEY, most_held=most_held)
    numbers = np.random.default_rng(3)
    for _ in range(batches):
        index.add(numbers.integers(0, 2**64, size=500, dtype=np.uint64))
        index.add(np.array([0, 1, 2**64 - 1], dtype=np.uint64))
    return index


def test_index_when_it_does_not_fit_in_memory_then_the_same_as_when_it_does() -> None:
    whole = b"".join(filled(10**9).contents())
    hashes = np.frombuffer(whole[16:], dtype=">u8")
    assert len(hashes) == 20 * 500 + 3
    assert (np.diff(hashes.astype(np.float64)) >= 0).all() and len(set(hashes.tolist())) == len(hashes)
    for most_held in (700, 1_200, 5_000):
        index = filled(most_held)
        assert b"".join(index.contents()) == whole
        assert all(len(piece) <= 16 * most_held for piece in index.contents())


def test_lookup_when_asked_then_finds_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "exports")
    publish_index(filled(900), folder, "a/")
    publish_index(SubjectIndex(KEY), folder, "empty/")
    held = np.frombuffer((tmp_path / "exports" / "a" / INDEX).read_bytes()[16:], dtype=">u8").tolist()
    for number in (held[0], held[-1], *held[5::1000]):
        assert look_up(folder, "a/", {KEY.id: [number]}).found
        assert look_up(folder, "a/", {OTHER.id: [7], KEY.id: [5, number]}).found
    for number in (2, held[50] + 1, 2**64 - 2):
        assert look_up(folder, "a/", {KEY.id: [number]}) == Lookup(readable=True, found=False)
    assert look_up(folder, "empty/", {KEY.id: [0]}) == Lookup(readable=True, found=False)
    assert look_up(folder, "a/", {OTHER.id: [held[0]]}) == Lookup(readable=False)
    assert look_up(folder, "nothing/", {KEY.id: [held[0]]}) == Lookup(readable=False)


@pytest.mark.parametrize("contents", [b"", b"export", b"nothing of ours, but as long as a header"])
def test_lookup_when_the_file_is_something_else_then_not_readable(tmp_path: Path, contents: bytes) -> None:
    folder = LocalFolder(tmp_path)
    (tmp_path / INDEX).write_bytes(contents)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / INDEX).write_bytes(contents)
    assert look_up(folder, "a/", {KEY.id: [1]}) == Lookup(readable=False)
