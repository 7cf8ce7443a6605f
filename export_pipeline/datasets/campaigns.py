"""`campaigns`: one row for each campaign."""

from export_pipeline.datasets._campaigns import OWNER, campaign_filter
from export_pipeline.datasets._cursors import OF_CAMPAIGN, deleted_from
from export_pipeline.model.access import Role, Scope, Sensitivity
from export_pipeline.model.dataset import TEXT, TIMESTAMP, UUID, Column, Cursor, Dataset, Filter, Subject
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_COUNT = Measure("Campaigns", Aggregate.COUNT)

DATASET = Dataset(
    name="campaigns",
    title="Campaigns",
    description="One row per campaign, with whose it is.",
    source="campaigns AS campaign JOIN users AS owner ON owner.id = campaign.owner_id",
    order_by="campaign.created_at, campaign.id",
    columns=(
        Column("id", UUID, "campaign.id", "The campaign."),
        Column("name", TEXT, "campaign.name", "Its name.", example="Term deposits, November 2010"),
        Column("status", TEXT, "campaign.status", "draft, active, paused or completed.", example="active"),
        Column("owner_id", UUID, "campaign.owner_id", "Whose it is."),
        Column("owner", TEXT, "owner.username", "The owner's user name.", Sensitivity.PERSONAL, "manager"),
        Column("assistant_used", TEXT, "campaign.assistant_used", "The assistant that called.", example="Ava"),
        Column("created_at", TIMESTAMP, "campaign.created_at", "When it was made."),
        Column("completed_at", TIMESTAMP, "campaign.completed_at", "When it was completed."),
    ),
    filters=(
        campaign_filter("campaign.id"),
        Filter("status", TEXT, "campaign.status IN ({values})", "Only campaigns with one of these states.", many=True),
    ),
    date_column="campaign.created_at",
    date_label="the campaign's created_at",
    key="campaign.id",
    owner=OWNER,
    access={
        Role.OPERATOR: Scope.OWN,
        Role.CAMPAIGN_MANAGER: Scope.OWN,
        Role.ANALYST: Scope.ALL,
        Role.ADMIN: Scope.ALL,
        Role.SERVICE: Scope.ALL,
    },
    tables=("campaigns", "users"),
    cursor=Cursor(("campaign", "owner"), deleted_from("campaigns", filters=OF_CAMPAIGN)),
    subjects={"owner_id": Subject.ID, "owner": Subject.ID},
    status="status",
    report=Report(
        figures=(_COUNT, Measure("Active campaigns", Aggregate.COUNT, only=("status", ("active",)))),
        charts=(
            Chart("Campaigns by state", ChartKind.PIE, "status", _COUNT),
            Chart("Campaigns by month", ChartKind.BAR, "created_at", _COUNT, Bucket.MONTH),
        ),
    ),
)
