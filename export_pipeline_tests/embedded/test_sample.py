"""The sample campaigns: what is in them, that they are always the same, and campaigns of any size."""

import re
from collections import Counter
from importlib.resources import files
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.sample import (
    LAST_CAMPAIGN,
    SHOWN_CAMPAIGN,
    SHOWN_OWNER,
    USERS,
    load_contacts,
    load_sample,
    sample_id,
)
from export_pipeline.model.errors import Rejected, Transient
from export_pipeline_tests.conftest import fresh_database

_ROWS_OF_RESULTS = (
    "SELECT count(*) FROM contacts LEFT JOIN calls ON calls.contact_id = contacts.id WHERE campaign_id = %s"
)


def ask(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        return connection.execute(query, values).fetchall()


def fingerprint(url: str) -> list[tuple[Any, ...]]:
    """One line for each table: its rows, whole, in an order of their own."""
    tables = (
        *("users", "campaigns", "contacts", "calls", "survey_answers", "teams", "locations", "categories"),
        *("lead_sources", "source_runs", "leads", "automation_runs", "experiments", "variants", "assignments"),
        *("metrics", "feature_flags", "app_audit_log", "events"),
    )
    # When a user's row was written is no part of the sample.
    rows = {table: "to_jsonb(t) - 'created_at'" if table == "users" else "to_jsonb(t)" for table in tables}
    union = " UNION ALL ".join(
        f"SELECT '{table}', count(*), md5(string_agg(h, '' ORDER BY h))"
        f" FROM (SELECT md5(({row})::text) AS h FROM {table} t) AS hashed"
        for table, row in rows.items()
    )
    return ask(url, union)


def test_sample_when_loaded_then_30_monthly_campaigns_of_45211_contacts(sample_url: str) -> None:
    names = ask(sample_url, "SELECT name, id::text FROM campaigns ORDER BY created_at")
    assert len(names) == 30
    assert names[0] == ("Term deposits, May 2008", SHOWN_CAMPAIGN)
    assert names[-1] == ("Term deposits, November 2010", LAST_CAMPAIGN)
    assert ask(sample_url, "SELECT count(*) FROM contacts") == [(45_211,)]
    outside = """
        SELECT count(*) FROM contacts JOIN campaigns ON campaigns.id = campaign_id
        WHERE to_char(last_attempt_at, 'FMMonth YYYY') <> right(campaigns.name, -length('Term deposits, '))
    """
    assert ask(sample_url, outside) == [(0,)], "the last call is in the campaign's month"


def test_sample_when_loaded_then_days_are_as_in_the_data(sample_url: str) -> None:
    days = dict(
        ask(sample_url, "SELECT extract(day FROM last_attempt_at)::int, count(*) FROM contacts GROUP BY 1 ORDER BY 1")
    )
    # 1,830, 1,745, 1,566 and 643 in the data, less those who were never called and days that a month does not have.
    assert {day: days[day] for day in (28, 29, 30, 31)} == {28: 1811, 29: 1723, 30: 1550, 31: 637}


def test_sample_when_loaded_then_every_role_and_an_owner_for_each_campaign(sample_url: str) -> None:
    assert dict(ask(sample_url, "SELECT email, role FROM users")) == USERS
    assert set(USERS.values()) == {"operator", "campaign_manager", "analyst", "compliance", "admin"}
    owners = ask(sample_url, "SELECT role, count(*) FROM campaigns JOIN users ON users.id = owner_id GROUP BY 1")
    assert sorted(owners) == [("campaign_manager", 15), ("operator", 15)]
    assert ask(
        sample_url, "SELECT email FROM campaigns c JOIN users u ON u.id = owner_id WHERE c.id = %s", SHOWN_CAMPAIGN
    )[0] == (SHOWN_OWNER,)


def test_sample_when_loaded_then_every_state_is_there(sample_url: str) -> None:
    outcomes = {row[0] for row in ask(sample_url, "SELECT DISTINCT outcome FROM contacts")}
    assert outcomes == {"pending", "in_progress", "completed", "refused", "not_reached", "excluded"}
    calls = {row[0] for row in ask(sample_url, "SELECT DISTINCT status FROM calls")}
    assert calls == {"completed", "no-answer", "busy", "voicemail", "in-progress"}
    assert sorted(ask(sample_url, "SELECT status, count(*) FROM campaigns GROUP BY 1")) == [
        ("active", 2),
        ("completed", 28),
    ]
    attempts = Counter(
        dict(
            ask(
                sample_url,
                "SELECT n, count(*) FROM (SELECT count(calls.id) AS n FROM contacts"
                " LEFT JOIN calls ON contact_id = contacts.id GROUP BY contacts.id) AS counted GROUP BY 1",
            )
        )
    )
    assert set(attempts) == set(range(7)), "never called, and up to six times"
    assert {row[0] for row in ask(sample_url, "SELECT DISTINCT question FROM survey_answers")} == {1, 2, 3}


def test_sample_when_loaded_then_times_and_counts_agree(sample_url: str) -> None:
    wrong = {
        "a call before its contact": """SELECT count(*) FROM calls JOIN contacts ON contacts.id = contact_id
            WHERE started_at < contacts.created_at""",
        "a contact before its campaign": """SELECT count(*) FROM contacts JOIN campaigns ON campaigns.id = campaign_id
            WHERE contacts.created_at < campaigns.created_at""",
        "a call that ends before it begins": "SELECT count(*) FROM calls WHERE ended_at < started_at",
        "a call after its campaign": """SELECT count(*) FROM calls JOIN contacts ON contacts.id = contact_id
            JOIN campaigns ON campaigns.id = campaign_id WHERE calls.ended_at > campaigns.completed_at""",
        "attempts other than calls": """SELECT count(*) FROM (SELECT attempt_count - count(calls.id) AS missing
            FROM contacts LEFT JOIN calls ON contact_id = contacts.id GROUP BY contacts.id) AS c WHERE missing <> 0""",
        "a last attempt other than the last call": """SELECT count(*) FROM
            (SELECT last_attempt_at, max(started_at) AS last FROM contacts
             LEFT JOIN calls ON contact_id = contacts.id GROUP BY contacts.id) AS c
            WHERE last_attempt_at IS DISTINCT FROM last""",
    }
    found = {what: ask(sample_url, query)[0][0] for what, query in wrong.items()}
    assert found == dict.fromkeys(wrong, 0)
    assert ask(sample_url, "SELECT bool_or(date_part('microseconds', started_at)::int %% 1000 <> 0) FROM calls") == [
        (True,)
    ]
    assert ask(sample_url, "SELECT max(scale(cost_usd)) FROM calls") == [(4,)]


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("business_name", "^="),
        ("business_name", "^-"),
        ("business_name", "^@"),
        ("business_name", r"^\+"),
        ("business_name", "^'"),
        ("business_name", '"'),
        ("business_name", ","),
        ("business_name", ";"),
        ("business_name", "\n"),
        ("business_name", "\t"),
        ("business_name", "[äöüß]"),
        ("business_name", "[一-鿿]"),
        ("business_name", "😀"),
        ("business_name", "\u200d"),
        ("name", "[぀-ヿ]"),
        ("name", "[가-힣]"),
        ("name", "[ء-ي]"),
        ("name", ", "),
        ("external_contact_id", "^0"),
    ],
)
def test_sample_when_loaded_then_what_breaks_files_is_there(sample_url: str, what: str, pattern: str) -> None:
    # Compared in Python: the database's collation knows no ranges of letters.
    values = {row[0] for row in ask(sample_url, f"SELECT DISTINCT {what} FROM contacts WHERE {what} IS NOT NULL")}
    assert any(re.search(pattern, value) for value in values)


