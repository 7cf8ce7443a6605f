"""Incremental exports through the ledger: what each of a series delivers, and what moves its watermark."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow import incremental
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.manage import verify_export
from export_pipeline.flow.order import make_order
from export_pipeline.flow.publish import read_manifest
from export_pipeline.flow.request import file_request
from export_pipeline.flow.retention import run_retention
from export_pipeline.flow.subjects import find_subject
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.dataset import Cursor
from export_pipeline.model.errors import Cancelled, ErrorKind, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.model.verification import Verification
from export_pipeline.services import open_services
from export_pipeline.settings import Settings, load_settings
from export_pipeline_tests.flow.conftest import ADMIN
from export_pipeline_tests.orchestration.conftest import World, made_world

LEAD = """
INSERT INTO leads (id, owner_id, source_id, title, status)
SELECT %(id)s, users.id, lead_sources.id, %(title)s, 'new' FROM users, lead_sources WHERE users.email = %(owner)s
"""
ASKED = ExportRequest(
    dataset="leads", requested_by=ADMIN, destination="local", since="last", options={"profile": "raw"}
)


@pytest.fixture
def world(database_url: str) -> World:
    found = made_world(database_url)
    found.run("INSERT INTO lead_sources (name) VALUES ('Board')")
    return found


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """No bucket and no sample: the ledger and the source are one small database."""
    return load_settings(DATABASE_URL=database_url, EXPORT_DIRECTORY=str(tmp_path / "exports"))


@pytest.fixture
def engine(settings: Settings, world: World) -> Iterator[Engine]:
    """The source is the test's own to change."""
    migrate_up(settings.database_url)
    with open_services(settings) as opened:
        yield opened


def add(world: World, title: str, owner: str = "") -> str:
    lead = sample_id("lead of the test", title)
    world.run(LEAD, id=lead, title=title, owner=owner or world.owner)
    return lead


def export(engine: Engine, request: ExportRequest = ASKED) -> ExportJob:
    return run_export(engine, file_request(engine, request))


def read(engine: Engine, job: ExportJob, file: int = 0) -> bytes:
    return b"".join(engine.destination(job.request.destination).read(job.files[file].key))


def titles(engine: Engine, job: ExportJob) -> list[str]:
    rows = csv.DictReader(io.StringIO(read(engine, job).decode("utf-8-sig"), newline=""))
    return sorted(row["title"] for row in rows)


def told(engine: Engine, job: ExportJob) -> dict[str, object]:
    found: dict[str, object] = read_manifest(engine.destination("local"), job)["increment"]
    return found


def test_series_when_exported_again_then_only_what_is_new_or_changed(engine: Engine, world: World) -> None:
    add(world, "a")
    changed = add(world, "b")
    first = export(engine)
    assert titles(engine, first) == ["a", "b"]
    assert told(engine, first)["since"] is None
    add(world, "c")
    world.run("UPDATE leads SET title = 'b2' WHERE id = %(id)s", id=changed)
    second = export(engine)
    assert titles(engine, second) == ["b2", "c"]
    assert told(engine, second)["since"] == first.id
    empty = export(engine)
    assert (empty.status, empty.rows, titles(engine, empty)) == (Status.COMPLETED, 0, [])
    assert read(engine, empty).startswith(b"id,title,")
    assert empty.verification is Verification.PASSED


def test_series_when_a_joined_row_changes_then_its_rows_come_again(engine: Engine, world: World) -> None:
    add(world, "a")
    export(engine)
    world.run("UPDATE lead_sources SET name = 'Another board'")
    assert titles(engine, export(engine)) == ["a"]


def test_series_when_a_contact_is_called_later_then_the_call_is_delivered(engine: Engine, world: World) -> None:
    asked = replace(ASKED, dataset="campaign_results", filters={"campaign_id": world.campaign})
    assert export(engine, asked).rows == 25
    world.run("INSERT INTO calls (contact_id, status, started_at) SELECT id, 'busy', now() FROM contacts LIMIT 1")
    job = export(engine, asked)
    assert job.rows == 1
    assert b",busy," in read(engine, job)


