"""The ledger, migrated, on a database of the test's own."""

from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.ledger.audit import AuditLog
from export_pipeline.ledger.database import Database
from export_pipeline.ledger.jobs import Jobs
from export_pipeline.ledger.leftovers import Leftovers
from export_pipeline_tests.ledger.ledger_fixtures import Ledger


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Database(SecretStr(ledger_url)) as database:
        yield Ledger(ledger_url, database, Jobs(database), AuditLog(database), Leftovers(database))


@pytest.fixture
def pending_row(ledger_url: str) -> Iterator[psycopg.Connection]:
    """A connection whose transaction holds one pending job and is rolled back."""
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "INSERT INTO exports.export_jobs (dataset, format, destination, requested_by, requester_id)"
            " VALUES ('d', 'csv', 's3', 'a@example.com', 'a')"
        )
        yield connection
        connection.rollback()
