"""A person asks to be forgotten: every live file that holds them is found, whatever its kind, and ended."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import conclude, deliver, run_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.manage import retry_export
from export_pipeline.flow.request import file_request
from export_pipeline.flow.retention import run_retention
from export_pipeline.flow.subject_index import INDEX
from export_pipeline.flow.subjects import SubjectReport, expire_subject, find_subject
from export_pipeline.ledger.audit import Action
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.services import open_services
from export_pipeline_tests.datasets.reading import ADMIN, ANALYST, COMPLIANCE, MANAGER

KEY = "one key of 32 characters or more"
NEWER = "a newer key as good as the other"
MINE = {"filters": {"campaign_id": LAST_CAMPAIGN}}


@pytest.fixture
def kept(engine: Engine) -> Iterator[Engine]:
    """The engine, which keeps an index of people."""
    with with_keys(engine, KEY) as opened:
        yield opened


def with_keys(engine: Engine, keys: str) -> Any:
    return open_services(engine.settings.model_copy(update={"subject_key": SecretStr(keys)}))


def person(engine: Engine, where: str = "") -> tuple[str, str, str]:
    """Id, phone number and e-mail address of a contact who is in each dataset."""
    with psycopg.connect(engine.settings.source.get_secret_value()) as source:
        found = source.execute(
            "SELECT id::text, phone, email FROM contacts WHERE campaign_id = %s AND outcome = 'completed'"
            f" {where} ORDER BY id LIMIT 1",
            [LAST_CAMPAIGN],
        ).fetchone()
    assert found is not None
    return found[0], found[1], found[2]


def done(engine: Engine, dataset: str, **changes: Any) -> ExportJob:
    request = replace(ExportRequest(dataset, ADMIN, **MINE), **changes)
    return run_export(engine, file_request(engine, request))


def held(report: SubjectReport) -> set[str]:
    return {holding.job.id for holding in report.holdings}


def keys(engine: Engine, destination: str = "s3") -> list[str]:
    return [item.key for item in engine.destination(destination).list("exports/")]


def test_find_when_exported_in_many_ways_then_all_files_with_the_person_and_no_other(kept: Engine) -> None:
    contact, phone, email = person(kept)
    contacts = done(kept, "contacts")
    local = done(kept, "contacts", destination="local", format="parquet")
    split = done(kept, "campaign_results", options={"max_file_rows": "100"})
    package = done(kept, "calls,survey_outcomes", format="zip", options={"files": "csv"})
    without_mail = done(kept, "contacts", columns=("name", "phone"), format="xlsx")
    stranger = done(kept, "contacts", filters={"campaign_id": LAST_CAMPAIGN, "outcome": "refused"})
    assert len(split.files) > 1
    found = find_subject(kept, COMPLIANCE, f" {phone[:2]} ({phone[2:5]}) {phone[5:]}")
    assert held(found) == {contacts.id, local.id, split.id, package.id, without_mail.id}
    assert found.searched == 6 and not (found.without_index or found.running or found.errors)
    assert held(find_subject(kept, ADMIN, email.upper())) == {contacts.id, local.id}
    assert held(find_subject(kept, ADMIN, contact)) == {contacts.id, local.id, package.id}
    assert stranger.id not in held(found)
    assert held(find_subject(kept, ADMIN, "+999 1234567")) == set()


def test_find_when_the_role_sees_no_address_then_the_file_does_not_count_as_holding_it(kept: Engine) -> None:
    contact, _, email = person(kept)
    blind = done(kept, "contacts", requested_by=ANALYST)
    names = json.loads(b"".join(kept.destination("s3").read(blind.files[0].key.rpartition("/")[0] + "/manifest.json")))
    delivered = {column["name"] for column in names["columns"]}
    assert held(find_subject(kept, ADMIN, contact)) == {blind.id}
    assert (blind.id in held(find_subject(kept, ADMIN, email))) == ("email" in delivered)


def test_expire_when_asked_then_files_index_and_links_go_and_the_audit_says_why(kept: Engine) -> None:
    contact, phone, email = person(kept)
    with_person = done(kept, "contacts")
    other = done(kept, "contacts", filters={"campaign_id": LAST_CAMPAIGN, "outcome": "refused"})
    issue_link(kept, ADMIN, with_person.id)
    [holding] = find_subject(kept, COMPLIANCE, email).holdings
    assert (holding.job.request.requested_by, holding.links_to) == (ADMIN, (ADMIN,))
    with pytest.raises(Rejected, match="--reason"):
        expire_subject(kept, COMPLIANCE, email, reason=" ")
    report = expire_subject(kept, COMPLIANCE, email, reason="ticket 42")
    assert report.expired == [with_person.id] and not report.errors
    ended = kept.jobs.existing(with_person.id)
    assert ended.status is Status.EXPIRED
    with pytest.raises(Rejected, match="has expired"):
        issue_link(kept, ADMIN, with_person.id)
    assert all(other.id in key for key in keys(kept)) and len(keys(kept)) == 3
    event = kept.audit.of(with_person.id)[-1].event
    assert (event.action, event.actor, event.reason) == (Action.EXPIRY, COMPLIANCE, "ticket 42")
    told = json.dumps([vars(entry.event) for entry in kept.audit.latest()], default=str)
    assert event.detail["subject"][0] in told
    for secret in (contact, phone, email, email.partition("@")[0], KEY):
        assert secret not in told.replace(MANAGER, "")
    assert find_subject(kept, COMPLIANCE, email).holdings == []


def test_index_when_an_attempt_fails_then_none_stays_and_the_retry_has_its_own(kept: Engine) -> None:
    _, _, email = person(kept)
    job = kept.jobs.file(
        ExportRequest("contacts", ADMIN, **MINE), requester=kept.source.find_principal(ADMIN), owner_id=None, reason=""
    )
    job = kept.jobs.claim(job.id, 1, run_id=None, prefix="exports/x/")
    deliver(kept, job, Attempt(job.id, 1))
    assert any(key.endswith(f"/1/{INDEX}") for key in keys(kept))
    conclude(kept, job, Broken("the worker broke after it had written"))
    assert keys(kept) == []
    again = run_export(kept, retry_export(kept, ADMIN, job.id))
    assert [key for key in keys(kept) if key.endswith(INDEX)] == [f"{again.files[0].key.rpartition('/')[0]}/{INDEX}"]
    assert held(find_subject(kept, ADMIN, email)) == {again.id}


def test_index_when_the_export_expires_then_goes_with_it(kept: Engine) -> None:
    _, _, email = person(kept)
    job = done(kept, "contacts")
    with psycopg.connect(kept.settings.database_url.get_secret_value()) as ledger:
        ledger.execute("UPDATE exports.export_jobs SET expires_at = now()")
    assert run_retention(kept).expired == [job.id]
    assert keys(kept) == []
    assert find_subject(kept, ADMIN, email).searched == 0


def test_index_when_kept_then_no_manifest_and_no_link_tells_of_it(kept: Engine) -> None:
    job = done(kept, "contacts")
    folder = job.files[0].key.rpartition("/")[0]
    assert sorted(key.rpartition("/")[2] for key in keys(kept)) == sorted(
        [INDEX, "manifest.json", job.files[0].key.rpartition("/")[2]]
    )
    assert INDEX.encode() not in b"".join(kept.destination("s3").read(f"{folder}/manifest.json"))
    assert all(INDEX not in url for url in issue_link(kept, ADMIN, job.id).urls.values())
    _, phone, email = person(kept)
    index = b"".join(kept.destination("s3").read(f"{folder}/{INDEX}"))
    assert email.encode() not in index and phone.encode() not in index


def test_find_when_exports_have_no_index_then_they_are_named(engine: Engine, kept: Engine) -> None:
    _, _, email = person(kept)
    plain = done(engine, "contacts")
    with with_keys(engine, NEWER) as other:
        foreign = done(other, "contacts")
    computed = done(kept, "contacts", columns=("concat(name, ' ', email) as told", "name"))
    readable = done(kept, "contacts", columns=("name",))
    report = find_subject(kept, ADMIN, email)
    assert (report.holdings, set(report.without_index)) == ([], {plain.id, foreign.id, computed.id})
    assert report.searched == 1 and readable.id not in report.without_index
    with pytest.raises(Rejected, match="EXPORT_SUBJECT_KEY"):
        find_subject(engine, ADMIN, email)


def test_find_when_the_key_was_rotated_then_older_exports_are_still_found(engine: Engine, kept: Engine) -> None:
    _, _, email = person(kept)
    older = done(kept, "contacts")
    with with_keys(engine, f"{NEWER}, {KEY}") as rotated:
        newer = done(rotated, "contacts")
        assert held(find_subject(rotated, ADMIN, email)) == {older.id, newer.id}
    assert held(find_subject(kept, ADMIN, email)) == {older.id}


def test_find_when_switched_off_then_nothing_is_written(engine: Engine) -> None:
    settings = engine.settings.model_copy(update={"subject_key": SecretStr(KEY), "subject_index": False})
    with open_services(settings) as off:
        done(off, "contacts")
        assert not any(key.endswith(INDEX) for key in keys(off))


@pytest.mark.parametrize("email", [MANAGER, ANALYST])
def test_find_when_the_role_may_not_then_forbidden_and_audited(kept: Engine, email: str) -> None:
    with pytest.raises(Forbidden, match=r"may not look for people.*compliance and admin"):
        find_subject(kept, email, "someone@example.com")
    with pytest.raises(Forbidden):
        expire_subject(kept, email, "someone@example.com", reason="because")
    refusal = kept.audit.latest(1)[0].event
    assert (refusal.action, refusal.actor) == (Action.REFUSAL, email)
    assert "someone" not in refusal.reason


def test_find_when_an_export_is_being_made_then_that_is_said(kept: Engine) -> None:
    request = ExportRequest("contacts", ADMIN, **MINE)
    running = file_request(kept, request, claim_as="")
    assert find_subject(kept, ADMIN, "someone@example.com").running == [running.id]
