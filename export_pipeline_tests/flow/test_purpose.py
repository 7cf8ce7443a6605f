"""Why data is needed, what the manifest and the ledger say of masks, and personal values, which they do not say."""

import io
import json
import logging
import zipfile
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from export_pipeline.cli.output import job_document
from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow import manage
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.publish import read_manifest
from export_pipeline.flow.request import file_request
from export_pipeline.model.access import SERVICE
from export_pipeline.model.errors import Forbidden, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline.orchestration.campaigns import Completed, file_for_owner
from export_pipeline.orchestration.exports import config_of, tags_of
from export_pipeline.orchestration.reporting import job_metadata

ADMIN, ANALYST = "admin@example.com", "analyst@example.com"
KEY = "0123456789abcdef0123456789abcdef"
PLANTED = "planted.person@example.net"


@pytest.fixture
def strict(engine: Engine) -> Engine:
    """An engine that wants a reason, and has a key."""
    hash_keys = type(engine.settings)(DATABASE_URL="postgresql://x", EXPORT_HASH_KEYS={"k1": KEY}).hash_keys
    changed = {"require_reason": True, "hash_keys": hash_keys}
    return replace(engine, settings=engine.settings.model_copy(update=changed))


def test_reason_when_required_then_no_plain_personal_data_without_one(strict: Engine) -> None:
    asked = ExportRequest("leads", ADMIN, {"limit": "2"}, destination="local")
    with pytest.raises(Rejected, match=r"leads with email, phone is personal data: say why it is needed \(--reason"):
        file_request(strict, asked)
    with pytest.raises(Rejected, match="with phone is personal data"):
        file_request(strict, replace(asked, reason="  ", masks={"email": "hash"}))
    for nothing in ("truncate:1000", "truncate", "redact"):
        with pytest.raises(Rejected, match="leads with email, phone is personal data"):
            file_request(strict, replace(asked, masks={"email": nothing, "phone": nothing}))
    for reason in ("x" * 501, "two\nlines"):
        with pytest.raises(Rejected, match=r"the reason has .* characters; write at most 500, in one line"):
            file_request(strict, replace(asked, reason=reason))
    masked = {"email": "hash", "phone": "drop"}
    for fine in (
        replace(asked, reason="TICKET-7"),
        replace(asked, masks=masked),
        replace(asked, contact_info=False),
        replace(asked, columns=("id", "price")),
        replace(asked, requested_by=ANALYST),
    ):
        assert file_request(strict, fine).id


def test_reason_when_given_then_in_the_audit_and_shown(strict: Engine) -> None:
    asked = ExportRequest(
        "leads", ADMIN, {"limit": "2"}, reason="TICKET-7", recipient="Partner Ltd.", destination="local"
    )
    job = run_export(strict, file_request(strict, replace(asked, masks={"phone": "hash"})))
    request, *_ = strict.audit.of(job.id)
    assert (request.event.detail["purpose"], request.event.detail["recipient"]) == ("TICKET-7", "Partner Ltd.")
    assert request.event.detail["masks"] == {"phone": "hash"}
    shown = job_document(manage.show_export(strict, ADMIN, job.id))
    assert (shown["reason"], shown["recipient"], shown["masked"]) == ("TICKET-7", "Partner Ltd.", {"phone": "hash"})
    assert job_metadata(job)["masked"].value == {"phone": "hash"}
    manifest = read_manifest(strict.destination("local"), job)
    assert next(column for column in manifest["columns"] if column["name"] == "phone") == {
        "name": "phone",
        "type": "text",
        "sensitivity": "personal",
        "description": "Phone number, E.164. A keyed hash: the same for the same value.",
        "mask": {"policy": "hash", "reason": "asked for", "key_id": "k1", "recipient": "Partner Ltd."},
    }
    assert KEY not in everything_written(strict) + json.dumps(manifest)


def test_reason_when_nobody_asks_then_sensors_and_schedules_give_theirs(strict: Engine) -> None:
    told = file_for_owner(strict, Completed(LAST_CAMPAIGN, ADMIN))
    assert told is not None and "filed" in told
    assert strict.audit.latest(1)[0].event.detail["purpose"] == "campaign completed"
    nightly = ExportRequest("survey_outcomes", SERVICE.email, {"campaign_id": LAST_CAMPAIGN}, recurring=True)
    with pytest.raises(Rejected, match="say why"):
        file_request(strict, nightly, service=SERVICE)
    assert file_request(strict, replace(nightly, reason="nightly export"), service=SERVICE).request.recurring


