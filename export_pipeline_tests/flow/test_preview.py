"""A preview is the beginning of the file: the same rows, masked, escaped and formatted; and it leaves no trace."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.preview import MOST_ROWS, ROWS, preview_export
from export_pipeline.flow.request import file_request
from export_pipeline.ledger.audit import Action
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import Forbidden, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest
from export_pipeline.model.verification import Verify
from export_pipeline.registry import load_parts
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.datasets.reading import ADMIN, ANALYST, MANAGER
from export_pipeline_tests.flow.test_export import contents

DATASETS = load_parts("export_pipeline.datasets", "DATASET", Dataset)


@pytest.fixture(scope="module")
def engine(
    sample_engine: Engine, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """One engine for all of these: its ledger is not the one beside the sample, which two datasets read."""
    with fresh_database(postgres_server) as url:
        migrate_up(SecretStr(url))
        settings = load_settings(
            DATABASE_URL=url,
            EXPORT_SOURCE_URL=sample_engine.settings.source.get_secret_value(),
            EXPORT_DIRECTORY=str(tmp_path_factory.mktemp("preview")),
        )
        with open_services(settings) as opened:
            yield opened


def asked(name: str, **changes: Any) -> ExportRequest:
    needed = {item.name: LAST_CAMPAIGN for item in DATASETS[name].filters if item.required} if name in DATASETS else {}
    return replace(ExportRequest(name, ADMIN, needed, destination="local", verify=Verify.OFF), **changes)


def export(engine: Engine, request: ExportRequest) -> ExportJob:
    return run_export(engine, file_request(engine, request))


def lines(text: str, rows: int) -> str:
    """The header and the first rows of a CSV text, as they stand there."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    taken = [next(reader) for _ in range(rows + 1)]
    out = io.StringIO()
    csv.writer(out).writerows(taken)
    return out.getvalue()


def limited(request: ExportRequest) -> ExportRequest:
    """So many rows that the file is longer than the preview, and not by much."""
    return replace(request, filters={**request.filters, "limit": "60"})


@pytest.mark.parametrize("name", DATASETS)
def test_preview_when_of_each_dataset_then_the_first_rows_of_the_file(engine: Engine, name: str) -> None:
    for form in ("csv", "jsonl", "parquet", "xlsx"):
        request = limited(asked(name, format=form))
        [part] = preview_export(engine, request)
        data = contents(engine, export(engine, request))
        assert 0 < len(part.rows) <= ROWS
        if form == "csv":
            assert part.text is not None
            text = data.decode()
            assert text.startswith(part.text)
            assert lines(part.text, len(part.rows)) == lines(text, len(part.rows))
        elif form == "jsonl":
            assert part.text == b"".join(data.splitlines(keepends=True)[: len(part.rows)]).decode()
        elif form == "parquet":
            whole = pl.read_parquet(data)
            assert list(part.rows) == whole.head(ROWS).rows() and part.text is None
        else:
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True)
            sheet = next(sheet for sheet in book if sheet.cell(1, 1).value == part.columns[0].name)
            values = list(sheet.iter_rows(min_row=2, max_row=len(part.rows) + 1, values_only=True))
            assert [[_seen(value) for value in row] for row in part.rows] == [
                [_seen(value) for value in row] for row in values
            ]


def _seen(value: Any) -> Any:
    """What openpyxl makes of a cell: it counts on in milliseconds, and gives a day its midnight."""
    if hasattr(value, "isoformat"):
        return (value.isoformat() + "T00:00:00")[:19]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_preview_when_the_role_sees_less_then_as_little_as_in_the_file(engine: Engine) -> None:
    request = limited(asked("leads", requested_by=ANALYST))
    [part] = preview_export(engine, request)
    assert part.text is not None and contents(engine, export(engine, request)).decode().startswith(part.text)
    with pytest.raises(Forbidden, match="not yours"):
        preview_export(engine, asked("campaign_results", requested_by=MANAGER))
    refusal = engine.audit.latest(1)[0].event
    assert (refusal.action, refusal.actor) == (Action.REFUSAL, MANAGER)


