"""The nightly job: extracts, recurring exports made from them, and their checks."""

import uuid

import dagster as dg

from export_pipeline.flow.engine import Engine
from export_pipeline.model.job import Status
from export_pipeline.orchestration.nightly import checked, extract_key, nightly_key
from export_pipeline_tests.orchestration.conftest import CONTACTS, World, objects


def test_extract_job_when_run_then_exports_each_active_campaign_from_checked_extracts(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    ended = str(uuid.uuid4())
    world.add_campaign(ended, world.owner, "completed")
    world.run(CONTACTS, campaign=ended, count=7)
    result = definitions.resolve_job_def("extract_job").execute_in_process(instance=instance, raise_on_error=False)
    assert result.success
    counts = {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization.metadata[
            "dagster/row_count"
        ].value
        for event in result.all_events
        if event.is_step_materialization and event.asset_key
    }
    assert counts == {
        "extracts/campaigns": 2,
        "extracts/contacts": 32,
        "extracts/calls": 0,
        "extracts/survey_answers": 0,
        "recurring/nightly_campaign_results": 25,
        "recurring/nightly_survey_outcomes": 25,
    }
    checks = [event.asset_check_evaluation_data for event in result.all_events if event.event_type_value == _CHECK]
    assert len(checks) == 12
    assert all(check.passed for check in checks)

    jobs = engine.jobs.newest()
    assert {job.request.dataset for job in jobs} == {"campaign_results", "survey_outcomes"}
    assert {(job.status, job.request.requested_by, job.dagster_run_id) for job in jobs} == {
        (Status.COMPLETED, "service@export-pipeline.invalid", result.run_id)
    }


_CHECK = "ASSET_CHECK_EVALUATION"


def test_checks_when_an_object_was_changed_then_say_so(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    definitions.resolve_job_def("extract_job").execute_in_process(instance=instance)
    job = next(job for job in engine.jobs.newest() if job.request.dataset == "campaign_results")
    good = checked(engine, nightly_key("campaign_results"), list(job.files))
    assert [result.passed for result in good] == [True, True]
    other = next(
        key for key in objects(engine) if key.endswith("extracts/campaigns.parquet") or "campaigns.parquet" in key
    )
    with engine.destination("s3").open(job.files[0].key, media_type="x/y", filename="x") as target:
        for chunk in engine.destination("s3").read(other):
            target.write(chunk)
    changed = checked(engine, extract_key("campaigns"), list(job.files))
    assert [result.passed for result in changed] == [False, False]
    engine.destination("s3").clean(job.files[0].key)
    gone = checked(engine, nightly_key("campaign_results"), list(job.files))
    assert [result.passed for result in gone] == [False, False]
