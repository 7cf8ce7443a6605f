"""`calls`: one row for each call."""

from export_pipeline.datasets._campaigns import OWNER, campaign_filter
from export_pipeline.datasets._cursors import OF_CAMPAIGN, deleted_from
from export_pipeline.model.access import Policy, Role, Scope, Sensitivity
from export_pipeline.model.dataset import (
    INTEGER,
    JSON,
    TEXT,
    TIMESTAMP,
    UUID,
    Column,
    Cursor,
    Dataset,
    Filter,
    Subject,
    decimal,
)
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report

_COUNT = Measure("Calls", Aggregate.COUNT)

DATASET = Dataset(
    name="calls",
    title="Calls",
    description="One row per call, with the contact and the campaign that it belongs to.",
    source="""
        calls AS call
        JOIN contacts AS contact ON contact.id = call.contact_id
        JOIN campaigns AS campaign ON campaign.id = contact.campaign_id
    """,
    order_by="call.started_at, call.id",
    columns=(
        Column("id", UUID, "call.id", "The call."),
        Column("contact_id", UUID, "call.contact_id", "Who was called."),
        Column("campaign_id", UUID, "contact.campaign_id", "The campaign."),
        Column("campaign_name", TEXT, "campaign.name", "The campaign's name.", example="Term deposits, November 2010"),
        Column("status", TEXT, "call.status", "How the call ended.", example="completed"),
        Column("started_at", TIMESTAMP, "call.started_at", "When the call began."),
        Column("ended_at", TIMESTAMP, "call.ended_at", "When the call ended."),
        Column(
            "duration_seconds",
            INTEGER,
            "round(date_part('epoch', call.ended_at - call.started_at))::bigint",
            "How long the call took, in whole seconds.",
            example="221",
        ),
        Column("ended_reason", TEXT, "call.ended_reason", "Why the call ended.", example="customer-ended-call"),
        Column("cost_usd", decimal(12, 4), "call.cost_usd", "What the call cost, in US dollars.", example="0.1840"),
        Column(
            "recording_url",
            TEXT,
            "call.recording_url",
            "Where the recording is kept.",
            Sensitivity.PERSONAL,
            "https://recordings.example.com/….mp3",
            mask=Policy.DROP,
        ),
        Column(
            "transcript",
            JSON,
            "call.transcript_json",
            "What was said: the text, and who said what.",
            Sensitivity.PERSONAL,
            '{"text": "Agent: Good morning …", "turns": […]}',
            free_text=True,
        ),
    ),
    filters=(
        campaign_filter("contact.campaign_id"),
        Filter("status", TEXT, "call.status IN ({values})", "Only calls that ended in one of these ways.", many=True),
    ),
    date_column="call.started_at",
    date_label="the call's started_at",
    key="call.id",
    references={"contacts": "contact.id", "campaigns": "campaign.id"},
    owner=OWNER,
    access={
        Role.OPERATOR: Scope.OWN,
        Role.CAMPAIGN_MANAGER: Scope.OWN,
        Role.ANALYST: Scope.ALL,
        Role.ADMIN: Scope.ALL,
        Role.SERVICE: Scope.ALL,
    },
    tables=("calls", "contacts", "campaigns"),
    cursor=Cursor(("call", "contact", "campaign"), deleted_from("calls", filters=OF_CAMPAIGN)),
    subjects={"contact_id": Subject.ID},
    status="status",
    report=Report(
        figures=(
            _COUNT,
            Measure("Completion rate", Aggregate.SHARE, only=("status", ("completed",)), decimals=1),
            Measure("Mean length", Aggregate.MEAN, "duration_seconds", unit="s"),
            Measure("Cost", Aggregate.SUM, "cost_usd", unit="USD", decimals=2),
        ),
        charts=(
            Chart("Calls per day", ChartKind.LINE, "started_at", _COUNT, Bucket.DAY),
            Chart("How calls ended", ChartKind.BAR, "status", _COUNT),
        ),
        subject="campaign_name",
        subject_id="campaign_id",
        subject_filter="campaign_id",
    ),
)
