"""`metrics_summary`: campaigns and experiments in numbers, by day and in total."""

from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import (
    DATE,
    FLOAT,
    INTEGER,
    JSON,
    TEXT,
    UUID,
    Column,
    Dataset,
    Filter,
    Owner,
    decimal,
)
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_DAILY = ("level", ("day",))
_CALLS = Measure("Calls", Aggregate.SUM, "calls", only=_DAILY)

# Both halves call what they select by an `item`, so that the predicates fit either. They are applied below a plain
# subselect: PostgreSQL estimates nothing by predicates right below grouping sets, and took five times as long. Names
# are looked up last, so that a million rows are not sorted by them. Sums of intervals are exact in any order of rows.
_CAMPAIGNS = """
    SELECT
        'campaign' AS kind, counted.campaign_id AS id, campaign.name, counted.day, counted.is_total, counted.owned,
        counted.contacts, counted.calls, counted.completed, counted.refused, counted.not_reached,
        counted.mean_duration_seconds, counted.cost_usd,
        NULL::bigint AS assigned, NULL::bigint AS converted, NULL::jsonb AS metric_means
    FROM (
        SELECT
            item.campaign_id, item.day, grouping(item.day) = 1 AS is_total, bool_and(item.owned) AS owned,
            count(DISTINCT item.contact_id) AS contacts,
            count(*) AS calls,
            count(*) FILTER (WHERE item.last AND item.outcome = 'completed') AS completed,
            count(*) FILTER (WHERE item.last AND item.outcome = 'refused') AS refused,
            count(*) FILTER (WHERE item.last AND item.outcome = 'not_reached') AS not_reached,
            date_part('epoch', sum(item.duration)) / count(item.duration) AS mean_duration_seconds,
            sum(item.cost_usd) AS cost_usd
        FROM (
            SELECT item.*, (item.at AT TIME ZONE 'UTC')::date AS day, {owned} AS owned
            FROM (
                SELECT
                    campaign.id AS campaign_id, NULL::uuid AS experiment_id, campaign.owner_id,
                    contact.id AS contact_id, contact.outcome, call.started_at AS at, call.cost_usd,
                    call.started_at = contact.last_attempt_at AS last, call.ended_at - call.started_at AS duration
                FROM campaigns AS campaign
                JOIN contacts AS contact ON contact.campaign_id = campaign.id
                JOIN calls AS call ON call.contact_id = contact.id
            ) AS item
            WHERE {where}
        ) AS item
        GROUP BY GROUPING SETS ((item.campaign_id, item.day), (item.campaign_id))
    ) AS counted
    JOIN campaigns AS campaign ON campaign.id = counted.campaign_id
"""
_EXPERIMENTS = """
    SELECT
        'experiment', counted.experiment_id, experiment.name, counted.day, counted.is_total,
        bool_and(counted.owned AND measured.owned IS NOT FALSE),
        NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        max(counted.assigned), max(counted.converted),
        jsonb_object_agg(measured.metric, measured.total / counted.assigned) FILTER (WHERE measured.metric IS NOT NULL)
    FROM (
        SELECT
            item.experiment_id, item.day, grouping(item.day) = 1 AS is_total, bool_and(item.owned) AS owned,
            count(*) AS assigned,
            count(*) FILTER (WHERE item.converted) AS converted
        FROM (
            SELECT
                item.*, (item.at AT TIME ZONE 'UTC')::date AS day, {owned} AS owned,
                EXISTS (
                    SELECT FROM metrics AS value WHERE value.assignment_id = item.assignment_id AND value.value > 0
                ) AS converted
            FROM (
                SELECT
                    NULL::uuid AS campaign_id, experiment.id AS experiment_id, experiment.owner_id,
                    assignment.id AS assignment_id, assignment.assigned_at AS at
                FROM experiments AS experiment
                JOIN assignments AS assignment ON assignment.experiment_id = experiment.id
            ) AS item
            WHERE {where}
        ) AS item
        GROUP BY GROUPING SETS ((item.experiment_id, item.day), (item.experiment_id))
    ) AS counted
    JOIN experiments AS experiment ON experiment.id = counted.experiment_id
    LEFT JOIN (
        SELECT
            item.experiment_id, item.day, grouping(item.day) = 1 AS is_total, bool_and(item.owned) AS owned,
            item.metric, sum(item.value) AS total
        FROM (
            SELECT item.*, (item.at AT TIME ZONE 'UTC')::date AS day, {owned} AS owned
            FROM (
                SELECT
                    NULL::uuid AS campaign_id, experiment.id AS experiment_id, experiment.owner_id,
                    assignment.assigned_at AS at, value.metric, value.value
                FROM experiments AS experiment
                JOIN assignments AS assignment ON assignment.experiment_id = experiment.id
                JOIN metrics AS value ON value.assignment_id = assignment.id
            ) AS item
            WHERE {where}
        ) AS item
        GROUP BY GROUPING SETS ((item.experiment_id, item.metric, item.day), (item.experiment_id, item.metric))
    ) AS measured
        ON measured.experiment_id = counted.experiment_id
        AND measured.is_total = counted.is_total
        AND measured.day IS NOT DISTINCT FROM counted.day
    GROUP BY 2, 3, 4, 5
"""

