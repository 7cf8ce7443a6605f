"""One attempt at an export: a thread works, the main thread watches.

The watcher keeps the heartbeat, shows progress, and sees a cancel, an interrupt or a newer attempt at once; a query or
a stream in native code would not. Then it stops the worker from outside, and the worker cleans up on its way out.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Protocol, TypeVar

from export_pipeline.ledger.jobs import Jobs
from export_pipeline.model.errors import Broken, Cancelled, ExportError, Transient
from export_pipeline.model.job import Phase
from export_pipeline.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from export_pipeline.model.dataset import Column, Dataset

T = TypeVar("T")

#: How often the watcher looks whether the export was cancelled (seconds).
LOOK_SECONDS = 0.4
#: How long a stopped worker may take to clean up before it is left to the sweep (seconds).
PATIENCE_SECONDS = 1.5


class Observer(Protocol):
    """Somebody who is told how an attempt gets on, every so often and in the main thread."""

    def __call__(self, attempt: "Attempt") -> None: ...


class Witness(Protocol):
    """Somebody who is shown each batch as it was read, with the columns of the dataset that it is of, before anything
    in it is masked."""

    def __call__(self, dataset: "Dataset", columns: "tuple[Column, ...]", batch: "pl.DataFrame") -> None: ...


@dataclass
class Attempt:
    """What the working thread and the watching thread share. `witness` sees the rows that it reads."""

    export_id: str
    number: int
    phase: Phase = Phase.PLANNING
    rows_done: int = 0
    rows_estimated: int | None = None
    bytes_done: int = 0
    started: float = field(default_factory=time.monotonic)
    witness: Witness | None = None
    _stopped: Event = field(default_factory=Event)
    _stoppers: list[Callable[[], None]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def check(self) -> None:
        """Raises Cancelled once the attempt was stopped."""
        if self._stopped.is_set():
            raise Cancelled("the export was cancelled")

    def enter(self, phase: Phase) -> None:
        """Goes on to the next phase. Raises Cancelled."""
        self.check()
        self.phase = phase

    @contextmanager
    def stopping_with(self, stopper: Callable[[], None]) -> Iterator[None]:
        """While the context is open, stopping the attempt also calls `stopper`, from another thread."""
        with self._lock:
            self._stoppers.append(stopper)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._stoppers.remove(stopper)

    def stop(self) -> None:
        """Ends the attempt from outside: queries are cancelled, streams fail at their next batch or write."""
        self._stopped.set()
        with self._lock:
            for stopper in self._stoppers:
                # One that fails must not keep the others from being called.
                try:
                    stopper()
                except Exception:  # noqa: S112
                    continue


class Abandoned(ExportError):
    """A stopped worker did not end in time: what it leaves is for the sweep. `reason` is why it was stopped."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__("the attempt was stopped and has not cleaned up yet")
        self.reason = reason


def supervise(attempt: Attempt, work: Callable[[Attempt], T], watch: Callable[[Attempt], None]) -> T:
    """Runs `work` in a thread and calls `watch` in this one every so often, until it is done.

    Raises what the work raised; what `watch` raised, or whatever interrupted this thread, after the worker was stopped;
    Abandoned where it does not stop.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            result.append(work(attempt))
        except BaseException as error:
            failure.append(error)

    thread = Thread(target=target, name=f"export-{attempt.export_id}", daemon=True)
    thread.start()
    try:
        while True:
            thread.join(LOOK_SECONDS)
            if not thread.is_alive():
                break
            watch(attempt)
    except BaseException as reason:
        attempt.stop()
        thread.join(PATIENCE_SECONDS)
        if thread.is_alive():
            raise Abandoned(reason) from reason
        raise
    if failure:
        raise failure[0]
    return result[0]


class LedgerWatch:
    """Keeps a job's heartbeat and sees whether it was cancelled or superseded."""

    def __init__(self, jobs: Jobs, settings: Settings, observer: Observer) -> None:
        self._jobs = jobs
        self._settings = settings
        self._observer = observer
        self._answered = self._beat = time.monotonic()

    def __call__(self, attempt: Attempt) -> None:
        """Raises Cancelled, Superseded, and Broken where the ledger has not answered for too long."""
        now = time.monotonic()
        try:
            cancelled = self._look(attempt, now)
            self._answered = now
        except Transient as error:
            # The ledger may come back; but without heartbeats somebody else takes this export over in the end.
            if now - self._answered > self._settings.dead_after_seconds:
                raise Broken("the ledger's database went away for too long; the export was given up") from error
            return
        if cancelled:
            raise Cancelled("the export was cancelled")

    def _look(self, attempt: Attempt, now: float) -> bool:
        if now - self._beat < self._settings.heartbeat_seconds:
            return self._jobs.cancel_requested(attempt.export_id, attempt.number)
        self._beat = now
        self._observer(attempt)
        return self._jobs.beat(
            attempt.export_id,
            attempt.number,
            phase=attempt.phase,
            rows_done=attempt.rows_done,
            rows_estimated=attempt.rows_estimated,
            bytes_done=attempt.bytes_done,
        )
