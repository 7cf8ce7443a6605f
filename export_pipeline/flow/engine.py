"""What the verbs work with: the settings, the ledger, the source and the registries, put together by `services.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from export_pipeline.flow.source import Source
from export_pipeline.ledger.audit import AuditLog
from export_pipeline.ledger.history import History
from export_pipeline.ledger.jobs import Jobs
from export_pipeline.ledger.leftovers import Leftovers
from export_pipeline.ledger.links import Links
from export_pipeline.ledger.templates import Templates
from export_pipeline.ledger.watermarks import Watermarks
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.destination import Destination, DestinationType
from export_pipeline.model.errors import Rejected
from export_pipeline.model.format import Format
from export_pipeline.model.package import Package
from export_pipeline.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Engine:
    """One of these serves every door; it is made once in a process and may be used by several threads."""

    settings: Settings
    jobs: Jobs
    audit: AuditLog
    leftovers: Leftovers
    links: Links
    templates: Templates
    watermarks: Watermarks
    history: History
    source: Source
    datasets: Mapping[str, Dataset]
    formats: Mapping[str, Format]
    destinations: Mapping[str, DestinationType]
    packages: Mapping[str, Package] = field(default_factory=dict)
    _connected: dict[str, Destination] = field(default_factory=dict)

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name. Raises Rejected."""
        return _named(self.datasets, name, "dataset")

    def format(self, name: str) -> Format:
        """The format of that name. Raises Rejected."""
        return _named(self.formats, name, "format")

    def destination(self, name: str) -> Destination:
        """The destination of that name, connected once. Raises Rejected where it is unknown or not set up."""
        if name not in self._connected:
            self._connected[name] = _named(self.destinations, name, "destination").connect(self.settings)
        return self._connected[name]


def _named(parts: Mapping[str, T], name: str, noun: str) -> T:
    if name not in parts:
        raise Rejected(f"there is no {noun} {name!r}; there are: {', '.join(sorted(parts))}")
    return parts[name]
