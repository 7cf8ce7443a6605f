"""The flow on real parts: the sample campaigns as the source, a ledger and a bucket of each test's own."""

from collections.abc import Iterator

import psycopg
import pytest

from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow.engine import Engine
from export_pipeline.model.job import ExportRequest

ADMIN = "admin@example.com"


@pytest.fixture
def asked() -> ExportRequest:
    """A request that an administrator may make."""
    return ExportRequest(dataset="campaign_results", requested_by=ADMIN, filters={"campaign_id": LAST_CAMPAIGN})


@pytest.fixture
def source(engine: Engine) -> Iterator[psycopg.Connection]:
    """A connection to the source that may write there."""
    with psycopg.connect(engine.settings.source.get_secret_value(), autocommit=True) as connection:
        yield connection
