"""The command line as its user runs it: what it prints, its exit codes, and what it never prints."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from export_pipeline.cli import main, output
from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.sample import LAST_CAMPAIGN, sample_id
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.settings import Settings
from export_pipeline_tests.conftest import fresh_database, variables_of

ADMIN = ("--as", "admin@example.com")
EXPORT = ("export", "campaign_results", "--filter", f"campaign_id={LAST_CAMPAIGN}")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """The settings as environment variables."""
    found = {**os.environ, "EXPORT_STATE_DIRECTORY": str(tmp_path / "state"), "COLUMNS": "200"}
    return found | variables_of(settings)


@pytest.fixture
def run(environment: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process, without the second that a process of its own takes to begin, and checks that
    nothing secret is in what it prints."""

    def command(*arguments: str, **changes: str | None) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as patch, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
            for name in os.environ:
                patch.delenv(name)
            for name, value in _changed(environment, changes).items():
                patch.setenv(name, value)
            for console in (output.console, output.messages):
                patch.setattr(console, "_width", 200)
            patch.setattr(sys, "argv", ["export-pipeline", *arguments])
            code = main.run()
        return nothing_secret(
            environment, subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())
        )

    migrate_up(settings.database_url)
    return command


@pytest.fixture
def run_process(environment: dict[str, str], settings: Settings) -> Run:
    """Runs the command as its user does, in a process of its own, and checks that nothing secret is in what it
    prints."""

    def command(*arguments: str, **changes: str | None) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-c", "from export_pipeline.cli.main import main; main()", *arguments],
            env=_changed(environment, changes),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return nothing_secret(environment, done)

    migrate_up(settings.database_url)
    return command


def _changed(environment: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in {**environment, **changes}.items() if value is not None}


def nothing_secret(
    environment: dict[str, str], done: "subprocess.CompletedProcess[str]"
) -> "subprocess.CompletedProcess[str]":
    """The same, once it was looked through."""
    for name in ("AWS_SECRET_ACCESS_KEY", "DATABASE_URL"):
        assert environment[name] not in done.stdout + done.stderr
    return done


def document(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_export_when_direct_then_one_json_object_with_all_that_is_promised(run_process: Run) -> None:
    for form in ("csv", "parquet", "xlsx"):
        done = run_process(*EXPORT, "--format", form, *ADMIN, "--direct", "--json")
        assert done.returncode == 0, done.stderr
        found = document(done)
        promised = {"id", "dataset", "status", "format", "rows", "files", "link", "link_expires_at", "requested_by"}
        assert promised | {"started_at", "completed_at", "dagster_run_id"} <= set(found)
        assert (found["status"], found["format"], found["dagster_run_id"]) == ("completed", form, None)
        (file,) = found["files"]
        assert set(file) == {"url", "bytes", "sha256", "rows"}
        assert file["url"].startswith("s3://")
        assert found["link"].startswith("http")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("export", "nothing", *ADMIN), 2, "there is no dataset 'nothing'"),
        (("export", "campaign_results", *ADMIN), 2, "needs the filter campaign_id"),
        ((*EXPORT, "--filter", "colour=red", *ADMIN), 2, "no filter 'colour'"),
        ((*EXPORT, "--filter", "colour", *ADMIN), 2, "is not of the form NAME=VALUE"),
        ((*EXPORT, "--direct", "--no-wait", *ADMIN), 2, "goes with neither"),
        ((*EXPORT, "--at", "soon", *ADMIN), 2, "is not a moment"),
        (EXPORT, 2, "Missing option '--as'"),
        ((*EXPORT, "--as", "analyst@example.com"), 3, "the role analyst may not export"),
        ((*EXPORT, "--as", "manager@example.com"), 3, "is not yours"),
        ((*EXPORT, "--as", "nobody@example.com"), 3, "is not a user"),
        (("export", "campaign_results", "--filter", f"campaign_id={sample_id('x', 1)}", *ADMIN), 4, "no campaign"),
        (("show", sample_id("x", 2), *ADMIN), 4, "there is no export"),
        (("link", "no-id", *ADMIN), 4, "there is no export"),
        (("datasets", "nothing"), 2, "there is no dataset 'nothing'"),
    ],
)
def test_command_when_refused_then_one_sentence_and_the_code(
    run: Run, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert told in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("export", "leads"), ("datasets", "nothing"), ("list", *ADMIN, "--limit", "0")])
