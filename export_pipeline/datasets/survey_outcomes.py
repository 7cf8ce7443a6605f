"""`survey_outcomes`: one row for each contact of a campaign who is done with, and the answers."""

from export_pipeline.datasets._campaigns import OWNER, campaign_filter
from export_pipeline.datasets._cursors import OF_CAMPAIGN, deleted_from
from export_pipeline.model.access import Role, Scope, Sensitivity
from export_pipeline.model.dataset import INTEGER, TEXT, TIMESTAMP, UUID, Column, Cursor, Dataset, Subject
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Highlight, Measure, Report, Tone

_CONTACTS = Measure("Contacts", Aggregate.COUNT)
_COMPLETED = ("outcome", ("completed",))
_COUNT_COMPLETED = Measure("Completed surveys", Aggregate.COUNT, "completed_at")


def _answer(question: int) -> Column:
    return Column(
        f"q{question}_answer",
        TEXT,
        f"answer_{question}.answer",
        f"The answer to question {question}.",
        Sensitivity.PERSONAL,
        "yes",
        free_text=True,
    )


DATASET = Dataset(
    name="survey_outcomes",
    title="Survey outcomes",
    description=(
        "One row per contact in a terminal state (completed, refused, not_reached, excluded), with the answers given."
    ),
    source="""
        contacts AS contact
        JOIN campaigns AS campaign ON campaign.id = contact.campaign_id
        LEFT JOIN survey_answers AS answer_1 ON answer_1.contact_id = contact.id AND answer_1.question = 1
        LEFT JOIN survey_answers AS answer_2 ON answer_2.contact_id = contact.id AND answer_2.question = 2
        LEFT JOIN survey_answers AS answer_3 ON answer_3.contact_id = contact.id AND answer_3.question = 3
    """,
    where="contact.outcome IN ('completed', 'refused', 'not_reached', 'excluded')",
    order_by="contact.created_at, contact.id",
    columns=(
        Column("campaign_id", UUID, "contact.campaign_id", "The campaign."),
        Column("contact_id", UUID, "contact.id", "The contact."),
        Column(
            "external_contact_id",
            TEXT,
            "contact.external_contact_id",
            "The contact's id in your system.",
            example="00042",
        ),
        Column("phone_number", TEXT, "contact.phone", "Phone number, E.164.", Sensitivity.PERSONAL, "+15550100123"),
        Column("outcome", TEXT, "contact.outcome", "What came of it.", example="completed"),
        Column("attempt_count", INTEGER, "contact.attempt_count", "How often the contact was called.", example="2"),
        Column("last_attempt_at", TIMESTAMP, "contact.last_attempt_at", "When the contact was last called."),
        Column("completed_at", TIMESTAMP, "contact.completed_at", "When the survey was completed."),
        _answer(1),
        _answer(2),
        _answer(3),
    ),
    filters=(campaign_filter("contact.campaign_id", required=True),),
    date_column="contact.last_attempt_at",
    date_label="the contact's last_attempt_at",
    key="contact.id",
    references={"contacts": "contact.id", "campaigns": "contact.campaign_id"},
    owner=OWNER,
    access={Role.CAMPAIGN_MANAGER: Scope.OWN, Role.ADMIN: Scope.ALL, Role.SERVICE: Scope.ALL},
    tables=("campaigns", "contacts", "survey_answers"),
    cursor=Cursor(
        ("contact", "campaign", "answer_1", "answer_2", "answer_3"),
        deleted_from("contacts", column="contact_id", filters=OF_CAMPAIGN),
    ),
    subjects={"contact_id": Subject.ID, "external_contact_id": Subject.ID, "phone_number": Subject.PHONE},
    status="outcome",
    report=Report(
        figures=(
            _CONTACTS,
            Measure("Completed surveys", Aggregate.COUNT, only=_COMPLETED),
            Measure("Completion rate", Aggregate.SHARE, only=_COMPLETED, decimals=1),
            Measure("Refusal rate", Aggregate.SHARE, only=("outcome", ("refused",)), decimals=1),
            Measure("Mean attempts", Aggregate.MEAN, "attempt_count", decimals=2),
        ),
        charts=(
            Chart("Outcomes", ChartKind.PIE, "outcome", _CONTACTS),
            Chart("Completed surveys per day", ChartKind.LINE, "completed_at", _COUNT_COMPLETED, Bucket.DAY),
            Chart("Contacts by attempts", ChartKind.BAR, "attempt_count", _CONTACTS),
        ),
        subject="campaign_id",
        highlights=(
            Highlight("outcome", ("completed",), Tone.GOOD),
            Highlight("outcome", ("refused",), Tone.BAD),
            Highlight("outcome", ("not_reached", "excluded"), Tone.OPEN),
        ),
    ),
)
