"""What operators see: the names are frozen here, and changing one is a decision."""

import subprocess
import sys

import dagster as dg

from export_pipeline.definitions import defs


def test_definitions_when_loaded_then_hold_exactly_these_names() -> None:
    repository = defs.get_repository_def()
    assert sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")) == [
        "events_job",
        "export_job",
        "extract_job",
        "retention_job",
    ]
    assert sorted(schedule.name for schedule in repository.schedule_defs) == [
        "events_schedule",
        "extract_schedule",
        "retention_schedule",
    ]
    assert sorted(sensor.name for sensor in repository.sensor_defs) == [
        "alerts_sensor",
        "campaign_completed_sensor",
        "direct_exports_sensor",
        "export_cancel_sensor",
        "export_failure_sensor",
        "export_requests_sensor",
        "sweep_sensor",
    ]
    assert sorted(key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()) == [
        "exports/audit_log",
        "exports/automation_performance",
        "exports/calls",
        "exports/campaign_results",
        "exports/campaigns",
        "exports/compliance",
        "exports/comprehensive",
        "exports/contacts",
        "exports/events",
        "exports/experiment_results",
        "exports/feature_usage",
        "exports/lead_analytics",
        "exports/leads",
        "exports/metrics_summary",
        "exports/package",
        "exports/scraping_performance",
        "exports/survey_outcomes",
        "exports/team_activity",
        "exports/user_activity",
        "extracts/calls",
        "extracts/campaigns",
        "extracts/contacts",
        "extracts/events",
        "extracts/survey_answers",
        "recurring/nightly_campaign_results",
        "recurring/nightly_survey_outcomes",
    ]


def test_sensors_and_schedules_when_loaded_then_run_without_being_switched_on() -> None:
    repository = defs.get_repository_def()
    assert all(sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in repository.sensor_defs)
    assert all(item.default_status is dg.DefaultScheduleStatus.RUNNING for item in repository.schedule_defs)


def test_definitions_when_loaded_then_import_nothing_heavy() -> None:
    heavy = (
        "polars",
        "duckdb",
        "boto3",
        "pyarrow",
        "adbc_driver_postgresql",
        "xlsxwriter",
        "obstore",
        "alembic",
        "scipy",
    )
    script = (
        f"import sys, export_pipeline.definitions\nprint(','.join(name for name in {heavy!r} if name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