def test_preview_when_of_a_package_then_how_each_file_in_it_begins(engine: Engine) -> None:
    filters = {"campaign_id": LAST_CAMPAIGN, "date_from": "2010-11-10"}
    request = asked("contacts,calls:jsonl+csv", filters=filters, format="zip")
    parts = preview_export(engine, request, rows=3)
    assert [part.name for part in parts] == ["contacts.csv", "calls.jsonl", "calls.csv"]
    archive = zipfile.ZipFile(io.BytesIO(contents(engine, export(engine, request))))
    for part in parts:
        assert part.text and archive.read(part.name).decode().startswith(part.text)


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "avro", "pdf"])
def test_preview_when_compressed_or_split_or_in_any_format_then_the_rows_all_the_same(
    engine: Engine, form: str
) -> None:
    expected = preview_export(engine, asked("contacts", filters={"campaign_id": LAST_CAMPAIGN}, format="parquet"))
    options = {"avro": {"max_file_rows": "5"}, "pdf": {}}.get(form, {"compression": "gzip", "max_file_rows": "5"})
    [part] = preview_export(
        engine, asked("contacts", filters={"campaign_id": LAST_CAMPAIGN}, format=form, options=options)
    )
    assert len(part.rows) == ROWS
    assert [row[0] for row in part.rows] == [row[0] for row in expected[0].rows]
    assert (part.text is None) == (form in ("avro", "pdf"))
    if form == "json":
        assert part.text is not None
        assert len(json.loads(part.text)["data"]) == ROWS


def test_preview_when_made_then_audited_and_nothing_of_it_is_kept(engine: Engine) -> None:
    before = len(engine.jobs.newest(limit=1000))
    shape = {"reason": "TICKET-7", "masks": {"phone": "drop"}, "conditions": ("name ne zoe",)}
    request = asked("campaign_results", filters={"campaign_id": LAST_CAMPAIGN}, format="xlsx", **shape)
    folder = engine.settings.export_directory
    assert folder is not None
    files = sorted(Path(folder).rglob("*"))
    [part] = preview_export(engine, request, rows=2)
    assert len(part.rows) == 2
    event = engine.audit.latest(1)[0].event
    assert (event.action, event.actor, event.dataset, event.export_id) == (
        Action.PREVIEW,
        ADMIN,
        "campaign_results",
        None,
    )
    assert event.detail["rows"] == [2] and event.detail["format"] == "xlsx"
    assert (event.detail["filters"], event.detail["conditions"]) == (["campaign_id"], ["name"])
    assert (event.detail["purpose"], event.detail["masks"]) == ("TICKET-7", {"phone": "drop"})
    assert not any(value in json.dumps(event.detail) for value in (LAST_CAMPAIGN, "zoe"))
    assert len(engine.jobs.newest(limit=1000)) == before
    assert sorted(Path(folder).rglob("*")) == files


def test_preview_when_there_are_too_many_rows_for_the_file_then_shown_all_the_same(engine: Engine) -> None:
    strict = replace(engine, settings=engine.settings.model_copy(update={"max_records": 5}))
    with pytest.raises(Rejected, match=r"45,211 rows, and a file that people open \(csv\) may have 5"):
        export(strict, asked("contacts"))
    assert len(preview_export(strict, asked("contacts"))[0].rows) == ROWS
    assert len(preview_export(strict, limited(asked("contacts")), rows=60)[0].rows) == 60
    for rows in (0, MOST_ROWS + 1):
        with pytest.raises(Rejected, match=f"rows={rows} "):
            preview_export(strict, asked("contacts"), rows=rows)


def test_preview_when_the_source_does_not_answer_then_ends_with_what_to_do(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export_pipeline.flow.preview._PATIENCE_SECONDS", 0.5)
    slow = replace(DATASETS["campaigns"], where="(SELECT true FROM pg_sleep(20))")
    waiting = replace(engine, datasets={**engine.datasets, "campaigns": slow})
    with pytest.raises(Rejected, match=r"not there within 0\.5 s; narrow"):
        preview_export(waiting, asked("campaigns"))
    with psycopg.connect(engine.settings.source.get_secret_value()) as source:
        found = source.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(20)%'"
            " AND pid <> pg_backend_pid()"
        ).fetchone()
    assert found == (0,)
