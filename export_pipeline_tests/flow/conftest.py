"""The flow on real parts: the sample campaigns as the source, a ledger and a bucket of each test's own."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.s3 import S3
from export_pipeline.embedded.sample import LAST_CAMPAIGN, load_contacts
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.source import Source
from export_pipeline.model.job import ExportRequest
from export_pipeline.services import open_services
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.flow.things import THINGS
from export_pipeline_tests.servers.faults import FaultProxy, fault_proxy

ADMIN = "admin@example.com"


@pytest.fixture
def asked() -> ExportRequest:
    """A request that an administrator may make."""
    return ExportRequest(dataset="campaign_results", requested_by=ADMIN, filters={"campaign_id": LAST_CAMPAIGN})


@pytest.fixture(scope="module")
def things(sample_engine: Engine) -> Engine:
    """An engine with a dataset that holds every type."""
    return replace(sample_engine, datasets={**sample_engine.datasets, "things": THINGS})


@pytest.fixture
def source(engine: Engine) -> Iterator[psycopg.Connection]:
    """A connection to the source that may write there."""
    with psycopg.connect(engine.settings.source.get_secret_value(), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def large_source(postgres_server: Postgres, sample: str) -> Iterator[tuple[str, str]]:
    """A database with a campaign of 150,000 contacts (50 MB as CSV: several parts), and the campaign's id."""
    with fresh_database(postgres_server, sample) as url:
        yield url, load_contacts(SecretStr(url), 150_000).campaign_id


@pytest.fixture
def large(large_source: tuple[str, str], engine: Engine) -> Iterator[tuple[Engine, ExportRequest]]:
    """An engine on the large campaign, and a request for it as raw CSV."""
    url, campaign = large_source
    settings = engine.settings.model_copy(update={"source_url": SecretStr(url)})
    with open_services(settings) as opened:
        yield (
            opened,
            ExportRequest(
                dataset="campaign_results",
                requested_by=ADMIN,
                filters={"campaign_id": campaign},
                options={"profile": "raw"},
            ),
        )


@pytest.fixture
def s3_proxy(s3_server: S3) -> Iterator[FaultProxy]:
    """A proxy in front of the S3 server."""
    with fault_proxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def source_proxy(postgres_server: Postgres) -> Iterator[FaultProxy]:
    """A proxy in front of PostgreSQL."""
    with fault_proxy(postgres_server.port) as proxy:
        yield proxy


def behind(engine: Engine, *, s3: FaultProxy | None = None, source: FaultProxy | None = None) -> Engine:
    """The same engine, reaching its parts through proxies; the ledger stays direct."""
    settings = engine.settings
    if s3 is not None:
        settings = settings.model_copy(update={"aws_endpoint_url": f"http://127.0.0.1:{s3.port}"})
    if source is not None:
        direct = settings.source.get_secret_value()
        url = SecretStr(direct.replace(f":{source.target}/", f":{source.port}/"))
        settings = settings.model_copy(update={"source_url": url})
    connected = Source(settings.source, snapshot_seconds=settings.snapshot_seconds)
    return replace(engine, settings=settings, source=connected, _connected={})


def assert_nothing_left(engine: Engine, s3_server: S3) -> None:
    """No object and no open upload in the bucket, no query of ours in the source, nothing recorded as left over."""
    bucket = engine.settings.s3_bucket_name
    client = s3_server.client()
    assert client.list_objects_v2(Bucket=bucket).get("Contents", []) == []
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert engine.leftovers.list() == []
    with psycopg.connect(engine.settings.database_url.get_secret_value()) as connection:
        (queries,) = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%transcript_json%'"
            " AND pid <> pg_backend_pid()"
        ).fetchone() or (0,)
    assert queries == 0
