"""The sample campaigns: 45,211 real phone calls as monthly campaigns, with made-up people (see `data/README.md`), all
else that the datasets read (`sample_activity.sql`), and campaigns of any size for load tests.
"""

import calendar
import csv
import gzip
import io
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from export_pipeline.embedded.people import answers, person, transcript
from export_pipeline.model.errors import Rejected, Transient

#: Everybody in the sample, with their roles. Operators and managers own the campaigns in turn.
USERS = {
    "operator@example.com": "operator",
    "operator2@example.com": "operator",
    "manager@example.com": "campaign_manager",
    "manager2@example.com": "campaign_manager",
    "analyst@example.com": "analyst",
    "compliance@example.com": "compliance",
    "admin@example.com": "admin",
}
_OWNERS = ("manager@example.com", "operator@example.com", "manager2@example.com", "operator2@example.com")
_ASSISTANTS = ("Ava", "Béatrice", "Carlos")
_NAMESPACE = uuid.UUID("a3c1a1f2-5a53-5d0b-9a2e-7a1f1f0e6b11")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIRST_YEAR = 2008
#: How many calls to one contact are written out; the data counts up to 63.
_MOST_CALLS = 6
_LOCK = 7_290_417_336
_TABLES = (
    "users, campaigns, contacts, calls, survey_answers, teams, locations, categories, lead_sources, source_runs, "
    "leads, automation_runs, experiments, variants, assignments, metrics, feature_flags, app_audit_log, events"
)


@dataclass(frozen=True)
class SampleCampaign:
    """A campaign that was loaded: `owner` is an e-mail address."""

    campaign_id: str
    owner: str
    contacts: int
    calls: int


@lru_cache(maxsize=1 << 16)
def sample_id(kind: str, name: object) -> str:
    """The id of something in the sample: always the same."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{name}"))


#: The campaign that the demo and Dagster's launchpad show, with its owner: the first month's, of 7,900 contacts.
SHOWN_CAMPAIGN = sample_id("campaign", "2008-05")
SHOWN_OWNER = _OWNERS[0]
#: The last and smallest campaign, which is still active.
LAST_CAMPAIGN = sample_id("campaign", "2010-11")


def load_sample(url: SecretStr) -> SampleCampaign:
    """Makes the reference tables and loads the sample, once. Returns the campaign to show. Raises Transient."""
    with _connected(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute((files(__package__) / "schema.sql").read_bytes())
        calls = not connection.execute("SELECT 1 FROM campaigns WHERE id = %s", (LAST_CAMPAIGN,)).fetchone()
        if calls:
            _copy(connection, "users", ("id", "email", "username", "role"), _users())
            _Loader(connection).load()
        # Looked for by themselves: a database may have the campaigns of an older version alone.
        activity = not connection.execute("SELECT 1 FROM teams WHERE id = md5('team:North')::uuid").fetchone()
        if activity:
            connection.execute((files(__package__) / "sample_activity.sql").read_bytes())
    with _connected(url) as connection:
        if calls or activity:
            connection.execute(f"ANALYZE {_TABLES}")
        return _shown(connection)


def load_contacts(url: SecretStr, contacts: int, *, owner: str = "manager@example.com") -> SampleCampaign:
    """Adds a campaign with so many contacts, made inside PostgreSQL: one row of `campaign_results` for each (every
    tenth was never called, the others once). Raises Rejected where the owner is unknown, Transient."""
    campaign_id = str(uuid.uuid4())
    with _connected(url) as connection:
        made = connection.execute(
            """
            INSERT INTO campaigns (id, name, owner_id, assistant_used, status, created_at)
            SELECT %(id)s, %(name)s, id, 'Ava', 'paused', '2026-01-01Z'
            FROM users WHERE lower(email) = lower(%(owner)s)
            """,
            {"id": campaign_id, "name": f"Load of {contacts:,} contacts", "owner": owner},
        )
        if made.rowcount == 0:
            raise Rejected(f"{owner} is not a user; take one of {', '.join(_OWNERS)}")
        connection.execute(_CONTACTS, {"campaign": campaign_id, "contacts": contacts})
        calls = connection.execute(_CALLS, {"campaign": campaign_id}).rowcount
    with _connected(url) as connection:
        connection.execute("ANALYZE contacts, calls")
    return SampleCampaign(campaign_id, owner, contacts, calls)


def _shown(connection: "psycopg.Connection[Any]") -> SampleCampaign:
    found = connection.execute(
        """
        SELECT count(DISTINCT contact.id), count(call.id)
        FROM contacts AS contact LEFT JOIN calls AS call ON call.contact_id = contact.id WHERE campaign_id = %s
        """,
        (SHOWN_CAMPAIGN,),
    ).fetchone()
    assert found is not None
    return SampleCampaign(SHOWN_CAMPAIGN, SHOWN_OWNER, found[0], found[1])


class _Loader:
    """Streams the sample's rows in, table after table."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self.connection = connection

    def load(self) -> None:
        """All tables, each by one COPY."""
        rows = list(_rows())
        months = sorted({row["campaign"] for row in rows})
        _copy(self.connection, "campaigns", _CAMPAIGN_COLUMNS, _campaigns(months))
        active = set(months[-2:])
        _copy(self.connection, "contacts", _CONTACT_COLUMNS, (_contact(row, active) for row in rows))
        _copy(self.connection, "calls", _CALL_COLUMNS, (call for row in rows for call in _calls(row, active)))
        _copy(self.connection, "survey_answers", _ANSWER_COLUMNS, (a for row in rows for a in _answers(row, active)))