def test_series_when_a_transaction_commits_late_then_the_next_export_delivers_what_it_held_back(
    engine: Engine, world: World
) -> None:
    with psycopg.connect(world.url) as slow:
        values = {"id": sample_id("lead", "late"), "title": "late", "owner": world.owner}
        slow.execute(LEAD, values)
        add(world, "after it began")
        assert titles(engine, export(engine)) == []
    assert titles(engine, export(engine)) == ["after it began", "late"]
    assert titles(engine, export(engine)) == []


def test_series_when_a_transaction_is_open_for_long_then_that_is_told(
    engine: Engine, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "_LONG", timedelta(0))
    with psycopg.connect(world.url) as slow:
        slow.execute("UPDATE users SET username = username")
        job = export(engine)
    assert "a transaction of the source has been open for 0 minutes" in caplog.text
    assert isinstance(held := told(engine, job)["held_back_since"], str)
    assert datetime.now(UTC) - datetime.fromisoformat(held) < timedelta(minutes=1)


def test_series_when_rows_are_deleted_then_their_keys_are_delivered_linked_counted_and_expired(
    engine: Engine, world: World
) -> None:
    gone, back = add(world, "a"), add(world, "b")
    first = export(engine)
    assert len(first.files) == 1
    world.run("DELETE FROM leads")
    world.run(LEAD, id=back, title="b again", owner=world.owner)
    second = export(engine)
    assert titles(engine, second) == ["b again"]
    rows, deletions = second.files
    assert (second.rows, rows.deletions, deletions.rows, deletions.deletions) == (1, None, 0, 1)
    assert [json.loads(line)["id"] for line in read(engine, second, 1).splitlines()] == [gone]
    listed = told(engine, second)["deletions"]
    name = deletions.key.rpartition("/")[2]
    assert listed == {
        "listed": True,
        "name": name,
        "keys": 1,
        "bytes": deletions.bytes,
        "sha256": deletions.sha256,
    }
    assert set(issue_link(engine, ADMIN, second.id).urls) == {rows.key.rpartition("/")[2], name}
    assert verify_export(engine, ADMIN, second.id) == (1, Verification.PASSED)
    world.run("UPDATE exports.export_jobs SET expires_at = now()")
    run_retention(engine)
    assert list(engine.destination("local").list("exports/leads/")) == []
    assert titles(engine, third := export(engine)) == []
    assert third.files[1].deletions == 0


def test_deletions_when_somebody_reaches_only_their_own_then_only_theirs_are_listed(
    engine: Engine, world: World
) -> None:
    own = replace(ASKED, requested_by=world.owner)
    world.run("INSERT INTO users (email, username, role) VALUES ('m2@example.com', 'm2', 'campaign_manager')")
    theirs, mine = add(world, "theirs", "m2@example.com"), add(world, "mine")
    assert titles(engine, export(engine, own)) == ["mine"]
    export(engine)
    world.run("DELETE FROM leads")
    assert mine in (text := read(engine, export(engine, own), 1).decode())
    assert theirs not in text
    assert export(engine).files[1].deletions == 2


def test_deletions_when_somebody_is_looked_for_then_the_list_holds_them(engine: Engine, world: World) -> None:
    key = SecretStr("one key of 32 characters or more")
    engine = replace(engine, settings=engine.settings.model_copy(update={"subject_key": key}))
    asked = replace(ASKED, columns=("id as lead", "title"))
    gone = add(world, "gone")
    first = export(engine, asked)
    world.run("DELETE FROM leads")
    second = export(engine, asked)
    assert gone in read(engine, second, 1).decode()
    assert {item.job.id for item in find_subject(engine, ADMIN, gone).holdings} == {first.id, second.id}


def test_deletions_when_the_file_has_no_key_or_the_source_no_table_then_that_is_told(
    engine: Engine, world: World
) -> None:
    for columns in (("title",), ("title", "upper(title) as id")):
        narrow = replace(ASKED, columns=columns)
        export(engine, narrow)
        job = export(engine, narrow)
        reason = "the file has no column id"
        assert told(engine, job)["deletions"] == {"listed": False, "reason": reason}
    export(engine)
    world.run("DROP TABLE deletions")
    job = export(engine)
    assert told(engine, job)["deletions"] == {"listed": False, "reason": "the source has no table deletions"}


