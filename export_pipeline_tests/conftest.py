"""The real parts that tests talk to: PostgreSQL and S3 on loopback, one of each for the whole run, fresh contents for
each test."""

import gc
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.processes import free_ports
from export_pipeline.embedded.s3 import PORTS, S3
from export_pipeline.embedded.sample import load_sample
from export_pipeline.flow.engine import Engine
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.services import open_services
from export_pipeline.settings import Settings, load_settings

DEBIAN_PROGRAMS = Path("/usr/lib/postgresql/15/bin")

#: The files that take longest: begun first, so that the processes of the tests end together.
_LONGEST = (
    "orchestration/test_local.py",
    "ui/test_launch.py",
    "embedded/test_postgres.py",
    "packaging/test_wheel.py",
    "flow/test_cancel.py",
    "flow/test_faults.py",
    "contracts/test_datasets.py",
    "cli/test_commands.py",
    "embedded/test_sample.py",
    "contracts/test_hostile_values.py",
    "contracts/test_destinations.py",
    "contracts/test_what_may_leave.py",
    "flow/test_split.py",
    "flow/test_preview.py",
    "flow/test_extracts.py",
    "flow/test_subjects.py",
)


#: More than the databases of both processes take together.
_ROOM_BYTES = 4 << 30


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first."""
    ranks = {name: rank for rank, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get("/".join(item.path.parts[-2:]), len(ranks)))


def pytest_configure() -> None:
    """Has garbage collected seldom, as commands do: thousands of tests share two processes."""
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> None:
    """Tests read their own settings, whatever is set where they run."""
    for name in list(os.environ):
        if name.startswith(("EXPORT_", "AWS_", "S3_", "DAGSTER_")) or name in ("DATABASE_URL", "COLUMNS"):
            del os.environ[name]
    os.environ["EXPORT_STATE_DIRECTORY"] = "/nonexistent/export_pipeline"


def _quick_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in memory, where `make test` found a place for one and there is room; else one on the disk.

    Thousands of databases come and go, of 300 files each, and ext4 does not use a deleted file's inode again for
    minutes, but looks at each of them whenever it needs one: a tenth of the tests' time, of some files' a third.
    """
    memory = os.environ.get("TESTS_IN_MEMORY")
    if memory and shutil.disk_usage(memory).free >= _ROOM_BYTES:
        return Path(mkdtemp(dir=memory))
    return tmp_path_factory.mktemp("postgres")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The embedded PostgreSQL."""
    server = Postgres(_quick_folder(tmp_path_factory), free_ports(1)[0], durable=False)
    process = server.start(owned=True)
    _make_connecting_quick(server)
    yield server
    server.stop(process)


def _make_connecting_quick(server: Postgres) -> None:
    """4,096 rounds of hashing make a password hard to guess, and are half of what it takes to connect."""
    password = conninfo_to_dict(server.url())["password"]
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("SET scram_iterations = 1")
        connection.execute(sql.SQL("ALTER ROLE CURRENT_USER PASSWORD {}").format(sql.Literal(password)))


@pytest.fixture(scope="session")
def postgres15_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Debian's PostgreSQL 15, where it is installed."""
    if not (DEBIAN_PROGRAMS / "postgres").exists():
        pytest.skip("Debian's postgresql-15 is not installed here")
    folder = tmp_path_factory.mktemp("postgres15")
    server = Postgres(folder, free_ports(1)[0], programs=DEBIAN_PROGRAMS, durable=False)
    process = server.start(owned=True)
    yield server
    server.stop(process)


@contextmanager
def fresh_database(server: Postgres, like: str = "template1") -> Iterator[str]:
    """A fresh database on the server, empty or a copy of another, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        # Of files, since PostgreSQL copies small databases in half the time so.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(like)))
    yield server.url(name)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres_server: Postgres) -> Iterator[str]:
    """A fresh, empty database."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated(postgres_server: Postgres) -> Iterator[str]:
    """The name of a database with an empty ledger: to copy it takes a fraction of the time to make another."""
    with fresh_database(postgres_server) as url:
        migrate_up(SecretStr(url))
        yield url.rpartition("/")[2]


@pytest.fixture
def ledger_url(postgres_server: Postgres, migrated: str) -> Iterator[str]:
    """A fresh database with an empty ledger."""
    with fresh_database(postgres_server, migrated) as url:
        yield url


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The embedded S3 server."""
    folder = tmp_path_factory.mktemp("s3")
    server = S3(folder, free_ports(PORTS))
    process = server.start(owned=True)
    yield server
    server.stop(process)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bucket(s3_server: S3) -> Iterator[str]:
    """A fresh, private bucket, which goes with all that is in it."""
    name = f"test-{uuid.uuid4().hex[:16]}"
    s3_server.create_bucket(name)
    yield name
    s3_server.client().delete_bucket(Bucket=name)


@pytest.fixture
def s3_settings(s3_server: S3, bucket: str) -> dict[str, str]:
    """The settings that lead to the bucket, by their names."""
    key_id, secret = s3_server.keys()
    return {
        "S3_BUCKET_NAME": bucket,
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
    }


@pytest.fixture(scope="session")
def sample(postgres_server: Postgres) -> Iterator[str]:
    """The name of a database with the sample campaigns, to be copied: nobody may be connected to it then."""
    with fresh_database(postgres_server) as url:
        load_sample(SecretStr(url))
        yield url.rpartition("/")[2]


@pytest.fixture(scope="session")
def sample_url(postgres_server: Postgres, sample: str) -> Iterator[str]:
    """A database with the sample campaigns, shared by all tests: to be read, and left as it was."""
    with fresh_database(postgres_server, sample) as url:
        yield url


@pytest.fixture(scope="session")
def sample_engine(sample_url: str) -> Iterator[Engine]:
    """An engine that reads the sample, with an empty history beside it; shared by all tests, and nothing is filed."""
    migrate_up(SecretStr(sample_url))
    with open_services(load_settings(DATABASE_URL=sample_url)) as opened:
        yield opened


@pytest.fixture
def settings(ledger_url: str, sample_url: str, s3_settings: dict[str, str], tmp_path: Path) -> Settings:
    """Settings for everything, with short waits."""
    return load_settings(
        DATABASE_URL=ledger_url,
        EXPORT_SOURCE_URL=sample_url,
        **s3_settings,
        EXPORT_DIRECTORY=str(tmp_path / "exports"),
        EXPORT_HEARTBEAT_SECONDS="0.2",
        EXPORT_DEAD_AFTER_SECONDS="2",
        EXPORT_RETRY_SECONDS="0.1",
    )


def variables_of(settings: Settings) -> dict[str, str]:
    """The settings as environment variables."""
    values = {str(field.alias): getattr(settings, name) for name, field in Settings.model_fields.items()}
    return {
        alias: str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
        for alias, value in values.items()
        if value is not None
    }


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An engine whose ledger is empty and whose source has the sample campaigns."""
    with open_services(settings) as opened:
        yield opened