def test_command_when_misused_with_json_then_one_object_all_the_same(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--json")
    assert (done.returncode, document(done)["error_kind"]) == (2, "invalid")


def test_table_when_it_goes_into_a_file_then_nothing_of_it_is_cut(run_process: Run) -> None:
    lines = run_process("datasets", COLUMNS=None).stdout.splitlines()
    [line] = [line for line in lines if line.startswith("experiment_results ")]
    assert len(line) > 80 and line.rstrip().endswith("admin (all)") and "…" not in line


def test_export_when_it_fails_then_code_five_and_the_row_says_why(run: Run) -> None:
    done = run(*EXPORT, *ADMIN, "--direct", "--json", S3_BUCKET_NAME="no-such-bucket", EXPORT_MAX_ATTEMPTS="1")
    assert done.returncode == 5, done.stdout + done.stderr
    found = document(done)
    assert (found["status"], found["files"]) == ("failed", [])
    assert "no-such-bucket" in found["error"]


def test_life_when_filed_cancelled_and_tried_again_then_the_same_row(run: Run) -> None:
    filed = document(run(*EXPORT, *ADMIN, "--no-wait", "--json"))
    assert filed["status"] == "pending"
    shown = run("show", filed["id"], *ADMIN)
    assert "pending" in shown.stdout
    cancelled = run("cancel", filed["id"], *ADMIN, "--json")
    assert (cancelled.returncode, document(cancelled)["status"]) == (0, "cancelled")
    again = document(run("retry", filed["id"], *ADMIN, "--direct", "--json"))
    assert (again["id"], again["status"], again["attempt"]) == (filed["id"], "completed", 2)
    link = document(run("link", filed["id"], *ADMIN, "--json"))
    assert link["link"].startswith("http") and link["link_expires_at"]
    listed = document(run("list", *ADMIN, "--json"))
    assert [item["id"] for item in listed["exports"]] == [filed["id"]]
    assert filed["id"] in run("list", *ADMIN).stdout
    plan = document(run("retention", "run", "--dry-run", "--json"))
    assert (plan["dry_run"], plan["expired"]) == (True, [])
    later = document(run(*EXPORT, *ADMIN, "--at", "2199-01-01T00:00:00Z", "--json"))
    assert (later["status"], later["not_before"]) == ("pending", "2199-01-01T00:00:00+00:00")


def test_settings_when_missing_or_wrong_then_one_sentence_that_names_them(run: Run, run_process: Run) -> None:
    missing = run_process("list", *ADMIN, DATABASE_URL=None)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "DATABASE_URL is not set" in missing.stderr
    wrong = run("list", *ADMIN, EXPORT_MAX_RECORDS="many")
    assert wrong.returncode == 2
    assert "EXPORT_MAX_RECORDS is wrong" in wrong.stderr
    scheme = run("list", *ADMIN, DATABASE_URL="mysql://root:hidden@127.0.0.1/db")
    assert "DATABASE_URL is wrong" in scheme.stderr
    assert "hidden" not in scheme.stderr
    bucket = run(*EXPORT, *ADMIN, "--direct", S3_BUCKET_NAME=None)
    assert bucket.returncode == 2
    assert "set S3_BUCKET_NAME" in bucket.stderr
    driver = run("list", *ADMIN, "--json", DATABASE_URL=None, EXPORT_MAX_RECORDS="5")
    assert document(driver)["error_kind"] == "invalid"


def test_migrate_when_up_down_up_then_the_status_follows(run: Run) -> None:
    assert document(run("migrate", "status", "--json"))["up_to_date"] is True
    assert document(run("migrate", "down", "--yes", "--json"))["current"] is None
    told = run("list", *ADMIN)
    assert told.returncode == 5
    assert "migrate up" in told.stderr
    assert document(run("migrate", "up", "--json"))["up_to_date"] is True


def test_datasets_when_listed_then_columns_filters_and_access(run: Run) -> None:
    names = [item["name"] for item in document(run("datasets", "--json"))["datasets"]]
    assert {"campaign_results", "leads", "experiment_results", "compliance", "survey_outcomes"} <= set(names)
    shown = run("datasets", "survey_outcomes", DATABASE_URL=None).stdout
    assert "q3_answer" in shown and "campaign_manager (own)" in shown and "date_from" in shown


def test_sample_when_loaded_with_contacts_then_told_what(run: Run, postgres_server: Postgres, sample: str) -> None:
    with fresh_database(postgres_server, sample) as url:
        found = document(run("sample", "load", "--contacts", "200", "--json", EXPORT_SOURCE_URL=url))
    assert (found["contacts"], found["calls"], found["owner"]) == (200, 180, "manager@example.com")


OWN_DATASET = """
from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import INTEGER, TEXT, Column, Dataset, Filter, Owner, decimal

DATASET = Dataset(
    name="orders",
    title="Orders",
    description="Orders of a shop.",
    source="shop.orders AS o JOIN shop.customers AS c ON c.id = o.customer",
    order_by="o.id",
    columns=(
        Column("order", INTEGER, "o.id", "The order."),
        Column("customer", TEXT, "c.name", "Who ordered."),
        Column("total", decimal(20, 2), "o.total", "The sum."),
    ),
    filters=(Filter("shop_id", INTEGER, "o.shop = {value}", "The shop.", required=True),),
    owner=Owner("shop_id", "SELECT owner FROM shop.shops WHERE id = {value}", "shop"),
    access={Role.OPERATOR: Scope.OWN},
)
"""


def test_dataset_when_it_is_the_users_own_over_other_tables_then_it_works_like_ours(
    run: Run, postgres_server: Postgres, sample: str, tmp_path: Path
) -> None:
    import psycopg

    folder = tmp_path / "datasets"
    folder.mkdir()
    (folder / "orders.py").write_text(OWN_DATASET)
    with fresh_database(postgres_server, sample) as url:
        operator = sample_id("user", "operator@example.com")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA shop")
            connection.execute("CREATE TABLE shop.shops (id int, owner text)")
            connection.execute("CREATE TABLE shop.customers (id int, name varchar(20))")
            connection.execute("CREATE TABLE shop.orders (id int, shop int, customer int, total numeric)")
            connection.execute("INSERT INTO shop.shops VALUES (1, %s), (2, 'somebody')", (operator,))
            connection.execute("INSERT INTO shop.customers VALUES (1, 'Zoë; \"Z\"')")
            connection.execute("INSERT INTO shop.orders VALUES (7, 1, 1, 12.5), (8, 2, 1, 1)")
        places = {"EXPORT_SOURCE_URL": url, "EXPORT_DATASETS_PATH": str(folder)}
        ask = ("export", "orders", "--as", "operator@example.com", "--destination", "local", "--option", "profile=raw")
        mine = run(*ask, "--filter", "shop_id=1", "--direct", "--json", **places)
        assert mine.returncode == 0, mine.stdout + mine.stderr
        path = Path(document(mine)["files"][0]["url"].removeprefix("file://"))
        assert path.read_text() == 'order,customer,total\n7,"Zoë; ""Z""",12.50\n'
        assert run(*ask, "--filter", "shop_id=2", "--direct", **places).returncode == 3
        assert run(*ask, "--filter", "shop_id=3", "--direct", **places).returncode == 4


@pytest.mark.parametrize("first", ["pass", "threading.current_thread()"], ids=["unknown", "known to Python"])
def test_command_when_a_worker_was_given_up_in_a_library_then_its_own_exit_code(tmp_path: Path, first: str) -> None:
    script = f"""if True:
        import sys, tempfile, threading, time
        import polars as pl
        from export_pipeline.cli.main import main

        def busy(batch):
            {first}
            entered.set()
            while True:
                time.sleep(0.0002)

        def work():
            with tempfile.TemporaryDirectory():
                pl.LazyFrame({{"a": [1]}}).map_batches(busy, streamable=True).collect(engine="streaming")

        entered = threading.Event()
        threading.Thread(target=work, daemon=True).start()
        entered.wait()
        sys.argv = ["export-pipeline", "datasets", "nothing"]
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Python that ends around such a thread is ended by SIGABRT.
    assert done.returncode == 2, done.stderr
    assert "there is no dataset 'nothing'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_copy_when_verified_by_whoever_holds_it_then_told_and_no_database_is_needed(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "delivered"
    options = ("--destination", "local", "--compression", "gzip", "--option", "max_file_rows=10000")
    done = run(*EXPORT, *ADMIN, "--direct", "--json", *options, EXPORT_DIRECTORY=str(folder))
    assert done.returncode == 0, done.stderr
    found = document(done)
    assert (found["verification"], len(found["links"])) == ("passed", 1)
    (copy,) = folder.rglob("*_part-00001.csv.gz")
    alone: dict[str, str | None] = {"DATABASE_URL": None, "S3_BUCKET_NAME": None}
    told = run("verify", str(copy), "--json", **alone)
    assert document(told) == {"target": str(copy), "rows": found["rows"], "verification": "passed"}
    again = run("verify", found["id"], *ADMIN, EXPORT_DIRECTORY=str(folder))
    assert (again.returncode, again.stdout) == (0, f"{found['id']}: {found['rows']:,} rows, passed\n")
    copy.write_bytes(copy.read_bytes()[:-1])
    broken = run("verify", str(copy), **alone)
    assert broken.returncode == 5
    assert "its SHA-256 differs" in broken.stderr
    assert run("verify", "no-such-file.csv").returncode == 2
    plain = tmp_path / "off"
    done = run(*EXPORT, *ADMIN, "--direct", "--destination", "local", "--verify", "off", EXPORT_DIRECTORY=str(plain))
    assert done.returncode == 0, done.stderr
    (copy,) = plain.rglob("*.csv")
    told = run("verify", str(copy), **alone)
    assert (told.returncode, told.stdout.partition(" rows, ")[2]) == (
        0,
        "off (nothing was added up: its bytes are those that were delivered)\n",
    )


def test_formats_when_listed_then_all_and_one_with_its_options(run: Run) -> None:
    listed = document(run("formats", "--json"))["formats"]
    assert {"avro", "csv", "json", "jsonl", "parquet", "pdf", "tsv", "xlsx", "zip"} == {item["name"] for item in listed}
    shown = run("formats", "avro").stdout
    assert "compression" in shown and "snappy" in shown
    assert run("formats", "nothing").returncode == 2
    packages = document(run("datasets", "--json"))["packages"]
    assert [(item["name"], item["members"]) for item in packages] == [
        ("comprehensive", "leads:csv+xlsx,lead_analytics:json")
    ]
