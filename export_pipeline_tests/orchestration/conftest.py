"""A small source of each test's own, a Dagster instance in a folder of its own, and the definitions on both."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from export_pipeline.flow.engine import Engine
from export_pipeline.orchestration.build import build_definitions
from export_pipeline.orchestration.resource import ServicesResource
from export_pipeline.settings import Settings, load_settings

CONTACTS = """
INSERT INTO contacts (id, campaign_id, external_contact_id, name, business_name, phone, email, outcome)
SELECT gen_random_uuid(), %(campaign)s, n::text, 'Name ' || n, 'Business, ' || n, '+15550100' || lpad(n::text, 6, '0'),
    'a@b.example', 'completed' FROM generate_series(1, %(count)s) AS n
"""


@dataclass(frozen=True)
class World:
    """What is in the source: one active campaign with its owner, and people besides."""

    url: str
    campaign: str
    owner: str = "manager@example.com"
    other: str = "operator@example.com"
    analyst: str = "analyst@example.com"
    admin: str = "admin@example.com"

    def run(self, statement: str, **values: object) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement, values)  # type: ignore[call-overload]

    def add_campaign(self, campaign: str, owner: str, status: str) -> None:
        self.run(
            "INSERT INTO campaigns (id, name, owner_id, assistant_used, status)"
            " SELECT %(id)s, 'Deposits', id, 'Ava', %(status)s FROM users WHERE email = %(owner)s",
            id=campaign,
            owner=owner,
            status=status,
        )

    def value(self, query: str, **values: object) -> object:
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(query, values).fetchone()  # type: ignore[call-overload]
            return found[0] if found else None


@pytest.fixture
def settings(ledger_url: str, s3_settings: dict[str, str], tmp_path: Path) -> Settings:
    """Settings for everything, with short waits; the source is the test's own to change."""
    return load_settings(
        DATABASE_URL=ledger_url,
        **s3_settings,
        EXPORT_DIRECTORY=str(tmp_path / "exports"),
        EXPORT_HEARTBEAT_SECONDS="0.2",
        EXPORT_DEAD_AFTER_SECONDS="2",
        EXPORT_RETRY_SECONDS="0.1",
    )


@pytest.fixture
def world(ledger_url: str) -> World:
    return made_world(ledger_url)


def made_world(url: str) -> World:
    """The reference tables with a little in them."""
    found = World(url=url, campaign=str(uuid.uuid4()))
    with psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute((files("export_pipeline.embedded") / "schema.sql").read_bytes())
    roles = {found.owner: "campaign_manager", found.other: "operator", found.analyst: "analyst", found.admin: "admin"}
    for email, role in roles.items():
        found.run("INSERT INTO users (email, username, role) VALUES (%(e)s, %(e)s, %(r)s)", e=email, r=role)
    found.add_campaign(found.campaign, found.owner, "active")
    found.run(CONTACTS, campaign=found.campaign, count=25)
    return found


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A real instance: its events and runs are on disk."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(folder)) as opened:
        yield opened


@pytest.fixture
def services(engine: Engine) -> ServicesResource:
    """The resource, on the test's engine."""

    @contextmanager
    def opened() -> Iterator[Engine]:
        yield engine

    return ServicesResource(opened)


@pytest.fixture
def definitions(services: ServicesResource) -> dg.Definitions:
    return build_definitions(services)


def objects(engine: Engine) -> list[str]:
    """What lies in the bucket, below the exports' prefix."""
    return [item.key for item in engine.destination("s3").list("exports/")]  # type: ignore[attr-defined]
