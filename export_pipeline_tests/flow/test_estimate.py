"""What an estimate says, and where it has it from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from export_pipeline.embedded.sample import LAST_CAMPAIGN, SHOWN_CAMPAIGN
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.estimate import Basis, Estimate, estimate_export, estimate_order
from export_pipeline.flow.export import run_export
from export_pipeline.flow.order import closed
from export_pipeline.flow.request import admit, file_request
from export_pipeline.ledger.audit import Action
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.datasets.reading import ADMIN, MANAGER

_ONE_EVENT = (
    """(VALUES ('00000000-0000-4000-8000-000000000001'::uuid, 'e', 'u', timestamptz '2010-01-01Z', '{"who": "zoe"}'"""
    "::jsonb)) AS event (id, event, distinct_id, timestamp, properties)"
)


def asked(campaign: str = LAST_CAMPAIGN, **changes: Any) -> ExportRequest:
    return replace(ExportRequest("campaign_results", ADMIN, {"campaign_id": campaign}), **changes)


def told(found: Estimate, words: str) -> bool:
    return any(words in warning for warning in found.warnings)


def test_estimate_when_nothing_was_exported_then_counted_rows_and_guesses(engine: Engine) -> None:
    found = estimate_export(engine, asked())
    job = run_export(engine, file_request(engine, asked()))
    assert (found.rows, found.parts[0].rows_basis) == (job.rows, Basis.COUNTED)
    [event] = [item.event for item in engine.audit.latest() if item.event.action is Action.ESTIMATE]
    assert (event.actor, event.dataset, event.detail["rows"]) == (ADMIN, "campaign_results", [job.rows])
    assert {item.bytes_basis for item in found.parts[0].formats} == {Basis.GUESSED}
    assert job.bytes is not None and 0.2 < found.bytes / job.bytes < 5
    formats = [item.format for item in found.parts[0].formats]
    assert formats[0] == "csv" and set(formats) == {n for n, form in engine.formats.items() if form.write is not None}
    assert told(found, "personal data leaves in name, phone") and told(found, "transcript_summary")


def test_estimate_when_there_were_exports_then_sizes_and_times_are_theirs(engine: Engine) -> None:
    run_export(engine, file_request(engine, asked(SHOWN_CAMPAIGN)))
    done = run_export(engine, file_request(engine, asked(SHOWN_CAMPAIGN, format="parquet")))
    found = estimate_export(engine, asked(SHOWN_CAMPAIGN, format="parquet"))
    first, by_name = found.parts[0].formats[0], {item.format: item for item in found.parts[0].formats}
    assert (first.format, first.bytes_basis, first.bytes) == ("parquet", Basis.RECENT, done.bytes)
    assert done.completed_at is not None and done.started_at is not None
    assert first.seconds == pytest.approx((done.completed_at - done.started_at).total_seconds(), abs=0.05)
    assert by_name["csv"].bytes_basis is Basis.RECENT and by_name["json"].bytes_basis is Basis.GUESSED
    compressed = estimate_export(engine, asked(SHOWN_CAMPAIGN, options={"compression": "gzip"}))
    assert compressed.parts[0].formats[0].bytes_basis is Basis.GUESSED, "another compression says nothing"
    cuts = asked(SHOWN_CAMPAIGN, dataset="campaign_results as a,campaign_results as b", format="zip")
    in_cuts = estimate_export(engine, replace(cuts, options={"files": "parquet"}))
    assert [part.formats[0].bytes_basis for part in in_cuts.parts] == [Basis.RECENT] * 2, "it is the same dataset"
    fewer = estimate_export(engine, asked(SHOWN_CAMPAIGN, format="parquet", columns=("name",)))
    assert fewer.parts[0].formats[0].bytes_basis is Basis.GUESSED, "nor do other columns"


def test_estimate_when_counting_takes_too_long_then_postgresqls(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export_pipeline.flow.estimate._COUNTING_MILLISECONDS", 100)
    dataset = engine.datasets["campaigns"]
    slow = replace(dataset, where="(SELECT true FROM pg_sleep(5) WHERE campaign.id IS NOT NULL)")
    found = estimate_export(replace(engine, datasets={"campaigns": slow}), ExportRequest("campaigns", ADMIN))
    assert found.parts[0].rows_basis is Basis.PLANNED and found.rows > 0
    planned = estimate_order(engine, closed(admit(engine, asked()).order), counting=False)
    assert planned.parts[0].rows_basis is Basis.PLANNED


def test_estimate_when_there_is_something_to_mind_then_said(engine: Engine) -> None:
    engine = replace(engine, settings=engine.settings.model_copy(update={"max_records": 100}))
    assert told(estimate_export(engine, asked(format="xlsx")), "EXPORT_MAX_RECORDS (100)")
    assert not told(estimate_export(engine, asked(format="parquet")), "EXPORT_MAX_RECORDS")
    none = {"campaign_id": LAST_CAMPAIGN, "date_from": "2030-01-01"}
    empty = estimate_export(engine, asked(filters=none))
    assert empty.rows == 0 and told(empty, "there is no row")
    limited = estimate_export(engine, asked(filters={"campaign_id": LAST_CAMPAIGN, "limit": "7"}))
    assert limited.rows == 7 and not told(limited, "EXPORT_MAX_RECORDS")
    harmless = estimate_export(engine, asked(columns=("call_status", "cost_usd"), format="parquet"))
    assert harmless.warnings == ()
    masks = {"phone": "truncate:1000", "name": "mask", "transcript_summary": "truncate:1000"}
    barely = estimate_export(engine, asked(columns=tuple(masks), masks=masks, format="parquet"))
    assert barely.warnings == ("campaign_results: personal data leaves in phone",)


def test_estimate_when_it_would_be_cut_off_then_of_the_rows_that_are_left(engine: Engine) -> None:
    engine = replace(engine, settings=engine.settings.model_copy(update={"max_records": 100}))
    whole, cut = (estimate_export(engine, asked(format="xlsx", truncate=truncate)) for truncate in (False, True))
    assert whole.rows == cut.rows > 100 and told(cut, "it would be cut off there")
    assert cut.bytes * whole.rows == whole.bytes * 100 and cut.seconds < whole.seconds
    sizes = [{item.format: item.bytes for item in found.parts[0].formats} for found in (whole, cut)]
    assert sizes[0]["parquet"] == sizes[1]["parquet"] > sizes[1]["csv"], "a file for machines is not cut off"


def test_estimate_when_earlier_exports_were_slow_then_that_is_said(engine: Engine) -> None:
    job = run_export(engine, file_request(engine, asked(SHOWN_CAMPAIGN)))
    started = datetime.now(UTC) - timedelta(hours=3)
    with psycopg.connect(engine.settings.database_url.get_secret_value()) as ledger:
        ledger.execute("UPDATE exports.export_jobs SET started_at = %s WHERE id = %s", [started, job.id])
    found = estimate_export(engine, asked(SHOWN_CAMPAIGN))
    assert told(found, "about 180 minutes") and told(found, "EXPORT_SNAPSHOT_SECONDS (7,200)")


def test_estimate_when_a_value_is_not_of_its_declared_type_then_refused_without_it(engine: Engine) -> None:
    events = replace(engine.datasets["events"], source=_ONE_EVENT)
    engine = replace(engine, datasets={**engine.datasets, "events": events})
    request = ExportRequest("events", ADMIN, {"properties": "who:integer"}, conditions=("who gt 5",))
    with pytest.raises(Rejected, match="not of the type that was declared for it in properties"):
        estimate_export(engine, request)


@pytest.mark.parametrize("query", ["SELECT 'zoe@example.com'::int", "DO $$BEGIN RAISE 'zoe@example.com'; END$$"])
def test_source_when_its_error_tells_a_value_then_it_is_not_repeated(engine: Engine, query: LiteralString) -> None:
    with pytest.raises(Broken, match=r"refused the query \(SQLSTATE \w+\)"), engine.source.connect() as connection:
        connection.execute(query)


def test_estimate_when_of_a_package_then_each_part(engine: Engine) -> None:
    found = estimate_export(engine, asked(dataset="contacts,calls", format="zip"))
    assert [(part.dataset, part.asked) for part in found.parts] == [("contacts", "csv"), ("calls", "csv")]
    assert found.rows == sum(part.rows for part in found.parts) > 0


def test_estimate_when_somebody_elses_then_forbidden(engine: Engine) -> None:
    with pytest.raises(Forbidden, match="not yours"):
        estimate_export(engine, asked(requested_by=MANAGER))