def test_personal_value_when_filtered_by_then_told_nowhere(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asked = ExportRequest("audit_log", ADMIN, {"user": PLANTED}, destination="local")
    job = run_export(engine, file_request(engine, asked))
    manifest = read_manifest(engine.destination("local"), job)
    assert manifest["filters"] == {"user": "(not told)"}
    with pytest.raises(Rejected, match=r"the value of user is not a list, .*; as it is personal") as wrong:
        file_request(engine, replace(asked, filters={"user": f'"{PLANTED}'}))
    with pytest.raises(Rejected) as refused:
        file_request(engine, replace(asked, contact_info=False))
    with pytest.raises(Forbidden) as forbidden:
        file_request(engine, replace(asked, requested_by=ANALYST))
    texts = [json.dumps(manifest), caplog.text, str(wrong.value), str(refused.value), str(forbidden.value)]
    texts += [str(tags_of(job)), str(config_of(job)), str(job_metadata(job)), everything_written(engine, "audit_log")]
    assert not any(PLANTED in text for text in texts)


@pytest.mark.parametrize(
    ("dataset", "asked", "told"),
    [
        ("events", {"conditions": (f"properties.who.address ne '{PLANTED}'",)}, "properties.who.address ne (not told)"),
        (
            "leads",
            {"conditions": (f"description not_contains {PLANTED} and status ne new",)},
            "(description not_contains (not told) and status ne new)",
        ),
        ("leads", {"filters": {"exclude_keywords": PLANTED, "limit": "2"}, "format": "zip"}, None),
    ],
)
def test_free_text_when_looked_at_then_its_values_are_told_nowhere(
    engine: Engine, dataset: str, asked: dict[str, Any], told: str | None
) -> None:
    usual: dict[str, Any] = {"format": "xlsx", "filters": {"limit": "2"}, "destination": "local"}
    job = run_export(engine, file_request(engine, ExportRequest(dataset, ADMIN, **(usual | asked))))
    destination = engine.destination("local")
    manifest = read_manifest(destination, job)
    [part] = manifest.get("datasets", [manifest])
    assert part["conditions"] == ([told] if told else [])
    assert part["filters"] == ({} if told else {"exclude_keywords": "(not told)"})
    texts = [json.dumps(manifest), everything_written(engine, "audit_log")]
    for file in job.files:
        with zipfile.ZipFile(io.BytesIO(b"".join(destination.read(file.key)))) as archive:
            texts += [archive.read(name).decode(errors="replace") for name in archive.namelist()]
    assert not any(PLANTED in text for text in texts)


def test_key_of_json_when_it_may_be_personal_then_told_nowhere(engine: Engine) -> None:
    asked = ExportRequest(
        "events",
        ADMIN,
        {"properties": f'plan:text,opens."{PLANTED}",opens.15550100123:integer', "limit": "2"},
        conditions=(f'properties.opens."{PLANTED}" is_null',),
        columns=("id", "opens_15550100123 as opened"),
        destination="local",
    )
    job = run_export(engine, file_request(engine, asked))
    manifest = read_manifest(engine.destination("local"), job)
    assert manifest["filters"] == {"properties": "plan:text,opens.(not told),opens.(not told):integer"}
    assert manifest["conditions"] == ["properties.opens.(not told) is_null"]
    assert manifest["columns"][1]["description"] == "The property opens.(not told)."
    wrong = (
        {"filters": {"properties": f'opens."{PLANTED}":money'}},
        {"filters": {"properties": f'opens."{PLANTED}",,'}},
        {"conditions": (f"properties.opens.\"{PLANTED}\" matches '('",)},
        {"sort": (f'properties."{PLANTED}"',)},
        {"requested_by": ANALYST},
    )
    texts = [json.dumps(manifest)]
    for changes in wrong:
        with pytest.raises(Rejected) as refused:
            file_request(engine, replace(asked, **changes))  # type: ignore[arg-type]
        texts.append(str(refused.value))
    texts.append(everything_written(engine, "audit_log"))
    assert not any(PLANTED in text or "opens.15550100123" in text for text in texts)


def test_link_when_the_file_was_masked_less_than_now_then_none(engine: Engine, source: psycopg.Connection) -> None:
    asked = ExportRequest("leads", ADMIN, {"limit": "2"}, columns=("id", "phone"), destination="local")
    plain, masked = (
        run_export(engine, file_request(engine, replace(asked, masks=masks))) for masks in ({}, {"phone": "mask"})
    )
    source.execute("UPDATE users SET role = 'analyst' WHERE email = %s", (ADMIN,))
    try:
        with pytest.raises(Forbidden, match="holds more than you may have now"):
            issue_link(engine, ADMIN, plain.id)
        assert "holds more than you may have now" in engine.audit.of(plain.id)[-1].event.reason
        assert issue_link(engine, ADMIN, masked.id).url
    finally:
        source.execute("UPDATE users SET role = 'admin' WHERE email = %s", (ADMIN,))


def test_package_when_masked_then_each_dataset_by_its_own_names(engine: Engine) -> None:
    filters = {"campaign_id": LAST_CAMPAIGN}
    masks = {"contacts.phone": "truncate:2", "email": "drop"}
    asked = ExportRequest("contacts,calls", ADMIN, filters, masks=masks, format="zip", destination="local")
    job = run_export(engine, file_request(engine, asked))
    assert job.masked == {"contacts.csv: phone": "truncate"}
    assert manage.verify_export(engine, ADMIN, job.id)[0] == job.rows
    for wrong, said in (("calls.phone", "calls has no column 'phone' to mask"), ("fax", "has a column 'fax' to mask")):
        with pytest.raises(Rejected, match=said):
            file_request(engine, replace(asked, masks={wrong: "drop"}))
    single = replace(asked, dataset="contacts", masks={"phone": "truncate:2"})
    assert run_export(engine, file_request(engine, single)).masked == {"contacts.csv: phone": "truncate"}


def everything_written(engine: Engine, *tables: str) -> str:
    """All rows of the ledger, or of these tables of it."""
    with psycopg.connect(engine.settings.database_url.get_secret_value()) as connection:
        names = tables or ("audit_log", "export_jobs", "leftovers")
        queries = [sql.SQL("SELECT row_to_json(t)::text FROM exports.{} AS t").format(sql.Identifier(n)) for n in names]
        return "\n".join(row[0] for query in queries for row in connection.execute(query).fetchall())
