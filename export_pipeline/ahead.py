"""Things ahead: whatever yields is asked for what comes next while the last is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The same items, none of which is None, up to `depth` ahead. Raises what yielding them raises, in its place."""
    with reading_ahead(items, depth, lambda: None) as following:
        yield from following


@contextmanager
def reading_ahead(items: Iterable[T], depth: int, stop: Callable[[], None]) -> Iterator[Iterator[T]]:
    """The same items, none of which is None, of which a thread has up to `depth` ready. Raises what yielding them
    raises, in its place.

    Nobody is in `items` any more when the context ends: where somebody is, `stop` is called, which should have them
    raise, and they are waited for.
    """
    # A generator, since that has nothing more to tell after an error.
    remaining = (item for item in items)
    thread = ThreadPoolExecutor(1, "ahead")
    asked = deque(thread.submit(next, remaining, None) for _ in range(depth))

    def following() -> Iterator[T]:
        while (item := asked[0].result()) is not None:
            asked.append(thread.submit(next, remaining, None))
            asked.popleft()
            yield item
        asked.clear()

    try:
        yield following()
    finally:
        thread.shutdown(wait=False, cancel_futures=True)
        if not all(map(Future.done, tuple(asked))):
            # Where it fails, that is not what is wrong.
            with suppress(Exception):
                stop()
        thread.shutdown()
