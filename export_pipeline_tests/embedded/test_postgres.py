"""The embedded PostgreSQL by itself: its version, who may enter, and what an interrupted or foreign data folder does;
the reference tables and an export on Debian's PostgreSQL 15."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from polars.testing import assert_frame_equal
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.processes import Process, free_ports
from export_pipeline.embedded.sample import LAST_CAMPAIGN, load_sample
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.request import file_request
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.errors import Broken
from export_pipeline.model.job import ExportRequest, Status
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.datasets.reading import read


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "postgres"
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_postgres_when_started_then_version_18_on_loopback_alone(postgres_server: Postgres) -> None:
    with psycopg.connect(postgres_server.url()) as connection:
        assert connection.info.server_version // 10_000 == 18
        shown = [connection.execute(f"SHOW {name}").fetchone() for name in ("listen_addresses", "max_connections")]
    assert shown == [("127.0.0.1",), ("100",)]
    assert (postgres_server.folder / "password").stat().st_mode & 0o777 == 0o600
    assert postgres_server.data.stat().st_mode & 0o077 == 0


def test_postgres_when_the_password_is_wrong_then_refused(postgres_server: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://postgres:guess@127.0.0.1:{postgres_server.port}/postgres")


def test_postgres_when_initdb_was_killed_half_way_then_the_next_start_works(folder: Path) -> None:
    port = free_ports(1)[0]
    script = (
        "import sys; from pathlib import Path; from export_pipeline.embedded.postgres import Postgres\n"
        "Postgres(Path(sys.argv[1]), int(sys.argv[2])).start(owned=True)"
    )
    started = subprocess.Popen([sys.executable, "-c", script, str(folder), str(port)], start_new_session=True)
    until = time.monotonic() + 20
    while not list(folder.glob("data*/PG_VERSION")) and time.monotonic() < until:
        time.sleep(0.002)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    assert list(folder.glob("data.part/PG_VERSION")), "it was killed in the middle"

    server = Postgres(folder, port, durable=False)
    process = server.start(owned=True)
    try:
        psycopg.connect(server.url()).close()
    finally:
        server.stop(process)
    assert not process.alive


def test_postgres_when_the_data_is_of_another_version_then_one_sentence_says_so(folder: Path) -> None:
    server = Postgres(folder, free_ports(1)[0])
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(
        Broken, match=r"was made by PostgreSQL 16, and the embedded one is 18\.\d+: move the folder away"
    ):
        server.start(owned=True)


def test_postgres_when_the_port_is_taken_then_the_log_is_told_and_nothing_runs(
    folder: Path, postgres_server: Postgres
) -> None:
    server = Postgres(folder, postgres_server.port, durable=False)
    with pytest.raises(Broken, match=f"did not start on port {postgres_server.port}; its log ends with"):
        server.start(owned=True)
    assert not (server.data / "postmaster.pid").exists()


def test_process_when_it_ignores_the_polite_signal_then_it_is_killed() -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    from export_pipeline.embedded.processes import start_of

    process = Process(child.pid, start_of(child.pid))
    process.end(signal.SIGINT, patience_seconds=0.3)
    assert not process.alive
    assert child.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def sample15_url(postgres15_server: Postgres) -> Iterator[str]:
    with fresh_database(postgres15_server) as url:
        load_sample(SecretStr(url))
        migrate_up(SecretStr(url))
        yield url


def test_datasets_when_read_from_postgresql_15_then_as_from_the_newest(
    sample15_url: str, sample_engine: Engine
) -> None:
    with open_services(load_settings(DATABASE_URL=sample15_url)) as engine:
        for name, dataset in engine.datasets.items():
            filters = {item.name: LAST_CAMPAIGN for item in dataset.filters if item.required}
            # The orders of texts are the databases' own.
            found, expected = (read(each, name, filters) for each in (engine, sample_engine))
            assert_frame_equal(found, expected, check_row_order=False)


@pytest.mark.parametrize("format", ["csv", "parquet", "xlsx"])
def test_export_when_everything_is_on_postgresql_15_then_completed(
    sample15_url: str, s3_settings: dict[str, str], format: str
) -> None:
    with psycopg.connect(sample15_url) as connection:
        assert connection.info.server_version // 10_000 == 15
        (rows,) = connection.execute(
            "SELECT count(*) FROM contacts LEFT JOIN calls ON calls.contact_id = contacts.id WHERE campaign_id = %s",
            (LAST_CAMPAIGN,),
        ).fetchone() or (0,)
    asked = ExportRequest(
        dataset="campaign_results",
        requested_by="admin@example.com",
        filters={"campaign_id": LAST_CAMPAIGN},
        format=format,
    )
    with open_services(load_settings(DATABASE_URL=sample15_url, **s3_settings)) as engine:
        job = run_export(engine, file_request(engine, asked))
    assert (job.status, job.rows) == (Status.COMPLETED, rows)
    assert rows > 100
