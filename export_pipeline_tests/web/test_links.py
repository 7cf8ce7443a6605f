"""Links through our door, over real HTTP: who gets the file, what is known of it, and what nobody is told."""

import logging
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.s3 import S3
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.links import follow_link, issue_link, list_links, revoke_links
from export_pipeline.flow.request import file_request
from export_pipeline.flow.retention import expire_export
from export_pipeline.flow.subjects import find_subject
from export_pipeline.ledger.audit import Action, AuditEvent
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.errors import Forbidden, NotFound, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest
from export_pipeline.services import open_services
from export_pipeline.settings import DOOR_FILE, SettingsError, load_settings
from export_pipeline.web.serve import listen, published
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.datasets.reading import ADMIN, COMPLIANCE, MANAGER, read
from export_pipeline_tests.web.door import Answer, ask, serving

ENDINGS = (Action.LINK, Action.LINK_USED, Action.LINK_REFUSED, Action.LINK_REVOKED)


@pytest.fixture(scope="module")
def engine(
    postgres_server: Postgres, s3_server: S3, sample: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """An engine with its door: ledger and source in one database, a bucket and a folder."""
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    s3_server.create_bucket(bucket)
    key_id, secret = s3_server.keys()
    with fresh_database(postgres_server, sample) as url, listen("127.0.0.1", 0) as listening:
        migrate_up(SecretStr(url))
        settings = load_settings(
            DATABASE_URL=url,
            S3_BUCKET_NAME=bucket,
            AWS_ENDPOINT_URL=s3_server.endpoint,
            AWS_ACCESS_KEY_ID=key_id,
            AWS_SECRET_ACCESS_KEY=secret,
            EXPORT_DIRECTORY=str(tmp_path_factory.mktemp("exports")),
            EXPORT_LINK_URL=f"http://127.0.0.1:{listening.getsockname()[1]}/",
        )
        with open_services(settings) as opened, serving(opened, listening):
            yield opened
    s3_server.client().delete_bucket(Bucket=bucket)


def done(engine: Engine, destination: str = "s3") -> ExportJob:
    return run_export(
        engine, file_request(engine, ExportRequest("leads", ADMIN, {"limit": "5"}, destination=destination))
    )


@pytest.fixture(scope="module")
def in_bucket(engine: Engine) -> ExportJob:
    return done(engine)


@pytest.fixture
def in_folder(engine: Engine) -> ExportJob:
    return done(engine, "local")


def contents(engine: Engine, job: ExportJob) -> bytes:
    return b"".join(engine.destination(job.request.destination).read(job.files[0].key))


def change(engine: Engine, statement: str, *values: object) -> None:
    with psycopg.connect(engine.settings.database_url.get_secret_value()) as ledger:
        ledger.execute(statement, values)  # type: ignore[call-overload]


def last(engine: Engine, job: ExportJob) -> AuditEvent:
    return engine.audit.of(job.id)[-1].event


def test_link_when_opened_then_leads_to_the_file_for_a_minute_and_is_counted(
    engine: Engine, in_bucket: ExportJob
) -> None:
    link = issue_link(engine, ADMIN, in_bucket.id)
    assert re.fullmatch(rf"{engine.settings.link_url}/links/[\w-]{{43}}", link.url)
    answer = ask(link.url)
    assert answer.status == 307
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    address = answer.headers["location"]
    assert int(parse_qs(urlsplit(address).query)["X-Amz-Expires"][0]) <= 60
    assert ask(address).body == contents(engine, in_bucket)

    [issued, *_] = list_links(engine, ADMIN, in_bucket.id)
    assert (issued.issued_to, issued.uses, issued.revoked_at) == (ADMIN, 1, None)
    assert issued.last_used_at is not None and issued.issued_at < issued.last_used_at < issued.expires_at
    event = last(engine, in_bucket)
    assert (event.action, event.actor, event.dataset) == (Action.LINK_USED, ADMIN, "leads")
    assert event.detail == {"attempt": 1, "link": issued.id, "file": issued.filename, "uses": 1}


def test_address_when_the_link_has_seconds_left_then_lives_no_longer(engine: Engine, in_bucket: ExportJob) -> None:
    link = issue_link(engine, ADMIN, in_bucket.id)
    change(engine, "UPDATE exports.links SET expires_at = clock_timestamp() + interval '9 seconds' WHERE uses = 0")
    assert int(parse_qs(urlsplit(ask(link.url).headers["location"]).query)["X-Amz-Expires"][0]) < 10


def test_link_when_opened_by_several_at_once_then_each_use_counts(engine: Engine, in_bucket: ExportJob) -> None:
    link = issue_link(engine, ADMIN, in_bucket.id)
    with ThreadPoolExecutor(8) as threads:
        assert {answer.status for answer in threads.map(ask, [link.url] * 8)} == {307}
    [issued, *_] = list_links(engine, ADMIN, in_bucket.id)
    entries = [entry.event for entry in engine.audit.of(in_bucket.id)[-8:]]
    assert issued.uses == 8
    assert [event.detail["uses"] for event in entries] == list(range(1, 9))
    assert {(event.action, event.detail["link"]) for event in entries} == {(Action.LINK_USED, issued.id)}


def test_link_when_it_does_not_work_then_the_answer_never_tells_why_and_the_audit_does(engine: Engine) -> None:
    expired, revoked, ended, gone = (done(engine, "local") for _ in range(4))
    links = {job.id: issue_link(engine, ADMIN, job.id).url for job in (expired, revoked, ended, gone)}
    change(engine, "UPDATE exports.links SET expires_at = clock_timestamp() WHERE export_id = %s", expired.id)
    revoke_links(engine, ADMIN, revoked.id)
    expire_export(engine, ended, actor="retention")
    engine.destination("local").clean(gone.files[0].key)

    entries = len(engine.audit.latest(1000))
    url = links[expired.id]
    never = [url[:-43] + "A" * 43, url[:-1], f"{url}x", f"{url}/", url[:-43], url.replace("/links/", "/"), url + "%00"]
    unknown = [ask(address) for address in never]
    assert len(engine.audit.latest(1000)) == entries, "what was never issued leaves no trace"
    answers = {job: ask(address) for job, address in links.items()}

    def told(answer: Answer) -> tuple[object, ...]:
        return answer.status, answer.body, {name: text for name, text in answer.headers.items() if name != "date"}

    assert all(told(answer) == told(unknown[0]) for answer in (*unknown, *answers.values()))
    assert unknown[0].status == 404 and b"does not work" in unknown[0].body
    reasons = {job.id: last(engine, job) for job in (expired, revoked, ended)}
    assert {event.action for event in reasons.values()} == {Action.LINK_REFUSED}
    assert reasons[expired.id].reason == "the link has expired"
    assert reasons[revoked.id].reason == f"the link was revoked by {ADMIN}"
    assert reasons[ended.id].reason == "the export is expired"
    assert last(engine, gone).action is Action.LINK_USED, "counted before the file was looked for"


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_link_when_anything_else_is_done_with_it_then_refused_and_not_counted(
    engine: Engine, in_bucket: ExportJob, method: str
) -> None:
    answer = ask(issue_link(engine, ADMIN, in_bucket.id).url, method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    assert list_links(engine, ADMIN, in_bucket.id)[0].uses == 0


def test_token_when_links_are_made_and_used_then_in_no_log_no_table_and_no_repr(
    engine: Engine, in_bucket: ExportJob, in_folder: ExportJob, caplog: pytest.LogCaptureFixture
) -> None:
    tokens, signatures = [], []
    with caplog.at_level(logging.DEBUG):
        for job in (in_bucket, in_folder):
            link = issue_link(engine, ADMIN, job.id)
            token = link.url.rpartition("/")[2]
            answer = ask(link.url)
            followed = follow_link(engine, token)
            revoke_links(engine, ADMIN, job.id)
            assert ask(link.url).status == 404
            tokens.append(token)
            signatures += parse_qs(urlsplit(answer.headers.get("location", "")).query).get("X-Amz-Signature", [])
            assert token not in repr(link) + repr(followed) + repr(list_links(engine, ADMIN, job.id))
    assert (len(tokens), len(signatures)) == (2, 1)
    written = [record.getMessage() for record in caplog.records]
    # What botocore tells when it is debugged is not shown: see `log_to_stderr`.
    shown = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert not [line for line in shown if signatures[0] in line]
    assert any(re.fullmatch(rf"link \d+ to the export {in_bucket.id} was used", line) for line in written)
    with psycopg.connect(engine.settings.database_url.get_secret_value()) as ledger:
        tables = ledger.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'exports'::regnamespace AND relkind = 'r'"
        ).fetchall()
        assert ("links",) in tables
        for (name,) in tables:
            rows = ledger.execute(sql.SQL("SELECT t::text FROM exports.{} AS t").format(sql.Identifier(name)))
            written += [row for (row,) in rows]
    assert not [line for line in written for token in tokens if token in line]


def test_link_when_the_file_lies_in_a_folder_then_the_door_hands_it_over(engine: Engine, in_folder: ExportJob) -> None:
    file = in_folder.files[0]
    link = issue_link(engine, ADMIN, in_folder.id)
    answer = ask(link.url)
    assert (answer.status, answer.body) == (200, contents(engine, in_folder))
    assert answer.headers["content-disposition"] == f'attachment; filename="export_{in_folder.id}.csv"'
    assert (answer.headers["content-length"], answer.headers["content-type"]) == (str(file.bytes), file.media_type)
    assert answer.headers["cache-control"] == "no-store"
    large = os.urandom((3 << 20) + 1)
    assert engine.settings.export_directory is not None
    (engine.settings.export_directory / file.key).write_bytes(large)
    assert ask(link.url).body == large
    followed = follow_link(engine, link.url.rpartition("/")[2])
    assert followed is not None
    assert max(map(len, followed.chunks)) <= 1 << 20, "never whole in memory"
    assert list_links(engine, ADMIN, in_folder.id)[0].uses == 3


def test_links_when_revoked_then_end_for_good_and_new_ones_work(engine: Engine, in_folder: ExportJob) -> None:
    first, second = (issue_link(engine, ADMIN, in_folder.id).url for _ in range(2))
    for verb in (revoke_links, list_links):
        with pytest.raises(Forbidden, match="is not yours"):
            verb(engine, MANAGER, in_folder.id)
        with pytest.raises(NotFound):
            verb(engine, COMPLIANCE, str(uuid.uuid4()))
    assert ask(first).status == 200
    revoked = revoke_links(engine, COMPLIANCE, in_folder.id)
    assert [(link.uses, link.revoked_by) for link in revoked] == [(1, COMPLIANCE), (0, COMPLIANCE)]
    event = last(engine, in_folder)
    assert (event.action, event.actor) == (Action.LINK_REVOKED, COMPLIANCE)
    assert event.detail["links"] == [link.id for link in revoked]
    assert revoke_links(engine, ADMIN, in_folder.id) == [], "and nothing more is recorded"
    assert last(engine, in_folder) == event
    assert [ask(url).status for url in (first, second)] == [404, 404]
    assert ask(issue_link(engine, ADMIN, in_folder.id).url).status == 200


def test_compliance_when_exported_then_tells_of_every_link_use_refusal_and_revocation(
    engine: Engine, in_folder: ExportJob
) -> None:
    link = issue_link(engine, ADMIN, in_folder.id)
    ask(link.url)
    revoke_links(engine, COMPLIANCE, in_folder.id)
    ask(link.url)
    rows = read(engine, "compliance", {"action": ",".join(ENDINGS)}, email=COMPLIANCE).to_dicts()
    found = [(row["kind"], row["actor"], row["action"]) for row in rows if row["entity_id"] == in_folder.id]
    assert found == [
        ("data access", ADMIN, "link"),
        ("data access", ADMIN, "link_used"),
        ("data access", COMPLIANCE, "link_revoked"),
        ("data access", ADMIN, "link_refused"),
    ]


def test_subject_when_searched_then_tells_how_often_links_were_used(engine: Engine) -> None:
    settings = engine.settings.model_copy(update={"subject_key": SecretStr("k" * 32)})
    with open_services(settings) as kept:
        [number] = read(kept, "leads", {"limit": "1"}, columns=("phone",))["phone"]
        job = done(kept, "local")
        link = issue_link(kept, ADMIN, job.id)
        assert [ask(link.url).status for _ in range(2)] == [200, 200]
        holdings = find_subject(kept, COMPLIANCE, number).holdings
    assert [(holding.job.id, holding.links_to, holding.link_uses) for holding in holdings] == [(job.id, (ADMIN,), 2)]


def test_door_when_the_ledger_is_away_then_asks_to_come_again_and_says_nothing_of_it() -> None:
    settings = load_settings(DATABASE_URL="postgresql://somebody:hush-hush@127.0.0.1:9/nothing")
    with open_services(settings) as engine, listen("127.0.0.1", 0) as listening, serving(engine, listening):
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        answer = ask(f"{address}/links/{'A' * 43}")
        assert (answer.status, answer.headers["retry-after"]) == (503, "30")
        assert b"Try again" in answer.body and b"127.0.0.1" not in answer.body
        assert ask(f"{address}/health").body == b"ok\n"


def test_door_when_its_port_is_taken_then_rejected_with_advice() -> None:
    with listen("127.0.0.1", 0) as listening, pytest.raises(Rejected, match="--port"):
        listen("127.0.0.1", listening.getsockname()[1])


@pytest.mark.parametrize(
    "address", ["files.example.com", "ftp://x", "https://", "https://x?a=b", "https://x#a", "https://me:secret@x/"]
)
def test_address_of_the_door_when_it_cannot_be_one_then_a_sentence_without_it(address: str) -> None:
    with pytest.raises(SettingsError, match="EXPORT_LINK_URL is wrong") as caught:
        load_settings(DATABASE_URL="postgresql://x/y", EXPORT_LINK_URL=address)
    assert "secret" not in str(caught.value)
    kept = load_settings(DATABASE_URL="postgresql://x/y", EXPORT_LINK_URL="https://files.example.com/exports/")
    assert kept.link_url == "https://files.example.com/exports"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with embedded services."""
    (tmp_path / "services.json").write_text('{"database_url": "postgresql://x/y", "bucket": "b"}')
    monkeypatch.setenv("EXPORT_STATE_DIRECTORY", str(tmp_path))
    return tmp_path


def test_settings_when_up_runs_then_links_go_through_its_door_unless_parts_are_others(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with published(state / DOOR_FILE, "http://127.0.0.1:7"):
        assert load_settings().link_url == "http://127.0.0.1:7"
        assert load_settings(EXPORT_LINK_URL=None).link_url is None, "as the demo asks for"
        monkeypatch.setenv("EXPORT_DIRECTORY", str(state))
        assert load_settings().link_url is None
        monkeypatch.delenv("EXPORT_DIRECTORY")
        assert load_settings().link_url == "http://127.0.0.1:7"
    assert (state / DOOR_FILE).exists() and load_settings().link_url is None


def test_settings_when_the_door_was_killed_then_links_no_longer_go_through_it(state: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from export_pipeline.web.serve import published\n"
        "with published(pathlib.Path(sys.argv[1]), 'http://127.0.0.1:7'):\n"
        "    print('open', flush=True)\n"
        "    time.sleep(600)\n"
    )
    door = subprocess.Popen(
        [sys.executable, "-c", script, str(state / DOOR_FILE)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert door.stdout is not None
        assert door.stdout.readline() == "open\n"
        assert load_settings().link_url == "http://127.0.0.1:7"
    finally:
        door.kill()
        door.communicate()
    assert (state / DOOR_FILE).exists()
    assert load_settings().link_url is None