DATASET = Dataset(
    name="metrics_summary",
    title="Metrics summary",
    description=(
        "One row per campaign and day (in UTC) with calls, and per experiment and day on which users were assigned, "
        "and for each one more with its total over all days that were asked for (level total). A contact's outcome "
        "counts on the day of the last call; experiments' numbers are of the users who were assigned that day."
    ),
    source=f"({_CAMPAIGNS} UNION ALL {_EXPERIMENTS}) AS result",
    order_by="result.kind, result.name, result.id, result.is_total, result.day",
    columns=(
        Column("kind", TEXT, "result.kind", "campaign or experiment.", example="campaign"),
        Column("id", UUID, "result.id", "Which one."),
        Column("name", TEXT, "result.name", "Its name.", example="Term deposits, November 2010"),
        Column("level", TEXT, "CASE WHEN result.is_total THEN 'total' ELSE 'day' END", "day or total.", example="day"),
        Column("day", DATE, "result.day", "The day; empty for totals.", example="2010-11-17"),
        Column("contacts", INTEGER, "result.contacts", "How many contacts were called."),
        Column("calls", INTEGER, "result.calls", "How many calls there were."),
        Column("completed", INTEGER, "result.completed", "How many contacts completed."),
        Column("refused", INTEGER, "result.refused", "How many refused."),
        Column("not_reached", INTEGER, "result.not_reached", "How many were not reached."),
        Column(
            "mean_duration_seconds",
            FLOAT,
            "result.mean_duration_seconds",
            "How long a call took.",
            number_format="#,##0.0",
        ),
        Column("cost_usd", decimal(18, 4), "result.cost_usd", "What the calls cost, in US dollars."),
        Column(
            "completion_rate",
            FLOAT,
            "result.completed::float8 / nullif(result.completed + result.refused + result.not_reached, 0)",
            "The share of completed, refused and not reached that completed, 0 to 1.",
            example="0.12",
            number_format="0.0%",
        ),
        Column("assigned", INTEGER, "result.assigned", "How many users were assigned to the experiment."),
        Column("converted", INTEGER, "result.converted", "How many of them converted in any metric."),
        Column(
            "metric_means",
            JSON,
            "result.metric_means",
            "Each metric's mean over the assigned users.",
            example='{"retention_1d": 0.45}',
        ),
    ),
    filters=(
        Filter("campaign_id", UUID, "item.campaign_id IN ({values})", "Only these campaigns.", many=True),
        Filter("experiment_id", UUID, "item.experiment_id IN ({values})", "Only these experiments.", many=True),
    ),
    date_column="item.at",
    date_label="when calls began and users were assigned",
    owner=Owner(
        "campaign_id",
        "SELECT owner_id::text FROM campaigns WHERE id = {value}",
        "campaign",
        "item.owner_id",
        witness="result.owned",
    ),
    access={
        Role.OPERATOR: Scope.OWN,
        Role.CAMPAIGN_MANAGER: Scope.OWN,
        Role.ANALYST: Scope.ALL,
        Role.ADMIN: Scope.ALL,
        Role.SERVICE: Scope.ALL,
    },
    tables=("campaigns", "contacts", "calls", "experiments", "assignments", "metrics"),
    report=Report(
        figures=(
            _CALLS,
            Measure("Completed", Aggregate.SUM, "completed", only=_DAILY),
            Measure("Cost", Aggregate.SUM, "cost_usd", only=_DAILY, unit="USD", decimals=2),
        ),
        charts=(
            Chart("Calls per day", ChartKind.LINE, "day", _CALLS, Bucket.DAY),
            Chart("Calls by campaign", ChartKind.BAR, "name", _CALLS),
        ),
        subject="name",
        subject_id="id",
    ),
)
