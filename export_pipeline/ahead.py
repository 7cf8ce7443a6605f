"""One thing ahead: whatever yields is asked for the next while the last is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, none of which is None. Raises what yielding them raises, in its place."""
    remaining = iter(items)
    with ThreadPoolExecutor(1, "ahead") as thread:
        following = thread.submit(next, remaining, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, remaining, None)
            yield item
