"""`export_job` in this process: both doors, refusals, and the end of a run that is cancelled while it works."""

import time
from dataclasses import replace
from threading import Thread

import dagster as dg
import pytest
from pydantic import SecretStr

from export_pipeline.flow import manage
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.history import list_exports
from export_pipeline.flow.request import file_request
from export_pipeline.flow.templates import create_template
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.job import ExportRequest, Status
from export_pipeline.orchestration import reporting
from export_pipeline.orchestration.build import build_definitions
from export_pipeline.orchestration.exports import config_of, tags_of
from export_pipeline.orchestration.resource import ServicesResource
from export_pipeline.services import open_services
from export_pipeline.settings import Settings
from export_pipeline_tests.orchestration.conftest import CONTACTS, World, objects


def launch(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    config: dict[str, object],
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_job_def("export_job")
    return job.execute_in_process(run_config=config, instance=instance, raise_on_error=False, tags=tags)


def why(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step says."""
    failed = [event for event in result.all_events if event.is_step_failure]
    data = failed[0].step_failure_data
    return f"{data.user_failure_data.description if data.user_failure_data else ''} {data.error}"


def test_export_job_when_launched_from_the_launchpad_then_a_file_is_delivered_and_told(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    result = launch(definitions, instance, {"campaign_id": world.campaign, "requested_by": world.owner})
    assert result.success
    [job] = list_exports(engine, world.owner)
    assert (job.status, job.rows, job.dagster_run_id) == (Status.COMPLETED, 25, result.run_id)
    assert job.files[0].key in objects(engine)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["export/id"] == job.id
    assert run.tags["export/owner"] == job.requester_id

    [event] = [event for event in result.all_events if event.is_step_materialization]
    told = event.step_materialization_data.materialization
    assert told.asset_key == dg.AssetKey(["exports", "campaign_results"])
    assert told.metadata["dagster/row_count"].value == 25
    assert told.metadata["sha256"].value == job.files[0].sha256
    assert told.metadata["bytes"].value == job.bytes
    assert told.metadata["duration_seconds"].value > 0
    assert str(told.metadata["link"].value).startswith("http")
    assert [column.name for column in told.metadata["dagster/column_schema"].value.columns][:2] == [
        "name",
        "business_name",
    ]
    assert "Name 1" not in str(told.metadata), "no rows"

    [event] = [event for event in result.all_events if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION]
    estimated = event.asset_observation_data.asset_observation
    assert (estimated.asset_key, estimated.metadata["export_id"].value) == (told.asset_key, job.id)
    assert estimated.metadata["estimated_rows"].value > 0


def test_export_job_when_estimating_breaks_then_the_run_says_where_but_no_value_and_delivers(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    engine: Engine,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: object, **named: object) -> None:
        raise KeyError(" ".join(("Name", "1")))  # lines of code are told, values are not

    monkeypatch.setattr(reporting, "estimate_order", broken)
    result = launch(definitions, instance, {"campaign_id": world.campaign, "requested_by": world.owner})
    assert result.success
    said = [record.event_log_entry.user_message for record in instance.get_records_for_run(result.run_id).records]
    [warning] = [text for text in said if "there is no estimate" in text]
    assert "KeyError" in warning and not any("Name 1" in text for text in said)


def test_export_job_when_launched_as_the_launchpad_prefills_it_then_exports_the_sample(
    instance: dg.DagsterInstance, settings: Settings, sample_url: str
) -> None:
    migrate_up(settings.database_url)
    on_sample = settings.model_copy(update={"source_url": SecretStr(sample_url)})
    definitions = build_definitions(ServicesResource(lambda: open_services(on_sample)))
    assert launch(definitions, instance, {}).success
    with open_services(on_sample) as engine:
        [job] = engine.jobs.newest()
    assert job.status is Status.COMPLETED
    assert (job.rows or 0) > 100
    leads = {"dataset": "leads", "requested_by": "admin@example.com", "format": "parquet"}
    assert launch(definitions, instance, leads).success, "the campaign that was filled in is not asked for"


def test_export_job_when_a_template_is_named_then_only_what_was_changed_in_the_form_differs_from_it(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    request = ExportRequest(
        "campaign_results",
        world.owner,
        {"campaign_id": world.campaign},
        ("name as who", "upper(call_status) as status"),
        format="parquet",
    )
    template = create_template(engine, world.owner, "mine", request)
    config = {"template": "mine", "requested_by": world.owner, "filters": {"limit": "7"}, "reason": "TICKET-7"}
    result = launch(definitions, instance, config)
    assert result.success, why(result)
    [job] = list_exports(engine, world.owner)
    assert (job.status, job.rows, job.request.template_id) == (Status.COMPLETED, 7, template.id)
    assert job.request.reason == "TICKET-7"
    assert (job.request.format, job.request.columns) == ("parquet", request.columns)
    assert job.request.filters == {"campaign_id": world.campaign, "limit": "7"}
    [event] = [event for event in result.all_events if event.is_step_materialization]
    schema = event.step_materialization_data.materialization.metadata["dagster/column_schema"].value
    assert [column.name for column in schema.columns] == ["who", "status"]

    other = launch(definitions, instance, {**config, "dataset": "leads"})
    assert "the template says which dataset is exported" in why(other)


def test_export_job_when_it_runs_a_filed_request_then_it_claims_and_completes_that_row(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    request = ExportRequest("survey_outcomes", world.owner, {"campaign_id": world.campaign}, format="parquet")
    filed = file_request(engine, request)
    result = launch(definitions, instance, config_of(filed), tags_of(filed))
    assert result.success
    done = engine.jobs.get(filed.id)
    assert done is not None
    assert (done.status, done.rows, done.dagster_run_id) == (Status.COMPLETED, 25, result.run_id)
    assert len(list_exports(engine, world.owner)) == 1, "no second row"


def test_export_job_when_another_run_has_the_row_then_this_one_ends_cancelled_and_changes_nothing(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    request = ExportRequest("campaign_results", world.owner, {"campaign_id": world.campaign})
    taken = file_request(engine, request, claim_as="another-run")
    result = launch(definitions, instance, config_of(taken), tags_of(taken))
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED
    still = engine.jobs.get(taken.id)
    assert still is not None
    assert (still.status, still.dagster_run_id) == (Status.PROCESSING, "another-run")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"date_from": "yesterday"}, "date_from"),
        ({"columns": ["name", "salary"]}, "salary"),
        ({"options": {"profile": "golden"}}, "profile"),
        ({"campaign_id": "7"}, "campaign_id"),
    ],
)
def test_export_job_when_the_config_is_wrong_then_it_fails_before_any_query_and_says_why(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    engine: Engine,
    world: World,
    wrong: dict[str, object],
    told: str,
) -> None:
    world.run("DROP TABLE users CASCADE")  # any query would fail with another message
    result = launch(definitions, instance, {"campaign_id": world.campaign, "requested_by": world.owner} | wrong)
    assert not result.success
    assert told in why(result)
    assert engine.jobs.newest() == []


def test_export_job_when_a_filed_row_holds_two_cuts_then_both_are_delivered(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    request = ExportRequest("contacts as all_of,contacts as none_of", world.owner, {"none_of.outcome": "busy"})
    request = replace(request, filters={**request.filters, "campaign_id": world.campaign}, format="xlsx")
    filed = file_request(engine, request)
    assert launch(definitions, instance, config_of(filed), tags_of(filed)).success
    [job] = list_exports(engine, world.owner)
    assert [(member.key, member.rows) for member in job.files[0].members] == [("all_of", 25), ("none_of", 0)]


def test_export_job_when_the_config_has_no_such_format_then_dagster_refuses_it(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="docx"):
        launch(definitions, instance, {"format": "docx"})


@pytest.mark.parametrize("who", ["operator@example.com", "stranger@example.com", ""])
def test_export_job_when_who_asks_may_not_then_it_is_refused_and_audited(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World, who: str
) -> None:
    result = launch(definitions, instance, {"campaign_id": world.campaign, "requested_by": who})
    assert not result.success
    assert any(text in why(result) for text in ("not yours", "not a user", "nobody is named"))
    assert engine.jobs.newest() == []
    assert objects(engine) == []
    refusals = world.value("SELECT count(*) FROM exports.audit_log WHERE action = 'refusal'")
    assert refusals == 1


def test_export_job_when_the_export_is_cancelled_then_the_run_is_canceled_and_nothing_is_left(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    world.run(CONTACTS, campaign=world.campaign, count=150_000)

    def cancel_once_it_works() -> None:
        while not (found := engine.jobs.newest()) or found[0].status is not Status.PROCESSING:
            time.sleep(0.02)
        manage.cancel_export(engine, world.owner, found[0].id)

    canceller = Thread(target=cancel_once_it_works)
    canceller.start()
    result = launch(
        definitions,
        instance,
        {"campaign_id": world.campaign, "requested_by": world.owner, "options": {"profile": "raw"}},
    )
    canceller.join()
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert engine.jobs.newest()[0].status is Status.CANCELLED
    assert objects(engine) == []


def test_export_job_when_an_error_may_pass_then_the_run_fails_and_the_row_waits_for_its_next_attempt(
    definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine, world: World
) -> None:
    request = ExportRequest("campaign_results", world.owner, {"campaign_id": world.campaign})
    filed = file_request(engine, request)
    # Between filing and running, the source goes away.
    world.run("ALTER TABLE contacts RENAME TO away")
    world.run("CREATE VIEW contacts AS SELECT * FROM away WHERE pg_terminate_backend(pg_backend_pid())")
    result = launch(definitions, instance, config_of(filed), tags_of(filed))
    assert not result.success
    assert "will be tried again as attempt 2" in why(result)
    waiting = engine.jobs.get(filed.id)
    assert waiting is not None
    assert (waiting.status, waiting.attempt) == (Status.PENDING, 2)
