"""Which failures are told, to a real mail server and a real webhook: once by each, and nothing that may not leave."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from export_pipeline.embedded.processes import free_ports
from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow.alert_message import MOST_TOLD, Alert, dataset_names, message_of
from export_pipeline.flow.alerts import Told, tell_failures
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.request import file_request
from export_pipeline.flow.sweep import SweepReport, bury
from export_pipeline.model.access import SERVICE, Principal, Role
from export_pipeline.model.errors import ErrorKind, ExportError, Unproven
from export_pipeline.model.job import ExportJob, ExportRequest
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.flow.test_verify import losing
from export_pipeline_tests.servers.hook import PATH, Hook, hook_server
from export_pipeline_tests.servers.mail import PASSWORD, USER, MailServer, mail_server

OWNER = Principal(id="7", email="admin@example.com", username="admin", role=Role.ADMIN)
REQUEST = ExportRequest("campaign_results", OWNER.email, {"campaign_id": LAST_CAMPAIGN}, destination="local")
Open = Callable[..., Engine]


@pytest.fixture
def opened(ledger_url: str, sample_url: str, tmp_path: Path) -> Iterator[Open]:
    """Opens an engine with an empty ledger, a folder to deliver to, and these settings."""
    with ExitStack() as stack:
        yield lambda **values: stack.enter_context(
            open_services(
                load_settings(
                    DATABASE_URL=ledger_url, EXPORT_SOURCE_URL=sample_url, EXPORT_DIRECTORY=str(tmp_path), **values
                )
            )
        )


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server(auth_require_tls=False) as server:
        yield server


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_server() as server:
        yield server


def by_mail(port: int) -> dict[str, str]:
    return {
        "EXPORT_SMTP_URL": f"smtp://alerts%40example.com:hush%3Ahush@127.0.0.1:{port}",
        "EXPORT_ALERT_FROM": "exports@example.com",
        "EXPORT_ALERT_TO": "on-call@example.com, boss@example.com",
    }


def nothing_else(since: datetime) -> list[Alert]:
    return []


def told(engine: Engine, after: Told | None = None) -> Told:
    return tell_failures(engine, after.cursor if after else None, nothing_else)


def claimed(engine: Engine, **changes: Any) -> ExportJob:
    job = engine.jobs.file(replace(REQUEST, **changes), requester=OWNER, owner_id=None, reason="")
    return engine.jobs.claim(job.id, 1, run_id="run-1", prefix=f"p/{job.id}/")


def failed(engine: Engine, kind: ErrorKind = ErrorKind.BROKEN, message: str = "it broke", **changes: Any) -> ExportJob:
    job = claimed(engine, **changes)
    return engine.jobs.fail(job.id, 1, kind=kind, message=message, actor=OWNER.email)


def test_verification_when_it_failed_then_one_urgent_message_each_way_with_nothing_that_may_not_leave(
    opened: Open, mail: MailServer, hook: Hook, tmp_path: Path
) -> None:
    engine = opened(
        **by_mail(mail.port), EXPORT_ALERT_WEBHOOK=hook.url, EXPORT_DAGSTER_URL="https://dagster.example.com/"
    )
    engine = replace(engine, formats={**engine.formats, "csv": losing(engine.formats["csv"])})
    asked = replace(REQUEST, reason="case 4711", conditions=("ended_reason ne quux-4712",))
    job = file_request(engine, asked)
    with pytest.raises(Unproven):
        run_export(engine, job, run_id="run-1")
    first = told(engine)
    assert first.summary == "mail: 1 told; webhook: 1 told"
    assert [level for level, _ in first.lines] == [logging.INFO, logging.INFO]
    assert told(engine, first).summary == "nothing failed"

    [letter], [(path, body)] = mail.letters, hook.posts
    assert letter["Subject"] == "[export-pipeline] URGENT: a file is not what was read: campaign_results as csv"
    assert (letter["From"], letter["Importance"]) == ("exports@example.com", "high")
    assert mail.recipients == [["on-call@example.com", "boss@example.com"]]
    assert mail.sessions == [(True, False)], "logged in; on loopback nobody listens"
    text = letter.get_content().replace("\r\n", "\n")
    for expected in (
        f"export: {job.id}, attempt 1, asked for by {OWNER.email}",
        "its file was read back and is not what was read from the source",
        f"export-pipeline show {job.id} --as EMAIL",
        f"export-pipeline retry {job.id} --as EMAIL",
        "https://dagster.example.com/runs/run-1",
    ):
        assert expected in text
    document = json.loads(body)
    assert path == PATH
    assert document["text"] == text.strip()
    [fact] = document["alerts"]
    assert (fact["export_id"], fact["urgent"], fact["attempt"]) == (job.id, True, 1)
    assert datetime.now(UTC) - datetime.fromisoformat(fact["at"]) < timedelta(minutes=1)

    with psycopg.connect(engine.settings.source.get_secret_value()) as source:
        phones = source.execute("SELECT phone FROM contacts WHERE campaign_id = %s", (LAST_CAMPAIGN,)).fetchall()
    logged = "\n".join(line for _, line in first.lines) + first.summary + first.cursor
    everything = mail.raw[0] + text.encode() + body + logged.encode()
    hidden = [LAST_CAMPAIGN, "4711", "4712", str(tmp_path), PASSWORD, USER, PATH, engine.settings.database_url]
    for secret in [*hidden, *(phone for (phone,) in phones)]:
        plain = secret if isinstance(secret, str) else secret.get_secret_value()
        assert plain.encode() not in everything, plain
    assert len(phones) > 50


def test_failures_when_they_are_the_requesters_own_then_not_told_but_those_of_schedules_are(opened: Open) -> None:
    engine = opened()
    for kind in (ErrorKind.INVALID, ErrorKind.FORBIDDEN, ErrorKind.NOT_FOUND):
        failed(engine, kind)
    stopped = claimed(engine)
    engine.jobs.cancelled(stopped.id, 1, actor=OWNER.email, reason="no longer needed")
    engine.jobs.request_cancel(file_request(engine, REQUEST).id, actor=OWNER.email)
    for recurring in (False, True):
        again = claimed(engine, recurring=recurring)
        engine.jobs.try_again(again.id, 1, message="busy", not_before=datetime.now(UTC))
    assert told(engine).summary == "nothing failed"

    broken, last = failed(engine), failed(engine, ErrorKind.TRANSIENT)
    nightly = [failed(engine, kind, recurring=True) for kind in (ErrorKind.INVALID, ErrorKind.FORBIDDEN)]
    [(level, text), (_, line)] = told(engine).lines
    assert level == logging.WARNING
    for job in (broken, last, *nightly):
        assert job.id in text and job.id in line
    assert text.startswith("4 failures")


def test_worker_when_it_died_for_the_last_time_then_told_and_before_not(opened: Open) -> None:
    engine = opened(EXPORT_MAX_ATTEMPTS="2")
    job = claimed(engine)
    bury(engine, job, SweepReport())
    first = told(engine)
    assert first.summary == "nothing failed"
    bury(engine, engine.jobs.claim(job.id, 2, run_id=None, prefix="p/"), SweepReport())
    [(_, text), _] = told(engine, first).lines
    assert "the worker died 2 times" in text and f"{job.id}, attempt 2" in text


def test_recurring_export_when_it_cannot_be_made_then_told_with_no_person(opened: Open) -> None:
    engine = opened()
    nightly = replace(REQUEST, requested_by=SERVICE.email, recurring=True, format="parquet")
    job = file_request(engine, nightly, service=SERVICE)
    with pytest.raises(ExportError) as caught:
        run_export(engine, job)
    [(_, text), _] = told(engine).lines
    assert "recurring export of campaign_results as parquet" in text
    assert f"why: {caught.value}" in text and SERVICE.email in text


def test_failure_when_tried_again_and_failed_again_then_told_each_time(opened: Open) -> None:
    engine = opened()
    job = failed(engine, message="first time")
    engine.jobs.retry(job.id, actor=OWNER.email)
    first = told(engine)
    assert "first time" in first.lines[0][1], "a retry does not hide what happened"
    engine.jobs.claim(job.id, 2, run_id="run-2", prefix="p/")
    engine.jobs.fail(job.id, 2, kind=ErrorKind.BROKEN, message="second time", actor=OWNER.email)
    second = told(engine, first)
    assert "second time" in second.lines[0][1] and "first time" not in second.lines[0][1]


def test_failure_when_its_transaction_was_slow_then_told_all_the_same(opened: Open, ledger_url: str) -> None:
    engine = opened()
    first = told(engine)
    with psycopg.connect(ledger_url, autocommit=True) as ledger:
        slow = claimed(engine)
        ledger.execute(
            "INSERT INTO exports.audit_log (at, actor, action, export_id, reason, detail)"
            " VALUES (clock_timestamp() - interval '1 minute', 'a', 'failure', %s, 'late', %s)",
            (slow.id, json.dumps({"attempt": 1, "kind": "broken"})),
        )
        failed(engine)
        second = told(engine, first)
        assert second.lines[0][1].startswith("2 failures")
        assert told(engine, second).summary == "nothing failed"


def test_failures_when_there_are_many_then_one_message_lists_some_and_counts_the_rest(opened: Open, hook: Hook) -> None:
    engine = opened(EXPORT_ALERT_WEBHOOK=hook.url)
    jobs = [failed(engine) for _ in range(MOST_TOLD + 3)]
    unproven = claimed(engine)
    engine.jobs.fail(unproven.id, 1, kind=ErrorKind.BROKEN, message="m", actor=OWNER.email, unproven=True)
    first = told(engine)
    assert first.summary == "webhook: 24 told"
    [(_, body)] = hook.posts
    document = json.loads(body)
    assert document["text"].startswith("URGENT: a file is not what was read, among 24 failures\n\nURGENT: ")
    assert "… and 4 more" in document["text"]
    assert [fact["export_id"] for fact in document["alerts"]] == [unproven.id, *(job.id for job in jobs[:19])]
    assert len(document["text"]) < 16_000, "Mattermost takes no more"


def test_way_when_it_is_down_then_told_later_once_and_the_other_at_once(opened: Open, hook: Hook) -> None:
    port = free_ports(1)[0]
    engine = opened(**by_mail(port), EXPORT_ALERT_WEBHOOK=hook.url)
    first_job = failed(engine)
    first = told(engine)
    assert first.summary == (
        "mail: 1 not told, to be tried again: the mail server cannot be reached or went away (ConnectionRefusedError); "
        "check that it is up and EXPORT_SMTP_URL; webhook: 1 told"
    )
    second_job = failed(engine)
    with mail_server(port, auth_require_tls=False) as mail:
        second = told(engine, first)
        assert second.summary == "mail: 2 told; webhook: 1 told"
        assert told(engine, second).summary == "nothing failed"
    [letter] = mail.letters
    assert first_job.id in letter.get_content() and second_job.id in letter.get_content()
    assert [json.loads(body)["alerts"][0]["export_id"] for _, body in hook.posts] == [first_job.id, second_job.id]


def test_look_when_nothing_failed_for_long_then_goes_on_from_there_and_not_from_the_beginning(opened: Open) -> None:
    engine = opened()
    old = {"log": {"since": "2020-01-01T00:00:00+00:00", "known": {"export:1": "2020-01-01T00:00:01+00:00"}}}
    moved = json.loads(tell_failures(engine, json.dumps(old), nothing_else).cursor)["log"]
    assert datetime.now(UTC) - datetime.fromisoformat(moved["since"]) < timedelta(minutes=6)
    assert moved["known"] == {}


def test_message_when_it_is_of_a_package_then_no_name_that_somebody_gave_is_in_it() -> None:
    assert dataset_names("calls as Ms_Doe, contacts:csv+parquet,calls") == "calls, contacts"
    alert = Alert("export:1", datetime.now(UTC), "calls as csv", "line\none " + "x" * 500, export_id="1")
    text = message_of([alert], None).text
    assert "why: line one xxx" in text and "x" * 300 not in text
