"""`contacts`: one row for each contact of a campaign."""

from export_pipeline.datasets._campaigns import OWNER, campaign_filter
from export_pipeline.datasets._cursors import OF_CAMPAIGN, deleted_from
from export_pipeline.model.access import Role, Scope, Sensitivity
from export_pipeline.model.dataset import INTEGER, TEXT, TIMESTAMP, UUID, Column, Cursor, Dataset, Filter, Subject
from export_pipeline.model.report import Aggregate, Chart, ChartKind, Measure, Report

_COUNT = Measure("Contacts", Aggregate.COUNT)
_COMPLETED = ("outcome", ("completed",))

DATASET = Dataset(
    name="contacts",
    title="Contacts",
    description="One row per contact of a campaign, with what came of it.",
    source="contacts AS contact JOIN campaigns AS campaign ON campaign.id = contact.campaign_id",
    order_by="contact.created_at, contact.id",
    columns=(
        Column("id", UUID, "contact.id", "The contact."),
        Column("campaign_id", UUID, "contact.campaign_id", "The campaign."),
        Column("campaign_name", TEXT, "campaign.name", "The campaign's name.", example="Term deposits, November 2010"),
        Column(
            "external_contact_id",
            TEXT,
            "contact.external_contact_id",
            "The contact's id in your system.",
            example="00042",
        ),
        Column("name", TEXT, "contact.name", "The contact's name.", Sensitivity.PERSONAL, "Zoë Müller"),
        Column("business_name", TEXT, "contact.business_name", "The contact's business.", example="Café Luna, Inc."),
        Column("phone", TEXT, "contact.phone", "Phone number, E.164.", Sensitivity.PERSONAL, "+15550100123"),
        Column("email", TEXT, "contact.email", "E-mail address.", Sensitivity.PERSONAL, "contact00042@example.com"),
        Column("outcome", TEXT, "contact.outcome", "What came of it, or pending.", example="completed"),
        Column("attempt_count", INTEGER, "contact.attempt_count", "How often the contact was called.", example="2"),
        Column("last_attempt_at", TIMESTAMP, "contact.last_attempt_at", "When the contact was last called."),
        Column("completed_at", TIMESTAMP, "contact.completed_at", "When the survey was completed."),
        Column("created_at", TIMESTAMP, "contact.created_at", "When the contact came in."),
    ),
    filters=(
        campaign_filter("contact.campaign_id"),
        Filter("outcome", TEXT, "contact.outcome IN ({values})", "Only contacts with these outcomes.", many=True),
    ),
    date_column="contact.created_at",
    date_label="the contact's created_at",
    key="contact.id",
    references={"campaigns": "campaign.id"},
    owner=OWNER,
    access={
        Role.OPERATOR: Scope.OWN,
        Role.CAMPAIGN_MANAGER: Scope.OWN,
        Role.ANALYST: Scope.ALL,
        Role.ADMIN: Scope.ALL,
        Role.SERVICE: Scope.ALL,
    },
    tables=("contacts", "campaigns"),
    cursor=Cursor(("contact", "campaign"), deleted_from("contacts", filters=OF_CAMPAIGN)),
    subjects={"id": Subject.ID, "external_contact_id": Subject.ID, "phone": Subject.PHONE, "email": Subject.EMAIL},
    status="outcome",
    report=Report(
        figures=(
            _COUNT,
            Measure("Completed", Aggregate.COUNT, only=_COMPLETED),
            Measure("Completion rate", Aggregate.SHARE, only=_COMPLETED, decimals=1),
            Measure("Mean number of calls", Aggregate.MEAN, "attempt_count", decimals=1),
        ),
        charts=(Chart("Outcomes", ChartKind.PIE, "outcome", _COUNT),),
        subject="campaign_name",
        subject_id="campaign_id",
        subject_filter="campaign_id",
    ),
)
