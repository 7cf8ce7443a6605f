"""The measures: each compares two things in turns, or one thing with a limit, and yields lines for the table.

A measure is one function from the bench and the options to lines; MEASURES names them.
"""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

from benchmarks.bench import STATE, Bench, Campaign, cli, module, query
from benchmarks.process import Run, run

#: The memory that exporting may take (2**20 bytes), and the seconds that a small export through Dagster may take.
MOST_MEMORY_MB = 350
MOST_DAGSTER_SECONDS = 2.0


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    rows: int
    small_rows: int
    xlsx_rows: int
    dagster_rows: int
    repeat: int


@dataclass(frozen=True)
class Line:
    """One line of the result: `ours` against `reference`, in `unit`; their ratio may be `limit` at most."""

    name: str
    ours: float
    reference: float
    unit: str
    limit: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours by the reference: less is better."""
        return self.ours / self.reference

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        return self.ratio <= self.limit


def s3(bench: Bench, options: Options) -> Iterator[Line]:
    """CSV to S3, plain and compressed, against psql piped into boto3, perhaps through gzip or zstd."""
    campaign = bench.campaign(options.rows)
    plain, gzip, zstd, copy, copy_gzip, copy_zstd = in_turns(
        options.repeat,
        lambda: export(bench, campaign, "csv", "s3"),
        lambda: export(bench, campaign, "csv", "s3", "compression=gzip"),
        lambda: export(bench, campaign, "csv", "s3", "compression=zstd"),
        lambda: copy_to_s3(bench, campaign),
        lambda: copy_to_s3(bench, campaign, "gzip -6"),
        lambda: copy_to_s3(bench, campaign, "zstd -3 -c -q"),
    )
    yield Line("s3 csv", own_seconds(plain), seconds_of(copy), "s", 0.85, whole_time(plain))
    yield Line("s3 csv gzip", own_seconds(gzip), seconds_of(copy_gzip), "s", 0.6, whole_time(gzip))
    yield Line("s3 csv zstd", own_seconds(zstd), seconds_of(copy_zstd), "s", 0.9, whole_time(zstd))


def local(bench: Bench, options: Options) -> Iterator[Line]:
    """CSV and JSON Lines to a local file, Parquet to S3, against psql to a local file."""
    campaign = bench.campaign(options.rows)
    csv, jsonl, parquet, copy, copy_json = in_turns(
        options.repeat,
        lambda: export(bench, campaign, "csv", "local"),
        lambda: export(bench, campaign, "jsonl", "local"),
        lambda: export(bench, campaign, "parquet", "s3"),
        lambda: copy_to_file(bench, query(campaign), "FORMAT csv, HEADER"),
        lambda: copy_to_file(bench, f"SELECT row_to_json(row) FROM ({query(campaign)}) AS row", "FORMAT text"),
    )
    yield Line("local csv", own_seconds(csv), seconds_of(copy), "s", 0.95, whole_time(csv))
    yield Line("local jsonl", own_seconds(jsonl), seconds_of(copy_json), "s", 1.0, whole_time(jsonl))
    yield Line("s3 parquet", own_seconds(parquet), seconds_of(copy), "s", 1.0, whole_time(parquet))


def avro(bench: Bench, options: Options) -> Iterator[Line]:
    """Avro to a local file against fastavro writing the same rows."""
    campaign = bench.campaign(options.rows)
    ours, reference = in_turns(
        options.repeat, lambda: export(bench, campaign, "avro", "local"), lambda: write_by("fastavro", bench, campaign)
    )
    yield Line("local avro", own_seconds(ours), seconds_of(reference), "s", 0.5, whole_time(ours))


def instead(bench: Bench, options: Options) -> Iterator[Line]:
    """CSV and Parquet against what somebody would write otherwise; dlt where it is installed, as it is none of our
    requirements."""
    campaign = bench.campaign(options.rows)
    scripts = [*INSTEAD, *(["dlt"] if find_spec("dlt") else [])]
    csv, parquet, *others = in_turns(
        options.repeat,
        lambda: export(bench, campaign, "csv", "local"),
        lambda: export(bench, campaign, "parquet", "local"),
        *(partial(write_by, name, bench, campaign) for name in scripts),
    )
    for name, runs in zip(scripts, others, strict=True):
        ours = parquet if name.endswith("parquet") else csv
        note = f"peak memory {median(item.peak_mb for item in ours):.0f} MB : {median(r.peak_mb for r in runs):.0f} MB"
        yield Line(f"local {name}", own_seconds(ours), seconds_of(runs), "s", 1.0, note)


def verify(bench: Bench, options: Options) -> Iterator[Line]:
    """What the proof costs: the same export with all rows read back, and without."""
    campaign = bench.campaign(options.rows)
    for form, limit in (("parquet", 1.1), ("csv", 1.35), ("jsonl", 2.0), ("avro", 3.0)):
        proven, plain = in_turns(
            options.repeat,
            partial(export, bench, campaign, form, "s3", verify="full"),
            partial(export, bench, campaign, form, "s3"),
        )
        yield Line(f"verify {form}", own_seconds(proven), own_seconds(plain), "s", limit)


def memory(bench: Bench, options: Options) -> Iterator[Line]:
    """The peak memory of streaming formats with their proof, for all rows and for fewer; and time for all rows against
    fewer, by row."""
    few, many = bench.campaign(options.small_rows), bench.campaign(options.rows)
    for form in ("csv", "jsonl", "parquet", "avro"):
        runs = {
            campaign.rows: [export(bench, campaign, form, "s3", verify="full") for _ in range(options.repeat)]
            for campaign in (few, many)
        }
        for rows, found in runs.items():
            peak = median(item.peak_mb for item in found)
            yield Line(f"memory {form} {rows:,}", peak, MOST_MEMORY_MB, "MB", 1.0)


def package(bench: Bench, options: Options) -> Iterator[Line]:
    """A ZIP package of five datasets against the sum of its parts."""
    campaign = bench.campaign(options.xlsx_rows)
    names = ("campaigns", "contacts", "calls", "campaign_results", "survey_outcomes")
    whole, *parts = in_turns(
        options.repeat,
        partial(export, bench, campaign, "zip", "local", "profile=raw", dataset=",".join(names)),
        *(
            partial(export, bench, campaign, "csv", "local", "profile=raw", "compression=gzip", dataset=name)
            for name in names
        ),
    )
    total = sum(own_seconds(runs) for runs in parts)
    yield Line(f"zip of {len(names)}", own_seconds(whole), total, "s", 1.15)


def xlsx(bench: Bench, options: Options) -> Iterator[Line]:
    """XLSX to a local file, the rows alone and with all features, against XlsxWriter in constant-memory mode; and the
    peak memory, also for all rows."""
    campaign = bench.campaign(options.xlsx_rows)
    plain, report, reference = in_turns(
        options.repeat,
        lambda: export(bench, campaign, "xlsx", "local", "workbook=rows"),
        lambda: export(bench, campaign, "xlsx", "local", "workbook=report"),
        lambda: write_by_xlsxwriter(bench, campaign),
    )
    yield Line("xlsx rows", own_seconds(plain), seconds_of(reference), "s", 0.22, whole_time(plain))
    yield Line("xlsx report", own_seconds(report), seconds_of(reference), "s", 0.35, whole_time(report))
    large = bench.campaign(options.rows)
    of_all = {kind: [export(bench, large, "xlsx", "local", f"workbook={kind}")] for kind in ("rows", "report")}
    for kind, few in (("rows", plain), ("report", report)):
        for rows, runs in ((campaign.rows, few), (large.rows, of_all[kind])):
            peak = median(item.peak_mb for item in runs)
            yield Line(f"memory xlsx {kind} {rows:,}", peak, MOST_MEMORY_MB, "MB", 1.0)


def dagster(bench: Bench, options: Options) -> Iterator[Line]:
    """A small export through Dagster, from the request filed to `completed`, on an otherwise idle machine."""
    campaign = bench.campaign(options.dagster_rows)
    with open(STATE / "dagster.log", "w") as log:  # noqa: PTH123
        up = subprocess.Popen(
            cli("up"), env={**os.environ, **bench.environment}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _export_by_dagster(bench, campaign)  # waits until the daemon is there
            found = []
            for _ in range(options.repeat):
                time.sleep(6)  # idle: the sensor's loop has come to rest
                found.append(_export_by_dagster(bench, campaign))
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(60)
    total = median(_between(item, "created_at", "completed_at") for item in found)
    waited = median(_between(item, "created_at", "started_at") for item in found)
    worked = median(_between(item, "started_at", "completed_at") for item in found)
    note = f"until claimed {waited:.2f} s, export {worked:.2f} s"
    yield Line(f"dagster {campaign.rows:,}", total, MOST_DAGSTER_SECONDS, "s", 1.0, note)


#: The scripts of `reference_scripts.py` that stand for what is written by hand.
INSTEAD = ("pandas", "csv module", "duckdb parquet", "pandas parquet")

MEASURES: dict[str, Callable[[Bench, Options], Iterator[Line]]] = {
    "s3": s3,
    "local": local,
    "avro": avro,
    "instead": instead,
    "verify": verify,
    "memory": memory,
    "package": package,
    "xlsx": xlsx,
    "dagster": dagster,
}


def export(
    bench: Bench,
    campaign: Campaign,
    file_format: str,
    destination: str,
    *options: str,
    verify: str = "off",
    dataset: str = "campaign_results",
) -> Run:
    """The whole command `export-pipeline export … --direct`; checks the rows, and deletes the file afterwards."""
    command = [*_export_command(campaign, file_format, destination, dataset), "--direct", "--verify", verify]
    usual = ("profile=raw",) if file_format == "csv" and "profile=raw" not in options else ()
    for option in (*usual, *options):
        command += ["--option", option]
    done = run(command, {**bench.environment, "EXPORT_MAX_RECORDS": str(10 * campaign.rows)})
    document = json.loads(done.output)
    if document["status"] != "completed" or (dataset == "campaign_results" and document["rows"] != campaign.rows):
        raise SystemExit(f"{document['rows']} rows instead of {campaign.rows}, {document['status']}")
    return delivered(bench, done)


def delivered(bench: Bench, done: Run) -> Run:
    """Deletes what the command has delivered; ends the benchmarks where that is nothing."""
    document = json.loads(done.output)
    if document["status"] != "completed" or not document["rows"]:
        raise SystemExit(f"{document['rows']} rows, {document['status']}: {document['error']}")
    for file in document["files"]:
        if document["destination"] == "s3":
            _delete(bench, file["url"].split("/", 3)[3])
        else:
            _empty(bench)
    return done


def copy_to_s3(bench: Bench, campaign: Campaign, through: str = "") -> Run:
    """`psql \\copy` to standard output, perhaps through a compressor, piped into boto3's upload_fileobj."""
    key = "reference.csv"
    command = bench.psql(f"\\copy ({query(campaign)}) TO STDOUT WITH (FORMAT csv, HEADER)")
    if through:
        command = ["sh", "-c", f"{shlex.join(command)} | {through}"]
    done = run(module("reference_s3"), {}, json.dumps({"command": command, "key": key, **bench.s3}))
    _delete(bench, key)
    return done