def test_sample_when_loaded_then_survey_answers_are_awkward_too(sample_url: str) -> None:
    answers = {row[0] for row in ask(sample_url, "SELECT DISTINCT answer FROM survey_answers")}
    assert {"0042", "-"} <= answers
    assert any(answer.startswith("=") for answer in answers)
    assert any("\n" in answer for answer in answers)


def test_sample_when_loaded_then_nobody_can_be_reached(sample_url: str) -> None:
    people = ask(sample_url, "SELECT phone, email FROM contacts")
    assert all(re.fullmatch(r"\+1[2-9][0-9]{2}55501[0-9]{2}", phone) for phone, _ in people)
    assert all(email is None or email.endswith("@example.com") for _, email in people)
    assert len({phone for phone, _ in people}) == len(people)


def test_sample_when_loaded_then_transcripts_hold_text_and_turns(sample_url: str) -> None:
    shortest, longest, odd = ask(
        sample_url,
        """
        SELECT min(length(transcript_json ->> 'text')), max(length(transcript_json ->> 'text')),
            count(*) FILTER (WHERE jsonb_array_length(transcript_json -> 'turns') < 4)
        FROM calls WHERE transcript_json IS NOT NULL
        """,
    )[0]
    assert 200 <= shortest < longest <= 1000
    assert odd == 0