def test_deletions_when_the_key_would_have_their_moments_name_then_refused(engine: Engine) -> None:
    with pytest.raises(Rejected, match="id cannot be called deleted_at"):
        export(engine, replace(ASKED, columns=("id as deleted_at", "title")))


def test_deletions_when_a_campaign_was_chosen_then_only_of_it(engine: Engine, world: World) -> None:
    other = sample_id("campaign", "another")
    world.add_campaign(other, world.owner, "active")
    world.run("INSERT INTO contacts (campaign_id, phone) VALUES (%(other)s, '+15550100')", other=other)
    asked = replace(ASKED, dataset="contacts", filters={"campaign_id": world.campaign})
    export(engine, asked)
    world.run("DELETE FROM contacts")
    assert export(engine, asked).files[1].deletions == 25


def test_watermark_when_an_attempt_fails_or_is_cancelled_then_nothing_has_moved(engine: Engine, world: World) -> None:
    add(world, "a")
    export(engine)
    add(world, "b")
    job = file_request(engine, ASKED, claim_as="run")
    engine.jobs.request_cancel(job.id, actor=ADMIN)
    with pytest.raises(Cancelled):
        run_export(engine, job, run_id="run")
    world.run("UPDATE leads SET posted_at = 'infinity' WHERE title = 'b'")
    with pytest.raises(Rejected, match="infinity"):
        export(engine)
    world.run("UPDATE leads SET posted_at = NULL WHERE title = 'b'")
    assert titles(engine, export(engine)) == ["b"]


def test_watermark_when_an_attempt_is_retried_then_from_where_the_series_is(engine: Engine, world: World) -> None:
    add(world, "a")
    first = export(engine)
    add(world, "b")
    job = file_request(engine, ASKED, claim_as="dead")
    mark = engine.watermarks.join(job.id, 1, _series(engine, first))
    assert mark is not None and mark.export_id == first.id
    engine.watermarks.record(job.id, 1, database=mark.database, up_to=mark.up_to + 1000)
    engine.jobs.fail(job.id, 1, kind=ErrorKind.BROKEN, message="died", actor=ADMIN)
    retried = run_export(engine, engine.jobs.retry(job.id, actor=ADMIN))
    assert (retried.attempt, titles(engine, retried)) == (2, ["b"])
    assert titles(engine, export(engine)) == []


def test_series_when_another_export_of_it_runs_then_refused_and_nothing_lost(engine: Engine, world: World) -> None:
    add(world, "a")
    first = export(engine)
    running = file_request(engine, ASKED, claim_as="other")
    engine.watermarks.join(running.id, 1, _series(engine, first))
    add(world, "b")
    with pytest.raises(Rejected, match=f"{running.id} of the same series is running"):
        export(engine)
    engine.jobs.cancelled(running.id, 1, actor=ADMIN, reason="enough")
    assert titles(engine, export(engine)) == ["b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("up_to = up_to + 100000", "fewer transactions"),
        ("database = 'another/00000001/5'", "another database"),
        ("database = regexp_replace(database, '/\\d+/', '/00000099/')", "a standby took over"),
    ],
)
def test_series_when_the_source_was_restored_then_refused_until_begun_again(
    engine: Engine, world: World, change: str, message: str
) -> None:
    add(world, "a")
    export(engine)
    world.run(f"UPDATE exports.watermarks SET {change}")
    with pytest.raises(Rejected, match=rf"{message}.*--since start"):
        export(engine)
    assert titles(engine, export(engine, replace(ASKED, since="start"))) == ["a"]
    add(world, "b")
    assert titles(engine, export(engine)) == ["b"]


