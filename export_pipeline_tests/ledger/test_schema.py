"""The schema: up, down, status, and the rules that the database itself keeps."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.ledger.schema import migrate_down, migrate_up, migration_status
from export_pipeline.model.errors import Broken, Transient
from export_pipeline.model.job import TRANSITIONS, Status


def _ours(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('exports')"
            " UNION SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace('exports')"
            " UNION SELECT nspname FROM pg_namespace WHERE nspname = 'exports'"
        ).fetchall()
    return {name for (name,) in rows}


def test_migrate_when_up_down_and_up_again_then_nothing_of_ours_stays_between(database_url: str) -> None:
    url = SecretStr(database_url)
    assert migration_status(url).current is None
    migrate_up(url)
    assert migration_status(url).up_to_date
    assert {"export_jobs", "audit_log", "leftovers", "alembic_version"} <= _ours(database_url)
    migrate_down(url)
    assert _ours(database_url) == set()
    migrate_up(url)
    assert migration_status(url).up_to_date


def test_migrate_down_when_somebody_elses_table_lies_in_the_schema_then_it_stays(database_url: str) -> None:
    url = SecretStr(database_url)
    migrate_up(url)
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE exports.theirs ()")
    migrate_down(url)
    assert _ours(database_url) == {"exports", "theirs"}


def test_migrate_up_when_eight_run_at_once_then_all_succeed(database_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: migrate_up(SecretStr(database_url)), range(8)))
    assert migration_status(SecretStr(database_url)).up_to_date


def test_migrate_up_when_the_schema_is_newer_than_the_program_then_that_is_said(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as connection:
        connection.execute("UPDATE exports.alembic_version SET version_num = '9999'")
    with pytest.raises(Broken, match=r"9999.*upgrade export-pipeline"):
        migrate_up(SecretStr(ledger_url))


def test_migrate_up_when_nobody_listens_then_transient_without_the_password() -> None:
    with pytest.raises(Transient) as caught:
        migrate_up(SecretStr("postgresql://somebody:hush-hush@127.0.0.1:9/nothing"))
    assert "hush-hush" not in str(caught.value)
    assert "somebody" not in str(caught.value)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Status, Status)))
def test_transition_when_tried_in_the_database_then_it_is_as_the_model_says(
    ledger_url: str, before: Status, after: Status
) -> None:
    with psycopg.connect(ledger_url) as connection:
        found = connection.execute(
            "INSERT INTO exports.export_jobs (dataset, format, destination, requested_by, requester_id)"
            " VALUES ('d', 'csv', 's3', 'a@example.com', 'a') RETURNING id"
        ).fetchone()
        assert found is not None
        # Into the first state past the triggers, so that each pair is tried by itself.
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE exports.export_jobs SET status = %s WHERE id = %s", [before, found[0]])
        connection.execute("SET LOCAL session_replication_role = origin")
        move = "UPDATE exports.export_jobs SET status = %s, attempt = attempt + %s WHERE id = %s"
        values = [after, int(after is Status.PENDING and before is not after), found[0]]
        if after in TRANSITIONS[before] or after is before:
            connection.execute(move, values)
        else:
            with pytest.raises(psycopg.errors.CheckViolation, match=f"from {before} to {after}"):
                connection.execute(move, values)
        connection.rollback()


@pytest.mark.parametrize(
    "change",
    ["attempt = attempt + 1", "attempt = attempt - 1", "status = 'processing', attempt = attempt + 1"],
)
def test_attempt_when_changed_without_a_move_to_pending_then_refused(
    pending_row: psycopg.Connection, change: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        pending_row.execute(f"UPDATE exports.export_jobs SET {change}")


def test_attempt_when_a_move_to_pending_does_not_raise_it_by_one_then_refused(pending_row: psycopg.Connection) -> None:
    pending_row.execute("UPDATE exports.export_jobs SET status = 'cancelled'")
    for growth in (0, 2):
        with pytest.raises(psycopg.errors.CheckViolation), pending_row.transaction():
            pending_row.execute("UPDATE exports.export_jobs SET status = 'pending', attempt = attempt + %s", [growth])


@pytest.mark.parametrize("change", ["dataset = 'other'", "requester_id = 'other'", 'filters = \'{"a": "b"}\''])
def test_request_when_changed_after_it_was_filed_then_refused(pending_row: psycopg.Connection, change: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="asked for"):
        pending_row.execute(f"UPDATE exports.export_jobs SET {change}")


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PENDING}))
def test_job_when_born_in_another_state_than_pending_then_refused(pending_row: psycopg.Connection, status: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        pending_row.execute(
            "INSERT INTO exports.export_jobs (dataset, format, destination, requested_by, requester_id, status)"
            " VALUES ('d', 'csv', 's3', 'a@example.com', 'a', %s)",
            [status],
        )


@pytest.mark.parametrize(
    "statement",
    ["UPDATE exports.audit_log SET reason = 'x'", "DELETE FROM exports.audit_log", "TRUNCATE exports.audit_log"],
)
def test_audit_log_when_changed_then_refused(pending_row: psycopg.Connection, statement: str) -> None:
    pending_row.execute("INSERT INTO exports.audit_log (actor, action, dataset) VALUES ('a', 'request', 'd')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="audit log"):
        pending_row.execute(statement)
