"""The composition root: from settings to the engine that every door uses. Tests pass their own settings."""

from collections.abc import Iterator
from contextlib import contextmanager

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.source import Source
from export_pipeline.ledger.audit import AuditLog
from export_pipeline.ledger.database import Database
from export_pipeline.ledger.history import History
from export_pipeline.ledger.jobs import Jobs
from export_pipeline.ledger.leftovers import Leftovers
from export_pipeline.ledger.links import Links
from export_pipeline.ledger.templates import Templates
from export_pipeline.ledger.watermarks import Watermarks
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.destination import DestinationType
from export_pipeline.model.format import Format
from export_pipeline.model.package import Package
from export_pipeline.registry import load_folder, load_parts
from export_pipeline.settings import Settings, load_settings


@contextmanager
def open_services(settings: Settings | None = None) -> Iterator[Engine]:
    """The engine, until the context ends. Raises SettingsError, RegistryError; the database is reached at first use."""
    settings = settings or load_settings()
    with Database(settings.database_url) as database:
        yield Engine(
            settings=settings,
            jobs=Jobs(database),
            audit=AuditLog(database),
            leftovers=Leftovers(database),
            links=Links(database),
            templates=Templates(database),
            watermarks=Watermarks(database),
            source=Source(
                settings.source,
                snapshot_seconds=settings.snapshot_seconds,
                own_role=settings.source_own_role,
                driver=settings.postgres_driver,
                tuning={
                    "work_mem": settings.work_mem,
                    "max_parallel_workers_per_gather": settings.parallel_workers,
                    "jit": "off",
                },
            ),
            history=History(database),
            datasets=load_datasets(settings),
            formats=load_formats(),
            destinations=load_parts("export_pipeline.destinations", "DESTINATION", DestinationType),
            packages=load_packages(),
        )


def load_formats() -> dict[str, Format]:
    """The formats, by name."""
    return load_parts("export_pipeline.formats", "FORMAT", Format)


def load_packages() -> dict[str, Package]:
    """The ready-made packages, by name."""
    return load_parts("export_pipeline.packages", "PACKAGE", Package)


def load_datasets(settings: Settings) -> dict[str, Dataset]:
    """The package's datasets and those in the folder of the user's."""
    datasets = load_parts("export_pipeline.datasets", "DATASET", Dataset)
    if settings.datasets_path is not None:
        datasets |= load_folder(settings.datasets_path, "DATASET", Dataset, datasets)
    return datasets
