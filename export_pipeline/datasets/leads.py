"""`leads`: one row for each lead."""

from export_pipeline.datasets._cursors import deleted_from
from export_pipeline.datasets._leads import FILTERS, OWNER, SOURCE, TABLES
from export_pipeline.model.access import Role, Scope, Sensitivity
from export_pipeline.model.dataset import TEXT, TIMESTAMP, UUID, Column, Cursor, Dataset, Subject, decimal
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_COUNT = Measure("Leads", Aggregate.COUNT)
_CONVERTED = ("status", ("converted",))

DATASET = Dataset(
    name="leads",
    title="Leads",
    description="One row per lead, with where it was found and how far it has come.",
    source=SOURCE,
    order_by="lead.created_at, lead.id",
    columns=(
        Column("id", UUID, "lead.id", "The lead."),
        Column("title", TEXT, "lead.title", "Its title.", example="Bright flat, two rooms", free_text=True),
        Column(
            "description", TEXT, "lead.description", "Its text.", example="First owner, no smoking.", free_text=True
        ),
        Column("price", decimal(12, 2), "lead.price", "The price that was asked.", example="950.00"),
        Column("location", TEXT, "location.name", "Where it is.", example="Lisbon"),
        Column("country", TEXT, "location.country", "The country, ISO 3166-1, two letters.", example="PT"),
        Column("category", TEXT, "category.name", "What it is about.", example="Apartments"),
        Column("status", TEXT, "lead.status", "new, contacted, qualified, converted or rejected.", example="new"),
        Column("email", TEXT, "lead.email", "E-mail address.", Sensitivity.PERSONAL, "lead42@example.com"),
        Column("phone", TEXT, "lead.phone", "Phone number, E.164.", Sensitivity.PERSONAL, "+15550100123"),
        Column("url", TEXT, "lead.url", "Where it was found.", example="https://listings.example.com/42"),
        Column("source", TEXT, "source.name", "The source that found it.", example="Listings"),
        Column("owner_id", UUID, "lead.owner_id", "Whose lead it is."),
        Column("posted_at", TIMESTAMP, "lead.posted_at", "When it was posted there."),
        Column("created_at", TIMESTAMP, "lead.created_at", "When it came in."),
        Column("contacted_at", TIMESTAMP, "lead.contacted_at", "When somebody was first in touch."),
        Column("converted_at", TIMESTAMP, "lead.converted_at", "When it became a customer."),
    ),
    filters=FILTERS,
    date_column="lead.created_at",
    date_label="the lead's created_at",
    key="lead.id",
    owner=OWNER,
    access={
        Role.CAMPAIGN_MANAGER: Scope.OWN,
        Role.ANALYST: Scope.ALL,
        Role.ADMIN: Scope.ALL,
        Role.SERVICE: Scope.ALL,
    },
    tables=TABLES,
    cursor=Cursor(("lead", "source", "location", "category"), deleted_from("leads")),
    subjects={"id": Subject.ID, "email": Subject.EMAIL, "phone": Subject.PHONE, "owner_id": Subject.ID},
    status="status",
    report=Report(
        figures=(
            _COUNT,
            Measure("Conversion rate", Aggregate.SHARE, only=_CONVERTED, decimals=1),
            Measure("Mean price", Aggregate.MEAN, "price", decimals=2),
        ),
        charts=(
            Chart("Leads per day", ChartKind.LINE, "created_at", _COUNT, Bucket.DAY),
            Chart("Leads by state", ChartKind.PIE, "status", _COUNT),
            Chart("Leads by category", ChartKind.BAR, "category", _COUNT),
        ),
    ),
)
