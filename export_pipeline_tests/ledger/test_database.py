"""What people read when the ledger's database is missing, empty, or gone; and coming back to it."""

import time

import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.ledger.database import Database
from export_pipeline.ledger.jobs import Jobs
from export_pipeline.model.errors import Broken, Rejected, Transient
from export_pipeline_tests.ledger.ledger_fixtures import Ledger, request


def test_database_when_nobody_listens_then_quickly_transient_and_nothing_secret_told() -> None:
    url = "postgresql://somebody:hush-hush@127.0.0.1:9/nothing"
    started = time.monotonic()
    with Database(SecretStr(url)) as database, pytest.raises(Transient, match="DATABASE_URL") as caught:
        database.rows("SELECT 1")
    assert time.monotonic() - started < 2
    for secret in ("hush-hush", "somebody", "127.0.0.1"):
        assert secret not in str(caught.value)
    assert "hush-hush" not in repr(database)


def test_database_when_the_tables_are_missing_then_told_to_migrate(database_url: str) -> None:
    with Database(SecretStr(database_url)) as database, pytest.raises(Broken, match="migrate up"):
        Jobs(database).due()


def test_database_when_its_connections_were_cut_then_the_next_use_succeeds(ledger: Ledger) -> None:
    assert ledger.jobs.due() == []
    with psycopg.connect(ledger.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert ledger.jobs.due() == []


def test_database_when_a_connection_is_cut_in_use_then_transient(ledger: Ledger) -> None:
    with pytest.raises(Transient), ledger.database.transaction() as connection:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_database_when_a_text_cannot_be_stored_then_rejected(ledger: Ledger) -> None:
    for text in ("a\0b", "a\udcffb"):
        with pytest.raises(Rejected, match="character"):
            ledger.file(request(dataset=text))
    assert ledger.jobs.newest() == []


def test_database_when_the_block_fails_then_nothing_is_kept(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.database.transaction() as connection:
        connection.execute("INSERT INTO exports.audit_log (actor, action, dataset) VALUES ('a', 'request', 'd')")
        raise ZeroDivisionError
    assert ledger.database.rows("SELECT * FROM exports.audit_log") == []


def test_database_when_closed_then_a_later_use_opens_it_again(ledger: Ledger) -> None:
    ledger.database.close()
    assert ledger.jobs.due() == []
