"""`campaign_results`: one row for each call of a campaign, and one for each contact never called."""

from export_pipeline.datasets._campaigns import OWNER, campaign_filter
from export_pipeline.model.access import Policy, Role, Scope, Sensitivity
from export_pipeline.model.dataset import INTEGER, TEXT, TIMESTAMP, Column, Cursor, Dataset, Subject, decimal
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Highlight, Measure, Report, Tone

# A contact never called has a row without a call.
_CALLS = Measure("Calls", Aggregate.COUNT, "started_at")
_COMPLETED = ("call_status", ("completed",))

DATASET = Dataset(
    name="campaign_results",
    title="Campaign results",
    description=(
        "One row per call, with what came of it. A contact who was never called has one row with call_status PENDING "
        "and empty call fields; with a date range only calls appear."
    ),
    source="""
        campaigns AS campaign
        JOIN contacts AS contact ON contact.campaign_id = campaign.id
        LEFT JOIN calls AS call ON call.contact_id = contact.id
    """,
    order_by="contact.created_at, contact.id, call.started_at, call.id",
    columns=(
        Column("name", TEXT, "contact.name", "The contact's name.", Sensitivity.PERSONAL, "Zoë Müller"),
        Column("business_name", TEXT, "contact.business_name", "The contact's business.", example="Café Luna, Inc."),
        Column("phone", TEXT, "contact.phone", "Phone number, E.164.", Sensitivity.PERSONAL, "+15550100123"),
        Column(
            "call_status",
            TEXT,
            "CASE WHEN call.id IS NULL THEN 'PENDING' ELSE call.status END",
            "How the call ended, or PENDING where there was none.",
            example="completed",
        ),
        Column(
            "started_at", TIMESTAMP, "call.started_at", "When the call began.", example="2010-11-17T14:03:22.000000Z"
        ),
        Column("ended_at", TIMESTAMP, "call.ended_at", "When the call ended.", example="2010-11-17T14:07:03.000000Z"),
        Column(
            "duration_seconds",
            INTEGER,
            "round(date_part('epoch', call.ended_at - call.started_at))::bigint",
            "How long the call took, in whole seconds.",
            example="221",
            number_format="#,##0",
        ),
        Column("ended_reason", TEXT, "call.ended_reason", "Why the call ended.", example="customer-ended-call"),
        Column(
            "cost_usd",
            decimal(12, 4),
            "call.cost_usd",
            "What the call cost, in US dollars.",
            example="0.1840",
            number_format='"$"#,##0.0000',
        ),
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
            "transcript_summary",
            TEXT,
            "left(call.transcript_json ->> 'text', 100)",
            "The first 100 characters of what was said.",
            Sensitivity.PERSONAL,
            "Agent: Good morning, am I speaking with …",
            free_text=True,
        ),
        Column("campaign_name", TEXT, "campaign.name", "The campaign's name.", example="Term deposits, November 2010"),
        Column("assistant_used", TEXT, "campaign.assistant_used", "The assistant that called.", example="Ava"),
    ),
    filters=(campaign_filter("campaign.id", required=True),),
    date_column="call.started_at",
    date_label="the call's started_at",
    key="call.id",
    owner=OWNER,
    access={Role.OPERATOR: Scope.OWN, Role.CAMPAIGN_MANAGER: Scope.OWN, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("campaigns", "contacts", "calls"),
    cursor=Cursor(("campaign", "contact", "call")),
    subjects={"phone": Subject.PHONE},
    status="call_status",
    report=Report(
        figures=(
            _CALLS,
            Measure("Completed calls", Aggregate.COUNT, "started_at", only=_COMPLETED),
            Measure("Completion rate", Aggregate.SHARE, "started_at", only=_COMPLETED, decimals=1),
            Measure("Mean length of completed calls", Aggregate.MEAN, "duration_seconds", only=_COMPLETED, unit="s"),
            Measure("Cost", Aggregate.SUM, "cost_usd", unit="USD", decimals=2),
            Measure("Contacts never called", Aggregate.COUNT, only=("call_status", ("PENDING",))),
        ),
        charts=(
            Chart("Outcomes", ChartKind.PIE, "call_status", Measure("Contacts and calls", Aggregate.COUNT)),
            Chart("Calls per day", ChartKind.LINE, "started_at", _CALLS, Bucket.DAY),
            Chart("Why calls ended", ChartKind.BAR, "ended_reason", _CALLS),
        ),
        subject="campaign_name",
        subject_filter="campaign_id",
        highlights=(
            Highlight("call_status", ("completed",), Tone.GOOD),
            Highlight("call_status", ("failed", "no-answer", "busy"), Tone.BAD),
            Highlight("call_status", ("voicemail", "PENDING"), Tone.OPEN),
        ),
        bars=("duration_seconds",),
    ),
)