def test_sample_when_loaded_again_then_always_the_same(sample_url: str, database_url: str) -> None:
    first = load_sample(SecretStr(database_url))
    before = fingerprint(database_url)
    assert before == fingerprint(sample_url), "another database has the same rows"
    assert min(rows for _, rows, _ in before) > 0
    assert {"events": 20_000, "leads": 3_000}.items() <= {table: rows for table, rows, _ in before}.items()
    assert load_sample(SecretStr(database_url)) == first
    assert fingerprint(database_url) == before, "a second load changes nothing"
    assert (first.campaign_id, first.owner) == (SHOWN_CAMPAIGN, SHOWN_OWNER)
    ((rows,),) = ask(database_url, _ROWS_OF_RESULTS, SHOWN_CAMPAIGN)
    assert first.contacts < first.calls < rows
    assert ask(database_url, "SELECT external_contact_id FROM contacts WHERE id = %s", sample_id("contact", 1)) == [
        ("0000001",)
    ]


def test_load_contacts_when_asked_for_2000_then_2000_rows_of_results(postgres_server: Postgres) -> None:
    with fresh_database(postgres_server) as url:
        with psycopg.connect(url) as connection:
            connection.execute((files("export_pipeline.embedded") / "schema.sql").read_bytes())
            for email in ("operator@example.com", "manager@example.com"):
                connection.execute(
                    "INSERT INTO users (email, username, role) VALUES (%s, %s, %s)", (email, email, USERS[email])
                )
        made = load_contacts(SecretStr(url), 2000, owner="Operator@example.com")
        assert (made.contacts, made.calls) == (2000, 1800)
        assert ask(url, _ROWS_OF_RESULTS, made.campaign_id) == [(2000,)]
        assert ask(
            url,
            "SELECT email, status FROM campaigns c JOIN users u ON u.id = owner_id WHERE c.id = %s",
            made.campaign_id,
        ) == [("operator@example.com", "paused")]
        assert ask(
            url,
            "SELECT max(calls) FROM (SELECT count(*) AS calls FROM calls JOIN contacts c ON c.id = contact_id"
            " WHERE campaign_id = %s GROUP BY contact_id) AS counted",
            made.campaign_id,
        ) == [(1,)]
        firms = {
            row[0]
            for row in ask(url, "SELECT DISTINCT business_name FROM contacts WHERE campaign_id = %s", made.campaign_id)
        }
        assert {
            'The "Best" Bakery',
            "=Equal Partners",
            "-Minus- Logistics",
            "Line One\nLine Two Ltd.",
            "東京商事",
            None,
        } <= firms
        other = load_contacts(SecretStr(url), 10)
        assert other.campaign_id != made.campaign_id and other.calls == 9
        with pytest.raises(Rejected, match=r"nobody@example\.com is not a user"):
            load_contacts(SecretStr(url), 1, owner="nobody@example.com")


def test_load_sample_when_the_database_is_away_then_one_sentence_without_the_password() -> None:
    with pytest.raises(Transient, match="check DATABASE_URL") as raised:
        load_sample(SecretStr("postgresql://me:tell-nobody@127.0.0.1:1/none"))
    assert "tell-nobody" not in str(raised.value)
