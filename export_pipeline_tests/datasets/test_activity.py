"""The datasets about work and use, against the raw tables computed another way."""

import json
from collections.abc import Iterator
from datetime import date
from importlib.resources import files

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.sample import SHOWN_CAMPAIGN, sample_id
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.manage import cancel_export
from export_pipeline.flow.request import file_request
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.errors import Forbidden
from export_pipeline.model.job import ExportRequest
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.datasets.reading import ADMIN, ANALYST, COMPLIANCE, MANAGER, OPERATOR, read, table

SECONDS = (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds() / 1e6


def test_scraping_when_computed_another_way_then_equal(sample_engine: Engine) -> None:
    runs = table(
        sample_engine, "SELECT r.*, s.name AS source FROM source_runs r JOIN lead_sources s ON s.id = source_id"
    )
    expected = runs.group_by(pl.col("started_at").dt.date().alias("day"), "source").agg(
        runs=pl.len(),
        succeeded=(pl.col("status") == "succeeded").sum(),
        failed=(pl.col("status") == "failed").sum(),
        leads_found=pl.col("leads_found").sum(),
        duplicates=pl.col("duplicates").sum(),
        errors=pl.col("errors").sum(),
        total_seconds=SECONDS.sum(),
        mean_seconds=SECONDS.mean(),
        success_rate=(pl.col("status") == "succeeded").filter(pl.col("status") != "running").mean(),
    )
    found = read(sample_engine, "scraping_performance", email=ANALYST).drop("source_id")
    assert_frame_equal(found, expected.select(found.columns), check_row_order=False, check_dtypes=False)
    assert set(runs["status"]) == {"succeeded", "failed", "running"}


def test_automation_when_computed_another_way_then_equal(sample_engine: Engine) -> None:
    runs = table(sample_engine, "SELECT * FROM automation_runs")
    expected = runs.group_by(pl.col("started_at").dt.date().alias("day"), "kind", "name").agg(
        executed=pl.len(),
        succeeded=(pl.col("status") == "succeeded").sum(),
        failed=(pl.col("status") == "failed").sum(),
        total_seconds=pl.when(pl.col("ended_at").count() > 0).then(SECONDS.sum()),
        mean_seconds=SECONDS.mean(),
    )
    found = read(sample_engine, "automation_performance", email=ANALYST)
    assert_frame_equal(found, expected.select(found.columns), check_row_order=False, check_dtypes=False)


@pytest.mark.parametrize("span", [{}, {"date_from": "2008-05-12", "date_to": "2008-05-20"}])
def test_summary_when_of_campaigns_then_days_add_up_to_totals(sample_engine: Engine, span: dict[str, str]) -> None:
    raw = table(
        sample_engine,
        f"""
        SELECT l.started_at, l.ended_at, l.cost_usd, k.id::text, k.outcome, k.last_attempt_at
        FROM calls l JOIN contacts k ON k.id = l.contact_id WHERE k.campaign_id = '{SHOWN_CAMPAIGN}'
        """,
    ).with_columns(pl.col("started_at").dt.date().alias("day"), SECONDS.alias("seconds"))
    if span:
        raw = raw.filter(pl.col("day").is_between(date(2008, 5, 12), date(2008, 5, 20)))
    last = pl.col("started_at") == pl.col("last_attempt_at")
    counts = {name: ((pl.col("outcome") == name) & last).sum() for name in ("completed", "refused", "not_reached")}
    aggregates = [
        pl.col("id").n_unique().alias("contacts"),
        pl.len().alias("calls"),
        *(expression.alias(name) for name, expression in counts.items()),
        pl.col("seconds").mean().alias("mean_duration_seconds"),
        pl.col("cost_usd").sum(),
        (counts["completed"] / (counts["completed"] + counts["refused"] + counts["not_reached"])).alias("rate"),
    ]
    found = read(sample_engine, "metrics_summary", {"campaign_id": SHOWN_CAMPAIGN, **span}, email=MANAGER)
    found = found.rename({"completion_rate": "rate"}).with_columns(pl.col("rate").fill_null(float("nan")))
    days = found.filter(pl.col("level") == "day")
    expected = raw.group_by("day").agg(aggregates)
    assert_frame_equal(days.select(expected.columns), expected, check_row_order=False, check_dtypes=False)
    totals = found.filter(pl.col("level") == "total")
    expected = raw.select(aggregates)
    assert_frame_equal(totals.select(expected.columns), expected, check_dtypes=False)
    assert totals["day"].to_list() == [None]


def test_features_when_computed_another_way_then_equal(sample_engine: Engine) -> None:
    events = table(
        sample_engine,
        "SELECT timestamp, distinct_id, properties ->> 'feature' AS feature FROM events WHERE event = 'feature_used'",
    )
    expected = events.group_by(pl.col("timestamp").dt.date().alias("day"), "feature").agg(
        uses=pl.len(), users=pl.col("distinct_id").n_unique(), uses_per_user=pl.len() / pl.col("distinct_id").n_unique()
    )
    found = read(sample_engine, "feature_usage", email=ANALYST)
    assert_frame_equal(found.drop("enabled"), expected, check_row_order=False, check_dtypes=False)
    assert set(found["enabled"]) == {True}


def test_events_when_read_then_properties_without_what_is_personal(sample_engine: Engine) -> None:
    raw = table(sample_engine, "SELECT id::text, properties::text FROM events ORDER BY timestamp, id")
    found = read(sample_engine, "events", email=ANALYST)
    assert found["id"].to_list() == raw["id"].to_list()
    before, after = (frame["properties"].str.json_decode(pl.Struct({"$ip": pl.String})) for frame in (raw, found))
    assert before.struct.field("$ip").count() > 1000
    assert after.struct.field("$ip").count() == 0
    for text, left in zip(raw["properties"].head(500), found["properties"].head(500), strict=True):
        assert json.loads(left) == {name: value for name, value in json.loads(text).items() if name != "$ip"}


def test_events_when_filtered_then_these_and_no_others(sample_engine: Engine) -> None:
    filters = {"events": "signed_in,lead_opened", "distinct_id": "user-00042,user-00043"}
    found = read(sample_engine, "events", filters)
    (expected,) = table(
        sample_engine,
        "SELECT count(*) FROM events WHERE event <> 'page_viewed' AND event <> 'feature_used'"
        " AND distinct_id IN ('user-00042', 'user-00043')",
    ).row(0)
    assert found.height == expected > 0
    assert set(found["event"]) == {"signed_in", "lead_opened"}


def test_teams_when_computed_another_way_then_equal(sample_engine: Engine) -> None:
    sources = {
        "actions": "SELECT actor_id::text, at FROM app_audit_log",
        "campaigns_created": "SELECT owner_id::text, created_at FROM campaigns",
        "experiments_created": "SELECT owner_id::text, created_at FROM experiments",
        "flags_created": "SELECT created_by::text, created_at FROM feature_flags",
    }
    did = pl.concat(
        table(sample_engine, query)
        .rename(lambda name: "at" if name in ("at", "created_at") else "user")
        .with_columns(kind=pl.lit(kind))
        for kind, query in sources.items()
    )
    users = table(
        sample_engine, "SELECT u.id::text AS user, t.name AS team FROM users u JOIN teams t ON t.id = team_id"
    )
    expected = (
        did.join(users, on="user")
        .group_by(pl.col("at").dt.truncate("1w").dt.date().alias("week"), "team")
        .agg(active_users=pl.col("user").n_unique(), **{kind: (pl.col("kind") == kind).sum() for kind in sources})
    )
    found = read(sample_engine, "team_activity", email=ANALYST)
    assert_frame_equal(found, expected.select(found.columns), check_row_order=False, check_dtypes=False)
    assert set(found["week"].dt.weekday()) == {1}


def test_audit_when_filtered_then_these_and_no_others(sample_engine: Engine) -> None:
    filters = {"entity_type": "setting,user", "user": "manager,admin@example.com"}
    found = read(sample_engine, "audit_log", filters, email=COMPLIANCE)
    assert set(found["entity_type"]) == {"setting", "user"}
    assert set(found["actor"]) == {"manager", "admin"}
    (expected,) = table(
        sample_engine,
        "SELECT count(*) FROM app_audit_log JOIN users u ON u.id = actor_id"
        " WHERE entity_type IN ('setting', 'user') AND u.username IN ('manager', 'admin')",
    ).row(0)
    assert found.height == expected


@pytest.fixture(scope="module")
def small(postgres_server: Postgres) -> Iterator[Engine]:
    """A source with few rows and our own history in one database."""
    with fresh_database(postgres_server) as url:
        migrate_up(SecretStr(url))
        with psycopg.connect(url) as connection:
            connection.execute((files("export_pipeline.embedded") / "schema.sql").read_bytes())
            connection.execute("INSERT INTO teams (id, name) VALUES (md5('t')::uuid, 'North')")
            for email, role in ((ADMIN, "admin"), (MANAGER, "campaign_manager"), (OPERATOR, "operator")):
                connection.execute(
                    "INSERT INTO users (id, email, username, role, team_id) VALUES (%s, %s, %s, %s, %s)",
                    (sample_id("user", email), email, email.partition("@")[0], role, None),
                )
            connection.execute("UPDATE users SET team_id = md5('t')::uuid WHERE role = 'campaign_manager'")
            connection.execute(
                "INSERT INTO campaigns (name, owner_id, created_at) SELECT 'c' || n, %s, '2026-01-01Z'"
                " FROM generate_series(1, 3) AS n",
                (sample_id("user", MANAGER),),
            )
            for who, entity, action in (
                (ADMIN, "user", "role_change"),
                (ADMIN, "setting", "update"),
                (ADMIN, "campaign", "delete"),
                (MANAGER, "feature_flag", "create"),
                (MANAGER, "campaign", "update"),
                (None, "setting", "update"),
                (None, "lead", "update"),
            ):
                connection.execute(
                    "INSERT INTO app_audit_log (at, actor_id, entity_type, action) VALUES ('2026-01-02Z', %s, %s, %s)",
                    (who and sample_id("user", who), entity, action),
                )
        with open_services(load_settings(DATABASE_URL=url, EXPORT_DIRECTORY="/nonexistent")) as engine:
            asked = ExportRequest("campaigns", MANAGER, destination="local", filters={})
            job = file_request(engine, asked)
            cancel_export(engine, MANAGER, job.id)
            file_request(engine, asked)
            with pytest.raises(Forbidden):
                file_request(engine, ExportRequest("audit_log", OPERATOR, destination="local", filters={}))
            yield engine


def test_users_when_they_did_things_then_counted(small: Engine) -> None:
    rows = read(small, "user_activity").to_dicts()
    counted = ("exports", "campaigns_created", "experiments_created", "flags_created", "total_actions")
    assert {row["username"]: (row["team"], *(row[name] for name in counted)) for row in rows} == {
        "admin": (None, 0, 0, 0, 0, 3),
        "manager": ("North", 2, 3, 0, 0, 4),
    }
    assert read(small, "user_activity", {"date_to": "2026-01-31"})["exports"].to_list() == [0, 0]
    assert read(small, "user_activity", {"user": MANAGER})["username"].to_list() == ["manager"]


def test_compliance_when_read_then_changes_and_data_access(small: Engine) -> None:
    rows = read(small, "compliance").to_dicts()
    found = sorted((row["kind"], row["actor"] or "", row["action"]) for row in rows)
    assert found == [
        ("admin action", ADMIN, "delete"),
        ("configuration change", "", "update"),
        ("configuration change", ADMIN, "update"),
        ("configuration change", MANAGER, "create"),
        ("data access", MANAGER, "cancel"),
        ("data access", MANAGER, "request"),
        ("data access", MANAGER, "request"),
        ("data access", OPERATOR, "refusal"),
        ("permission change", ADMIN, "role_change"),
    ]
    refused = read(small, "compliance", {"action": "refusal"}).to_dicts()[0]
    assert (refused["actor_role"], refused["entity_type"]) == ("operator", "export of audit_log")
    assert "may not export audit_log" in refused["reason"]