def test_series_when_another_asks_or_for_something_else_then_it_is_another_series(engine: Engine, world: World) -> None:
    add(world, "a")
    export(engine)
    for other in (
        replace(ASKED, requested_by=world.owner),
        replace(ASKED, filters={"status": "new"}),
        replace(ASKED, columns=("id", "title")),
        replace(ASKED, format="jsonl", options={}),
    ):
        assert export(engine, other).rows == 1, other
        assert export(engine, other).rows == 0, other


def test_series_when_the_role_changes_and_with_it_what_is_masked_then_it_begins_again(
    engine: Engine, world: World
) -> None:
    add(world, "a")
    asked = replace(ASKED, requested_by=world.analyst, columns=("id", "phone as title"))
    assert [export(engine, asked).rows for _ in range(2)] == [1, 0]
    world.run("UPDATE users SET role = 'admin' WHERE email = %(email)s", email=world.analyst)
    assert [export(engine, asked).rows for _ in range(2)] == [1, 0]


def test_series_when_the_key_of_a_hash_changes_then_it_begins_again(engine: Engine, world: World) -> None:
    add(world, "a")
    for keys in ({"1": "a" * 40}, {"2": "b" * 40, "1": "a" * 40}):
        hash_keys = Settings(DATABASE_URL="postgresql://x", EXPORT_HASH_KEYS=keys).hash_keys
        keyed = replace(engine, settings=engine.settings.model_copy(update={"hash_keys": hash_keys}))
        assert [export(keyed, replace(ASKED, masks={"phone": "hash"})).rows for _ in range(2)] == [1, 0]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (replace(ASKED, since="yesterday"), "neither last"),
        (replace(ASKED, dataset="lead_analytics"), "has no cursor.*audit_log, .*events, leads"),
        (replace(ASKED, dataset="contacts,calls", format="zip"), "one dataset in one file"),
        (replace(ASKED, format="zip"), "one dataset in one file"),
        (replace(ASKED, filters={"limit": "5"}), "the filter limit exclude each other"),
        (replace(ASKED, filters={"ids": sample_id("a", 1)}), "the filter ids exclude each other"),
        (replace(ASKED, filters={"date_range": "last_week"}), "its days move"),
        (replace(ASKED, truncate=True), "cut off would never be delivered"),
        (replace(ASKED, recurring=True), "made from extracts"),
    ],
)
def test_since_when_it_cannot_be_told_then_refused_before_anything_is_read(
    request_: ExportRequest, message: str
) -> None:
    settings = load_settings(DATABASE_URL="postgresql://unused")
    with open_services(settings) as engine, pytest.raises(Rejected, match=message):
        make_order(engine, request_)


def test_since_when_a_range_of_dates_is_given_then_it_holds_too(engine: Engine, world: World) -> None:
    asked = replace(ASKED, filters={"date_from": "2020-01-01"})
    add(world, "a")
    assert titles(engine, export(engine, asked)) == ["a"]
    old = add(world, "b")
    world.run("UPDATE leads SET created_at = '2019-05-01Z' WHERE id = %(id)s", id=old)
    assert titles(engine, export(engine, asked)) == []


def test_cursors_when_declared_then_name_tables_of_the_source(engine: Engine) -> None:
    with_cursor = {name for name, dataset in engine.datasets.items() if dataset.cursor}
    assert with_cursor == {
        *("audit_log", "calls", "campaign_results", "campaigns", "contacts", "events", "leads", "survey_outcomes")
    }
    with engine.source.connect() as connection:
        for name in with_cursor:
            dataset = engine.datasets[name]
            assert dataset.cursor is not None
            tables = ", ".join(f"{table}.xmin" for table in dataset.cursor.tables)
            connection.execute(f"SELECT {tables} FROM {dataset.source} LIMIT 1")


def test_cursor_when_a_dataset_aggregates_then_its_file_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="lead_analytics aggregates"):
        replace(engine.datasets["lead_analytics"], cursor=Cursor(("lead",)))


def _series(engine: Engine, job: ExportJob) -> str:
    with psycopg.connect(engine.settings.database_url.get_secret_value()) as connection:
        found = connection.execute("SELECT series FROM exports.watermarks WHERE export_id = %s", (job.id,)).fetchone()
    assert found is not None
    return str(found[0])