_CAMPAIGN_COLUMNS = ("id", "name", "owner_id", "assistant_used", "status", "created_at", "completed_at")
_CONTACT_COLUMNS = (
    *("id", "campaign_id", "external_contact_id", "name", "business_name", "phone", "email", "outcome"),
    *("attempt_count", "last_attempt_at", "completed_at", "created_at"),
)
_CALL_COLUMNS = (
    *("id", "contact_id", "status", "started_at", "ended_at", "ended_reason", "cost_usd", "recording_url"),
    "transcript_json",
)
_ANSWER_COLUMNS = ("contact_id", "question", "answer", "answered_at")


def _rows() -> Iterator[dict[str, Any]]:
    """The data's rows with what follows from their order: a number, the month with its year, the moment of the call."""
    packed = (files(__package__) / "data" / "bank_marketing.csv.gz").read_bytes()
    year, before = _FIRST_YEAR, ""
    with gzip.open(io.BytesIO(packed), "rt", encoding="utf-8", newline="") as text:
        for number, row in enumerate(csv.DictReader(text), start=1):
            month = row["month"]
            if before and _MONTHS.index(month) < _MONTHS.index(before):
                year += 1
            before = month
            first = datetime(year, _MONTHS.index(month) + 1, 1, tzinfo=UTC)
            day = min(int(row["day"]), calendar.monthrange(first.year, first.month)[1])
            called = first + timedelta(days=day - 1, hours=9, seconds=number * 37 % 32_000)
            yield {
                "number": number,
                "campaign": f"{first:%Y-%m}",
                # Set up a week before: nobody is called before being a contact.
                "opened": first - timedelta(days=7),
                "called": called + timedelta(microseconds=number * 7919 % 1_000_000),
                "seconds": int(row["duration"]),
                "calls": min(int(row["campaign"]), _MOST_CALLS),
                "agreed": row["y"] == "yes",
            }


def _outcome(row: dict[str, Any], active: set[str]) -> str:
    number = row["number"]
    if number % 97 == 0:
        return "excluded"
    if number % 41 == 0:
        return "pending" if row["campaign"] in active else "not_reached"
    if row["agreed"]:
        return "completed"
    if row["campaign"] in active and number % 13 == 0:
        return "in_progress"
    return "not_reached" if row["seconds"] < 30 else "refused"


def _never_called(outcome: str) -> bool:
    return outcome in ("excluded", "pending")


def _users() -> Iterator[tuple[object, ...]]:
    for email, role in USERS.items():
        yield sample_id("user", email), email, email.partition("@")[0], role


def _campaigns(months: list[str]) -> Iterator[tuple[object, ...]]:
    for number, month in enumerate(months):
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        active = number >= len(months) - 2
        yield (
            sample_id("campaign", month),
            f"Term deposits, {first:%B %Y}",
            sample_id("user", _OWNERS[number % len(_OWNERS)]),
            _ASSISTANTS[number % len(_ASSISTANTS)],
            "active" if active else "completed",
            first - timedelta(days=7),
            None if active else first + timedelta(days=40),
        )