def copy_to_file(bench: Bench, text: str, form: str) -> Run:
    """`psql \\copy` to a local file."""
    path = bench.folder / "reference"
    done = run(bench.psql(f"\\copy ({text}) TO '{path}' WITH ({form})"), {})
    path.unlink()
    return done


def write_by(name: str, bench: Bench, campaign: Campaign) -> Run:
    """What somebody would write otherwise: see `reference_scripts.py`."""
    path = bench.folder / "reference"
    task = {"name": name, "database_url": bench.database_url, "query": query(campaign), "path": str(path)}
    done = run(module("reference_scripts"), {}, json.dumps(task))
    path.unlink(missing_ok=True)
    if int(done.output.split()[-1]) != campaign.rows:
        raise SystemExit(f"{name} wrote {done.output} rows instead of {campaign.rows}")
    return done


def write_by_xlsxwriter(bench: Bench, campaign: Campaign) -> Run:
    """XlsxWriter in constant-memory mode."""
    path = bench.folder / "reference.xlsx"
    task = {"database_url": bench.database_url, "query": query(campaign), "path": str(path)}
    done = run(module("reference_xlsx"), {}, json.dumps(task))
    path.unlink()
    if int(done.output) != campaign.rows:
        raise SystemExit(f"the reference wrote {done.output} rows instead of {campaign.rows}")
    return done


