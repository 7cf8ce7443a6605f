"""Datasets that somebody writes for a schema of their own (`own_schema`), in every format: filtered, by conditions,
masked, and of whoever asks alone."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.flow.catalogue import entry_of
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.estimate import estimate_export
from export_pipeline.flow.export import run_export
from export_pipeline.flow.preview import preview_export
from export_pipeline.flow.request import file_request
from export_pipeline.flow.stats import dataset_stats
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.model.verification import Verification, Verify
from export_pipeline.services import load_formats, open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.contracts.test_what_may_leave import Unowned, planned, read
from export_pipeline_tests.contracts.world import unpacked

OWN = Path(__file__).with_name("own_schema")
JOERG, INES, LEITUNG = "joerg@example.com", "ines@example.com", "leitung@example.com"
WRITERS = [name for name, form in load_formats().items() if form.write is not None]
#: What is asked for in every format: of the array, of the enum, of four bytes, of a domain, and masked.
ASKED = ExportRequest(
    "auftraege",
    JOERG,
    {"status": "offen,geliefert", "schlagwort": 'eilig,"nichts, gar nichts"', "date_from": "2026-03-29T00:30:00Z"},
    # Not every format has names with umlauts.
    columns=("Mandant", "Auftrag", "Status", "Summe", "Rabatt", "Details", "Bestellt", "Käufer as Kaeufer", "Telefon"),
    conditions=("Rabatt in 0.1,0.3", "Summe gte 4938.2716 and Käufer ne Niemand"),
    masks={"Telefon": "mask", "Details": "redact"},
    destination="local",
)
#: The plain values that are not to be found in such a file: the masked ones, and all of the other clerk's.
NOT_THERE = ("+4315550171", "+4315550172", "Fremdkunde", "+4315550199")


@pytest.fixture(scope="module")
def own(postgres_server: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with fresh_database(postgres_server, migrated) as url:
        with psycopg.connect(url) as connection:
            connection.execute((OWN / "schema.sql").read_bytes())
        folder = str(tmp_path_factory.mktemp("own"))
        with open_services(
            load_settings(DATABASE_URL=url, EXPORT_DATASETS_PATH=str(OWN / "datasets"), EXPORT_DIRECTORY=folder)
        ) as engine:
            yield engine


def export(engine: Engine, request: ExportRequest) -> tuple[ExportJob, bytes]:
    job = run_export(engine, file_request(engine, request))
    assert job.status is Status.COMPLETED, job.error
    return job, b"".join(engine.destination("local").read(job.files[0].key))


def raw(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    """What the source says itself, in the zone that its times are in."""
    with psycopg.connect(engine.settings.source.get_secret_value()) as connection:
        connection.execute("""SET search_path = "Außendienst"; SET TIME ZONE 'Europe/Vienna'""")
        return connection.execute(query.encode()).fetchall()


def expected(engine: Engine) -> list[tuple[Any, ...]]:
    """The rows that `ASKED` is to deliver, chosen and masked in Python."""
    rows = raw(
        engine,
        """
        SELECT "Mandant", "Auftrags-Nr", "Status"::text, "Summe", "Rabatt"::text::float8, "Details",
            "Bestellt am"::timestamptz, "Käufer", "Telefon", "Betreuer", "Schlagworte"
        FROM "Aufträge mit Kunden" ORDER BY 1, 2
        """,
    )
    return [
        (*row[:8], f"{row[8][:2]}******{row[8][-4:]}")
        for row in rows
        if row[9] == "P00001"
        and row[2] in ("offen", "geliefert")
        and "eilig" in row[10]
        and row[4] in (0.1, 0.3)
        and row[3] >= Decimal("4938.2716")
    ]


@pytest.mark.parametrize("form", WRITERS)
def test_dataset_when_of_a_schema_of_ones_own_then_exported_in_every_format(own: Engine, form: str) -> None:
    proof = Verify.FULL if own.format(form).reader else Verify.OFF
    job, data = export(own, replace(ASKED, format=form, verify=proof))
    rows = expected(own)
    assert job.rows == len(rows) > 5
    assert job.verification is (Verification.PASSED if proof is Verify.FULL else Verification.OFF)
    assert job.masked == ASKED.masks
    found = unpacked(data, own.format(form).extension)
    assert not any(value.encode() in found for value in NOT_THERE)
    if form != "jsonl":
        return
    # The others hold the same, as their readers have proven.
    lines = [json.loads(line, parse_float=Decimal) for line in data.decode().splitlines()]
    assert [tuple(line.values())[:5] for line in lines] == [(*row[:4], Decimal(str(row[4]))) for row in rows]
    assert [line["Kaeufer"] for line in lines] == [row[7] for row in rows]
    assert [line["Telefon"] for line in lines] == [row[8] for row in rows]
    redacted = [row[5] and {**row[5], "Anmerkung": "Rückruf: [phone]"} for row in rows]
    assert [line["Details"] for line in lines] == redacted and None in redacted


def test_rows_when_read_then_of_the_types_that_were_declared(own: Engine) -> None:
    rows = read(own, planned(own, replace(ASKED, masks={}, columns=())))
    assert rows.schema["Summe"] == pl.Decimal(12, 4) and rows.schema["Bestellt"] == pl.Datetime("us", "UTC")
    found = expected(own)
    assert rows["Summe"].to_list() == [row[3] for row in found]
    assert rows["Rabatt"].to_list() == [row[4] for row in found]
    assert [None if text is None else json.loads(text) for text in rows["Details"]] == [row[5] for row in found]
    assert rows["Bestellt"].to_list() == [row[6] for row in found]
    assert [json.loads(text) for text in rows["Schlagworte"]] == [["eilig", 'süß, "sauer"']] * len(found)


def test_rows_when_of_everybody_then_what_is_personal_is_masked(own: Engine) -> None:
    _, data = export(own, ExportRequest("auftraege", INES, destination="local", format="jsonl"))
    lines = [json.loads(line) for line in data.decode().splitlines()]
    assert len(lines) == 72 and "Straße" not in lines[0]
    assert {line["Käufer"] for line in lines} == {"K***", "B***", "F***"}
    assert b"+43155501" not in data and "Rückruf: [phone]" in data.decode()
    with pytest.raises(Forbidden, match="may be neither filtered nor ordered by Käufer"):
        planned(own, ExportRequest("auftraege", INES, conditions=("Käufer starts_with Fremd",)))
    with pytest.raises(Rejected, match="Status"):
        planned(own, ExportRequest("auftraege", INES, conditions=("Statuss eq offen",)))


@pytest.mark.parametrize("name", ["auftraege", "umsatz"])
def test_rows_when_the_filter_of_the_owner_is_wrong_then_nothing_leaves(own: Engine, name: str) -> None:
    plan = planned(own, ExportRequest(name, JOERG, format="parquet"))
    assert read(own, plan).height == {"auftraege": 48, "umsatz": 6}[name]
    with pytest.raises(Broken, match=f"the query of {name} yielded a row of another owner"):
        read(own, replace(plan, selection=Unowned(**vars(plan.selection))))


def test_aggregation_when_of_ones_own_then_the_sums_that_the_source_has(own: Engine) -> None:
    sums = """SELECT "Mandant", "Status"::text, count(*), sum("Summe") FROM "Aufträge mit Kunden" {} GROUP BY 1, 2"""
    for email, only in ((JOERG, """WHERE "Betreuer" = 'P00001'"""), (LEITUNG, "")):
        assert sorted(read(own, planned(own, ExportRequest("umsatz", email))).rows()) == sorted(
            raw(own, sums.format(only))
        )


def test_doors_when_asked_about_it_then_they_know_it(own: Engine) -> None:
    [part] = preview_export(own, replace(ASKED, format="csv"))
    _, data = export(own, replace(ASKED, format="csv", verify=Verify.OFF))
    assert part.text is not None and data.decode().startswith(part.text) and len(part.rows) == len(expected(own))
    assert estimate_export(own, ASKED).rows == len(expected(own))
    [stats] = dataset_stats(own, JOERG, "auftraege")
    assert stats.rows == 48 and stats.by_status == {"offen": 16, "geliefert": 16, "storniert": 16}
    assert {column.name for column in entry_of(own.datasets["auftraege"]).columns} >= {"Käufer", "Straße"}