def _contact(row: dict[str, Any], active: set[str]) -> tuple[object, ...]:
    number, who, outcome = row["number"], person(row["number"]), _outcome(row, active)
    called = not _never_called(outcome)
    ended = row["called"] + timedelta(seconds=row["seconds"])
    return (
        sample_id("contact", number),
        sample_id("campaign", row["campaign"]),
        f"{number:07}",
        who.name,
        who.firm,
        who.phone,
        who.email,
        outcome,
        row["calls"] if called else 0,
        row["called"] if called else None,
        ended if outcome == "completed" else None,
        # Contacts come in by the thousand at once: the order needs the id as well.
        row["opened"] + timedelta(seconds=number // 8, microseconds=number // 8 * 13),
    )


def _calls(row: dict[str, Any], active: set[str]) -> Iterator[tuple[object, ...]]:
    number, outcome = row["number"], _outcome(row, active)
    if _never_called(outcome):
        return
    contact = sample_id("contact", number)
    who, assistant = person(number), _ASSISTANTS[number % len(_ASSISTANTS)]
    for attempt in range(1, row["calls"]):
        before = row["called"] - timedelta(days=row["calls"] - attempt, seconds=attempt * 11)
        status = ("no-answer", "busy", "voicemail")[(number + attempt) % 3]
        rang = timedelta(seconds=4 + (number + attempt) % 25)
        yield (
            sample_id("call", f"{number}.{attempt}"),
            contact,
            status,
            before,
            before + rang,
            status,
            "0.0042",
            None,
            None,
        )
    call = sample_id("call", f"{number}.{row['calls']}")
    ended = row["called"] + timedelta(seconds=row["seconds"])
    if outcome == "in_progress":
        yield call, contact, "in-progress", row["called"], None, None, None, None, None
        return
    if outcome == "not_reached":
        yield call, contact, "no-answer", row["called"], ended, "customer-did-not-answer", "0.0042", None, None
        return
    text = transcript(number, who, assistant, row["agreed"])
    turns = [dict(zip(("who", "text"), line.split(": ", 1), strict=False)) for line in text.split("\n") if ": " in line]
    yield (
        call,
        contact,
        "completed",
        row["called"],
        ended,
        "customer-ended-call" if number % 3 else "assistant-ended-call",
        f"{(row['seconds'] * 8 + 42) / 10_000:.4f}",
        f"https://recordings.example.com/{call}.mp3",
        json.dumps({"text": text, "turns": turns}, ensure_ascii=False),
    )


def _answers(row: dict[str, Any], active: set[str]) -> Iterator[tuple[object, ...]]:
    outcome = _outcome(row, active)
    if outcome != "completed" and not (outcome == "refused" and row["number"] % 10 == 0):
        return
    for question, answer in enumerate(answers(row["number"], row["agreed"]), start=1):
        if answer is not None:
            yield sample_id("contact", row["number"]), question, answer, row["called"]


def _copy(
    connection: "psycopg.Connection[Any]", table: str, columns: tuple[str, ...], rows: Iterator[tuple[object, ...]]
) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _connected(url: SecretStr) -> "psycopg.Connection[Any]":
    try:
        return psycopg.connect(url.get_secret_value(), connect_timeout=10, application_name="export_pipeline sample")
    except psycopg.OperationalError:
        raise Transient("the database for the sample cannot be reached; check DATABASE_URL") from None


#: Contacts from a series: names and firms with everything that breaks exporters, numbers reserved for fiction.
_CONTACTS = """
INSERT INTO contacts (id, campaign_id, external_contact_id, name, business_name, phone, email, outcome, attempt_count,
    last_attempt_at, completed_at, created_at)
SELECT
    md5(%(campaign)s || ':' || n)::uuid,
    %(campaign)s::uuid,
    lpad(n::text, 8, '0'),
    (ARRAY['Ana Silva', 'Zoë Müller', 'Seán O''Brien', '王小明', 'Łukasz Nowak', 'Chloé D’Angelo', 'Jürgen Groß',
        'Fatima 😀 Öztürk'])[1 + n %% 8] || ' ' || n,
    (ARRAY['Café Luna, Inc.', 'The "Best" Bakery', '=Equal Partners', '-Minus- Logistics', E'Line One\nLine Two Ltd.',
        'Simple Shop', '東京商事', NULL, '@home Care', '100%% Organic', '+Plus Pharmacy'])[1 + n %% 11],
    '+1' || (201 + n / 100 %% 780) || '55501' || lpad((n %% 100)::text, 2, '0'),
    'contact' || n || '@example.com',
    CASE WHEN n %% 10 = 0 THEN 'pending' WHEN n %% 3 = 0 THEN 'completed' WHEN n %% 7 = 0 THEN 'not_reached'
        ELSE 'refused' END,
    CASE WHEN n %% 10 = 0 THEN 0 ELSE 1 END,
    CASE WHEN n %% 10 <> 0 THEN '2026-01-05Z'::timestamptz + n * interval '1.000731 s' END,
    CASE WHEN n %% 10 <> 0 AND n %% 3 = 0 THEN '2026-01-05 00:05Z'::timestamptz + n * interval '1.000731 s' END,
    '2026-01-01Z'::timestamptz + n / 4 * interval '0.000977 s'
FROM generate_series(1, %(contacts)s) AS n
"""

_CALLS = """
INSERT INTO calls (id, contact_id, status, started_at, ended_at, ended_reason, cost_usd, recording_url, transcript_json)
SELECT
    md5('call:' || contact.id)::uuid,
    contact.id,
    CASE contact.outcome WHEN 'not_reached' THEN 'no-answer' ELSE 'completed' END,
    contact.last_attempt_at,
    contact.last_attempt_at + n %% 600 * interval '1 s',
    CASE contact.outcome WHEN 'not_reached' THEN 'customer-did-not-answer' ELSE 'customer-ended-call' END,
    ((n %% 600) * 8 + 42) / 10000.0,
    'https://recordings.example.com/' || contact.id || '.mp3',
    jsonb_build_object('text', concat('Agent: Good morning, am I speaking with ', contact.name, '?', E'\n',
        'Contact: Yes, speaking.', E'\n',
        'Agent: We have a "term deposit" at 3.5 %% for twelve months; no fees, no surprises.', E'\n', 'Contact: ',
        CASE contact.outcome WHEN 'completed' THEN 'All right, let''s do it. Obrigado!'
            ELSE 'No, thank you 😀, not now.' END))
FROM contacts AS contact CROSS JOIN LATERAL (SELECT contact.external_contact_id::bigint AS n) AS number
WHERE contact.campaign_id = %(campaign)s::uuid AND contact.outcome <> 'pending'
"""
