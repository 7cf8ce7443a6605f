"""Row-level security as docs/row-level-security.sql installs it, in a real PostgreSQL: the same rows for their owner,
nobody else's even where a dataset forgets the owner, and an error where rows of everybody would be hidden."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.estimate import estimate_export
from export_pipeline.flow.export import run_export
from export_pipeline.flow.publish import read_manifest
from export_pipeline.flow.request import file_request
from export_pipeline.flow.source import Source
from export_pipeline.flow.stats import dataset_stats
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.access import Scope
from export_pipeline.model.errors import Broken, NotFound
from export_pipeline.model.job import ExportRequest
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.contracts.test_datasets import DATASETS
from export_pipeline_tests.contracts.test_what_may_leave import Unowned, campaigns, planned, read, request_for
from export_pipeline_tests.contracts.world import OWNERS, PERSONAL, fill

INSTALL = Path(__file__).parents[2] / "docs" / "row-level-security.sql"
OWNED = [name for name, dataset in DATASETS.items() if Scope.OWN in dataset.access.values()]
MANAGER, ADMIN = OWNERS["A"], "admin@example.com"
PASSWORD = "only-for-tests"


@dataclass(frozen=True)
class Accounts:
    """Engines on one source: as its owner, as an account that becomes the restricted role, as that role itself."""

    owner: Engine
    reader: Engine
    restricted: Engine


@pytest.fixture(scope="module")
def accounts(postgres_server: Postgres) -> Iterator[Accounts]:
    with fresh_database(postgres_server) as url:
        fill(url)
        migrate_up(SecretStr(url))
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(2):  # it can be run again
                connection.execute(INSTALL.read_bytes())
            connection.execute(f"ALTER ROLE export_own LOGIN PASSWORD '{PASSWORD}'")
            connection.execute(f"CREATE ROLE rls_reader LOGIN BYPASSRLS PASSWORD '{PASSWORD}'")
            connection.execute("GRANT export_own TO rls_reader")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO rls_reader")
        with open_services(load_settings(DATABASE_URL=url)) as engine:
            yield Accounts(
                engine,
                replace(engine, source=source_of(url, "rls_reader", own_role="export_own")),
                replace(engine, source=source_of(url, "export_own")),
            )
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute("DROP ROLE rls_reader")
        connection.execute("DROP ROLE export_own")


def source_of(url: str, role: str, own_role: str | None = None) -> Source:
    parts = urlsplit(url)
    address = f"{parts.scheme}://{role}:{PASSWORD}@{parts.hostname}:{parts.port}{parts.path}"
    return Source(SecretStr(address), snapshot_seconds=60, own_role=own_role)


def delivering(engine: Engine, folder: Path) -> Engine:
    """The engine, with a folder to deliver to."""
    return replace(engine, settings=engine.settings.model_copy(update={"export_directory": folder}), _connected={})


@pytest.mark.parametrize("name", OWNED)
def test_rows_when_the_owner_asks_then_the_same_with_row_level_security(accounts: Accounts, name: str) -> None:
    asked = request_for(name, MANAGER)
    expected = read(accounts.owner, planned(accounts.owner, asked))
    assert expected.height
    for engine in (accounts.reader, accounts.restricted):
        assert read(engine, planned(engine, asked)).equals(expected)


@pytest.mark.parametrize("name", OWNED)
def test_rows_when_the_owners_predicate_is_missing_then_still_only_ones_own(accounts: Accounts, name: str) -> None:
    plan = planned(accounts.owner, request_for(name, MANAGER))
    broken = replace(plan, selection=Unowned(**vars(plan.selection)))
    expected = read(accounts.owner, plan)
    for engine in (accounts.reader, accounts.restricted):
        found = read(engine, broken)
        assert found.equals(expected)
        text = found.write_json()
        assert not any(value in text for marker in ("B", "C") for value in (f"OWNER-{marker}", *PERSONAL[marker]))
    with pytest.raises(Broken, match="a row of another owner"):
        read(accounts.owner, broken)


def test_rows_when_of_everybody_then_all_or_an_error(accounts: Accounts) -> None:
    for name in ("contacts", "lead_analytics"):
        asked = request_for(name, ADMIN)
        expected = read(accounts.owner, planned(accounts.owner, asked))
        assert read(accounts.reader, planned(accounts.reader, asked)).equals(expected)
        with pytest.raises(Broken, match=r"row-level security.*need BYPASSRLS"):
            read(accounts.restricted, planned(accounts.restricted, asked))


def test_campaign_when_somebody_elses_and_hidden_then_not_found(accounts: Accounts) -> None:
    asked = request_for("contacts", MANAGER, filters={"campaign_id": campaigns(OWNERS["B"])})
    with pytest.raises(NotFound, match="there is no campaign"):
        planned(accounts.restricted, asked)
    own = replace(asked, filters={"campaign_id": campaigns(MANAGER)})
    assert read(accounts.restricted, planned(accounts.restricted, own)).height == 3


def test_table_when_nobody_is_named_then_the_restricted_role_sees_no_row(accounts: Accounts) -> None:
    with accounts.restricted.source.connect() as connection:
        for table in ("campaigns", "contacts", "calls", "survey_answers", "leads", "experiments", "metrics"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_deletions_when_read_in_the_restricted_role_then_ones_own_or_why_not(
    accounts: Accounts, tmp_path: Path
) -> None:
    engine = delivering(accounts.reader, tmp_path)
    asked = ExportRequest("leads", MANAGER, destination="local", since="last")
    exported = [run_export(engine, file_request(engine, asked))]
    with psycopg.connect(engine.settings.source.get_secret_value(), autocommit=True) as connection:
        added = "INSERT INTO leads (owner_id, source_id, title) SELECT owner_id, source_id, 'gone' FROM leads LIMIT 12"
        connection.execute(added)
        gone = connection.execute("DELETE FROM leads WHERE title = 'gone' RETURNING owner_id").fetchall()
        exported.append(run_export(engine, file_request(engine, asked)))
        connection.execute("REVOKE SELECT ON deletions FROM export_own")
        exported.append(run_export(engine, file_request(engine, asked)))
        connection.execute("GRANT SELECT ON deletions TO export_own")
    first, second, third = (read_manifest(engine.destination("local"), job)["increment"] for job in exported)
    own = sum(str(owner) == exported[0].requester_id for (owner,) in gone)
    assert 0 < own < len(gone) and not first["deletions"]["listed"]
    assert second["deletions"]["keys"] == own
    assert third["deletions"]["reason"] == "the account of the source may not read the table deletions"


def test_stats_and_estimate_when_read_in_the_restricted_role_then_of_what_an_export_would_have(
    accounts: Accounts, tmp_path: Path
) -> None:
    asked = request_for("contacts", MANAGER, destination="local")
    for engine in (accounts.owner, accounts.reader, accounts.restricted):
        assert [item.rows for item in dataset_stats(engine, MANAGER, "contacts")] == [3]
        assert estimate_export(delivering(engine, tmp_path), asked).rows == 3
    for engine, rows in ((accounts.reader, 9), (accounts.restricted, None)):
        assert {item.dataset: item.rows for item in dataset_stats(engine, ADMIN)}["contacts"] == rows
    with pytest.raises(Broken, match="need BYPASSRLS"):
        dataset_stats(accounts.restricted, ADMIN, "contacts")
