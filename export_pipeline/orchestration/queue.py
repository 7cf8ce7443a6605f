"""Dagster's queue of runs, looked at twice a second.

Named in dagster.yaml, and so imported by every process of Dagster's: it stays light.
"""

from dagster import DagsterInstance
from dagster._core.run_coordinator import QueuedRunCoordinator


class PromptRunCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """Dagster's own queue. Its interval is whole seconds by configuration, of which the daemon makes up to half a
    second more: it sleeps for half a second until the interval is over."""

    @property
    def dequeue_interval_seconds(self) -> float:  # type: ignore[override]
        """How often the daemon looks for what may start: below half a second means after one of its sleeps."""
        return 0.4
