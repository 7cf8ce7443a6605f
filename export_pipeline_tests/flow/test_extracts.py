"""Extracts, and the recurring exports made from them: the same SQL in two engines gives the same rows."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from export_pipeline.embedded.sample import LAST_CAMPAIGN, SHOWN_CAMPAIGN, SHOWN_OWNER
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.authorize import identify
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extracts import (
    TABLES,
    active_campaigns,
    latest_extracts,
    old_extracts,
    open_extracts,
    take_extracts,
)
from export_pipeline.flow.manage import show_export
from export_pipeline.flow.plan import make_plan
from export_pipeline.flow.recurring import NIGHTLY, export_nightly
from export_pipeline.flow.request import authorize_plan
from export_pipeline.flow.retention import run_retention
from export_pipeline.model.access import SERVICE
from export_pipeline.model.errors import Broken, Forbidden, Transient
from export_pipeline.model.job import ExportRequest, Status
from export_pipeline_tests.datasets.reading import read_source

PHONES = {"campaign_results": "phone", "survey_outcomes": "phone_number"}


def attempt() -> Attempt:
    return Attempt("extract", 1)


def test_extracts_when_read_then_as_the_source(engine: Engine, asked: ExportRequest) -> None:
    taken = take_extracts(engine, attempt())
    assert set(taken.files) == {table.name for table in TABLES}
    assert taken.files["calls"].bytes > 1 << 20, "too small to need more than one read"
    assert latest_extracts(engine) == taken
    span = {"campaign_id": SHOWN_CAMPAIGN, "date_from": "2008-05-10", "date_to": "2008-05-20T12:00:00Z"}
    for dataset in NIGHTLY:
        several = {"campaign_id": f"{SHOWN_CAMPAIGN},{LAST_CAMPAIGN}", "limit": "9000"}
        requests = [replace(asked, filters=filters) for filters in ({"campaign_id": SHOWN_CAMPAIGN}, span, several)]
        # Of their owner each row tells whose it is, and masks are the same, too.
        mine = replace(requests[0], requested_by=SHOWN_OWNER)
        requests += [mine, replace(mine, masks={PHONES[dataset]: "mask"}), replace(mine, contact_info=False)]
        for request in [replace(each, dataset=dataset, format="parquet") for each in requests]:
            plan, _ = authorize_plan(engine, identify(engine, request.requested_by), make_plan(engine, request))
            with read_source(engine, plan) as rows:
                expected = pl.concat(rows.batches)
            with open_extracts(engine, [plan], attempt()) as opened, opened.read(plan) as rows:
                assert opened.snapshot_at == taken.taken_at
                got = pl.concat(rows.batches)
            assert expected.height > 1000
            assert_frame_equal(got, expected)


def test_nightly_when_run_then_each_active_campaign_is_exported_under_the_service_identity(engine: Engine) -> None:
    take_extracts(engine, attempt())
    jobs = list(export_nightly(engine, "survey_outcomes", run_id="run", observer=lambda attempt: None))
    assert len(jobs) == 2
    for job in jobs:
        assert (job.status, job.requester_id, job.request.format) == (Status.COMPLETED, SERVICE.id, "parquet")
        assert job.expires_at is not None
        assert job.expires_at - datetime.now(UTC) > timedelta(days=29)
    assert show_export(engine, "admin@example.com", jobs[0].id).id == jobs[0].id
    with pytest.raises(Forbidden):
        show_export(engine, SERVICE.email, jobs[0].id)


def test_nightly_when_there_are_no_extracts_then_told_to_take_them(engine: Engine) -> None:
    with pytest.raises(Broken, match="run extract_job first"):
        list(export_nightly(engine, "survey_outcomes", run_id="run", observer=lambda attempt: None))


def test_extracts_when_a_file_cannot_be_read_then_transient_and_its_address_is_not_told(engine: Engine) -> None:
    taken = take_extracts(engine, attempt())
    engine.destination("s3").clean(taken.files["contacts"].key)
    reading: list[Callable[[], object]] = [
        lambda: active_campaigns(engine),
        lambda: list(export_nightly(engine, "survey_outcomes", run_id="run", observer=lambda attempt: None)),
    ]
    for read in reading:
        with pytest.raises(Transient, match="the extracts could not be read") as told:
            read()
        assert "contacts" not in str(told.value)


def test_extracts_when_interrupted_then_nothing_stays(engine: Engine) -> None:
    stopped = attempt()
    stopped.stop()
    with pytest.raises(Exception, match="cancelled"):
        take_extracts(engine, stopped)
    assert list(engine.destination("s3").list("exports/extracts/")) == []


def test_retention_when_extracts_are_old_then_they_go(engine: Engine) -> None:
    prefix = take_extracts(engine, attempt()).prefix
    assert old_extracts(engine) == []
    aged = replace(engine, settings=engine.settings.model_copy(update={"cleanup_days": 0}))
    time.sleep(1.1)  # the folder's name tells whole seconds
    assert run_retention(aged, dry_run=True).extracts == [prefix]
    assert run_retention(aged).extracts == [prefix]
    assert list(engine.destination("s3").list("exports/extracts/")) == []
