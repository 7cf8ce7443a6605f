"""`lead_analytics`: leads counted by day, location, category and source."""

from dataclasses import replace

from export_pipeline.datasets._leads import FILTERS, OWNER, SOURCE, TABLES
from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import DATE, FLOAT, INTEGER, TEXT, Column, Dataset, decimal
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_STATES = ("new", "contacted", "qualified", "converted", "rejected")
_LEADS = Measure("Leads", Aggregate.SUM, "leads")
_COUNTS = "".join(f"count(*) FILTER (WHERE lead.status = '{state}') AS {state}_leads," for state in _STATES)
_WAIT = "date_part('epoch', lead.contacted_at - lead.created_at)"


def _quantile(share: float, name: str, of: str) -> str:
    return f"percentile_cont({share}) WITHIN GROUP (ORDER BY {of}) AS {name}"


DATASET = Dataset(
    name="lead_analytics",
    title="Lead analytics",
    description=(
        "One row per day (in UTC, by when leads came in), location, category and source: how many leads, how far they "
        "have come, what they cost and how long they waited. Days without leads have no row."
    ),
    source=f"""(
        SELECT
            (lead.created_at AT TIME ZONE 'UTC')::date AS day,
            lead.location_id, lead.category_id, lead.source_id,
            bool_and({{owned}}) AS owned,
            count(*) AS leads,
            {_COUNTS}
            count(lead.email) AS with_email,
            count(lead.phone) AS with_phone,
            count(*) FILTER (WHERE lead.status = 'converted')::float8 / count(*) AS conversion_rate,
            round(avg(lead.price), 2) AS average_price,
            {_quantile(0.25, "price_p25", "lead.price")},
            {_quantile(0.5, "price_median", "lead.price")},
            {_quantile(0.75, "price_p75", "lead.price")},
            avg({_WAIT}) AS mean_seconds_to_contact,
            {_quantile(0.5, "median_seconds_to_contact", _WAIT)}
        FROM {SOURCE}
        WHERE {{where}}
        GROUP BY 1, 2, 3, 4
    ) AS result
    -- Names come last: a million leads are not sorted by them.
    JOIN lead_sources AS source ON source.id = result.source_id
    LEFT JOIN locations AS location ON location.id = result.location_id
    LEFT JOIN categories AS category ON category.id = result.category_id""",
    order_by="result.day, location.name, category.name, source.name, location.id, category.id, source.id",
    columns=(
        Column("day", DATE, "result.day", "The day.", example="2010-11-17"),
        Column("location", TEXT, "location.name", "Where; empty where that is not known.", example="Lisbon"),
        Column("category", TEXT, "category.name", "About what; empty where that is not known.", example="Cars"),
        Column("source", TEXT, "source.name", "The source that found them.", example="Listings"),
        Column("leads", INTEGER, "result.leads", "How many leads came in.", example="12"),
        *(
            Column(f"{state}_leads", INTEGER, f"result.{state}_leads", f"How many of them are {state} now.")
            for state in _STATES
        ),
        Column("with_email", INTEGER, "result.with_email", "How many have an e-mail address."),
        Column("with_phone", INTEGER, "result.with_phone", "How many have a phone number."),
        Column(
            "conversion_rate",
            FLOAT,
            "result.conversion_rate",
            "The share converted, 0 to 1.",
            example="0.25",
            number_format="0.0%",
        ),
        Column("average_price", decimal(14, 2), "result.average_price", "The mean of the prices that are known."),
        Column(
            "price_p25",
            FLOAT,
            "result.price_p25",
            "The price that a quarter of them does not exceed.",
            number_format="#,##0.00",
        ),
        Column(
            "price_median",
            FLOAT,
            "result.price_median",
            "The price that half of them does not exceed.",
            number_format="#,##0.00",
        ),
        Column(
            "price_p75",
            FLOAT,
            "result.price_p75",
            "The price that three quarters of them do not exceed.",
            number_format="#,##0.00",
        ),
        Column(
            "mean_seconds_to_contact",
            FLOAT,
            "result.mean_seconds_to_contact",
            "Seconds until somebody was first in touch: the mean of those who were contacted.",
            number_format="#,##0",
        ),
        Column(
            "median_seconds_to_contact",
            FLOAT,
            "result.median_seconds_to_contact",
            "The median of the same.",
            number_format="#,##0",
        ),
    ),
    filters=FILTERS,
    date_column="lead.created_at",
    date_label="the lead's created_at",
    owner=replace(OWNER, witness="result.owned"),
    access={
        Role.CAMPAIGN_MANAGER: Scope.OWN,
        Role.ANALYST: Scope.ALL,
        Role.ADMIN: Scope.ALL,
        Role.SERVICE: Scope.ALL,
    },
    tables=TABLES,
    report=Report(
        figures=(
            _LEADS,
            Measure("Converted", Aggregate.SUM, "converted_leads"),
            Measure("With an e-mail address", Aggregate.SUM, "with_email"),
        ),
        charts=(
            Chart("Leads per day", ChartKind.LINE, "day", _LEADS, Bucket.DAY),
            Chart("Leads by location", ChartKind.BAR, "location", _LEADS),
            Chart("Leads by category", ChartKind.BAR, "category", _LEADS),
            Chart("Leads by source", ChartKind.PIE, "source", _LEADS),
        ),
    ),
)
