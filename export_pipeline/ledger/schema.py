"""Brings the schema `exports` up, down, and tells where it stands. Each is one transaction under a lock of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors
from psycopg.rows import tuple_row
from pydantic import SecretStr

from export_pipeline.ledger.database import connect_directly, translate, translated_errors
from export_pipeline.model.errors import Broken

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

#: The key of the advisory lock that keeps two migrations apart: any number, the same in every version.
_LOCK = 7_241_905_331


@dataclass(frozen=True)
class MigrationStatus:
    """The version that the schema has (None: there is none) and the newest that this program knows."""

    current: str | None
    newest: str

    @property
    def up_to_date(self) -> bool:
        """Whether this program can work with the schema as it is."""
        return self.current == self.newest


def migrate_up(url: SecretStr) -> None:
    """Brings the schema to the newest version; creates it where it is missing. Raises Transient, Broken."""
    from alembic import command

    with _locked(url) as connection:
        # Not IF NOT EXISTS alone: that needs the right to create schemas even where an administrator made it already.
        if not _schema_exists(connection):
            connection.exec_driver_sql("CREATE SCHEMA exports")
        command.upgrade(_config(connection), "head")


def migrate_down(url: SecretStr) -> None:
    """Removes everything of ours, with the history of exports and the audit log. Raises Transient, Broken."""
    from alembic import command
    from sqlalchemy.exc import DBAPIError

    with _locked(url) as connection:
        if not _schema_exists(connection):
            return
        command.downgrade(_config(connection), "base")
        connection.exec_driver_sql("DROP TABLE IF EXISTS exports.alembic_version")
        try:
            with connection.begin_nested():
                connection.exec_driver_sql("DROP SCHEMA exports")
        except DBAPIError as error:
            # Somebody else's tables lie in it, or an administrator made it for us: then it is not ours to drop.
            if not isinstance(error.orig, errors.DependentObjectsStillExist | errors.InsufficientPrivilege):
                raise


def migration_status(url: SecretStr) -> MigrationStatus:
    """Where the schema stands. Raises Transient, Broken."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with _connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": "exports"})
        newest = ScriptDirectory.from_config(_config(connection)).get_current_head()
        assert newest is not None
        return MigrationStatus(current=context.get_current_revision(), newest=newest)


@contextmanager
def _connected(url: SecretStr) -> Iterator[Connection]:
    from alembic.util import CommandError
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        connection = connect_directly(url)
        connection.row_factory = tuple_row  # type: ignore[assignment]
        return connection  # type: ignore[return-value]

    # Without parameters psycopg takes several statements at once, and a percent sign as itself.
    options = {"no_parameters": True}
    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool, execution_options=options)
    try:
        with translated_errors(), engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from error
        raise
    except CommandError as error:
        raise Broken(
            f"the schema exports has a version that this program does not know ({error}); upgrade export-pipeline"
        ) from error


@contextmanager
def _locked(url: SecretStr) -> Iterator[Connection]:
    with _connected(url) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        yield connection


def _schema_exists(connection: Connection) -> bool:
    return connection.exec_driver_sql("SELECT 1 FROM pg_namespace WHERE nspname = 'exports'").first() is not None


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    # Alembic reads its options with interpolation, where a percent sign is special.
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