def _export_command(
    campaign: Campaign, file_format: str, destination: str, dataset: str = "campaign_results"
) -> list[str]:
    place = ["--format", file_format, "--destination", destination]
    who = ["--filter", f"campaign_id={campaign.id}", "--as", campaign.owner]
    return cli("export", dataset, *who, *place, "--json")


def _export_by_dagster(bench: Bench, campaign: Campaign) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(_export_command(campaign, "csv", "s3"), bench.environment).output)
    if document["status"] != "completed":
        raise SystemExit(f"the export through Dagster is {document['status']}: {document['error']}")
    return document


def in_turns(repeat: int, *measured: Callable[[], Run]) -> list[list[Run]]:
    """Runs them in turns after one discarded round, so that a slow minute of the machine slows all of them."""
    for item in measured:
        item()
    rounds = [[item() for item in measured] for _ in range(repeat)]
    return [list(runs) for runs in zip(*rounds, strict=True)]


def seconds_of(runs: list[Run]) -> float:
    """The whole command, its start included."""
    return median(item.seconds for item in runs)


def own_seconds(runs: list[Run]) -> float:
    """From the first look at the source to the published, verified file: the command without its start."""
    return median(_between(json.loads(item.output), "started_at", "completed_at") for item in runs)


def whole_time(runs: list[Run]) -> str:
    """How long the whole command took, which also starts Python."""
    return f"the whole command {seconds_of(runs):.2f} s"


def _between(document: dict[str, Any], start: str, end: str) -> float:
    return (datetime.fromisoformat(document[end]) - datetime.fromisoformat(document[start])).total_seconds()


def _delete(bench: Bench, key: str) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=bench.s3["s3_endpoint_url"],
        aws_access_key_id=bench.s3["access_key_id"],
        aws_secret_access_key=bench.s3["secret_access_key"],
        region_name="us-east-1",
    )
    client.delete_object(Bucket=bench.s3["bucket"], Key=key)


def _empty(bench: Bench) -> None:
    for path in bench.folder.rglob("*"):
        if path.is_file():
            path.unlink()
